"""From the lesions counted in the cells to the part "detection" of a summary.

{"dimensions": [2 or 3, of the lesions' parts], "rates": {rate: {"title", "short", "of", "count", "patients",
"higher_is_better", "diameters_mm"}}, "arms": {arm: {rate: interval}}, "differences": [{"arm", "reference", "rate",
"difference": interval}]}: `count` is how much of it there is to find (or to leave alone) in how many patients, and an
interval is null where that is fewer than two, which is no sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from medaug.evaluation.detection import LEAST_PATIENTS, Rate, rate_interval, rates, ratio_scores
from medaug.evaluation.intervals import mean_interval
from medaug.experiment.arms import REFERENCE

Cells = Mapping[str, Sequence[dict[str, Any]]]
"""By arm, one a seed; "detection" of each holds the counts by patient."""


def detection_summary(
    cells: Cells, patients: Sequence[str], size_limits_mm: Sequence[float], unit: str = "mm"
) -> dict[str, Any]:
    """Sensitivity by size class and false positives, with intervals for new patients and seeds."""
    counts = [next(iter(cells.values()))[0]["detection"][patient] for patient in patients]
    known = rates(size_limits_mm, unit)
    chances = {name: np.array([rate.chances(c) for c in counts]) for name, rate in known.items()}
    scores = {
        arm: {name: _scores(members, patients, rate, chances[name]) for name, rate in known.items()}
        for arm, members in cells.items()
    }
    return {
        "dimensions": sorted({c["dimensions"] for c in counts}),
        "rates": {name: _facts(rate, chances[name]) for name, rate in known.items()},
        "arms": {
            arm: {name: _interval(known[name], table) for name, table in by_rate.items()}
            for arm, by_rate in scores.items()
        },
        "differences": _differences(scores, known),
    }


def _facts(rate: Rate, chances: np.ndarray) -> dict[str, Any]:
    return {
        "title": rate.title,
        "short": rate.short,
        "of": rate.of,
        "count": int(chances.sum()),
        "patients": int(np.count_nonzero(chances)),
        "higher_is_better": rate.higher_is_better,
        "diameters_mm": rate.diameters_mm,
    }


def _scores(
    members: Sequence[dict[str, Any]], patients: Sequence[str], rate: Rate, chances: np.ndarray
) -> np.ndarray | None:
    """A row a patient who has any chances and a column a seed; None where such patients are too few."""
    if np.count_nonzero(chances) < LEAST_PATIENTS:
        return None
    events = [[rate.events(cell["detection"][patient]) for cell in members] for patient in patients]
    return ratio_scores(np.array(events), chances)


def _interval(rate: Rate, table: np.ndarray | None) -> dict[str, float] | None:
    return None if table is None else asdict(rate_interval(rate, table, np.random.RandomState(0)))


def _differences(scores: Mapping[str, Mapping[str, np.ndarray | None]], known: Mapping[str, Rate]) -> list[Any]:
    """Of every arm to the reference, paired by patient and seed."""
    reference = scores.get(REFERENCE)
    if reference is None:
        return []
    return [
        {
            "arm": arm,
            "reference": REFERENCE,
            "rate": name,
            "difference": _difference(table, reference[name], known[name].bounds[1]),
        }
        for arm, by_rate in scores.items()
        if arm != REFERENCE
        for name, table in by_rate.items()
    ]


def _difference(table: np.ndarray | None, reference: np.ndarray | None, most: float) -> dict[str, float] | None:
    if table is None or reference is None:
        return None
    return asdict(mean_interval(table - reference, np.random.RandomState(0)).within(-most, most))
