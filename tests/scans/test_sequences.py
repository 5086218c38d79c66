"""Commands on one scan of several sequences, with weights of two sequences and tumors of two parts."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from monai.data import MetaTensor
from typer.testing import CliRunner

import medaug
from medaug.cli import app
from medaug.data.atomic import read_json
from medaug.data.files import read_label, read_scan, write_channels, write_scan
from medaug.errors import ConfigError, DataError
from medaug.scans.files import ScanFiles

CORE, RIM, ORGAN = 1, 2, 7


@dataclass(frozen=True)
class Patient:
    """A test patient of the run: flair as int16, t1 as float32 with its axes turned, a label of parts and an organ."""

    flair: Path
    t1: Path
    label: Path

    @property
    def files(self) -> list[Path]:
        return [self.flair, self.t1]


@pytest.fixture(scope="module")
def patient(multi_run, tmp_path_factory) -> Patient:
    tested = read_json(multi_run.split)["test"]
    entry = next(e for e in read_json(multi_run.datalist)["cases"] if e["patient"] in tested)
    (flair, t1), label, organ = (
        np.load(multi_run.prepared / entry["arrays"][kind]) for kind in ("image", "label", "organ")
    )
    folder, affine = tmp_path_factory.mktemp("patient"), np.asarray(entry["affine"])
    found = Patient(folder / "p1_flair.nii.gz", folder / "p1_t1.nii", folder / "seg.nii.gz")
    write_scan(found.flair, np.rint(flair)[None], affine, "int16")
    turned = affine.copy()
    turned[:3, 0], turned[:3, 3] = -affine[:3, 0], affine[:3, 3] + affine[:3, 0] * (flair.shape[0] - 1)
    write_scan(found.t1, t1[::-1].copy()[None], turned, "float32")
    write_scan(found.label, np.where(label > 0, label, (organ > 0) * ORGAN)[None], affine, "uint8")
    return found


@pytest.fixture(scope="module")
def inserted(patient, multi_run, tmp_path_factory) -> list[Path]:
    out = tmp_path_factory.mktemp("inserted")
    values = {"avoid": patient.label, "tumor_labels": [CORE, RIM]}
    return medaug.insert(patient.files, weights=multi_run.weights, out=out, seed=3, **values)


def changed(before: Path, after: Path) -> np.ndarray:
    first, second = read_scan(before), read_scan(after)
    np.testing.assert_allclose(first.affine.numpy(), second.affine.numpy())
    assert first.meta["dtype"] == second.meta["dtype"]
    return first.numpy()[0] != second.numpy()[0]


def test_a_tumor_with_its_parts_goes_into_every_sequence_and_nothing_else_changes(patient, inserted):
    flair, t1, label, picture, manifest, page = inserted
    names = ["p1_inserted_flair.nii.gz", "p1_inserted_t1.nii", "p1_inserted_label.nii.gz"]
    assert [path.name for path in (flair, t1, label)] == names
    parts = read_label(label).numpy()[0]
    assert set(np.unique(parts)) <= {0, CORE, RIM} and parts.any()
    there = read_label(patient.label).numpy()[0]
    assert not ((there == CORE) | (there == RIM))[parts > 0].any(), "clear of the real tumor"
    for edit in (changed(patient.flair, flair), changed(patient.t1, t1)[::-1]):
        assert edit.any() and not edit[parts == 0].any()
    assert read_json(manifest)["scan"] == "p1_flair.nii.gz, p1_t1.nii"
    assert picture.read_bytes()[:4] == b"\x89PNG" and '"name": "t1"' in page.read_text()


def test_the_command_takes_the_files_by_name_and_in_any_order(patient, inserted, multi_run, tmp_path):
    arguments = ["insert", f"t1={patient.t1}", f"flair={patient.flair}", "--avoid", patient.label, "--seed", 3]
    arguments += ["--tumor-labels", CORE, "--tumor-labels", RIM]
    result = CliRunner().invoke(app, [*map(str, arguments), "-w", str(multi_run.weights), "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert [Path(line).read_bytes() for line in result.stdout.split()] == [path.read_bytes() for path in inserted]


def test_one_file_may_hold_all_sequences_as_its_channels(patient, multi_run, tmp_path):
    both = np.concatenate([read_scan(patient.flair).numpy(), read_scan(patient.t1).numpy()[:, ::-1]])
    affine = read_scan(patient.flair).affine.numpy()
    write_channels(tmp_path / "four.nii.gz", both, affine, "float32")
    options = {"weights": multi_run.weights, "seed": 3}
    flair, t1, label, *_ = medaug.insert(tmp_path / "four.nii.gz", out=tmp_path / "a", **options)
    assert [path.name for path in (flair, t1)] == ["four_inserted_flair.nii.gz", "four_inserted_t1.nii.gz"]
    write_channels(tmp_path / "more.nii.gz", np.concatenate([both[1:], both]), affine, "float32")
    with pytest.raises(DataError, match=r"found 3 channel\(s\); expected one for each .* flair, t1"):
        medaug.insert(tmp_path / "more.nii.gz", out=tmp_path / "b", **options)
    chosen, _, again, *_ = medaug.insert(tmp_path / "more.nii.gz", out=tmp_path / "b", sequence="1,2", **options)
    assert read_scan(chosen).numpy().tobytes() == read_scan(flair).numpy().tobytes()
    assert again.read_bytes() == label.read_bytes()


def test_removal_empties_every_sequence_and_the_organ_stays_in_the_label(patient, multi_run, tmp_path, caplog):
    flair, t1, label, *_ = medaug.remove(
        {"t1": patient.t1, "flair": patient.flair},
        mask=patient.label,
        weights=multi_run.weights,
        out=tmp_path,
        tumor_labels=[CORE, RIM],
    )
    before = read_label(patient.label).numpy()[0]
    tumor = (before == CORE) | (before == RIM)
    assert changed(patient.flair, flair)[tumor].mean() > 0.5 and changed(patient.t1, t1)[::-1][tumor].mean() > 0.5
    assert set(np.unique(read_label(label).numpy())) == {0, ORGAN} and "padding" not in caplog.text


def test_another_tumor_takes_the_place_of_one_in_every_sequence(patient, multi_run, tmp_path):
    organ = tmp_path / "organ.nii.gz"
    before = read_label(patient.label)
    write_scan(organ, before > 0, before.affine, "uint8")
    flair, t1, label, *_, manifest, _ = medaug.replace(
        patient.files,
        mask=patient.label,
        weights=multi_run.weights,
        out=tmp_path,
        organ_mask=organ,
        tumor_labels=[CORE, RIM],
        size_mm=(6, 20),
    )
    assert [path.name for path in (flair, t1)] == ["p1_replaced_flair.nii.gz", "p1_replaced_t1.nii"]
    after, was = read_label(label).numpy()[0], before.numpy()[0]
    assert (after != was).any() and ((was == ORGAN) <= (after > 0)).all(), "never out of the organ"
    assert changed(patient.flair, flair).any() and changed(patient.t1, t1).any()
    assert read_json(manifest)["lesions"][0]["replaced_mm"] > 0


def test_a_series_grows_in_every_sequence(patient, multi_run, tmp_path):
    series = medaug.grow(patient.files, weights=multi_run.weights, out=tmp_path, steps=2, start_mm=14.0)
    assert [path.name for path in series[:3]] == [
        "p1_grown_00_flair.nii.gz", "p1_grown_00_t1.nii", "p1_grown_00_label.nii.gz"
    ]  # fmt: skip
    steps = read_json(tmp_path / "p1_growth.json")["steps_made"]
    assert steps[1]["image"] == ["p1_grown_01_flair.nii.gz", "p1_grown_01_t1.nii"]
    assert steps[0]["diameter_mm"] < steps[1]["diameter_mm"]


def test_a_scan_of_several_sequences_is_scored_with_a_map_for_all_and_a_healthy_version_each(
    patient, multi_run, tmp_path
):
    residual, flair, t1, picture, _ = medaug.anomaly(
        patient.files, weights=multi_run.weights, out=tmp_path, set_=["anomaly.tile_mm=48"]
    ).files
    assert [path.name for path in (residual, flair, t1)] == [
        "p1_anomaly.nii.gz", "p1_healthy_flair.nii.gz", "p1_healthy_t1.nii.gz"
    ]  # fmt: skip
    assert (read_scan(residual).numpy() > 0).any() and picture.exists()
    for healthy, scan in ((flair, patient.flair), (t1, patient.t1)):
        assert 0.5 < read_scan(healthy).numpy().mean() / read_scan(scan).numpy().mean() < 2, "in its own unit"


def test_no_voxel_of_a_tumor_leaves_the_organ_of_a_label_and_the_organ_stays_around_it(patient, multi_run, tmp_path):
    before = read_label(patient.label).numpy()[0]
    for seed in range(4):
        *_, label, _, manifest, _ = medaug.insert(
            patient.files,
            weights=multi_run.weights,
            out=tmp_path / str(seed),
            seed=seed,
            organ_mask=patient.label,
            organ_labels=[ORGAN],
        )
        after = read_label(label).numpy()[0]
        new = after != before
        assert new.any() and (before[new] == ORGAN).all() and set(np.unique(after[new])) <= {CORE, RIM}
        assert read_json(manifest)["organ_labels"] == [ORGAN]


def test_an_organ_that_is_not_in_the_label_or_contradicts_the_tumor_is_refused(patient, multi_run, tmp_path):
    options = {"weights": multi_run.weights, "out": tmp_path, "organ_mask": patient.label}
    with pytest.raises(DataError, match=r"seg.nii.gz: found the values 1, 2, 7; expected the organ's, 9"):
        medaug.insert(patient.files, organ_labels=[9], **options)
    with pytest.raises(DataError, match=r"of which 7, 1 are the organ; .*--tumor-labels"):
        medaug.insert(patient.files, organ_labels=[ORGAN, CORE], **options)
    with pytest.raises(ConfigError, match="leave out --avoid"):
        medaug.insert(patient.files, organ_labels=[ORGAN], avoid=patient.label, **options)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scans", "said"),
    [
        ("{flair}", "found 1 channel(s); expected one for each sequence of the weights, flair, t1"),
        ("flair={flair}", "found the sequences flair; expected those of the weights, flair, t1. Give t1 too"),
        ("flair={flair} t2={t1}", "Give t1 too. Leave t2 out, or correct the name"),
        ("flair={flair} {t1}", "expected all or none"),
        ("{t1} {flair}", "found p1_t1.nii, which says t1, in the place of flair"),
        ("{flair} {t1} {t1}", "found 3 file(s)"),
        ("flair={flair} t1={t1} t1={t1}", "Leave t1, t1 out"),
    ],
)
def test_files_that_are_not_those_of_the_sequences_are_refused_by_name(patient, multi_run, tmp_path, scans, said):
    given = scans.format(flair=patient.flair, t1=patient.t1).split(" ")
    with pytest.raises((ConfigError, DataError), match=re.escape(said)):
        medaug.insert(given, weights=multi_run.weights, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sequences_on_different_grids_are_refused(patient, multi_run, tmp_path):
    scan = read_scan(patient.t1)
    moved = scan.affine.numpy().copy()
    moved[0, 3] += 20
    write_scan(tmp_path / "moved.nii.gz", MetaTensor(scan.as_tensor()), moved)
    with pytest.raises(DataError, match="moved.nii.gz"):
        medaug.remove(
            [patient.flair, tmp_path / "moved.nii.gz"], mask=patient.label, weights=multi_run.weights, out=tmp_path
        )


@pytest.mark.parametrize(
    ("names", "stem"),
    [
        (["BraTS-1-t1c.nii.gz", "BraTS-1-t2f.nii.gz"], "BraTS-1"),
        (["case_0000.nii.gz", "case_0001.nii.gz"], "case"),
        (["folder/flair.nii", "folder/t1.nii"], "folder"),
        (["a/scan.nii.gz", "b/scan.nii.gz"], "scan"),
        (["scan.nii.gz"], "scan"),
    ],
)
def test_results_are_called_after_what_the_files_share(names, stem):
    assert ScanFiles.of(names).stem == stem


def test_an_equals_sign_in_the_name_of_a_file_is_no_name_of_a_sequence(tmp_path):
    (tmp_path / "a=b.nii").touch()
    assert ScanFiles.of(str(tmp_path / "a=b.nii")) == ScanFiles((tmp_path / "a=b.nii",), ("",))
    assert ScanFiles.of("t1=b.nii").names == ("t1",)
