"""From the cells of an evaluation to its summary: figures by arm with intervals, arms compared, scores as a table.

A cell is one trained network: {"arm", "seed", "scores": {patient: {metric: value}}, ...}. Every test set of an
evaluation has one summary:

{"task", "patients", "seeds", "metrics": {metric: {"title", "unit", "higher_is_better"}}, "arms": {arm: {metric:
interval}}, "comparisons": [...], "rivals": [...]}: `comparisons` are of every arm against the reference, `rivals` of
every GAN arm against every other arm that needs no GAN, with "best" for the best of those where it is better than the
reference (see `best_rivals`). Where the cells counted lesions there is "detection" too (see `detection`).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from typing import Any, Protocol

import numpy as np

from medaug.evaluation import Comparison, compare, holm, mean_interval
from medaug.io.atomic import write_json, write_text
from medaug.quality.similarity import IMAGE_METRICS
from medaug.stages.downstream.arms import ARMS, REFERENCE
from medaug.stages.downstream.cells import score_table
from medaug.stages.downstream.detection import Cells, detection_summary
from medaug.stages.runs import RunDir

Tables = Mapping[str, Mapping[str, np.ndarray]]
"""By arm and metric, (patients, seeds)."""


class Scoring(Protocol):
    """What is known of the scores: a name, the metrics (the main one first), and their tables.

    `size_limits_mm` parts the lesions that cells counted into size classes; where none did, nobody asks for it.
    """

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> Mapping[str, Any]: ...

    @property
    def size_limits_mm(self) -> tuple[float, ...]: ...

    def table(self, cells: Sequence[dict[str, Any]], patients: Sequence[str], metric: str) -> np.ndarray: ...


def against_standard(tables: Tables, metric: str) -> list[tuple[str, str]]:
    """Every other arm with `standard`, as (arm, reference)."""
    return [(arm, REFERENCE) for arm in tables if arm != REFERENCE and REFERENCE in tables]


def write_summary(run: RunDir, cells: Cells, patients: Sequence[str], task: Scoring) -> None:
    """`summary.json` and `scores.csv` of an evaluation with one test set."""
    write_text(run.evaluation / "scores.csv", scores_csv(cells, patients, task))
    write_json(run.evaluation / "summary.json", summarized(cells, patients, task))


def write_domain_summary(run: RunDir, cells: Cells, tasks: Mapping[str, Scoring]) -> None:
    """`summary.json` and a table of scores for each test set, from its cells."""
    tests = {}
    for name, task in tasks.items():
        of_test = {arm: [cell | cell["tests"][name] for cell in members] for arm, members in cells.items()}
        patients = sorted(next(iter(of_test.values()))[0]["scores"])
        write_text(run.evaluation / f"scores-{name}.csv", scores_csv(of_test, patients, task))
        tests[name] = summarized(of_test, patients, task)
    lesions = _lesions([cell["lesions"] for members in cells.values() for cell in members if "lesions" in cell])
    write_json(
        run.evaluation / "summary.json",
        {"task": "segmentation", "tests": tests} | ({"lesions": lesions} if lesions else {}),
    )


def write_translation_summary(run: RunDir, cells: Cells, facts: dict[str, Any]) -> None:
    """Scores by arm with intervals, and for every metric the method against the better of the trivial translations."""
    scoring = _ImageScoring()
    patients = list(next(iter(cells.values()))[0]["scores"])
    method, *trivial = cells

    def against_the_better(tables: Tables, metric: str) -> list[tuple[str, str]]:
        better = max if IMAGE_METRICS[metric].higher_is_better else min
        return [(method, better(trivial, key=lambda arm: float(tables[arm][metric].mean())))]

    write_text(run.evaluation / "scores.csv", scores_csv(cells, patients, scoring))
    write_json(run.evaluation / "summary.json", summarized(cells, patients, scoring, against_the_better) | facts)


def summarized(
    cells: Cells, patients: Sequence[str], task: Scoring,
    pairs: Callable[[Tables, str], list[tuple[str, str]]] = against_standard,
) -> dict[str, Any]:  # fmt: skip
    """The summary of one test set.

    Args:
        cells: in every arm the same seeds.
        task: what the cells were trained for.
        pairs: which arms are compared with which, by metric.
    """
    tables = {
        arm: {metric: task.table(members, patients, metric) for metric in task.metrics}
        for arm, members in cells.items()
    }
    arms = {
        arm: {metric: _interval(task, metric, table) for metric, table in by_metric.items()}
        for arm, by_metric in tables.items()
    }
    comparisons: list[Comparison] = []
    for metric in task.metrics:
        compared = [_compare(task, tables, metric, arm, other) for arm, other in pairs(tables, metric)]
        comparisons += holm([c for c in compared if not _is_ceiling(c.arm)])
        comparisons += [c for c in compared if _is_ceiling(c.arm)]  # no method: none of those that Holm corrects for
    return {
        "task": task.name, "patients": list(patients), "seeds": [cell["seed"] for cell in next(iter(cells.values()))],
        "metrics": {name: {"title": m.title, "unit": m.unit, "higher_is_better": m.higher_is_better}
                    for name, m in task.metrics.items()},
        "arms": arms, "comparisons": [asdict(c) for c in comparisons], "rivals": _rivals(task, tables),
    } | _detection(cells, patients, task)  # fmt: skip


def best_rivals(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every GAN arm against the best arm without one; none where that is the reference."""
    return [c for c in summary["rivals"] if c.get("best", True)]  # older summaries hold no others


def scores_csv(cells: Cells, patients: Sequence[str], task: Scoring) -> str:
    """A row a patient and cell; blank where a metric is not defined for a patient alone."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["arm", "seed", "patient", *task.metrics])
    for arm, members in cells.items():
        for cell in members:
            for patient in patients:
                scores = [cell["scores"][patient][metric] for metric in task.metrics]
                writer.writerow([arm, cell["seed"], patient, *("" if x is None else round(x, 5) for x in scores)])
    return stream.getvalue()


def _detection(cells: Cells, patients: Sequence[str], task: Scoring) -> dict[str, Any]:
    if not all("detection" in cell for members in cells.values() for cell in members):
        return {}
    return {"detection": detection_summary(cells, patients, task.size_limits_mm)}


def _lesions(parts: Sequence[dict[str, dict[str, dict[str, int]]]]) -> dict[str, dict[str, int]]:
    """By kind of image the counts of all patients and cells together."""
    totals: dict[str, Counter[str]] = {}
    for part in parts:
        for kind, by_patient in part.items():
            for counts in by_patient.values():
                totals.setdefault(kind, Counter()).update(counts)
    return {kind: dict(total) for kind, total in totals.items()}


class _ImageScoring:
    """Image metrics, a column a seed (there is one)."""

    name = "translation"
    metrics = IMAGE_METRICS
    size_limits_mm = ()

    def table(self, cells: Sequence[dict[str, Any]], patients: Sequence[str], metric: str) -> np.ndarray:
        return score_table(cells, patients, metric)


def _rivals(task: Scoring, tables: Tables) -> list[dict[str, Any]]:
    """By the main metric: every GAN arm against each of the others (a ceiling is no rival)."""
    main = next(iter(task.metrics))
    sign = 1 if task.metrics[main].higher_is_better else -1
    known = getattr(task, "arms", ARMS)  # with the user's own, where there can be any
    plain = [arm for arm in tables if arm in known and not (known[arm].synthetic or _is_ceiling(arm))]
    best = max(plain, key=lambda arm: sign * float(tables[arm][main].mean()), default=REFERENCE)
    return [
        asdict(_compare(task, tables, main, arm, other)) | {"best": other == best}
        for arm in tables if arm in known and known[arm].synthetic
        for other in plain if other != REFERENCE
    ]  # fmt: skip


def _is_ceiling(arm: str) -> bool:
    return arm in ARMS and ARMS[arm].target


def _interval(task: Scoring, metric: str, table: np.ndarray) -> dict[str, float]:
    return asdict(mean_interval(table, np.random.RandomState(0)).within(*task.metrics[metric].bounds))


def _compare(
    task: Scoring, tables: Tables, metric: str, arm: str, reference: str
) -> Comparison:  # fmt: skip
    return compare(
        tables[arm][metric], tables[reference][metric], metric=metric, rng=np.random.RandomState(0), arm=arm,
        higher_is_better=task.metrics[metric].higher_is_better, reference=reference,
    )  # fmt: skip
