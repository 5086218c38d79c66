"""The examples run as they stand, and stay short."""

import multiprocessing
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

import numpy as np
import pytest

from medaug.data.atomic import read_json
from medaug.data.files import read_scan
from medaug.data.writers import ScanRecord, write_layout
from medaug.stages.pipeline import run_pipeline

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
TINY_DOMAINS = (
    "data.phantoms.patients=4", "data.phantoms.shape=[32,32,6]", "data.phantoms.spacing_mm=[12,12,24]",
    "split.train=2", "split.validation=1", "crop.size=[16,16]", "training.steps=2", "training.batch_size=2",
    "training.workers=0",
)  # fmt: skip


def example(number: str, *arguments: object, settings: tuple[str, ...] = ()) -> str:
    """What it prints, run as a script; in a fork of this process, which has imported everything."""
    path = next(path for path in EXAMPLES if path.name.startswith(f"{number}_"))
    flags = [flag for setting in settings for flag in ("--set", setting)]

    def script(said: TextIO) -> None:
        sys.argv, sys.path = [str(path), *map(str, arguments), *flags], [str(path.parent), *sys.path]
        with redirect_stdout(said):
            runpy.run_path(str(path), run_name="__main__")
        said.flush()

    with TemporaryFile("w+") as said:
        child = multiprocessing.get_context("fork").Process(target=script, args=(said,))
        child.start()
        child.join(280)
        assert child.exitcode == 0
        said.seek(0)
        return said.read()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_at_most_80_lines(path):
    assert len(path.read_text().splitlines()) <= 80


def test_the_monai_training_loop_runs_on_a_finished_run(multi_run):
    assert "epoch 1: loss 1." in example("01", "--run", multi_run.root, "--epochs", "1", "--workers", "1")


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


def test_a_bundle_is_run_by_monai(multi_run, tmp_path):
    assert "4 files" in example("05", "--run", multi_run.root, "--out", tmp_path / "bundle")  # 2 images, 2 labels


def test_torchio_gets_tumors(multi_run):
    assert "tumor voxels: [" in example("06", "--run", multi_run.root)


def test_nnunet_trains_on_a_fold_with_tumors_inserted(tmp_path, monkeypatch):
    records = [ScanRecord(f"case_{n}", {"flair": np.zeros((4, 4, 2))}, np.ones((4, 4, 2)), np.eye(4)) for n in range(5)]
    write_layout(records, tmp_path / "Dataset501_Toy", "msd", {1: "tumor"})
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    said = example("07", "--dataset", "501", "--fold", "1", "--print")
    assert "fold 1: 4 train, 1 validate" in said and "nnUNetv2_train Dataset501_Toy 3d_fullres 1 -tr" in said


def test_tumors_of_four_sequences_train_a_network_of_three_regions(tmp_path, tiny_config):
    grid, affine = np.indices((32, 32, 8)), np.diag([-6.0, -6.0, 10.0, 1.0])
    records = []
    for number in range(6):
        rng, center = np.random.RandomState(number), (13 + number, 15, 4)
        apart = np.sqrt(((grid - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(axis=0))
        head = np.hypot(grid[0] - 16, grid[1] - 16) < 14
        label = np.select([apart < 1.5, apart < 2.5, apart < 3.5], [4, 1, 2], 0).astype(np.uint8)
        images = {name: head * rng.normal(300.0 + 40.0 * label, 20.0) for name in ("t1", "t1ce", "t2", "flair")}
        records.append(ScanRecord(f"case_{number}", {k: v.astype(np.int16) for k, v in images.items()}, label, affine))
    write_layout(records, tmp_path / "brats", "brats")
    data = ("data.layout=brats", f"data.root={tmp_path / 'brats'}", "data.sequences=[t1,t1ce,t2,flair]")
    config = tiny_config(*data, "data.tumor={edema: 2, core: 1, enhancing: 4}", "crop.min_diameter_mm=5")
    run = run_pipeline(config, tmp_path / "run", until="train")
    said = example("08", "--data", tmp_path / "brats", "--run", run.root, "--epochs", 1, "--roi", 32, 32, 8)
    assert "epoch 1: loss tumor core 0." in said and "enhancing tumor 0." in said
