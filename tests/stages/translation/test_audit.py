"""The audit of a translation on held-out phantoms: contrast to non-contrast CT, where the truth is known."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from medaug.audits.findings import asked_audits
from medaug.audits.scans import ScanArrays, averaged, read_scan
from medaug.audits.translations import contrasts_of
from medaug.config.files import load_config
from medaug.data.atomic import read_json, to_json
from medaug.data.cache import open_array
from medaug.data.layouts import find_cases
from medaug.errors import DataError
from medaug.report.viewer import read_cases
from medaug.runs.folder import RunDir
from medaug.stages import audit as stage
from medaug.stages.pipeline import run_pipeline
from medaug.stages.report import report
from medaug.stages.tasks import task_of, translation_audit
from medaug.volumes import Window

from ...stored import array_of

DATA = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[4] / "shared" / "data")) / "ct_contrast"
TINY = (
    "data.phantoms.patients=5", "split.train=3", "split.validation=0", "training.steps=1", "training.batch_size=1",
    "training.workers=0", "translator.width=4", "translator.depth=2", "translator.discriminator_width=4",
    "translator.discriminator_layers=1",
)  # fmt: skip
CT = (
    "data.phantoms.shape=[96,96,4]", "data.phantoms.spacing_mm=[4,4,40]", "data.phantoms.label=organs",
    "data.sequence=contrast", "target.sequence=noncontrast", "data.modality=CT", "evaluation.task=none",
    "data.classes={liver: [1], kidneys: [2]}", "crop.size=[32,32]",
)  # fmt: skip
MR = ("data.phantoms.shape=[32,32,6]", "data.phantoms.spacing_mm=[12,12,24]", "data.phantoms.label=tumor")


def trained(out, *settings):
    config = load_config(None, [*TINY, *settings], {"domain": "ct"})
    return config, run_pipeline(config, out, until="train")


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    """(config, run) between two phases of CT, trained for one step and audited."""
    config, run = trained(tmp_path_factory.mktemp("ct") / "run", *CT)
    assert stage.audit(config, run)
    return config, run


@pytest.fixture
def again(ct, tmp_path):
    """The same run, not audited yet."""
    config, run = ct
    copied = RunDir(tmp_path / "run")
    copied.root.mkdir()
    for name in ("prepared", "prepared_b", "split.json", "train", "config.yaml", "environment.json"):
        (copied.root / name).symlink_to(run.root / name)
    return config, copied


def real_target(entry, folder, translate):
    """What a perfect translation of a phantom would be: its own other phase."""
    return read_scan(entry, folder.parent / "prepared_b")


def audited(again) -> dict:
    config, run = again
    stage.audit(config, run)
    return read_json(run.audit / "translation.json")


def test_held_out_patients_are_audited_by_tissue_in_windows_and_by_their_labels(ct):
    config, run = ct
    audit, split = read_json(run.audit / "translation.json"), read_json(run.split)
    assert sorted(audit["patients"]["source"]) == sorted(audit["patients"]["target"]) == sorted(split["test"])
    assert sorted(audit["by_patient"]) == sorted(split["test"]) and not audit["left_out"]
    assert {"fat", "soft", "bone", "enhanced blood", "soft, beside it"} <= set(audit["shift"])
    assert set(audit["levels"]) == {"source", "translated", "target"} == set(audit["contrast"]["kidneys"])
    for tissue, errors in audit["shift"].items():
        by_patient = [figures["shift"] for figures in audit["by_patient"].values() if tissue in figures["shift"]]
        assert errors["bias_hu"]["mean"] == pytest.approx(np.mean([found[tissue]["bias_hu"] for found in by_patient]))
        assert errors["bias_hu"]["patients"] == len(by_patient) and errors["share"]["mean"] > 0
        assert len(by_patient) == 1 or (errors["mae_hu"]["low"] >= 0 and errors["share"]["high"] <= 1)
    assert (run.audit / "pictures.png").read_bytes()[:4] == b"\x89PNG"
    (case, *_) = read_cases(run.audit / "viewer.json")
    assert case.facts["unit"] == "HU" and "kidneys" in [found["name"] for found in case.facts["classes"]]
    assert not stage.audit(config, run)


def test_windows_are_compared_with_the_whole_scan_and_audited_once(ct, tmp_path):
    config, run = ct
    found = read_json(run.audit / "translation.json")
    shutil.copytree(run.root, tmp_path / "run")
    asked = asked_audits(*task_of(config).audits(RunDir(tmp_path / "run")), ["seams", "checkerboard"])
    assert json.loads(to_json([asdict(finding) for finding in asked])) == found["audits"]
    assert [finding["name"] for finding in found["audits"]] == ["seams", "checkerboard"]
    assert 0.5 < found["audits"][0]["value"] < 2
    tiling = found["tiling"]
    assert tiling["patch_size"] == [32, 32] and tiling["unit"] == "HU" and not tiling["left_out"]
    assert len(tiling["scans"]) == 2
    for figures in tiling["scans"].values():
        assert figures["drift"]["tiles"] > 4
        assert figures["difference"]["largest"] >= figures["difference"]["mean"] > 0


def test_the_shift_of_a_perfect_translation_is_that_of_the_phases(again, monkeypatch):
    monkeypatch.setattr(translation_audit, "translated_scan", real_target)
    audit = audited(again)
    _, run = again
    blood, fat = audit["shift"]["enhanced blood"]["bias_hu"], audit["shift"]["fat"]["bias_hu"]
    assert blood["mean"] < -80 and blood["high"] < 0 and abs(fat["mean"]) < 6
    for patient, figures in audit["by_patient"].items():
        kidneys, change = [], []
        for datalist, folder in ((run.datalist, run.prepared), (run.datalist_b, run.prepared_b)):
            entry = next(e for e in read_json(datalist)["cases"] if e["patient"] == patient)
            kidneys.append(np.asarray(open_array(folder, entry["arrays"]["label"])) == 2)
            change.append(array_of(folder, entry, "image").astype(float))
        truth = (change[1] - change[0])[kidneys[0]].mean()
        assert figures["shift"]["enhanced blood"]["bias_hu"] == pytest.approx(truth, abs=40)
    assert audit["levels"]["translated"] == audit["levels"]["target"]
    assert audit["contrast"]["kidneys"]["translated"] == audit["contrast"]["kidneys"]["target"]
    shares = {kind: found["blood_share"]["mean"] for kind, found in audit["levels"].items()}
    assert shares["source"] > 0.02 > 0.005 > shares["target"]
    contrast = {kind: found["mean"] for kind, found in audit["contrast"]["kidneys"].items()}
    assert contrast["source"] > contrast["target"] + 0.1  # two patients: each interval is wide


def test_a_translation_that_changes_nothing_shifts_nothing(again, monkeypatch):
    monkeypatch.setattr(translation_audit, "translated_scan", lambda entry, folder, translate: read_scan(entry, folder))
    audit = audited(again)
    assert all(errors["mae_hu"]["mean"] == 0 for errors in audit["shift"].values())
    assert audit["levels"]["translated"] == audit["levels"]["source"]


def test_the_page_shows_the_audit(ct):
    config, run = ct
    report(config, run)
    page = run.report.read_text()
    for words in (
        "enhanced blood",
        "Where the translation goes",
        "Contrast of what is labelled",
        "In windows and whole",
        "Steps across the windows&#39; borders are",
    ):
        assert words in page


def test_mr_has_no_tissues_whole_images_no_windows_and_no_labels_no_contrast(tmp_path, edit_json):
    config, run = trained(tmp_path / "run", *MR)
    edit_json(run.datalist, lambda found: [entry["arrays"].pop("label", None) for entry in found["cases"]])
    edit_json(run.datalist_b, lambda found: [entry["arrays"].pop("label", None) for entry in found["cases"]])
    stage.audit(config, run)
    found = read_json(run.audit / "translation.json")
    assert found["tiling"] is None and not {"shift", "levels", "contrast"} & set(found)
    report(config, run)
    assert "Translations of patients never seen" in run.report.read_text()


def test_voxels_too_large_for_blood_leave_its_class_out(tmp_path):
    large = [s for s in CT if "phantoms.s" not in s and "crop" not in s]
    config, run = trained(tmp_path / "run", *MR[:2], *large)
    stage.audit(config, run)
    found = read_json(run.audit / "translation.json")
    assert "fat" in found["shift"] and "enhanced blood" not in found["shift"]
    assert set(found["levels"]["source"]) == {"soft_hu"}


def test_a_label_without_surroundings_is_named():
    image = np.zeros((16, 16), np.float32)
    everywhere = np.ones_like(image, dtype=np.uint8)
    scan = ScanArrays("scan-1", image[None], (Window(-1, 1),), everywhere > 0, everywhere, (1.0, 1.0))
    found = contrasts_of([scan], ["tumor"])
    assert not found.by_class and "no voxel between 2 and 8 mm" in found.left_out["scan-1"]


def test_averages_are_over_the_patients_that_have_the_figure():
    found = averaged([{"a": {"x": 1.0}, "share": 0.1}, {"a": {"x": 3.0}}, {}])
    assert found["a"]["x"]["mean"] == 2.0 and found["a"]["x"]["low"] < 1.0 < 3.0 < found["a"]["x"]["high"]
    assert found["share"] == {"mean": 0.1, "low": None, "high": None, "patients": 1}
    assert averaged([]) == {}
    with pytest.raises(DataError, match="NaN"):
        averaged([{"x": float("nan")}, {"x": 1.0}])


def test_the_pipeline_of_contrast_ct_fits_the_real_ones():
    if not DATA.is_dir():
        pytest.skip("no CT with and without contrast agent; set MEDAUG_DATA to a folder with ct_contrast/")
    pipeline = Path(__file__).parents[3] / "pipelines" / "ct_contrast.yaml"
    roots = {"data.root": DATA / "contrast", "target.root": DATA / "noncontrast"}
    config = load_config(pipeline, [], roots)
    a, b = (find_cases(side.root, layout=side.layout, sequence=side.sequence) for side in (config.data, config.target))
    patients = [{case.patient for case in cases} for cases in (a, b)]
    assert len(patients[0] | patients[1]) == 24 and patients[0] & patients[1]
    assert config.data.domain("ct").unit == config.target.domain("ct").unit == "HU"


def test_folds_are_pooled_each_patient_from_the_fold_that_tested_it(tmp_path):
    large = [s for s in CT if "phantoms.s" not in s and "crop" not in s]
    settings = [s for s in (*TINY, MR[0], MR[1], *large) if "split.train" not in s]
    config = load_config(None, [*settings, "split.folds=2", "split.validation=1"], {"domain": "ct"})
    run = run_pipeline(config, tmp_path / "run")
    pooled = read_json(run.audit / "translation.json")
    assert sorted(pooled["by_patient"]) == sorted(pooled["patients"]["source"]) and len(pooled["by_patient"]) == 5
    assert pooled["shift"]["fat"]["bias_hu"]["patients"] == 5
    for fold in range(2):
        alone, tested = read_json(run.fold(fold).audit / "translation.json"), read_json(run.fold(fold).split)["test"]
        assert len(alone["by_patient"]) == len(tested) + 1
        assert all(pooled["by_patient"][patient] == alone["by_patient"][patient] for patient in tested)
    page = run.report.read_text()
    assert "Where the translation goes" in page
    assert all(f'label="fold-{fold}: Held-out patients, translated"' in page for fold in range(2)), "to look around in"
