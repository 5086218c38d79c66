"""Lesions lost and gained by a translation, as the network of the arm `target-labels` sees them."""

from dataclasses import replace

import numpy as np
import pytest

from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.prepared import View
from medaug.data.records import prepared_cases
from medaug.evaluation.detection import lost_and_gained
from medaug.experiment.backends.monai import Segmentation
from medaug.experiment.records import Cell
from medaug.runs.folder import RunDir
from medaug.stages.evaluate import evaluate
from medaug.stages.pipeline import run_pipeline
from medaug.stages.report import report
from medaug.stages.synthesize import synthesize
from medaug.stages.tasks import across_domains as stage
from medaug.volumes import Window

TINY = (
    "data.phantoms.patients=5", "data.phantoms.shape=[32,32,6]", "data.phantoms.spacing_mm=[12,12,24]",
    "data.phantoms.label=organs", "target.sequence=contrast", "split.train=2", "split.validation=0",
    "training.steps=1", "training.batch_size=1", "training.workers=0", "translator.width=4", "translator.depth=2",
    "translator.discriminator_width=4", "translator.discriminator_layers=1", "evaluation.updates=1",
    "evaluation.batch_size=2", "evaluation.channels=[4,8,8]", "evaluation.workers=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> RunDir:
    """Trained and translated, not evaluated."""
    config = load_config(None, list(TINY), {"domain": "ct"})
    run = run_pipeline(config, tmp_path_factory.mktemp("lesions") / "run", until="train")
    synthesize(config, run)
    return run


@pytest.fixture
def evaluated(material, tmp_path):
    """`evaluated("[standard]", seeds)`: the summary of these arms, in a folder of its own."""

    def evaluated(arms: str, seeds: str = "[0]") -> tuple[RunDir, dict]:
        run = RunDir(tmp_path / "run")
        run.root.mkdir()
        for path in material.root.iterdir():
            (run.root / path.name).symlink_to(path)
        (run.root / "done").unlink()
        settings = [*TINY, f"evaluation.arms={arms}", f"evaluation.seeds={seeds}"]
        config = load_config(None, settings, {"domain": "ct"})
        evaluate(config, run)
        report(config, run)
        return run, read_json(run.evaluation / "summary.json")

    return evaluated


def test_what_the_translation_shows_is_found_and_what_it_adds_is_gained(evaluated, material, monkeypatch):
    def bright_labels(entry, folder, translator):
        """Everything labelled, and one thing that is not, in a corner."""
        image = (View(entry, None, 0).classes(folder) > 0).astype(np.float32)
        image[:2, :2, :2] = 1.0
        return image[None], (Window(0.0, 1.0),)

    monkeypatch.setattr(stage, "translated_image", bright_labels)
    monkeypatch.setattr(Segmentation, "predicted", lambda self, network, image: (image[0] > 0.5).astype(np.uint8))
    run, summary = evaluated("[target-labels]")
    test = read_json(material.split)["test"]
    entries = [entry for entry in prepared_cases(material.datalist) if entry.patient in test]
    truths = [View(entry, None, 0).classes(material.prepared) > 0 for entry in entries]
    lesions = sum(lost_and_gained(truth, truth).lesions for truth in truths)
    assert summary["lesions"]["translated"] == {"scans": 3, "lesions": lesions, "lost": 0, "gained": 3}
    assert summary["lesions"]["real target"]["lesions"] == lesions > 3  # one anatomy
    by_patient = read_json(run.evaluation / "cells" / "target-labels-seed0.json")["lesions"]["translated"]
    assert sorted(by_patient) == sorted(test) and all(counts["gained"] == 1 for counts in by_patient.values())
    assert "Lesions lost and gained" in run.report.read_text()


def test_a_network_that_sees_nothing_loses_everything_and_seeds_add_up(evaluated, material, monkeypatch):
    monkeypatch.setattr(Segmentation, "predicted", lambda self, network, image: np.zeros(image.shape[1:], np.uint8))
    run, summary = evaluated("[standard,target-labels]", "[0,1]")
    for counts in summary["lesions"].values():
        assert counts["scans"] == 6 and counts["lost"] == counts["lesions"] > 0 and counts["gained"] == 0
    cells = [read_json(path) for path in sorted((run.evaluation / "cells").glob("*.json"))]
    assert ["lesions" in cell for cell in cells] == [False, False, True, True]
    one = Cell.from_json(cells[2])
    other = replace(one, lesions=one.lesions | {"translated": {"somebody": {"scans": 1}}})
    folds = Cell.of_folds([one, other]).lesions["translated"]
    assert set(folds) == {*one.lesions["translated"], "somebody"}


def test_without_labels_of_the_target_nothing_is_counted(evaluated):
    run, summary = evaluated("[standard]")
    assert "lesions" not in summary and "Lesions lost" not in run.report.read_text()
