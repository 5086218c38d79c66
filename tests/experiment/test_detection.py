"""Lesions counted in the cells, the summary and the page that they become, and a 3-D run with another network."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import dump_config, load_config
from medaug.data.atomic import read_json
from medaug.data.prepared import View
from medaug.data.records import prepared_cases
from medaug.errors import ConfigError
from medaug.evaluation.detection import lost_and_gained
from medaug.evaluation.metrics import METRICS
from medaug.experiment.arms import ARMS
from medaug.experiment.backends.monai import Segmentation
from medaug.experiment.records import Cell
from medaug.experiment.summary import Scoring, summarized
from medaug.report.sections import downstream_section
from medaug.stages.evaluate import evaluate

PATIENTS = ("p0", "p1", "p2", "p3")
SMALL, MIDDLE, LARGE = 5.0, 12.0, 40.0


DICE = Scoring("segmentation", {"dice": METRICS["dice"]}, ARMS, (10.0, 20.0))


def counts(lesions, false_positives=0, tumor_free=(0, 0, 0, 0, 0)):
    keys = ("scans", "false_positives", "slices", "slice_false_positives", "slice_voxels")
    return {
        "dimensions": 3, "lesions": [list(lesion) for lesion in lesions], "scans": 1,
        "false_positives": false_positives, "tumor_free": dict(zip(keys, tumor_free, strict=True)),
    }  # fmt: skip


def cells_of(by_arm):
    """Two seeds of the same counts by arm."""
    scores, found = {p: {"dice": 0.5} for p in PATIENTS}, {}
    for arm, members in by_arm.items():
        detection = {patient: {"tumor": of} for patient, of in zip(PATIENTS, members, strict=True)}
        found[arm] = [Cell(arm=arm, seed=seed, scores=scores, detection=detection) for seed in (0, 1)]
    return found


@pytest.fixture(scope="module")
def cells():
    """p3 has a scan without a tumor; only p0 has a small lesion."""
    return cells_of({
        "standard": [
            counts([(SMALL, False), (LARGE, True)], 2, (0, 0, 3, 1, 30)), counts([(MIDDLE, False), (LARGE, True)]),
            counts([(MIDDLE, True)], 1), counts([], 1, (1, 1, 5, 3, 90)),
        ],
        "standard+gan": [
            counts([(SMALL, True), (LARGE, True)], 0, (0, 0, 3, 0, 0)), counts([(MIDDLE, True), (LARGE, True)]),
            counts([(MIDDLE, True)]), counts([], 1, (1, 1, 5, 1, 10)),
        ],
    })  # fmt: skip


def test_sensitivity_is_a_ratio_of_sums_by_size_class_with_intervals_and_differences(cells):
    found = summarized(cells, PATIENTS, DICE).to_json()["detection"]["tumor"]
    facts = {name: (rate["count"], rate["patients"]) for name, rate in found["rates"].items()}
    assert facts == {
        "sensitivity": (5, 3), "sensitivity: under 10 mm": (1, 1), "sensitivity: 10 to 20 mm": (2, 2),
        "sensitivity: 20 mm and more": (2, 2), "false_positives": (4, 4), "tumor_free_false_positives": (1, 1),
        "tumor_free_slice_false_positives": (8, 2), "tumor_free_slice_voxels": (8, 2),
    }  # fmt: skip
    standard, gan = found["arms"]["standard"], found["arms"]["standard+gan"]
    assert standard["sensitivity"]["mean"] == pytest.approx(3 / 5) and gan["sensitivity"]["mean"] == 1
    assert 0 <= standard["sensitivity"]["low"] < 3 / 5 < standard["sensitivity"]["high"] <= 1
    assert gan["sensitivity"]["low"] == pytest.approx(0.025 ** (1 / 3)), "three patients are not certainty"
    assert standard["sensitivity: 10 to 20 mm"]["mean"] == pytest.approx(1 / 2)
    assert standard["false_positives"]["mean"] == pytest.approx(1)
    assert standard["tumor_free_slice_voxels"]["mean"] == pytest.approx(120 / 8)
    difference = {d["rate"]: d["difference"] for d in found["differences"] if d["arm"] == "standard+gan"}
    assert difference["sensitivity"]["mean"] == pytest.approx(2 / 5)
    assert difference["tumor_free_slice_voxels"]["mean"] == pytest.approx((10 - 120) / 8)
    assert all(d["reference"] == "standard" for d in found["differences"])


def test_what_one_patient_alone_has_gets_no_interval(cells):
    found = summarized(cells, PATIENTS, DICE).to_json()["detection"]["tumor"]
    for rate in ("sensitivity: under 10 mm", "tumor_free_false_positives"):
        assert found["arms"]["standard"][rate] is None and found["rates"][rate]["count"] == 1


def test_the_rest_of_the_summary_is_what_it_is_without_counts(cells):
    bare = {arm: [replace(cell, detection={}) for cell in members] for arm, members in cells.items()}
    with_counts = summarized(cells, PATIENTS, DICE)
    assert summarized(bare, PATIENTS, DICE) == replace(with_counts, detection={})


def test_other_size_classes_need_no_new_cells(cells):
    found = summarized(cells, PATIENTS, replace(DICE, size_limits_mm=(30.0,))).to_json()["detection"]["tumor"]
    assert found["arms"]["standard"]["sensitivity: under 30 mm"]["mean"] == pytest.approx(1 / 3)
    assert found["arms"]["standard"]["sensitivity: 30 mm and more"]["mean"] == 1


def test_folds_are_pooled_lesion_by_lesion(cells):
    folds = [
        {arm: [replace(cell, detection={p: cell.detection[p] for p in part}) for cell in members]
         for arm, members in cells.items()}
        for part in (PATIENTS[:2], PATIENTS[2:])
    ]  # fmt: skip
    pooled = {arm: [Cell.of_folds(parts) for parts in zip(*(f[arm] for f in folds), strict=True)] for arm in cells}
    assert summarized(pooled, PATIENTS, DICE) == summarized(cells, PATIENTS, DICE)


def test_the_page_shows_what_was_found_by_size_and_where_there_is_none(cells):
    members = [cell for members in cells.values() for cell in members]
    section = downstream_section(summarized(cells, PATIENTS, DICE), members, "")
    found, false_positives = section.tables[-2:]
    assert (found.title, false_positives.title) == ("Lesions found", "False positives")
    assert found.columns[1:3] == ["all (n = 5)", "under 10 mm (n = 1)"]
    assert false_positives.columns[1:3] == ["per scan (n = 4)", "per tumor-free scan (n = 1)"]
    assert [row[0] for row in found.rows] == ["standard", "standard+gan"]
    assert found.rows[0][1].startswith("0.600 (") and found.rows[0][2] == "–"
    assert "connected in 3-D" in found.note and "have no" not in false_positives.note


def test_a_page_says_that_there_are_no_tumor_free_scans():
    members = [counts([(LARGE, True)], 0, (0, 0, 2, 0, 0)) | {"dimensions": 2} for _ in PATIENTS]
    made = cells_of({"standard": members})
    section = downstream_section(summarized(made, PATIENTS, DICE), made["standard"], "")
    found, false_positives = section.tables[-2:]
    assert "These data have no tumor-free scans." in false_positives.note
    assert "connected in each slice" in found.note and false_positives.rows[0][2] == "–"


@pytest.mark.parametrize("bright", [True, False])
def test_cells_count_the_lesions_of_whole_volumes_though_the_network_sees_slices(
    copy_of_run, tiny_config, monkeypatch, bright
):
    def predicted(self, network, image):
        everything = np.zeros(image.shape[1:], np.uint8)
        everything[:3, :3] = bright  # a bar through a corner of every slice, outside the head
        return everything

    monkeypatch.setattr(Segmentation, "predicted", predicted)
    evaluate(tiny_config("evaluation.updates=1", "evaluation.arms=[standard]"), copy_of_run)
    counted = read_json(copy_of_run.evaluation / "cells" / "standard-seed0.json")["detection"]
    counted = {patient: of["tumor"] for patient, of in counted.items()}
    test = read_json(copy_of_run.split)["test"]
    entries = {e.patient: e for e in prepared_cases(copy_of_run.datalist) if e.patient in test}
    assert set(counted) == set(test) == set(entries)
    for patient, entry in entries.items():
        truth = View(entry, None, 0).classes(copy_of_run.prepared) > 0
        free = int((~truth.any(axis=(0, 1))).sum())
        assert counted[patient]["dimensions"] == 3
        assert len(counted[patient]["lesions"]) == lost_and_gained(truth, truth).lesions > 0
        assert not any(hit for _, hit in counted[patient]["lesions"])
        assert counted[patient]["false_positives"] == int(bright), "one bar, not one a slice"
        assert counted[patient]["tumor_free"] == {
            "scans": 0, "false_positives": 0, "slices": free, "slice_false_positives": free * bright,
            "slice_voxels": 9 * free * bright,
        }  # fmt: skip
    summary = read_json(copy_of_run.evaluation / "summary.json")["detection"]["tumor"]
    assert summary["arms"]["standard"]["sensitivity"]["mean"] == 0
    assert summary["arms"]["standard"]["false_positives"]["mean"] == int(bright)


def test_a_3d_pipeline_runs_to_its_page_with_another_network(tmp_path, tiny_config):
    config = tiny_config(
        "data.spatial_dims=3", "crop.size=[16,16,12]", "evaluation.patch_size=[16,16,8]", "evaluation.residual=true",
        "evaluation.channels=[8,16,16]", "data.phantoms.patients=5", "split.train=2", "training.steps=1",
        "synthesis.insertions=1", "synthesis.removals=0", "audit.lesions=0", "audit.volumes=0", "evaluation.updates=2",
    )  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(dump_config(config))
    result = CliRunner().invoke(app, ["run", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    summary = read_json(tmp_path / "run" / "evaluation" / "summary.json")
    found = summary["detection"]["tumor"]
    assert found["dimensions"] == [3] and np.isfinite(summary["arms"]["standard"]["dice"]["mean"])
    assert found["rates"]["sensitivity"]["count"] > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Lesions found" in page and "residual: true" in page


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("evaluation.channels=[8,16]", "evaluation.channels"),
        ("evaluation.size_limits_mm=[20,10]", "size_limits_mm: found 20, 10; expected diameters above 0"),
        ("evaluation.size_limits_mm=[0,10]", "each larger than the last"),
    ],
)
def test_settings_without_a_meaning_are_refused(setting, words):
    with pytest.raises(ConfigError, match=words):
        load_config(None, [setting])
