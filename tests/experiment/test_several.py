"""Two sequences and a tumor of two parts through the downstream test: regions, classification, the quality gate."""

import shutil

import numpy as np
import pytest
import torch

from medaug.data.atomic import read_json
from medaug.data.prepared import Prepared
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.backends.monai import Segmentation
from medaug.experiment.cells import cells_behind, failures_path, keep_failures, read_failures
from medaug.experiment.edits import QualityGate, ViewEditor
from medaug.experiment.records import Evaluation
from medaug.report.sections import downstream_section
from medaug.runs.folder import RunDir
from medaug.stages.evaluate import evaluate
from medaug.stages.tasks.insertion import downstream_of

MULTI = ("data.sequences=[flair,t1]", "data.tumor={core: 1, rim: 2}", "segmenter.updates=2")
REGIONS = "evaluation.regions={whole: [rim, core], core: [core]}"


@pytest.fixture
def copy_of_multi(multi_run, tmp_path):
    shutil.copytree(multi_run.root, tmp_path / "copy")
    return RunDir(tmp_path / "copy")


def test_regions_are_scored_one_by_one_with_their_lesions_and_stand_on_the_page(copy_of_multi, tiny_config):
    config = tiny_config(*MULTI, REGIONS, "evaluation.arms=[standard, copy-paste, standard+gan-offline]")
    evaluate(config, copy_of_multi)
    cell = read_json(copy_of_multi.evaluation / "cells" / "copy-paste-seed0.json")
    for patient, scores in cell["scores"].items():
        assert scores["dice"] == pytest.approx(np.mean([scores["dice: whole"], scores["dice: core"]]))
        whole, core = (cell["detection"][patient][name] for name in ("whole", "core"))
        assert set(cell["detection"][patient]) == {"whole", "core"} and len(whole["lesions"]) > 0
        sizes = [sum(diameter**3 for diameter, _ in counts["lesions"]) for counts in (whole, core)]
        assert sizes[0] > sizes[1], "the core is a part of the whole"
    summary = Evaluation.of_run(copy_of_multi).tests[""]
    assert list(summary.detection) == ["whole", "core"] and summary.main == "dice"
    section = downstream_section(summary, cells_behind(summary, copy_of_multi), "Segmentation")
    titles = [table.title for table in section.tables]
    assert {"Lesions found: whole", "Lesions found: core", "False positives: core"} <= set(titles)
    assert "Dice, core" in section.tables[titles.index("Scores by arm")].columns


def test_worst_patients_are_kept_by_class_whatever_the_regions(copy_of_multi, tiny_config, tmp_path):
    task = downstream_of(tiny_config(*MULTI, REGIONS), copy_of_multi, with_synthetic=False)
    assert isinstance(task, Segmentation)
    network = task.network_config.build(0)
    keep_failures(failures_path(tmp_path / "cells" / "a.json"), task, network.eval(), task.results(network.eval()))
    kept = read_failures(failures_path(tmp_path / "cells" / "a.json"))
    assert kept and all(np.isin(f.truth, (0, 1, 2)).all() and np.isin(f.prediction, (0, 1, 2)).all() for f in kept)


def test_images_of_several_sequences_are_classified(copy_of_multi, tiny_config):
    arms = "evaluation.arms=[standard, standard+gan-offline, copy-paste]"
    size = ("evaluation.patch_size=[16,16]", "evaluation.classifier_width=4")
    evaluate(tiny_config(*MULTI, arms, *size, "evaluation.task=classification"), copy_of_multi)
    summary = Evaluation.of_run(copy_of_multi).tests[""]
    assert summary.main == "auc" and not summary.detection
    assert all(np.isfinite(scores["auc"].mean) for scores in summary.arms.values())


def test_the_quality_gate_judges_insertions_of_several_parts_as_one(multi_run, tiny_config):
    config, prepared = tiny_config(*MULTI, "evaluation.patch_size=[32,32]"), Prepared(multi_run.datalist)
    views = prepared.training_views(multi_run.read_split(), 2)
    gate, editor = (
        QualityGate(config, ViewFolder(views, multi_run.prepared)),
        ViewEditor(multi_run.weights, multi_run.prepared, config),
    )
    assert gate.segmenter(torch.zeros(1, 2, 32, 32)).shape == (1, 2, 32, 32)
    edits = [(edited, view) for view in views[:8] if (edited := editor.inserted(view, 1)) is not None]
    assert edits and all(0 <= gate(edited, view) <= 1 for edited, view in edits)
