"""From the lesions counted in the cells to the part "detection" of a summary.

{"dimensions": [2 or 3, of the lesions' parts], "rates": {rate: {"title", "of", "count", "patients",
"higher_is_better", "diameters_mm"}}, "arms": {arm: {rate: interval}}, "differences": [{"arm", "reference", "rate",
"difference": interval}]}: `count` is how much of it there is to find (or to leave alone) in how many patients, and an
interval is null where that is fewer than two, which is no sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from medaug.evaluation import mean_interval
from medaug.evaluation.rates import LEAST_PATIENTS, Rate, rates, ratio_scores
from medaug.stages.downstream.arms import REFERENCE

Cells = Mapping[str, Sequence[dict[str, Any]]]
"""By arm, one a seed; "detection" of each holds the counts by patient."""


def detection_summary(cells: Cells, patients: Sequence[str], size_limits_mm: Sequence[float]) -> dict[str, Any]:
    """Sensitivity by size class and false positives, with intervals for new patients and seeds."""
    counts = [next(iter(cells.values()))[0]["detection"][patient] for patient in patients]
    known = rates(size_limits_mm)
    chances = {name: np.array([rate.chances(c) for c in counts]) for name, rate in known.items()}
    scores = {
        arm: {name: _scores(members, patients, rate, chances[name]) for name, rate in known.items()}
        for arm, members in cells.items()
    }
    return {
        "dimensions": sorted({c["dimensions"] for c in counts}),
        "rates": {name: _facts(rate, chances[name]) for name, rate in known.items()},
        "arms": {
            arm: {name: _interval(table, *known[name].bounds) for name, table in by_rate.items()}
            for arm, by_rate in scores.items()
        },
        "differences": _differences(scores, known),
    }


def _facts(rate: Rate, chances: np.ndarray) -> dict[str, Any]:
    return {
        "title": rate.title, "of": rate.of, "count": int(chances.sum()), "patients": int(np.count_nonzero(chances)),
        "higher_is_better": rate.higher_is_better, "diameters_mm": rate.diameters_mm,
    }  # fmt: skip


def _scores(
    members: Sequence[dict[str, Any]], patients: Sequence[str], rate: Rate, chances: np.ndarray
) -> np.ndarray | None:
    """A row a patient who has any chances and a column a seed; None where such patients are too few."""
    if np.count_nonzero(chances) < LEAST_PATIENTS:
        return None
    events = [[rate.events(cell["detection"][patient]) for cell in members] for patient in patients]
    return ratio_scores(np.array(events), chances)


def _differences(scores: Mapping[str, Mapping[str, np.ndarray | None]], known: Mapping[str, Rate]) -> list[Any]:
    reference = scores.get(REFERENCE, {})
    return [
        {
            "arm": arm, "reference": REFERENCE, "rate": name,
            "difference": _interval(None if table is None else table - reference[name], -most, most),
        }
        for arm, by_rate in scores.items() if arm != REFERENCE and REFERENCE in scores
        for name, table in by_rate.items() for most in [known[name].bounds[1]]
    ]  # fmt: skip


def _interval(table: np.ndarray | None, least: float, most: float) -> dict[str, float] | None:
    return None if table is None else asdict(mean_interval(table, np.random.RandomState(0)).within(least, most))
