"""`medaug doctor` and `medaug init` on phantoms with planted faults: each is found and named, and `prepare` agrees."""

import json
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from monai.transforms import Compose
from PIL import Image
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.data import DataConfig
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.cache import open_array
from medaug.data.layouts import find_cases
from medaug.data.prepared import View, views_of
from medaug.data.records import prepared_cases
from medaug.data.writers import ScanRecord, write_layout
from medaug.errors import ConfigError, DataError, RunError
from medaug.evaluation.samples import ClassificationSamples, SegmentationSamples, ViewFolder, sample_size
from medaug.examination.examination import examination_text, examine
from medaug.experiment.arms import ARMS
from medaug.phantoms import phantoms
from medaug.runs.folder import RunDir
from medaug.stages.prepare import prepare
from medaug.volumes import Percentiles, Window

from ..stored import prepare_case

WINDOW = Window(0.0, 200.0, "au")
SHAPE, SPACING_MM = (32, 32, 8), (6.0, 6.0, 10.0)


@pytest.fixture(scope="module")
def heads():
    drawn = phantoms("head", 6, seed=4, shape=SHAPE, spacing_mm=SPACING_MM)
    return [ScanRecord(p.patient, p.images, p.label, p.affine) for p in drawn]


@pytest.fixture
def folder(heads, tmp_path):
    """Six patients in images/ and labels/, FLAIR, to be spoilt."""
    records = [
        ScanRecord(head.patient, {"flair": head.images["flair"]}, (head.label > 0).astype(np.uint8), head.affine)
        for head in heads
    ]
    write_layout(records, tmp_path / "data", "images-labels")
    (tmp_path / "data" / "patients.json").unlink()  # a patient is named as the file
    return tmp_path / "data"


@pytest.fixture(scope="module")
def cli():
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


def edit(path, change, affine=None):
    image = nibabel.load(path)
    array, old = np.asarray(image.dataobj), image.affine
    nibabel.save(nibabel.Nifti1Image(change(array.copy()), old if affine is None else affine @ old), path)


def check(found, name):
    return next(check for check in found.checks if check.name == name)


def with_nan(array):
    array = array.astype(np.float32)
    array[3, 3, 3] = np.nan
    return array


def test_a_good_folder_is_usable_and_described(folder):
    found = examine(folder)
    assert found.usable and not found.refusals
    data = found.data
    assert (data.layout, data.cases, data.patients, data.labelled) == ("images-labels", 6, 6, 6)
    assert [group.value for group in data.shapes] == ["32 × 32 × 8"]
    assert [group.value for group in data.spacings_mm] == ["6 × 6 × 10 mm"]
    (sequence,) = data.sequences
    assert sequence.modality == "MR" and not sequence.looks_like_hu
    assert {check.verdict for check in found.checks} <= {"pass", "warn"}


def test_lesions_are_measured_in_mm_and_ml(folder, heads):
    first = folder / "labels" / f"{heads[0].patient}.nii.gz"
    for path in (folder / "labels").iterdir():
        edit(path, np.zeros_like)

    def cube(array):
        array[4:8, 4:8, 2:4] = 1  # 32 voxels of 0.36 ml
        return array

    edit(first, cube)
    found = examine(folder)
    assert found.data.lesions.count == 1
    assert found.data.lesions.volume_ml.most == pytest.approx(32 * 0.36)
    assert found.data.lesions.diameter_mm.most == pytest.approx((6 * 32 * 360 / np.pi) ** (1 / 3))
    prevalence = found.data.prevalence
    assert (prevalence.tumor_slices, prevalence.slices, prevalence.tumor_patients) == (2, 48, 1)


@pytest.mark.parametrize("fault", ["nan", "4-d", "other grid", "cut off", "rare value", "image as label"])
def test_what_prepare_refuses_is_named_before(folder, heads, tmp_path, fault):
    names = [f"{head.patient}.nii.gz" for head in heads]
    if fault == "nan":
        edit(folder / "images" / names[1], with_nan)
        edit(folder / "images" / names[4], with_nan)
    elif fault == "4-d":
        edit(folder / "images" / names[2], lambda array: np.stack([array, array + 1], axis=-1))
    elif fault == "other grid":
        edit(folder / "labels" / names[3], lambda array: array[:-2])
    elif fault == "cut off":
        path = folder / "images" / names[0]
        path.write_bytes(path.read_bytes()[:500])
    elif fault == "image as label":
        edit(folder / "images" / names[0], lambda array: array.astype(np.int16))
        shutil.copy(folder / "images" / names[0], folder / "labels" / names[0])
        edit(folder / "labels" / names[2], lambda array: np.arange(array.size).reshape(array.shape).astype(np.int16))
    else:
        edit(folder / "labels" / names[5], lambda array: np.where(array > 0, 7, 0).astype(np.uint8))
    found = examine(folder, out=tmp_path / "pipeline.yaml")
    assert not found.usable and check(found, "readable").verdict == "fail"
    config = load_config(tmp_path / "pipeline.yaml", ["data.skip_unreadable=true"])
    run = RunDir(tmp_path / "run")
    prepare(config, run)
    refused = {(item["path"], item["reason"]) for item in read_json(run.datalist)["unreadable"]}
    assert {(refusal.path, refusal.reason) for refusal in found.refusals} == refused != set()


def test_a_label_is_looked_at_too_where_its_image_is_refused(folder, heads):
    name = f"{heads[1].patient}.nii.gz"
    edit(folder / "images" / name, with_nan)
    edit(folder / "labels" / name, lambda array: array + np.float32(0.4))
    paths = {refusal.path for refusal in examine(folder).refusals}
    assert paths == {str(folder / "images" / name), str(folder / "labels" / name)}


def test_a_patient_who_is_there_twice_is_a_leak(folder, heads):
    for kind in ("images", "labels"):
        shutil.copy(folder / kind / f"{heads[2].patient}.nii.gz", folder / kind / "copy.nii.gz")
    found = examine(folder)
    twice = check(found, "duplicates")
    assert twice.verdict == "fail" and not found.usable
    assert len(twice.named) == 1 and heads[2].patient in twice.named[0] and "copy" in twice.named[0]


def test_a_copy_with_other_intensities_is_nearly_identical(folder, heads):
    shutil.copy(folder / "labels" / f"{heads[2].patient}.nii.gz", folder / "labels" / "copy.nii.gz")
    shutil.copy(folder / "images" / f"{heads[2].patient}.nii.gz", folder / "images" / "copy.nii.gz")
    edit(folder / "images" / "copy.nii.gz", lambda array: array * np.float32(1.7) + 3)
    found = examine(folder)
    near = check(found, "near-duplicates")
    assert near.verdict == "warn" and len(near.named) == 1 and "copy" in near.named[0]
    assert check(found, "duplicates").verdict == "pass"


def test_an_unlabelled_case_is_left_out_and_named(folder, heads):
    (folder / "labels" / f"{heads[0].patient}.nii.gz").unlink()
    labels = check(examine(folder), "labels")
    assert labels.verdict == "warn" and labels.named == [heads[0].patient]


def test_no_label_at_all_is_refused(folder):
    for path in (folder / "labels").iterdir():
        path.unlink()
    found = examine(folder)
    assert check(found, "labels").verdict == "fail" and not found.usable
    assert check(found, "patients").sentence.startswith("no patient with a label") and "of 0;" not in found.suggestion


def test_an_unlabelled_image_that_cannot_be_read_is_counted_and_named(folder, heads):
    name = f"{heads[0].patient}.nii.gz"
    (folder / "labels" / name).unlink()
    edit(folder / "images" / name, with_nan)
    found = examine(folder)
    read = check(found, "readable")
    assert read.verdict == "warn" and read.sentence.startswith("5 of 6 cases") and name in read.named[0]
    assert found.usable and (found.data.cases, found.data.read) == (6, 5)


def test_lesions_that_do_not_fit_the_suggested_crop_are_counted(tmp_path):
    rng = np.random.RandomState(0)
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for number in range(6):
        label = np.zeros((150, 150), np.uint8)
        label[5 : 145 if number < 2 else 40, 20:60] = 1
        Image.fromarray(rng.randint(1, 200, label.shape).astype(np.uint8)).save(tmp_path / "images" / f"p{number}.png")
        Image.fromarray(label).save(tmp_path / "labels" / f"p{number}.png")
    found = examine(tmp_path)
    lesions = check(found, "lesions")
    assert lesions.verdict == "warn" and lesions.named == ["p0", "p1"] and found.usable
    assert "2 of 6 lesions do not fit the suggested crop of" in lesions.sentence
    assert found.data.length_unit == "px" and "mm" not in lesions.sentence
    assert "diameter" in (shown := examination_text(found)) and " mm" not in shown


def test_unlabelled_images_are_one_side_of_a_translation(cli, folder, heads, tmp_path):
    """In a list that names no label none is missing; `init` has no pipeline for them."""
    data = tmp_path / "pairs"
    for number, head in enumerate(heads[:3]):
        for kind in ("mr", "ct"):
            (data / f"p{number}").mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "images" / f"{head.patient}.nii.gz", data / f"p{number}" / f"{kind}.nii.gz")
    done = cli("doctor", data)
    assert done.exit_code == 0 and "3 images and no label" in done.stdout, done.output
    assert "--target-sequence mr" in done.stdout and "A pipeline for it" not in done.stdout
    refused = cli("init", data, "--out", tmp_path / "none.yaml")
    assert refused.exit_code == DataError.exit_code and "--target-sequence" in refused.stderr


def test_visits_are_counted_as_patients_and_doubtful_names_are_told(cli, folder, heads):
    def named(pattern):
        for kind in ("images", "labels"):
            for number, path in enumerate(sorted((folder / kind).iterdir())):
                path.rename(path.with_name(pattern.format(number // 2, "ab"[number % 2], number % 2) + ".nii.gz"))

    named("x{}_ses-{}")
    assert examine(folder).data.patients == 3 and "6 scan(s) of 3 patient(s)" in cli("doctor", folder).stdout
    named("y{0}-{2}")
    assert check(examine(folder), "names").verdict == "warn"
    found = examine(folder, patient_regex="^(y[0-9])")
    assert found.data.patients == 3 and check(found, "names").verdict == "pass"
    assert "patient_regex: ^(y[0-9])" in found.suggestion


def test_mixed_voxel_sizes_are_named_and_the_suggestion_resamples(folder, heads):
    name = heads[1].patient
    for kind in ("images", "labels"):
        edit(folder / kind / f"{name}.nii.gz", lambda array: array, np.diag([0.5, 0.5, 1, 1]))
    found = examine(folder)
    grid = check(found, "grid")
    assert grid.verdict == "warn" and grid.named == [f"{name} (3 × 3 × 10 mm)"]
    assert "resample_mm: [6.0, 6.0]" in found.suggestion


def test_a_flipped_orientation_is_named(folder, heads):
    name = heads[3].patient
    for kind in ("images", "labels"):
        edit(folder / kind / f"{name}.nii.gz", lambda array: array, np.diag([-1, 1, 1, 1]))
    odd = check(examine(folder), "orientation")
    assert odd.verdict == "warn" and len(odd.named) == 1 and odd.named[0].startswith(name)
    assert "mirrored" in odd.sentence


def test_a_ct_is_known_by_its_air(tmp_path):
    drawn = phantoms("abdomen", 3, seed=1, shape=SHAPE, spacing_mm=(10.0, 10.0, 12.0))
    records = [ScanRecord(p.patient, {"contrast": p.images["contrast"]}, p.label, p.affine) for p in drawn]
    write_layout(records, tmp_path / "ct", "images-labels")
    found = examine(tmp_path / "ct")
    (sequence,) = found.data.sequences
    assert sequence.modality == "CT" and sequence.looks_like_hu
    assert "modality: CT" in found.suggestion and "window_hu:" in found.suggestion


def test_a_ct_among_mr_is_refused(folder, heads):
    name = heads[0].patient
    edit(folder / "images" / f"{name}.nii.gz", lambda array: array - np.float32(1000))
    found = examine(folder)
    assert [refusal.path for refusal in found.refusals] == [str(folder / "images" / f"{name}.nii.gz")]
    assert "data.modality is MR" in found.refusals[0].reason


def test_too_few_patients_to_test_are_said(folder, heads):
    for head in heads[2:]:
        for kind in ("images", "labels"):
            (folder / kind / f"{head.patient}.nii.gz").unlink()
    found = examine(folder)
    assert check(found, "patients").verdict == "fail"


def test_all_sequences_are_looked_at_where_none_is_chosen(heads, tmp_path):
    write_layout(heads, tmp_path / "brats", "brats")
    found = examine(tmp_path / "brats", out=tmp_path / "all.yaml")
    named = [sequence.name for sequence in found.data.sequences]
    assert (
        set(named) == set(heads[0].images) and found.data.named == named and check(found, "sequences").verdict == "pass"
    )
    data = load_config(tmp_path / "all.yaml", []).data
    assert list(data.sequences) == named and set(data.modalities) == {"MR"}
    (alone,) = examine(tmp_path / "brats", sequence="t1").data.sequences
    assert alone.name == "t1" and alone.highest == found.data.sequences[named.index("t1")].highest


@pytest.fixture
def brats(heads, tmp_path):
    """FLAIR and T1 in BraTS' layout, and the path of a patient's sequence."""
    two = [replace(head, images={name: head.images[name] for name in ("flair", "t1")}) for head in heads]
    write_layout(two, tmp_path / "brats", "brats")
    return tmp_path / "brats", lambda head, name: tmp_path / "brats" / head.patient / f"{head.patient}_{name}.nii.gz"


def test_a_sequence_that_a_case_lacks_is_told_with_the_case_and_may_be_filled(brats, heads, tmp_path):
    folder, path = brats
    path(heads[2], "flair").unlink()
    found = examine(folder, out=tmp_path / "mine.yaml")
    lacking = check(found, "sequences")
    assert not found.usable and lacking.verdict == "fail" and lacking.named == [f"{heads[2].patient} lacks flair"]
    assert "data.missing=zero" in lacking.sentence and found.data.sequences[0].lacking == [heads[2].patient]
    with pytest.raises(DataError, match="expected the sequence flair"):
        prepare(load_config(tmp_path / "mine.yaml", []), RunDir(tmp_path / "refused"))
    run = RunDir(tmp_path / "filled")
    prepare(load_config(tmp_path / "mine.yaml", ["data.missing=zero"]), run)
    entry = next(case for case in prepared_cases(run.datalist) if case.patient == heads[2].patient)
    assert not open_array(run.prepared, entry.arrays["image"])[0].any() and entry.tissue_voxels
    assert View(entry, None, 0).normalized(run.prepared)[0].max() == -1


def test_a_sequence_that_most_cases_lack_is_left_out_and_named(brats, heads):
    folder, path = brats
    for head in heads[:4]:
        path(head, "t1").unlink()
    found = examine(folder)
    assert [sequence.name for sequence in found.data.sequences] == ["flair"]
    told = check(found, "sequences")
    assert told.verdict == "warn" and "t1" in told.sentence and found.usable


def test_sequences_on_two_grids_and_copies_under_two_names_are_named(brats, heads):
    folder, path = brats
    edit(path(heads[1], "t1"), lambda array: array, np.diag([1.2, 1, 1, 1]))
    shutil.copy(path(heads[3], "flair"), path(heads[3], "t1"))
    found = examine(folder)
    (refusal,) = found.refusals
    assert refusal.path == str(path(heads[1], "t1")) and "the same places, to 0.6 mm" in refusal.reason
    assert check(found, "sequences").named == [f"{heads[3].patient}: flair and t1 are one image"]


def renamed(folder, name, change):
    """The cases by other names, with other label values."""
    for number, case in enumerate(sorted(folder.iterdir())):
        edit(next(case.glob("*_seg*")), change)
        for path in case.iterdir():
            path.rename(path.with_name(path.name.replace(case.name, name.format(number))))
        case.rename(folder / name.format(number))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("Brats18_2013_{}_1", {1: 2, 2: 4}, {"edema": (2,), "enhancing": (4,)}),
        ("BraTS-GLI-0000{}-000", {1: 1, 2: 3}, {"core": (1,), "enhancing": (3,)}),
        ("BraTS-GLI-0000{}-100", {1: 2, 2: 4}, None),
        ("BraTS-PED-0000{}-000", {1: 4, 2: 1}, {"edema": (4,), "enhancing": (1,)}),
    ],
)
def test_the_parts_of_brats_are_named_as_its_years_have_them(brats, tmp_path, name, values, expected):
    folder, _ = brats
    renamed(
        folder, name, lambda array: np.select([array == old for old in values], list(values.values())).astype(np.uint8)
    )
    found = examine(folder, out=tmp_path / "mine.yaml")
    data = load_config(tmp_path / "mine.yaml", []).data
    assert data.tumor == expected
    if expected is None:  # a resection cavity is no tumor
        assert data.tumor_labels == (2,) and data.known_labels == (2, 4)
    else:
        told = check(found, "parts")
        assert all(f"{part} = {of[0]} (in 6 of 6 patients)" in told.sentence for part, of in expected.items())
    run = RunDir(tmp_path / "run")
    prepare(load_config(tmp_path / "mine.yaml", []), run)
    assert {len(case.class_voxels) for case in prepared_cases(run.datalist)} <= {1, 2}


def test_a_part_of_one_patient_alone_is_rare(brats, heads, tmp_path):
    folder, _ = brats
    labels = sorted(folder.glob("*/*_seg.nii.gz"))
    for path in labels[2:]:
        edit(path, lambda array: np.where(array == 2, 1, array).astype(np.uint8))
    rare = check(examine(folder), "parts")
    assert rare.verdict == "warn" and "edema = 2 (in 2 of 6 patients)" in rare.sentence and "too few" in rare.sentence


def test_domains_of_different_prevalence_are_warned_about(folder, heads, tmp_path):
    healthy = tmp_path / "healthy"
    shutil.copytree(folder, healthy)
    assert check(examine(folder, target=healthy, task="segmentation"), "prevalence").verdict == "pass"
    for path in (healthy / "labels").iterdir():
        edit(path, np.zeros_like)
    found = examine(folder, target=healthy)
    prevalence = check(found, "prevalence")
    assert prevalence.verdict == "warn" and "0% of target" in prevalence.sentence
    assert "domain: ct" in found.suggestion


def test_a_folder_of_no_layout_and_a_wrong_task_are_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected one of: msd"):
        examine(tmp_path / "empty")
    with pytest.raises(ConfigError, match="--task: found translation"):
        examine(folder, task="translation")


def test_the_command_prints_tables_and_ends_with_8_where_something_would_be_refused(cli, folder, heads):
    good = cli("doctor", folder)
    assert good.exit_code == 0, good.output
    assert "usable" in good.stdout and "prevalence" in good.stdout and "A pipeline for it" in good.stdout
    edit(folder / "images" / f"{heads[1].patient}.nii.gz", with_nan)
    bad = cli("doctor", folder)
    assert bad.exit_code == 8 and "NOT usable" in bad.stdout and "NaN" in bad.stdout
    as_json = cli("doctor", folder, "--json")
    assert as_json.exit_code == 8 and json.loads(as_json.stdout)["usable"] is False


def cropped(folder, name, *ends):
    """Image and label without what lies beyond these ends."""
    for kind in ("images", "labels"):
        edit(folder / kind / f"{name}.nii.gz", lambda array: array[tuple(slice(end) for end in ends)])


def tiny_arguments(settings, *more):
    """Of a run of the pipeline that `init` wrote, but for its size."""
    kept = [setting for setting in settings if not setting.startswith(("data.", "split."))]
    return [argument for setting in (*kept, *more) for argument in ("--set", setting)]


def test_init_writes_a_pipeline_that_runs_also_where_sizes_differ(cli, folder, heads, tmp_path, tiny_settings, caplog):
    cropped(folder, heads[0].patient, 28, 32)
    cropped(folder, heads[3].patient, 32, 26)
    file = tmp_path / "mine.yaml"
    made = cli("init", folder, "--out", file, "--task", "segmentation")
    assert made.exit_code == 0, made.output
    assert made.stdout.strip() == str(file) and f"medaug run {file}" in made.stderr
    assert file.read_text().count("#") > 5
    assert "rivals+gan" in file.read_text()
    assert cli("run", file, "--dry-run").exit_code == 0
    arms = "evaluation.arms=[standard,standard+gan]"
    done = cli("run", file, "--out", tmp_path / "out", *tiny_arguments(tiny_settings, arms))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "report.html").exists()
    sizes = {tuple(case["shape"]) for case in read_json(tmp_path / "out" / "prepared" / "datalist.json")["cases"]}
    assert sizes == {(32, 32, 8), (28, 32, 8), (32, 26, 8)}, "whole images are scored"
    assert "filled up with the window's lowest value" in caplog.text


def test_the_pipeline_of_init_runs_in_3d_also_where_volumes_differ_in_size(cli, folder, heads, tmp_path, tiny_settings):
    cropped(folder, heads[0].patient, 28, 32, 7)
    cropped(folder, heads[3].patient, 32, 26)
    file = tmp_path / "mine.yaml"
    looked = cli("doctor", folder, "--json")
    assert looked.exit_code == 0 and "data.grid_size would make their voxels unequal" in looked.stdout
    assert cli("init", folder, "--out", file).exit_code == 0 and "grid_size" not in file.read_text()
    small = (
        "data.spatial_dims=3", "crop.size=[16,16,12]", "training.steps=1",
        "evaluation.updates=1", "evaluation.channels=[2,4,4]", "evaluation.arms=[standard,standard+gan]",
        "audit.lesions=1", "audit.volumes=1", "synthesis.insertions=1", "synthesis.removals=0",
    )  # fmt: skip
    done = cli("run", file, "--out", tmp_path / "out", *tiny_arguments(tiny_settings, *small))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "report.html").exists()
    shapes = [tuple(case["shape"]) for case in read_json(tmp_path / "out" / "prepared" / "datalist.json")["cases"]]
    assert {(28, 32, 7), (32, 26, 8), (32, 32, 8)} == set(shapes), "whole volumes are scored"


@pytest.mark.parametrize("ends", [(28, 26), (28, 30, 5)])
def test_samples_of_unequal_images_are_filled_up_to_the_largest(folder, heads, tmp_path, ends):
    for head in heads[:3]:
        cropped(folder, head.patient, *ends)
    dims = 3 if len(ends) == 3 else 2
    prepared = [prepare_case(case, tmp_path / "p", spatial_dims=dims) for case in find_cases(folder)]
    cases = [replace(case, windows=(WINDOW,)) for case in prepared]
    real = ViewFolder(views_of(cases, dims), tmp_path / "p")
    largest = SHAPE[:dims]
    for samples in (
        SegmentationSamples(real, None, synthetic_ratio=0, seed=1, length=12, augmentation=Compose([])),
        ClassificationSamples(real, None, None, synthetic_ratio=0, seed=1, length=12, augmentation=Compose([]))
        if dims == 2 else [],
    ):  # fmt: skip
        shapes = {tuple(samples[i]["image"].shape) for i in range(len(samples))}
        assert shapes <= {(1, *largest)}
    for name in ("carvemix", "cutmix", "copy-paste"):
        mixed = SegmentationSamples(
            real, None, synthetic_ratio=0, seed=1, length=12, pasting=ARMS[name].pasting(real, DataConfig()),
            augmentation=Compose([]),
        )  # fmt: skip
        assert {tuple(mixed[i]["image"].shape) for i in range(12)} == {(1, *largest)}
    assert sample_size([real], None) == largest and sample_size([real], (16,) * dims) == (16,) * dims


def test_init_overwrites_nothing(cli, folder, tmp_path):
    (tmp_path / "there.yaml").write_text("name: mine\n")
    refused = cli("init", folder, "--out", tmp_path / "there.yaml")
    assert refused.exit_code == RunError.exit_code and "is not overwritten" in refused.stderr
    assert (tmp_path / "there.yaml").read_text() == "name: mine\n"


@pytest.fixture
def organs(tmp_path):
    """Decathlon: 1 the body, 2 the tumor in it, as dataset.json may say."""
    drawn = phantoms("abdomen", 5, seed=3, shape=SHAPE, spacing_mm=(10.0, 10.0, 12.0))
    records = []
    for p in drawn:
        label = np.where(p.label > 0, 2, p.organs == 1).astype(np.uint8)
        records.append(ScanRecord(p.patient, {"contrast": p.images["contrast"]}, label, p.affine))
    write_layout(records, tmp_path / "organs", "msd")

    def named(labels):
        path = tmp_path / "organs" / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": labels}))
        return tmp_path / "organs"

    return named


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "liver", "2": "cancer"},
        {"background": 0, "liver": 1, "Tumour": 2},
        {"background": 0, "kidney": [1, 2], "kidney_mass": [2]},
    ],
)
def test_an_organ_of_the_label_is_where_tumors_lie_and_no_tumor(organs, labels, tmp_path):
    data = organs(labels)
    found = examine(data, out=tmp_path / "pipeline.yaml")
    assert [(value.value, value.part) for value in found.data.label_values] == [(1, "organ"), (2, "tumor")]
    assert "2 (" in check(found, "tumors").sentence and found.data.lesions.diameter_mm.most < 60
    config = load_config(tmp_path / "pipeline.yaml", [])
    assert config.data.tumor_labels == (2,) and config.data.organ == (1,)
    for name, settings in (("as written", []), ("by the names", ["data.tumor_labels=null"])):
        run = RunDir(tmp_path / name)
        prepare(load_config(tmp_path / "pipeline.yaml", settings), run)
        (entry, *_) = read_json(run.datalist)["cases"]
        stored = np.asarray(nibabel.load(entry["label"]).dataobj)
        np.testing.assert_array_equal(np.load(run.prepared / entry["arrays"]["label"]) > 0, stored == 2)
        np.testing.assert_array_equal(np.load(run.prepared / entry["arrays"]["organ"]) > 0, stored > 0)


def test_named_values_none_of_which_is_a_tumor_or_an_organ_are_proposed_as_parts(organs, tmp_path):
    data = organs({"background": 0, "anterior": 1, "posterior": 2})
    found = examine(data, out=tmp_path / "pipeline.yaml")
    assert found.usable and check(found, "tumors").verdict == "warn"
    assert load_config(tmp_path / "pipeline.yaml", []).data.tumor == {"anterior": (1,), "posterior": (2,)}


def test_the_files_of_kits_are_known_by_their_names(organs, tmp_path):
    data = organs({})
    for number, image in enumerate(sorted((data / "imagesTr").iterdir())):
        case = tmp_path / "kits" / f"case_{number:05d}"
        case.mkdir(parents=True)
        shutil.copy(image, case / "imaging.nii.gz")
        shutil.copy(data / "labelsTr" / image.name.replace("_0000", ""), case / "segmentation.nii.gz")
    examine(tmp_path / "kits", out=tmp_path / "mine.yaml")
    found = load_config(tmp_path / "mine.yaml", []).data
    assert (found.layout, found.organ, found.tumor_labels) == ("case-folders", (1,), (2,))


def test_a_label_without_the_organ_is_named(organs, tmp_path):
    data = organs({"background": 0, "liver": 1, "cancer": 2})
    path = sorted((data / "labelsTr").iterdir())[1]
    edit(path, lambda array: np.where(array == 1, 0, array).astype(np.uint8))
    found = examine(data, out=tmp_path / "mine.yaml")
    (refusal,) = found.refusals
    assert refusal.path == str(path) and "none of the organ's values 1" in refusal.reason
    with pytest.raises(DataError, match="expected an organ in every label. Correct data.organ"):
        prepare(load_config(tmp_path / "mine.yaml", []), RunDir(tmp_path / "run"))


@pytest.mark.parametrize("labels", [{}, {"background": 0, "liver": 1, "spleen": 2}, {"0": "background", "1": "tumor"}])
def test_values_that_no_name_tells_are_asked_for(cli, organs, labels, tmp_path):
    data = organs(labels)
    done = cli("doctor", data)
    assert done.exit_code == 8 and "the value(s) 1, 2" in done.stdout and "--tumor-labels 2" in done.stdout
    refused = cli("init", data, "--out", tmp_path / "mine.yaml")
    assert refused.exit_code == ConfigError.exit_code and "--tumor-labels" in refused.stderr
    asked = cli("train-cycle", "--data", data, "--out", tmp_path / "o", "--set", "data.modality=CT")
    assert asked.exit_code == ConfigError.exit_code and "data.tumor_labels" in asked.stderr
    made = cli("init", data, "--out", tmp_path / "mine.yaml", "--tumor-labels", "2")
    assert made.exit_code == 0 and load_config(tmp_path / "mine.yaml", []).data.tumor_labels == (2,)


def test_cases_behind_links_are_counted_and_told(folder):
    elsewhere = folder.parent / "archive.nii.gz"
    path = sorted((folder / "images").iterdir())[0]
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    found = examine(folder)
    assert (found.data.cases, found.data.linked) == (6, 1)
    assert "6 (1 behind links), 6 read" in examination_text(found)


@pytest.mark.parametrize(
    ("name", "channel", "expected"),
    [("scans", "PET", "PET"), ("scans", "T1", "MR"), ("breast_ultrasound", "gray", "US"), ("set", "x-ray", "XR")],
)
def test_a_modality_is_named_as_what_it_is(heads, tmp_path, name, channel, expected):
    records = [ScanRecord(head.patient, {channel: head.images["flair"]}, head.label, head.affine) for head in heads]
    write_layout(records, tmp_path / name, "msd")
    found = examine(tmp_path / name, out=tmp_path / "pipeline.yaml")
    assert found.data.sequences[0].modality == expected and f"modality: {expected}" in found.suggestion
    domain = load_config(tmp_path / "pipeline.yaml", []).data.domain("tumor")
    assert domain.modality == expected and isinstance(domain.window, Percentiles)
    assert load_config(None, ["data.modality=PT"]).data.modality == "PET"
