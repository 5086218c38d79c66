"""Runs side by side: paired by patient and seed, corrected for how many are asked, refused where they do not pair."""

import csv
import json
import shutil

import pytest

from medaug import compare_runs
from medaug.errors import DataError, RunError


@pytest.fixture
def changed(tiny_run, tmp_path):
    """`changed(name, gain)`: the finished run with every Dice of `standard+gan` moved by about `gain`."""

    def changed(name, gain, settings=("", "")):
        folder = tmp_path / name
        shutil.copytree(tiny_run.root, folder)
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace(*settings) if settings[0] else config.read_text())
        path = folder / "evaluation" / "scores.csv"
        with path.open(newline="") as stream:
            header, *rows = csv.reader(stream)
        for i, row in enumerate(rows):
            if row[0] == "standard+gan":
                row[3] = str(float(row[3]) + gain + 0.0001 * (i % 3))
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])
        return folder

    return changed


def test_a_run_is_compared_with_the_first_by_arm(tiny_run, changed):
    old, new = "synthetic_ratio: 0.5", "synthetic_ratio: 0.25"
    better = changed("better", 0.2, (old, new))
    found = compare_runs(tiny_run.root, [better])
    by_arm = {d.arm: d.comparison for d in found.differences}
    assert by_arm["standard+gan"].difference.mean == pytest.approx(0.2, abs=1e-3)
    assert by_arm["standard"].difference.mean == 0 and by_arm["standard"].p_adjusted == 1
    assert found.settings == {str(better): ["evaluation.synthetic_ratio: 0.5 → 0.25"]}
    assert "synthetic_ratio: 0.5 → 0.25" in found.text() and "+0.200" in found.text()
    assert {c.verdict for c in by_arm.values()} == {"too few seeds"} and by_arm["standard"].smallest_detectable is None
    assert found.text().count("too few seeds") == 2 and "a verdict needs 2 seeds or more" in found.text()


def test_verdicts_are_corrected_for_all_that_is_asked(tiny_run, changed):
    runs = [changed(f"run{i}", gain) for i, gain in enumerate((0.2, 0.0, -0.2))]
    alone = compare_runs(tiny_run.root, runs[:1], arm=["standard+gan"]).differences[0].comparison
    among = [d.comparison for d in compare_runs(tiny_run.root, runs, arm=["standard+gan"]).differences]
    assert [c.difference.mean > 0.1 for c in among] == [True, False, False]
    assert alone.p_adjusted == alone.p_value and among[0].p_adjusted > alone.p_adjusted


def test_what_does_not_pair_is_refused(tiny_run, changed, tmp_path):
    with pytest.raises(DataError, match="expected at least two"):
        compare_runs(tiny_run.root, [])
    with pytest.raises(DataError, match="found lesions; all of these runs have standard"):
        compare_runs(tiny_run.root, [changed("same", 0.0)], arm=["lesions"])
    other = changed("other", 0.0)
    path = other / "evaluation" / "scores.csv"
    patient = path.read_text().splitlines()[1].split(",")[2]
    path.write_text(path.read_text().replace(patient, "somebody"))
    with pytest.raises(DataError, match="other patients or seeds than in .*such as"):
        compare_runs(tiny_run.root, [other])
    with pytest.raises(RunError, match=r"found no config\.yaml"):
        compare_runs(tiny_run.root, [tmp_path])
    with pytest.raises(DataError, match="named twice"):
        compare_runs(tiny_run.root, [tiny_run.root])


def test_a_benchmark_is_sent_to_its_own_page(tiny_run, tmp_path):
    folder = tmp_path / "benchmark"
    shutil.copytree(tiny_run.root, folder)
    shutil.copytree(folder / "evaluation", folder / "results")
    shutil.copy(folder / "results" / "scores.csv", folder / "results" / "cells.csv")
    summary = folder / "results" / "summary.json"
    group = json.loads(summary.read_text()) | {"labelled": 1, "ratio": 0.5}
    summary.write_text(json.dumps({"groups": [group]}))
    with pytest.raises(DataError, match="found a benchmark"):
        compare_runs(folder, [tiny_run.root])


def test_a_metric_of_all_patients_together_is_refused(tiny_run, changed):
    pooled = changed("pooled", 0.0)
    path = pooled / "evaluation" / "scores.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *(",".join([*row.split(",")[:3], "", *row.split(",")[4:]]) for row in rows)]))
    with pytest.raises(DataError, match="no dice of patient .* alone"):
        compare_runs(tiny_run.root, [pooled])
