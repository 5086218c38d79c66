"""Rates of detection over patients: sensitivity by lesion size, false positives per scan, per tumor-free scan or slice.

A rate is a ratio of sums, Σ events / Σ chances, over patients and seeds: of all lesions the share that was found, not
the mean of each patient's share, which a patient without lesions does not have. Its scores by patient and seed are the
first-order ones of a ratio (Cochran 1977, Sampling Techniques, 6.4; the infinitesimal jackknife),

    z = R + (events − R chances) / mean(chances),

whose mean is the rate R itself and whose spread is what resampling patients and seeds does to it; so `mean_interval`
serves rates as it serves Dice, and differences of arms are paired. Patients without chances say nothing of a rate: the
sample are the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medaug.errors import DataError
from medaug.evaluation.intervals import Interval, mean_interval

Counts = Mapping[str, Any]
"""Of one patient, from `count_detections`."""
LEAST_PATIENTS = 2
"""With chances: of one alone there is no interval for others."""


@dataclass(frozen=True)
class Rate:
    """One rate; `rates` has them all.

    Attributes:
        title: in full; `short` is what a column is called whose table says what it counts.
        of: what its chances are, in the plural.
        events, chances: of one patient's counts.
        diameters_mm: of the lesions counted, from the first to below the second; None of any other rate.
        bounds: of the rate.
    """

    title: str
    short: str
    of: str
    events: Callable[[Counts], float]
    chances: Callable[[Counts], float]
    higher_is_better: bool = False
    diameters_mm: tuple[float, float | None] | None = None
    bounds: tuple[float, float] = (0.0, math.inf)


def rates(size_limits_mm: Sequence[float], unit: str = "mm") -> dict[str, Rate]:
    """All rates by name, the sensitivity of every size class that these diameters part among them."""
    classes = zip((0.0, *size_limits_mm), (*size_limits_mm, None), strict=True)
    found = {"sensitivity": _sensitivity("all", 0.0, None)}
    if size_limits_mm:
        found |= {f"sensitivity: {_size(*c, unit)}": _sensitivity(_size(*c, unit), *c) for c in classes}
    return found | FALSE_POSITIVES


def ratio_scores(events: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Scores whose mean is Σ events / Σ chances, a row a patient with chances, to be resampled like any other scores.

    Args:
        events: (P, S), by patient and seed.
        chances: (P,), the same for every seed: what the labels hold.

    Raises:
        DataError: if fewer than two patients have chances.
    """
    counted = np.asarray(chances) > 0
    events, chances = np.asarray(events, np.float64)[counted], np.asarray(chances, np.float64)[counted]
    if len(chances) < LEAST_PATIENTS:
        raise DataError(
            f"found {len(chances)} patients with anything to count; expected at least {LEAST_PATIENTS} for an "
            "interval. Score more patients."
        )
    rate = events.sum() / (chances.sum() * events.shape[1])
    return rate + (events - rate * chances[:, None]) / chances.mean()


def rate_interval(rate: Rate, scores: np.ndarray, rng: np.random.RandomState, level: float = 0.95) -> Interval:
    """The rate of `ratio_scores` (P, S) with an interval for new patients and seeds.

    Where every patient's lesions were all found, or none was, resampling has nothing to vary: the interval is then
    Clopper and Pearson's (1934), the patients being the trials. False positives have no such bound: without any in any
    patient their interval is 0 to 0.
    """
    interval = mean_interval(scores, rng, level).within(*rate.bounds)
    if math.isinf(rate.bounds[1]) or scores.min() != scores.max() or scores.min() not in rate.bounds:
        return interval
    end = ((1 - level) / 2) ** (1 / len(scores))
    return replace(interval, low=end) if interval.mean == 1 else replace(interval, high=1 - end)


def _sensitivity(short: str, low_mm: float, high_mm: float | None) -> Rate:
    def of_size(counts: Counts) -> list[bool]:
        most = math.inf if high_mm is None else high_mm
        return [found for diameter_mm, found in counts["lesions"] if low_mm <= diameter_mm < most]

    return Rate(
        f"Sensitivity, {short}",
        short,
        "lesions",
        lambda counts: sum(of_size(counts)),
        lambda counts: len(of_size(counts)),
        True,
        (low_mm, high_mm),
        (0.0, 1.0),
    )


def _size(low_mm: float, high_mm: float | None, unit: str) -> str:
    if high_mm is None:
        return f"{low_mm:g} {unit} and more"
    return f"{low_mm:g} to {high_mm:g} {unit}" if low_mm else f"under {high_mm:g} {unit}"


def _tumor_free(key: str) -> Callable[[Counts], float]:
    return lambda counts: counts["tumor_free"][key]


FALSE_POSITIVES: dict[str, Rate] = {
    "false_positives": Rate(
        "False positives per scan",
        "per scan",
        "scans",
        lambda counts: counts["false_positives"],
        lambda counts: counts["scans"],
    ),
    "tumor_free_false_positives": Rate(
        "False positives per tumor-free scan",
        "per tumor-free scan",
        "tumor-free scans",
        _tumor_free("false_positives"),
        _tumor_free("scans"),
    ),
    "tumor_free_slice_false_positives": Rate(
        "False positives per tumor-free slice",
        "per tumor-free slice",
        "tumor-free slices",
        _tumor_free("slice_false_positives"),
        _tumor_free("slices"),
    ),
    "tumor_free_slice_voxels": Rate(
        "False-positive voxels per tumor-free slice",
        "voxels there",
        "tumor-free slices",
        _tumor_free("slice_voxels"),
        _tumor_free("slices"),
    ),
}
