"""From the cells of an evaluation to its summary: figures by arm with intervals, arms compared, scores as a table.

A cell is one trained network: {"arm", "seed", "scores": {patient: {metric: value}}, ...}. Every test set of an
evaluation has one summary:

{"task", "patients", "seeds", "metrics": {metric: {"title", "unit", "higher_is_better"}}, "arms": {arm: {metric:
interval}}, "comparisons": [...], "rivals": [...]}: `comparisons` are of every arm against `standard`, `rivals` of every
GAN arm against the best arm that needs no GAN, where that is not `standard` itself.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from typing import Any

import numpy as np

from medaug.evaluation import Comparison, compare, holm, mean_interval
from medaug.stages.arms import ARMS, REFERENCE
from medaug.stages.downstream import Task

Cells = Mapping[str, Sequence[dict[str, Any]]]
"""By arm, one a seed."""


def summarized(cells: Cells, patients: Sequence[str], task: Task) -> dict[str, Any]:
    """The summary of one test set.

    Args:
        cells: in every arm the same seeds.
        task: what the cells were trained for.
    """
    tables = {
        arm: {metric: task.table(members, patients, metric) for metric in task.metrics}
        for arm, members in cells.items()
    }
    arms = {
        arm: {metric: _interval(task, metric, table) for metric, table in by_metric.items()}
        for arm, by_metric in tables.items()
    }
    others = [arm for arm in cells if arm != REFERENCE and REFERENCE in cells]
    comparisons = [
        asdict(c)
        for metric in task.metrics
        for c in holm([_compare(task, tables, metric, arm, REFERENCE) for arm in others])
    ]
    return {
        "task": task.name, "patients": list(patients), "seeds": [cell["seed"] for cell in next(iter(cells.values()))],
        "metrics": {name: {"title": m.title, "unit": m.unit, "higher_is_better": m.higher_is_better}
                    for name, m in task.metrics.items()},
        "arms": arms, "comparisons": comparisons, "rivals": _rivals(task, tables),
    }  # fmt: skip


def scores_csv(cells: Cells, patients: Sequence[str], task: Task) -> str:
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


def _rivals(task: Task, tables: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """By the main metric: GAN arms against the best of the others (a ceiling is no rival)."""
    main = next(iter(task.metrics))
    sign = 1 if task.metrics[main].higher_is_better else -1
    plain = [arm for arm in tables if not ARMS[arm].synthetic and not ARMS[arm].target]
    best = max(plain, key=lambda arm: sign * float(tables[arm][main].mean()), default=REFERENCE)
    if best == REFERENCE:
        return []
    return [asdict(_compare(task, tables, main, arm, best)) for arm in tables if ARMS[arm].synthetic]


def _interval(task: Task, metric: str, table: np.ndarray) -> dict[str, float]:
    return asdict(mean_interval(table, np.random.RandomState(0)).within(*task.metrics[metric].bounds))


def _compare(
    task: Task, tables: dict[str, dict[str, np.ndarray]], metric: str, arm: str, reference: str
) -> Comparison:  # fmt: skip
    return compare(
        tables[arm][metric], tables[reference][metric], metric=metric, rng=np.random.RandomState(0), arm=arm,
        higher_is_better=task.metrics[metric].higher_is_better, reference=reference,
    )  # fmt: skip
