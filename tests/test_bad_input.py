"""Bad input ends in an exit code and one clear line (file, found, expected, remedy); nothing is left half-written."""

import dataclasses
import gzip
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import dump_config
from medaug.data.atomic import read_json
from medaug.data.writers import ScanRecord, write_layout
from medaug.errors import ConfigError, DataError, LeakageError, RunError, WeightsError
from medaug.phantoms import phantoms
from medaug.stages.pipeline import run_pipeline

MEDAUG = Path(sys.executable).with_name("medaug")
PROGRESS = re.compile(r"^(prepare|train|synthesize|audit|evaluate|report): ")


@pytest.fixture
def cli(monkeypatch):
    """Invokes the command; the log goes to its stderr, as outside pytest."""
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})

    def invoke(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(logging.getLogger(), "handlers", [])
            return runner.invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture(scope="module")
def tiny_yaml(tmp_path_factory, tiny_config):
    path = tmp_path_factory.mktemp("pipeline") / "tiny.yaml"
    path.write_text(dump_config(tiny_config("split.train=1", "split.validation=0", "training.steps=1")))
    return path


@pytest.fixture(scope="module")
def heads():
    drawn = phantoms("head", 3, seed=4, shape=(32, 32, 8), spacing_mm=(6.0, 6.0, 10.0))
    return [ScanRecord(p.patient, {"flair": p.images["flair"]}, p.label, p.affine) for p in drawn]


@pytest.fixture
def data(heads, tmp_path):
    """A folder images/ and labels/ with three patients, to be spoilt."""
    write_layout(heads, tmp_path / "data", "images-labels")
    return tmp_path / "data"


@pytest.fixture
def lgg(heads, tmp_path):
    write_layout(heads, tmp_path / "data", "kaggle-lgg")
    return tmp_path / "data"


@pytest.fixture
def fails(cli, tmp_path):
    """Runs a command that has to fail as said; returns its one line."""

    def fails(error, *arguments, words):
        result = cli(*arguments)
        lines = [line for line in result.stderr.splitlines() if not PROGRESS.match(line)]
        told = ("warning: no verdict will be possible", "plan of the downstream network")
        lines = [line for line in lines if not line.startswith(told)]
        assert result.exit_code == error.exit_code, (result.output, result.exception)
        assert len(lines) == 1 and lines[0].startswith("medaug: "), result.stderr
        assert "Traceback" not in result.output
        for word in words:
            assert word in lines[0], f"{word!r} is not in: {lines[0]}"
        assert not list(tmp_path.rglob(".tmp-*"))
        return lines[0]

    return fails


@pytest.fixture
def train(fails, tiny_yaml, tmp_path):
    """`medaug train-cycle` on a folder that has to fail; nothing but a resumable run folder may be left."""

    def train(error, data, *arguments, words):
        out = tmp_path / "out"
        line = fails(
            error, "train-cycle", "--config", tiny_yaml, "--data", data, "--out", out, *arguments, words=words
        )  # fmt: skip
        left = {path.name for path in out.iterdir()} if out.exists() else set()
        assert left <= {"config.yaml", "environment.json", "done", "prepared"}
        return line

    return train


def nifti(path):
    image = nibabel.load(path)
    return np.asarray(image.dataobj), image.affine


def save(array, affine, path):
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


IMAGE, LABEL = "images/phantom-001.nii.gz", "labels/phantom-001.nii.gz"


def other_shape(data):
    array, affine = nifti(data / LABEL)
    save(array[:-2], affine, data / LABEL)


def other_affine(data):
    array, affine = nifti(data / LABEL)
    save(array, affine + np.diag([0.5, 0, 0, 0]), data / LABEL)


def with_value(value):
    def spoil(data):
        array, affine = nifti(data / IMAGE)
        array = array.astype(np.float32)
        array[3, 4, 5] = value
        save(array, affine, data / IMAGE)

    return spoil


def constant(data):
    array, affine = nifti(data / IMAGE)
    save(np.full_like(array, 7), affine, data / IMAGE)


def four_dimensional(data):
    array, affine = nifti(data / IMAGE)
    save(np.stack([array, array + 1], axis=-1), affine, data / IMAGE)


def truncated_gzip(data):
    content = (data / IMAGE).read_bytes()
    (data / IMAGE).write_bytes(content[: len(content) // 2])


def empty_file(data):
    (data / IMAGE).write_bytes(b"")


def not_nifti(data):
    (data / IMAGE).write_bytes(gzip.compress(b"hello" * 500))


def fractional_label(data):
    array, affine = nifti(data / LABEL)
    save(array.astype(np.float32) * 0.5, affine, data / LABEL)


def orphan(data):
    (data / IMAGE).unlink()


def no_labels(data):
    for path in (data / "labels").iterdir():
        path.unlink()


def no_tumor(data):
    for path in (data / "labels").iterdir():
        array, affine = nifti(path)
        save(array * 0, affine, path)


SPOILT = [
    (other_shape, LABEL, ["shape (30, 32, 8)", "(32, 32, 8)", IMAGE, "Resample it"]),
    (other_affine, LABEL, ["voxels up to 15.5 mm away", IMAGE, "the same places", "correct its header"]),
    (with_value(np.nan), IMAGE, ["1 voxels that are NaN", "finite intensities", "Repair"]),
    (with_value(np.inf), IMAGE, ["1 voxels that are NaN or infinite", "finite intensities"]),
    (constant, IMAGE, ["a constant image (all 7)", "an image with contrast", "Leave it out"]),
    (four_dimensional, IMAGE, ["2 different channels", "(32, 32, 8, 2)", "`--sequence`"]),
    (truncated_gzip, IMAGE, ["a damaged or foreign file", "Copy or download it again", "`--skip-unreadable`"]),
    (empty_file, IMAGE, ["an empty file (0 bytes)", "download it again"]),
    (not_nifti, IMAGE, ["a damaged or foreign file", ".nii.gz image"]),
    (fractional_label, LABEL, ["not whole numbers", "whole numbers", "Threshold"]),
    (orphan, LABEL, ["1 label(s) without an image", "Add the image"]),
    (no_labels, "", ["3 images and no label", "Add the labels"]),
    (no_tumor, "", ["no tumor voxel in any label", "a value above 0", "data.tumor_labels"]),
]


@pytest.mark.parametrize(("spoil", "at_fault", "words"), SPOILT)
def test_an_unusable_file_is_named_with_what_was_found_expected_and_the_remedy(train, data, spoil, at_fault, words):
    spoil(data)
    train(DataError, data, words=[str(data / at_fault), *words])


def test_an_empty_folder_is_told_what_could_be_in_it(train, tmp_path):
    (tmp_path / "data").mkdir()
    words = [str(tmp_path / "data"), "an empty folder", "brats", "images/ and labels/", "Point to the folder"]
    train(DataError, tmp_path / "data", words=words)


def test_a_missing_folder_is_named(train, tmp_path):
    train(DataError, tmp_path / "dta", words=[str(tmp_path / "dta"), "no such folder", "Check the path"])


def test_one_patient_cannot_be_split(train, data):
    for name in ("000", "002"):
        for folder in ("images", "labels"):
            (data / folder / f"phantom-{name}.nii.gz").unlink()
    train(DataError, data, words=[str(data), "found 1 patient(s)", "expected at least 2", "add patients"])


def test_a_truncated_tiff_is_named_and_can_be_left_out(train, cli, lgg, tiny_yaml, tmp_path):
    path = sorted(p for p in lgg.rglob("*.tif") if "_mask" not in p.name)[5]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    flair = ("--sequence", "flair", "--set", "data.spacing_mm=[6,6]")
    train(DataError, lgg, *flair, words=[str(path), "damaged", "`--skip-unreadable`"])
    result = cli(
        "train-cycle", "--config", tiny_yaml, "--data", lgg, "--out", tmp_path / "out", *flair, "--skip-unreadable"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"left out {path}" in result.stderr
    listed = read_json(tmp_path / "out" / "prepared" / "datalist.json")["unreadable"]
    assert [item["path"] for item in listed] == [str(path)]


def test_what_was_left_out_stands_in_the_report(cli, data, tiny_yaml, tmp_path):
    truncated_gzip(data)
    (data / "images" / "extra.nii.gz").write_bytes((data / "images" / "phantom-000.nii.gz").read_bytes())
    (data / "labels" / "extra.nii.gz").write_bytes((data / "labels" / "phantom-000.nii.gz").read_bytes())
    patients = {name: name for name in ("phantom-000", "phantom-001", "phantom-002", "extra")}
    (data / "patients.json").write_text(str(patients).replace("'", '"'))
    result = cli(
        "run", tiny_yaml, "--set", f"data.root={data}", "--out", tmp_path / "out", "--skip-unreadable",
        "--set", "synthesis.insertions=1", "--set", "audit.lesions=1", "--set", "evaluation.updates=1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"left out {data / IMAGE}" in result.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert "phantom-001.nii.gz" in page and "a damaged or foreign file" in page


def test_nothing_readable_is_an_error_even_when_skipping(train, data):
    for path in (data / "images").iterdir():
        path.write_bytes(b"")
    train(DataError, data, "--skip-unreadable", words=["none of the 3 cases can be used", "an empty file"])


def test_label_values_outside_the_map_are_refused(train, data):
    train(
        DataError, data, "--set", "data.known_labels=[1]",
        words=["labels/phantom-", "label values [2]", "only 0 and [1]", "label map"],
    )  # fmt: skip


def test_tumor_labels_that_no_file_holds_are_named(train, data):
    words = ["no tumor voxel in any label", "one of the values 7, 9", "data.tumor_labels"]
    train(DataError, data, "--set", "data.tumor_labels=[7,9]", words=words)


def test_pictures_cannot_train_a_volume_method(train, lgg):
    sizes = ("--set", "data.spatial_dims=3", "--set", "crop.size=[16,16,12]", "--sequence", "flair")
    train(DataError, lgg, *sizes, words=["a 2-D image", "a volume", "Set spatial_dims to 2"])


@pytest.mark.parametrize("setting", ["data.resample_mm=null", "data.grid_size=[32,32]"])
def test_scans_of_other_voxel_sizes_are_not_mixed_silently(fails, data, tiny_yaml, tmp_path, setting):
    """As they are stored, and as a grid of one size makes them of scans of two."""
    for folder in ("images", "labels"):
        array, affine = nifti(data / folder / "phantom-002.nii.gz")
        if "grid_size" in setting:
            save(array[:, :24], affine, data / folder / "phantom-002.nii.gz")
        else:
            save(array, affine @ np.diag([2, 2, 1, 1]), data / folder / "phantom-002.nii.gz")
    arguments = ("--data", data, "--out", tmp_path / "out", "--set", "split.train=2", "--set", setting)
    words = ["a voxel size of", "as in most cases", "Resample the scans"]
    fails(DataError, "train-cycle", "--config", tiny_yaml, *arguments, words=words)
    assert not (tmp_path / "out" / "split.json").exists(), "refused before anything is trained"


def test_ct_values_in_mr_data_are_noticed(train, data):
    array, affine = nifti(data / IMAGE)
    save(array - 1000, affine, data / IMAGE)
    train(ConfigError, data, words=[IMAGE, "as in CT (HU)", "Set data.modality=CT"])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.step=5", ["unknown key 'training.step'", "did you mean 'training.steps'?"]),
        ("trainin.steps=5", ["unknown key 'trainin'", "did you mean 'training'?"]),
        ("data.phantoms.patient=5", ["unknown key 'data.phantoms.patient'", "'data.phantoms.patients'"]),
        ("data.zzz=5", ["unknown key 'data.zzz'", "valid are: root, layout"]),
        ("translator.widht=5", ["unknown key 'translator.widht'", "did you mean 'translator.width'?"]),
        ("translator.width=0", ["translator.width: found 0", "greater than 0"]),
        ("translator.type=munet", ["translator.type: found 'munet'", "cyclegan"]),
        ("translator.width=wide", ["translator.width: found 'wide'", "integer"]),
        ("translator.content=referense", ["found 'referense'", "did you mean 'reference'?"]),
        ("translator.generator=unett", ["found 'unett'", "resnet", "did you mean 'unet'?"]),
        ("training.steps=many", ["training.steps: found 'many'"]),
        ("training.steps=0", ["training.steps: found 0", "greater than or equal to 1"]),
        ("precision=bf16-mix", ["found 'bf16-mix'", "did you mean 'bf16-mixed'?"]),
        ("precision=16-mixed", ["precision: found 16-mixed", "expected 32-true or bf16-mixed", "Set --precision"]),
        ("accelerator=gpu", ["accelerator: found 'gpu'", "expected auto, cpu, cuda, cuda:N"]),
        ("accelerator=cuda:99", ["accelerator: found cuda:99", "expected auto or one of: cpu", "Set --accelerator"]),
        ("training.accelerator=cpu", ["training.accelerator: found 'cpu'", "expected accelerator", "or give --acc"]),
        ("evaluation.precision=16-mixed", ["evaluation.precision: found '16-mixed'", "--precision 16-mixed"]),
        ("crop.size=[16,16,16]", ["crop.size has 3 axes, data.spatial_dims is 2"]),
        ("training.steps", ["--set training.steps: expected key=value"]),
        ("training.steps=[1", ["--set training.steps=[1: the value is not readable as YAML"]),
        ("name.x=1", ["'name' is a value, not a section"]),
        ("data=5", ["data: found 5"]),
        ("evaluation.arms=[standard, mixup]", ["evaluation.arms: found mixup", "standard+gan"]),
        ("evaluation.arms=[target-labels]", ["evaluation.arms: found target-labels", "expected some of: none"]),
        ("data.classes={a: [1], b: [2]}", ["data.classes: found a, b", "domain 'tumor' edits tumors", "data.tumor"]),
        ("split.fold=1", ["split.fold: found 1 with split.folds None", "set split.folds"]),
    ],
)
def test_a_setting_that_does_not_exist_or_fit_is_named_with_the_nearest(fails, tiny_yaml, tmp_path, setting, words):
    fails(ConfigError, "run", tiny_yaml, "--set", setting, "--out", tmp_path / "out", words=words)
    assert not (tmp_path / "out").exists()


def test_a_typo_in_the_domain_is_answered_with_the_nearest(fails, tmp_path):
    for typo in ("tumour", "tumo", "Tumor"):
        words = [f"domain: found '{typo}'", "expected 'tumor' or 'ct'", "did you mean 'tumor'?"]
        fails(ConfigError, "train-cycle", "--domain", typo, "--out", tmp_path / "out", words=words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["evaluation.task=classification"], ["evaluation.task 'classification' is for domain tumor"]),
        (["evaluation.arms=[standard, mixup]"], ["evaluation.arms: found mixup", "target-labels"]),
        (["split.folds=3", "evaluation.patients=validation"], ["found validation with split.folds", "Set split.fold"]),
        (["translator.label_input=2"], ["translator.label_input: found 2", "expected 1 (classes: tumor), or 0"]),
        (["evaluation.task=translation", "translator.mask_guided=true"], ["domain 'ct' translates images"]),
    ],
)
def test_what_no_pipeline_of_the_ct_domain_can_do_is_refused(fails, tmp_path, settings, words):
    (tmp_path / "ct.yaml").write_text("domain: ct")
    sets = [word for setting in settings for word in ("--set", setting)]
    fails(ConfigError, "run", tmp_path / "ct.yaml", "--out", tmp_path / "out", *sets, words=words)
    assert not (tmp_path / "out").exists()


def test_a_training_of_the_ct_domain_does_not_choose_a_fold_silently(fails, tmp_path):
    to = ("--set", "split.folds=3", "--out", tmp_path / "out")
    fails(ConfigError, "train-cycle", "--domain", "ct", *to, words=["split.folds: found 3", "split.fold", "medaug run"])
    assert not (tmp_path / "out").exists()


def test_the_ct_domain_needs_to_know_what_to_translate_to(fails, tmp_path):
    words = ["found no second one", "target.sequence", "target.root"]
    fails(ConfigError, "train-cycle", "--domain", "ct", "--data", tmp_path, "--out", tmp_path / "out", words=words)
    assert not (tmp_path / "out").exists()


def test_a_pipeline_file_that_is_missing_or_no_yaml_is_named(fails, tmp_path):
    fails(ConfigError, "run", tmp_path / "x.yaml", words=[str(tmp_path / "x.yaml"), "no such pipeline file"])
    (tmp_path / "x.yaml").write_text("data: [1\ntraining:")
    fails(ConfigError, "run", tmp_path / "x.yaml", words=[str(tmp_path / "x.yaml"), "not readable as YAML"])
    (tmp_path / "x.yaml").write_text("- 1\n- 2\n")
    fails(ConfigError, "run", tmp_path / "x.yaml", words=["found a list; expected sections"])


def test_an_unknown_sequence_lists_the_known_ones(train, fails, heads, tmp_path, tiny_yaml):
    two = [
        dataclasses.replace(head, images={"flair": head.images["flair"], "t1": head.images["flair"]}) for head in heads
    ]
    write_layout(two, tmp_path / "two", "brats")
    words = ["no sequence 'flaire'", "flair (0), t1 (1)", "Did you mean flair?"]
    train(ConfigError, tmp_path / "two", "--sequence", "flaire", words=words)
    train(ConfigError, tmp_path / "two", words=["holds several sequences", "`--sequence`", "flair (0), t1 (1)"])


def test_a_crop_that_the_network_cannot_halve_is_told(fails, data, tiny_yaml, tmp_path):
    arguments = ("--data", data, "--out", tmp_path / "out", "--set", "crop.size=[17,17]")
    words = ["(17, 17)", "multiple of 2", "crop.size"]
    fails(DataError, "train-cycle", "--config", tiny_yaml, *arguments, words=words)


def test_out_in_the_way_of_a_file_is_refused(fails, tiny_yaml, tmp_path):
    (tmp_path / "file").write_text("mine")
    words = [str(tmp_path / "file"), "found a file; expected a folder", "another --out"]
    fails(RunError, "run", tiny_yaml, "--out", tmp_path / "file", words=words)
    words = [str(tmp_path / "file" / "run"), "cannot be written", "A parent of this path is a file"]
    fails(RunError, "run", tiny_yaml, "--out", tmp_path / "file" / "run", words=words)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_out_in_a_read_only_folder_is_refused(fails, tiny_yaml, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    words = ["cannot be written (Permission denied)", "Choose an output folder you may write to"]
    fails(RunError, "run", tiny_yaml, "--out", tmp_path / "locked" / "run", words=words)


def test_out_that_holds_something_else_is_left_alone(fails, tiny_yaml, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("mine")
    words = [str(tmp_path / "thesis"), "not a medaug run", "empty or new folder"]
    fails(RunError, "run", tiny_yaml, "--out", tmp_path / "thesis", words=words)
    (tmp_path / "thesis" / "config.yaml").write_text("title: x\n")
    fails(RunError, "run", tiny_yaml, "--out", tmp_path / "thesis", words=["config.yaml", "cannot read"])
    assert {path.name for path in (tmp_path / "thesis").iterdir()} == {"chapter1.tex", "config.yaml"}


def test_out_that_holds_a_different_run_is_left_alone(fails, copy_of_run, tiny_yaml, contents_of):
    before = contents_of(copy_of_run.root)
    words = ["holds a different run", "is 4 there and 1 here", "Choose another --out"]
    fails(RunError, "run", tiny_yaml, "--out", copy_of_run.root, words=words)
    assert contents_of(copy_of_run.root) == before


@pytest.fixture
def contents_of():
    return lambda folder: {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_edited_split_ends_with_its_own_exit_code(fails, copy_of_run, tiny_config, tmp_path):
    (tmp_path / "same.yaml").write_text(dump_config(tiny_config()))
    split = read_json(copy_of_run.split)
    moved = split["test"][0]
    copy_of_run.split.write_text(copy_of_run.split.read_text().replace(moved, "zzz").replace(split["train"][0], moved))
    line = fails(LeakageError, "run", tmp_path / "same.yaml", "--out", copy_of_run.root, words=["edited", moved])
    assert split["train"][0] in line


@pytest.fixture
def scan(data):
    return data / IMAGE


def test_missing_or_damaged_weights_are_refused(fails, scan, tmp_path, weights_folder):
    out = ("--out", tmp_path / "inserted")
    fails(WeightsError, "insert", scan, "--weights", tmp_path / "no", *out, words=[str(tmp_path / "no"), "missing"])
    shutil.copytree(weights_folder, tmp_path / "w")
    tensors = tmp_path / "w" / "model.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-10] ^= 1
    tensors.write_bytes(content)
    fails(WeightsError, "insert", scan, "--weights", tmp_path / "w", *out, words=["sha256", "copy both files again"])
    tensors.write_bytes(content[:100])
    fails(WeightsError, "insert", scan, "--weights", tmp_path / "w", *out, words=["model.safetensors", "sha256"])
    (tmp_path / "w" / "model.json").write_text("{")
    fails(WeightsError, "insert", scan, "--weights", tmp_path / "w", *out, words=["cannot be read", "Copy the weights"])
    tensors.unlink()
    fails(WeightsError, "insert", scan, "--weights", tmp_path / "w", *out, words=["missing"])
    assert not (tmp_path / "inserted").exists()


def test_weights_of_another_method_or_version_are_refused(fails, scan, tmp_path, weights_folder):
    shutil.copytree(weights_folder, tmp_path / "w")
    facts = tmp_path / "w" / "model.json"
    facts.write_text(facts.read_text().replace('"mask-guided-cyclegan"', '"munit"'))
    words = ["not weights this version of medaug can use", "munit"]
    fails(WeightsError, "insert", scan, "-w", tmp_path / "w", "--out", tmp_path / "o", words=words)


@pytest.mark.parametrize(
    ("error", "extra", "words"),
    [
        (DataError, ["--organ-mask", "LABEL-30"], ["shape (30, 32, 8)", "Resample it"]),
        (DataError, ["--organ-mask", "nowhere.nii.gz"], ["nowhere.nii.gz", "no such file"]),
        (DataError, ["--sequence", "3"], ["1 channel(s)", "channel 3 was chosen"]),
        (ConfigError, ["--sequence", "flair"], ["channels have no names", "give the number"]),
        (ConfigError, ["--size-mm", "20", "10"], ["size_mm: found (20.0, 10.0)", "(least, most)"]),
        (ConfigError, ["--mask", "LABEL-30", "--count", "2"], ["--mask says where", "leave out"]),
        (ConfigError, ["--style-from", "SCAN"], ["--style-mask belong together"]),
        (WeightsError, ["--style-from", "SCAN", "--style-mask", "LABEL"], ["'mask-guided-cyclegan' know no styles"]),
        (DataError, ["--style-from", "SCAN", "--style-mask", "LABEL-30"], ["shape (30, 32, 8)", "Resample it"]),
    ],
)
def test_options_of_insert_that_do_not_fit_are_told(fails, data, scan, tmp_path, weights_folder, error, extra, words):
    shutil.copy(data / LABEL, tmp_path / "label.nii.gz")
    other_shape(data)
    named = {"LABEL-30": data / LABEL, "LABEL": tmp_path / "label.nii.gz", "SCAN": scan}
    extra = [str(named.get(value, value)) for value in extra]
    fails(error, "insert", scan, "-w", weights_folder, "-o", tmp_path / "inserted", *extra, words=words)
    assert not (tmp_path / "inserted").exists()


def test_scans_that_cannot_be_edited_are_told(fails, data, scan, tmp_path, weights_folder):
    to = ("-w", weights_folder, "-o", tmp_path / "edited")
    fails(DataError, "insert", tmp_path / "no.nii.gz", *to, words=["no.nii.gz", "no such file"])
    (tmp_path / "notes.txt").write_text("x")
    fails(DataError, "insert", tmp_path / "notes.txt", *to, words=["unknown file ending '.txt'", ".nii.gz"])
    colours = np.random.RandomState(0).randint(0, 255, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "photo.png")
    fails(DataError, "insert", tmp_path / "photo.png", *to, words=["3 different channels", "`--sequence`"])
    no_tumor(data)
    fails(DataError, "remove", scan, "-m", data / LABEL, *to, words=["an empty mask", "Mark what shall be removed"])
    with_value(np.nan)(data)
    fails(DataError, "insert", scan, *to, words=["NaN or infinite"])
    constant(data)
    fails(DataError, "insert", scan, *to, words=[str(scan), "constant"])
    assert not (tmp_path / "edited").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--accelerator", "cuda:99"), ["accelerator: found cuda:99", "expected auto or one of: cpu", "Set --acc"]),
        (("--precision", "16-mixed", "--accelerator", "cpu"), ["precision: found 16-mixed", "expected 32-true", "Set"]),
    ],
)
def test_a_device_that_is_not_there_and_a_precision_that_it_lacks_are_refused_by_commands_on_scans(
    fails, data, scan, tmp_path, weights_folder, options, words
):
    to = ("-w", weights_folder, "-o", tmp_path / "edited", *options)
    for command in (("insert", scan), ("remove", scan, "-m", data / LABEL), ("anomaly", scan), ("grow", scan)):
        fails(ConfigError, *command, *to, words=words)
    assert not (tmp_path / "edited").exists()


def test_an_output_folder_that_is_a_file_is_refused(fails, scan, tmp_path, weights_folder):
    (tmp_path / "file").write_text("mine")
    words = ["cannot be written", "A parent of this path is a file"]
    fails(RunError, "insert", scan, "-w", weights_folder, "-o", tmp_path / "file", words=words)
    assert (tmp_path / "file").read_text() == "mine"


def test_phantoms_do_not_write_into_a_used_folder_or_an_unknown_layout(fails, data, tmp_path):
    fails(RunError, "phantoms", data, "--patients", "1", words=["holds files already", "Choose a new folder"])
    words = ["unknown layout 'bids'", "brats", "images-labels"]
    fails(ConfigError, "phantoms", tmp_path / "p", "--layout", "bids", "--patients", "1", words=words)
    words = ["anatomy: found 'foot'", "abdomen, head"]
    fails(ConfigError, "phantoms", tmp_path / "p", "--anatomy", "foot", words=words)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["train-cycle", "--data", "nowhere", "--out", "out"], DataError),
        (["train-cycle", "--set", "training.stepz=1", "--out", "out"], ConfigError),
    ],
)
def test_the_console_script_ends_the_same_way(tmp_path, arguments, error):
    done = subprocess.run([MEDAUG, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == error.exit_code
    assert done.stderr.startswith("medaug: ") and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""


@pytest.fixture
def small_disk(tmp_path):
    """A disk of so many KiB, enlarged by `grow`."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
        return folder

    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("a small disk can be mounted by root on Linux only")
    yield mount
    subprocess.run(["umount", folder], check=False, capture_output=True)


@pytest.mark.parametrize("kib", [256, 700, 1200, 1540])
def test_a_full_disk_is_one_line_and_the_same_settings_go_on_when_there_is_room(
    fails, tiny_config, tiny_run, tmp_path, small_disk, kib
):
    """While drawing phantoms, preparing, at the checkpoint, and in a worker that synthesizes."""
    (tmp_path / "same.yaml").write_text(dump_config(tiny_config()))
    out = small_disk(f"size={kib}k") / "run"
    words = [str(out), "No space left on device", "Free some space"]
    fails(RunError, "run", tmp_path / "same.yaml", "--out", out, words=words)
    small_disk("remount,size=64m")
    run = run_pipeline(tiny_config(), out, until="synthesize")
    for name in ("weights/model.safetensors", "prior.json"):
        assert (run.train / name).read_bytes() == (tiny_run.train / name).read_bytes()
    assert (run.synthetic / "datalist.json").read_bytes() == (tiny_run.synthetic / "datalist.json").read_bytes()
