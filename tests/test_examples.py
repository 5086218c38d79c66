"""The examples run as they stand, and stay short."""

import subprocess
import sys
from pathlib import Path

import pytest

from medaug.data.atomic import read_json
from medaug.data.files import read_scan

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
TINY_DOMAINS = (
    "data.phantoms.patients=4", "data.phantoms.shape=[32,32,6]", "data.phantoms.spacing_mm=[12,12,24]",
    "split.train=2", "split.validation=1", "crop.size=[16,16]", "training.steps=2", "training.batch_size=2",
    "training.workers=0",
)  # fmt: skip


def example(number: str, *arguments: object, settings: tuple[str, ...] = ()) -> str:
    """What it prints."""
    path = next(path for path in EXAMPLES if path.name.startswith(f"{number}_"))
    flags = [flag for setting in settings for flag in ("--set", setting)]
    command = [sys.executable, path, *map(str, arguments), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_at_most_80_lines(path):
    assert len(path.read_text().splitlines()) <= 80


def test_the_monai_training_loop_runs_on_a_finished_run(tiny_run):
    assert "epoch 1: loss " in example("01", "--run", tiny_run.root, "--epochs", "1", "--workers", "1")


def test_a_method_of_ones_own_trains_and_leaves_weights(tmp_path):
    said = example("02", "--out", tmp_path / "run", settings=TINY_DOMAINS)
    facts = read_json(Path(said.strip()) / "model.json")
    assert facts["steps"] == 2 and "anchored" in facts.values()


def test_an_arm_of_ones_own_is_compared_with_standard(tmp_path, tiny_settings):
    settings = (*tiny_settings, "data.sequence=flair", "evaluation.own_arms.darker.args.most=0.5")
    said = example("03", "--out", tmp_path / "run", settings=settings)
    summary = read_json(tmp_path / "run" / "results" / "summary.json")
    assert list(summary["groups"][0]["arms"]) == ["standard", "darker"] and "darker" in said


def test_synthetic_ct_is_written_in_hu(tmp_path):
    settings = (*TINY_DOMAINS, "translator.width=4", "translator.depth=2", "translator.discriminator_layers=1")
    assert "HU" in example("04", "--out", tmp_path / "run", settings=settings)
    (path,) = (tmp_path / "run" / "synthetic").glob("*.nii.gz")
    ct = read_scan(path)
    assert ct.shape == (1, 32, 32, 6) and -1024 <= float(ct.min()) < float(ct.max()) <= 1000


def test_a_bundle_is_run_by_monai(tiny_run, tmp_path):
    assert "4 files" in example("05", "--run", tiny_run.root, "--out", tmp_path / "bundle")  # 2 images, 2 labels


def test_torchio_gets_tumors(tiny_run):
    assert "tumor voxels: [" in example("06", "--run", tiny_run.root)


def test_nnunet_gets_synthetic_cases_for_training_only(tiny_run, tmp_path):
    said = example("07", "--run", tiny_run.root, "--out", tmp_path / "raw")
    assert "training cases, labels {'background': 0, 'tumor': 1}" in said and "validate, all real" in said
