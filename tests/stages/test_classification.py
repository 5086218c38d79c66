"""Classification as the downstream task: from the synthetic cases to the verdict and the page."""

import csv
import shutil

import numpy as np
import pytest

from medaug.data.atomic import read_json
from medaug.errors import DataError
from medaug.experiment import downstream
from medaug.runs.folder import RunDir
from medaug.stages.evaluate import evaluate
from medaug.stages.pipeline import run_pipeline
from medaug.stages.tasks import task_of

from ..stored import relabel

CLASSIFY = (
    "evaluation.task=classification",
    "evaluation.classifier_width=4",
    "evaluation.seeds=[0,1]",
    "evaluation.updates=10",
)


@pytest.fixture(scope="module")
def classified(tmp_path_factory, tiny_run, tiny_config):
    root = tmp_path_factory.mktemp("classified") / "run"
    shutil.copytree(tiny_run.root, root)
    return run_pipeline(tiny_config(*CLASSIFY), root)


def test_both_arms_are_compared_by_pooled_metrics_with_a_verdict(classified):
    summary = read_json(classified.evaluation / "summary.json")
    assert summary["task"] == "classification" and set(summary["arms"]) == {"standard", "standard+gan-offline"}
    assert [c["metric"] for c in summary["comparisons"]] == [
        "auc", "balanced_accuracy", "sensitivity", "specificity",
    ]  # fmt: skip
    assert [c["verdict"] for c in summary["comparisons"]] == ["inconclusive", *["not judged"] * 3]
    cells = [read_json(classified.evaluation / "cells" / f"standard-seed{seed}.json") for seed in (0, 1)]
    for cell in cells:
        assert set(cell["slices"]) == set(read_json(classified.split)["test"])
    specificities = []
    for cell in cells:
        slices = [pair for s in cell["slices"].values() for pair in zip(s["probability"], s["tumor"], strict=True)]
        specificities.append(np.mean([p <= 0.5 for p, tumor in slices if not tumor]))
    assert summary["arms"]["standard"]["specificity"]["mean"] == pytest.approx(np.mean(specificities))
    rows = list(csv.DictReader((classified.evaluation / "scores.csv").open()))
    assert len(rows) == 2 * 2 * 3 and {"auc", "sensitivity"} < set(rows[0])


def test_the_page_is_about_classification(classified):
    page = classified.report.read_text()
    assert "Does GAN augmentation help classification here?" in page
    assert "Balanced accuracy" in page and "Classification loss" in page


def test_every_arm_gets_the_same_updates_seed_and_settings(copy_of_run, tiny_config, monkeypatch):
    calls, train = {}, downstream.train_network

    def spy(samples, config, *, seed, **options):
        calls[len(calls)] = (len(samples), config, seed, samples.synthetic is not None)
        return train(samples, config, seed=seed, **options)

    monkeypatch.setattr(downstream, "train_network", spy)
    evaluate(tiny_config(*CLASSIFY), copy_of_run)
    by_seed = {seed: [call for call in calls.values() if call[2] == seed] for seed in (0, 1)}
    for standard, gan in by_seed.values():
        assert standard[:3] == gan[:3] and (standard[3], gan[3]) == (False, True)


def test_killed_classification_goes_on_at_its_cell(copy_of_run, classified, tiny_config, forget, killed_at, contents):
    config = tiny_config(*CLASSIFY)
    forget(copy_of_run, "evaluate")
    killed_at(34, lambda: evaluate(config, copy_of_run))
    cells = copy_of_run.evaluation / "cells"
    there = {p: p.stat().st_mtime_ns for p in cells.glob("[!.]*.json")}
    assert 0 < len(there) < 4
    evaluate(config, copy_of_run)
    assert all(path.stat().st_mtime_ns == when for path, when in there.items())
    assert contents(cells) == contents(classified.evaluation / "cells")
    assert read_json(copy_of_run.evaluation / "summary.json") == read_json(classified.evaluation / "summary.json")


def tumor_throughout(label):
    label[16, 16] = 1
    return label


def test_scans_that_are_tumor_throughout_are_refused_before_the_training(copy_of_run, tiny_config):
    patients = [entry["patient"] for entry in read_json(copy_of_run.datalist)["cases"]]
    relabel(copy_of_run.datalist, patients, tumor_throughout)
    with pytest.raises(DataError, match=r"0 without a tumor.*evaluation\.patch_size"):
        task_of(tiny_config(*CLASSIFY)).check_prepared(copy_of_run)
    task_of(tiny_config(*CLASSIFY, "evaluation.patch_size=[8,8]")).check_prepared(copy_of_run)
    task_of(tiny_config()).check_prepared(copy_of_run)


def test_patches_of_volumes_are_classified(volume_run, tiny_config, tmp_path):
    run = RunDir(tmp_path / "run")
    shutil.copytree(volume_run.root, run.root)
    settings = ("data.spatial_dims=3", "crop.size=[16,16,12]", "evaluation.patch_size=[16,16,8]")
    assert evaluate(tiny_config(*settings, *CLASSIFY, "evaluation.seeds=[0]"), run)
    slices = read_json(run.evaluation / "cells" / "standard-seed0.json")["slices"]
    assert all(0 < len(s["tumor"]) <= 4 for s in slices.values())
