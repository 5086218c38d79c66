"""The command line: help, dry runs, every layout from `phantoms` to `train-cycle`, and single scans."""

import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import typer
from monai.data import MetaTensor
from ruamel.yaml import YAML
from scipy import ndimage
from typer.testing import CliRunner

import medaug
from medaug.cli import app
from medaug.cli.command import GROUPS
from medaug.config.files import dump_config
from medaug.data import writers
from medaug.data.atomic import read_json, write_json
from medaug.data.files import read_label, read_scan, write_scan
from medaug.errors import DataError, RunError, TrainingError, WeightsError
from medaug.phantoms import phantoms

from .stored import array_of

MEDAUG = Path(sys.executable).with_name("medaug")
COMMANDS = [
    "train-cycle",
    "train-gan",
    "sample",
    "run",
    "prepare",
    "synthesize",
    "benchmark",
    "report",
    "export-results",
    "compare-runs",
    "reproduce",
    "audit",
    "insert",
    "styles",
    "grow",
    "remove",
    "replace",
    "anomaly",
    "compare",
    "doctor",
    "init",
    "phantoms",
    "synth-ct",
    "export",
    "export-bundle",
    "export-onnx",
    "model-card",
    "nnunet-path",
]
HEAVY = ("torch", "monai", "pydantic", "numpy", "scipy", "sklearn", "nibabel", "lightning_fabric", "matplotlib")


@pytest.fixture(scope="module")
def cli():
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def tiny_yaml(tmp_path_factory, tiny_config):
    path = tmp_path_factory.mktemp("pipeline") / "tiny.yaml"
    path.write_text(dump_config(tiny_config()))
    return path


@pytest.fixture
def small_phantoms(monkeypatch):
    """`medaug phantoms` draws small heads."""
    small = functools.partial(phantoms, shape=(32, 32, 8), spacing_mm=(6.0, 6.0, 10.0))
    monkeypatch.setattr(writers, "phantoms", small)


def in_a_process(*arguments, **options):
    command = [MEDAUG, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, **options)


def test_help_and_version_answer_without_heavy_imports():
    script = (
        "import sys; from medaug.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]; assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


def test_settings_are_read_without_waiting_for_torch_and_monai():
    script = (
        "import sys; from medaug.config.files import load_config; from medaug.errors import ConfigError\n"
        "try: load_config(None, ['training.stps=5'])\n"
        "except ConfigError: pass\n"
        "heavy = [name for name in ('torch', 'monai') if name in sys.modules]; assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(cli, command):
    result = cli(command, "--help")
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert f"Example: medaug {command} " in text
    assert not re.search(r"<(list|str|int|float|Path)\b", text), "a value is named in Python's words"


def test_version_is_printed(cli):
    assert cli("--version").output.strip() == medaug.__version__


@pytest.mark.parametrize(
    "line",
    [
        "doctor no",
        "insert no --weights no --out o",
        f"insert {__file__} --weights no --out o",
        "audit no",
        "report no",
        "export no o --to msd",
    ],
)
def test_a_mistyped_path_is_told_before_anything_heavy_is_imported(line):
    slow = [name for name in HEAVY if name != "pydantic"]  # which typer looks for by itself
    script = (
        f"import sys; from medaug.cli import app\ntry: app({line.split()})\n"
        f"except SystemExit as end: code = end.code\n"
        f"heavy = [name for name in {slow} if name in sys.modules]; assert code in (3, 5, 6) and not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and re.search("no: (found no such|missing)", done.stderr), done.stderr


def test_the_help_lists_every_command_under_a_heading(cli):
    listed = [name for names in GROUPS.values() for name in names]
    assert sorted(listed) == sorted(COMMANDS) == sorted(typer.main.get_command(app).commands)
    assert cli("-h").output == cli("--help").output
    assert cli("insert", "-h").output == cli("insert", "--help").output


def test_suggested_commands_quote_paths_with_blanks(cli, tmp_path, small_phantoms):
    assert cli("phantoms", tmp_path / "my data", "--patients", 4).exit_code == 0
    made = cli("init", tmp_path / "my data", "--out", tmp_path / "my data.yaml")
    command = f"medaug run '{tmp_path}/my data.yaml' --out 'out/my data'"
    assert command in made.stderr and command in (tmp_path / "my data.yaml").read_text()


def test_no_command_shows_the_help(cli):
    result = cli()
    assert "Usage" in result.output and "train-cycle" in result.output


def test_a_dry_run_prints_the_resolved_settings_and_writes_nothing(cli, tmp_path):
    options = ("--domain", "tumor", "--max-steps", "7", "--seed", "3", "--devices", "2", "--precision", "bf16-mixed")
    options += ("--accelerator", "cpu")
    result = cli("train-cycle", *options, "--set", "crop.size=[32, 32]", "--out", tmp_path / "x", "--dry-run")
    assert result.exit_code == 0, result.output
    settings = YAML(typ="safe").load(result.stdout)
    assert settings["training"]["steps"] == 7 and settings["training"]["seed"] == 3
    assert settings["training"]["devices"] == 2
    assert settings["precision"] == "bf16-mixed" and settings["accelerator"] == "cpu"
    assert settings["crop"]["size"] == [32, 32] and settings["domain"] == "tumor"
    assert not (tmp_path / "x").exists()


def test_what_a_dry_run_prints_is_a_pipeline_file(cli, tmp_path, tiny_yaml):
    printed = cli("run", tiny_yaml, "--dry-run").stdout
    (tmp_path / "again.yaml").write_text(printed)
    assert cli("run", tmp_path / "again.yaml", "--dry-run").stdout == printed


def test_a_file_says_the_domain_where_no_option_does(cli, tmp_path):
    (tmp_path / "two.yaml").write_text("domain: ct")

    def domain(*arguments):
        return YAML(typ="safe").load(cli("train-cycle", *arguments, "--dry-run").stdout)["domain"]

    assert domain("--config", tmp_path / "two.yaml") == "ct" and domain() == "tumor"


def test_set_goes_over_options_and_options_over_the_file(cli, tiny_yaml):
    def steps(*arguments):
        settings = YAML(typ="safe").load(cli("train-cycle", "--config", tiny_yaml, "--dry-run", *arguments).stdout)
        return settings["training"]["steps"]

    assert steps() == 3
    assert steps("--max-steps", "5") == 5
    assert steps("--max-steps", "5", "--set", "training.steps=6") == 6


@pytest.mark.parametrize("name", ["2024", "a: b", "no", "#1", "[x]", "1e3"])
def test_a_path_that_looks_like_yaml_stays_a_path(cli, tmp_path, name):
    settings = YAML(typ="safe").load(cli("train-cycle", "--data", name, "--sequence", "no", "--dry-run").stdout)
    assert settings["data"]["root"] == name and settings["data"]["sequence"] == "no"


@pytest.mark.parametrize(
    "typed", ["study #2", "0012", "2024-01-05", "a: b", "no", "null", "1e5", "[x]", "'x'", "~", "*a"]
)
def test_the_value_of_a_text_setting_is_what_was_typed(cli, typed):
    texts = ("name", "data.root", "data.sequence", "data.layout", "translator.warm_start")
    values = [
        text
        for key in texts
        if (key, typed) not in (("data.sequence", "null"), ("data.sequence", "~"))
        for text in ("--set", f"{key}={typed}")
    ]
    result = cli("train-cycle", *values, "--dry-run")
    assert result.exit_code == 0, result.output
    settings = YAML(typ="safe").load(result.stdout)
    assert [settings["name"], settings["data"]["root"], settings["data"]["layout"]] == [typed] * 3
    assert settings["translator"]["warm_start"] == typed
    assert settings["data"]["sequence"] == (None if typed in ("null", "~") else typed)


def test_other_settings_are_yaml(cli):
    given = ["data.sequence=3", "data.root=", "crop.size=null", "translator.mask_guided=false", "data.slices=1 # no"]
    given += ["data.classes={core: [1, 2]}", "domain=ct", "target.sequence=t1"]
    given += ["pairing.paired=2", "translator.paired_weight=10"]
    result = cli("train-cycle", *(text for value in given for text in ("--set", value)), "--dry-run")
    assert result.exit_code == 0, result.output
    settings = YAML(typ="safe").load(result.stdout)
    assert settings["data"]["sequence"] == 3 and settings["data"]["root"] is None and settings["crop"]["size"] is None
    assert settings["data"]["classes"] == {"core": [1, 2]} and settings["pairing"]["paired"] == 2


@pytest.mark.parametrize("layout", ["brats", "kaggle-lgg", "msd", "datalist", "images-labels"])
def test_train_cycle_reads_what_phantoms_writes(cli, tmp_path, tiny_yaml, small_phantoms, layout):
    result = cli("phantoms", tmp_path / "data", "--layout", layout, "--patients", "4", "--seed", "2")
    assert result.exit_code == 0 and "4 scans" in result.output
    settings = ["split.train=2", "split.validation=0", *(["data.spacing_mm=[6, 6]"] if layout == "kaggle-lgg" else [])]
    options = ["--data", tmp_path / "data", "--sequence", "flair", "--max-steps", "1", "--out", tmp_path / "out"]
    options += [text for setting in settings for text in ("--set", setting)]
    result = cli("train-cycle", "--config", tiny_yaml, *options)
    assert result.exit_code == 0, result.output
    folder = Path(result.stdout.splitlines()[-1])
    assert folder == tmp_path / "out" / "train" / "weights"
    facts = read_json(folder / "model.json")
    assert facts["spacing_mm"] == pytest.approx([6, 6]) and len(facts["training_patients"]) == 2


def test_the_console_script_runs_a_finished_pipeline_again_and_prints_the_report(copy_of_run, tiny_yaml):
    done = in_a_process("run", tiny_yaml, "--out", copy_of_run.root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(copy_of_run.report)
    assert "train: unchanged, not run again" in done.stderr and "report: done" in done.stderr


def test_stopping_says_how_to_go_on(cli, tiny_yaml, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("medaug.stages.pipeline.run_pipeline", stop)
    result = cli("run", tiny_yaml, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert result.stderr.strip() == "medaug: stopped; the same command resumes where it was"


@pytest.mark.parametrize("kind", [TrainingError, RuntimeError])
def test_an_error_of_a_worker_process_is_one_line_too(cli, tiny_yaml, tmp_path, monkeypatch, kind):
    text = (
        "Caught TrainingError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1\nmedaug.errors.DataError: inner\n\nDuring handling ...\n'
        "medaug.errors.TrainingError: step 3: loss not finite.\n"
    )

    def fail(*arguments, **options):
        raise kind(text)

    monkeypatch.setattr("medaug.stages.pipeline.run_pipeline", fail)
    result = cli("run", tiny_yaml, "--out", tmp_path / "out")
    assert result.exit_code == TrainingError.exit_code
    assert result.stderr.strip() == "medaug: step 3: loss not finite."


def test_a_bug_is_not_dressed_up_as_a_user_error(cli, tiny_yaml, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr("medaug.stages.pipeline.run_pipeline", fail)
    result = cli("run", tiny_yaml, "--out", tmp_path / "out")
    assert isinstance(result.exception, RuntimeError)


@pytest.fixture(scope="module")
def scan(tiny_run):
    """A test patient: (image 0 to 200, label, affine), (X, Y, Z)."""
    patient = read_json(tiny_run.split)["test"][0]
    entry = next(e for e in read_json(tiny_run.datalist)["cases"] if e["patient"] == patient)
    image, label = (array_of(tiny_run.prepared, entry, key) for key in ("image", "label"))
    return np.rint(200 * image / image.max()), label, np.asarray(entry["affine"])


@pytest.fixture(scope="module")
def write_head(scan):
    """Writes the head as a file of this name and type; returns (image path, label path)."""
    image, label, affine = scan
    level = int(label.sum(axis=(0, 1)).argmax())

    def write(folder: Path, name: str, dtype: str):
        i, m = image, label
        if ".nii" not in name:
            i, m = (ndimage.zoom(array[..., level].astype(np.float32), 4, order=0) for array in (image, label))
        elif "2d" in name:
            i, m = image[..., level], label[..., level]
        folder.mkdir(exist_ok=True)
        paths = folder / name, folder / f"mask_{name}"
        for path, array, kind in zip(paths, (i, m), (dtype, "uint8"), strict=True):
            tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None]
            write_scan(path, MetaTensor(tensor, affine=torch.from_numpy(affine)), dtype=kind)
        return paths

    return write


FILES = [
    ("head.nii.gz", "int16"),
    ("head.nii", "float32"),
    ("head_2d.nii.gz", "uint8"),
    ("head.png", "uint8"),
    ("head16.png", "uint16"),
    ("head.tif", "uint8"),
    ("headf.tiff", "float32"),
]


@pytest.mark.parametrize(("name", "dtype"), FILES)
def test_insert_writes_image_label_picture_and_manifest(cli, tmp_path, weights_folder, write_head, name, dtype):
    path, _ = write_head(tmp_path / "in", name, dtype)
    before = path.read_bytes()
    result = cli("insert", path, "--weights", weights_folder, "--out", tmp_path / "out", "--seed", "3")
    assert result.exit_code == 0, result.output
    image_path, label_path, picture, manifest, page = map(Path, result.stdout.split())
    image, edited, label = read_scan(path), read_scan(image_path), read_label(label_path)
    assert image_path.name.endswith("".join(path.suffixes)) and path.read_bytes() == before
    assert edited.shape == image.shape == label.shape and edited.meta["dtype"] == dtype
    np.testing.assert_allclose(edited.affine, image.affine, atol=1e-4)
    changed = (edited != image).as_tensor().numpy()
    assert label.any() and changed[label.as_tensor().numpy() > 0].mean() > 0.5
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert 'class="viewer"' in page.read_text()
    facts = json.loads(manifest.read_text())
    assert facts["seed"] == 3 and facts["weights"] == read_json(weights_folder / "model.json")["sha256"]
    assert len(facts["lesions"]) == 1


@pytest.mark.parametrize(("name", "dtype"), FILES)
def test_remove_writes_image_label_picture_and_manifest(cli, tmp_path, weights_folder, write_head, name, dtype):
    path, mask = write_head(tmp_path / "in", name, dtype)
    result = cli("remove", path, "--mask", mask, "--weights", weights_folder, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    image_path, label_path, picture, manifest, page = map(Path, result.stdout.split())
    image, edited, region = read_scan(path), read_scan(image_path), read_label(mask)
    assert edited.meta["dtype"] == dtype and not read_label(label_path).any()
    changed = (edited != image).as_tensor().numpy()
    assert changed[region.as_tensor().numpy() > 0].any()
    assert picture.exists() and json.loads(manifest.read_text())["mask"] == mask.name
    assert mask.name in page.read_text()


def test_insert_obeys_count_size_seed_and_organ_mask(cli, tmp_path, weights_folder, write_head, scan):
    path, _ = write_head(tmp_path / "in", "head.nii.gz", "int16")
    organ = np.zeros_like(scan[0], dtype=np.float32)
    organ[6:26, 6:26, 2:7] = 1
    tensor = MetaTensor(torch.from_numpy(organ)[None], affine=torch.from_numpy(scan[2]))
    write_scan(tmp_path / "organ.nii.gz", tensor, dtype="uint8")

    def inserted(out, seed):
        options = ("--count", "2", "--size-mm", "12", "18", "--organ-mask", tmp_path / "organ.nii.gz", "--seed", seed)
        result = cli("insert", path, "-w", weights_folder, "-o", tmp_path / out, *options)
        assert result.exit_code == 0, result.output
        return [Path(line) for line in result.stdout.split()]

    first, again, other = inserted("a", 1), inserted("b", 1), inserted("c", 2)
    assert first[0].read_bytes() == again[0].read_bytes() != other[0].read_bytes()
    lesions = json.loads(first[3].read_text())["lesions"]
    assert len(lesions) == 2 and all(10 <= lesion["diameter_mm"] <= 20 for lesion in lesions)
    label = read_label(first[1]).as_tensor()[0].numpy()
    assert label.any() and not label[organ == 0].any()


def test_insert_keeps_clear_of_the_tumors_to_avoid(cli, tmp_path, weights_folder, write_head):
    """Of those it was given, that is; drawn ones go elsewhere, and a mask in one is refused."""
    path, tumor = write_head(tmp_path / "in", "head.nii.gz", "int16")
    base = ["insert", path, "-w", weights_folder, "--avoid", tumor, "-o"]
    existing = read_label(tumor).as_tensor().numpy()[0] > 0
    near = ndimage.binary_dilation(existing, ndimage.generate_binary_structure(2, 1)[..., None], iterations=2)
    for seed in range(3):
        result = cli(*base, tmp_path / str(seed), "--count", "3", "--seed", seed)
        assert result.exit_code == 0, result.output
        edited, label = (Path(line) for line in result.stdout.split()[:2])
        new = read_label(label).as_tensor().numpy()[0] > 0
        assert new.any() and not (new & near).any()
        changed = (read_scan(edited) != read_scan(path)).as_tensor().numpy()[0]
        assert not changed[~new].any()
    result = cli(*base, tmp_path / "mask", "--mask", tumor)
    assert result.exit_code == 3 and f"{existing.sum()} of {existing.sum()} voxels in a tumor" in result.output


def test_remove_takes_the_tumors_of_a_label_with_an_organ(cli, tmp_path, weights_folder, write_head):
    path, tumor = write_head(tmp_path / "in", "head.nii.gz", "int16")
    scan, marked = nibabel.load(path), nibabel.load(tumor)
    values = np.asarray(marked.dataobj)
    organ = np.where(values > 0, 2, ndimage.binary_dilation(values > 0, iterations=2)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(organ, marked.affine), tmp_path / "both.nii.gz")
    options = ("--mask", tmp_path / "both.nii.gz", "--tumor-labels", "2")
    done = cli("remove", path, *options, "-w", weights_folder, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    edited, label = (np.asarray(nibabel.load(line).dataobj) for line in done.stdout.split()[:2])
    assert (edited != np.asarray(scan.dataobj))[values > 0].any() and not (label == 2).any() and (label == 1).any()


@pytest.fixture
def picture_weights(weights_folder, tmp_path):
    """The same weights, as if trained on pictures of 1.5 mm, as `write_head` writes them."""
    shutil.copytree(weights_folder, tmp_path / "w")
    facts = read_json(tmp_path / "w" / "model.json") | {"picture_spacing_mm": [1.5, 1.5]}
    write_json(tmp_path / "w" / "model.json", facts)
    return tmp_path / "w"


def test_a_picture_has_the_voxel_size_of_the_pictures_that_the_weights_were_trained_on(
    cli, tmp_path, picture_weights, write_head
):
    path, _ = write_head(tmp_path / "in", "head.png", "uint8")
    result = cli("insert", path, "-w", picture_weights, "-o", tmp_path / "out", "--size-mm", "24", "36")
    assert result.exit_code == 0, result.output
    label = read_label(Path(result.stdout.split()[1])).as_tensor().numpy() > 0
    assert 20 <= 2 * 1.5 * np.sqrt(label.sum() / np.pi) <= 42


def test_insert_with_a_mask_puts_one_tumor_exactly_there(cli, tmp_path, weights_folder, write_head):
    path, mask = write_head(tmp_path / "in", "head.nii.gz", "int16")
    result = cli("insert", path, "-w", weights_folder, "-o", tmp_path / "out", "--mask", mask)
    assert result.exit_code == 0, result.output
    image, label = (Path(line) for line in result.stdout.split()[:2])
    np.testing.assert_array_equal(read_label(label), read_label(mask))
    assert (read_scan(image) != read_scan(path)).any()


def test_a_tumor_changes_neither_the_header_nor_the_stored_values_around_it(cli, tmp_path, weights_folder, write_head):
    """The scan is padded float64 beyond float32, its two forms differ, and its mask runs another way."""
    path, mask = write_head(tmp_path / "in", "head.nii.gz", "int16")
    scan, marked = nibabel.load(path), nibabel.load(mask)
    region = marked.get_fdata()
    values = scan.get_fdata() * 1.000000123456789
    values[values < np.percentile(values, 30)] = -np.finfo(np.float64).max
    finer = nibabel.Nifti1Image(values, scan.affine)
    finer.set_sform(scan.affine, 4)
    finer.set_qform(scan.affine + np.eye(4, 4, 3), 1)
    nibabel.save(finer, path)
    nibabel.save(marked.as_reoriented([[1, -1], [0, 1], [2, -1]]), mask)
    result = cli("insert", path, "-w", weights_folder, "-o", tmp_path / "out", "--mask", mask)
    assert result.exit_code == 0, result.output
    edited, label = (nibabel.load(line) for line in result.stdout.split()[:2])
    np.testing.assert_array_equal(label.get_fdata(), region)
    same = edited.get_fdata() == finer.get_fdata()
    assert same[..., ~region.any((0, 1))].all() and not same.all()
    for made in (edited, label):
        assert (made.header["sform_code"], made.header["qform_code"]) == (4, 1)
        np.testing.assert_array_equal(made.get_qform(), finer.get_qform())


def test_styles_of_weights_that_know_none_are_refused_with_the_remedy(cli, tmp_path, weights_folder, write_head):
    path, mask = write_head(tmp_path / "in", "head.nii.gz", "int16")
    result = cli("styles", path, "--mask", mask, "-w", weights_folder, "-o", tmp_path / "out")
    assert result.exit_code == WeightsError.exit_code
    assert "know no styles; train with --model munit" in result.stderr and not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over_and_masks_are_masks(cli, tmp_path, weights_folder, write_head):
    path, mask = write_head(tmp_path / "in", "head.png", "uint8")
    out = tmp_path / "out"
    made = {}
    for command, options in (
        ("insert", ("--size-mm", "12", "18")),
        ("remove", ("--mask", mask)),
        ("compare", (path,)),
        ("grow", ("--steps", "2", "--start-mm", "14")),
    ):
        arguments = [command, path, *options, "--out", out / command]
        arguments += [] if command == "compare" else ["--weights", weights_folder]
        first = cli(*arguments)
        assert first.exit_code == 0, first.output
        made[command] = {file: file.read_bytes() for file in (out / command).iterdir()}
        again = cli(*arguments)
        assert again.exit_code == RunError.exit_code and "replace it with --overwrite" in again.stderr
        assert {file: file.read_bytes() for file in (out / command).iterdir()} == made[command]
    assert cli("compare", path, path, "--out", out / "compare", "--overwrite").exit_code == 0
    patients = read_json(weights_folder / "model.json")["training_patients"]
    told = [b for name in ("insert", "grow") for file, b in made[name].items() if file.suffix in (".json", ".html")]
    facts = [json.loads(text) for text in told if text.startswith(b"{")]
    assert [fact["length_unit"] for fact in facts] == ["px", "px"]  # the picture stores no voxel size
    (page,) = (text for file, text in made["grow"].items() if file.suffix == ".html")
    assert b"Diameter (px)" in page and b"px\xc2\xb2" in page and b" mm" not in page.split(b"<script")[0]
    assert len(told) == 4 and not any(patient.encode() in text for text in told for patient in patients)
    for command in ("insert", "remove"):
        refused = cli(command, path, "--mask", path, "--weights", weights_folder, "--out", tmp_path / "new")
        assert refused.exit_code == DataError.exit_code and "expected a label" in refused.stderr
    assert not (tmp_path / "new").exists()
