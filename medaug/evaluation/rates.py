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
from dataclasses import dataclass
from typing import Any

import numpy as np

from medaug.errors import DataError

Counts = Mapping[str, Any]
"""Of one patient, from `count_detections`."""
LEAST_PATIENTS = 2
"""With chances: of one alone there is no interval for others."""


@dataclass(frozen=True)
class Rate:
    """One rate; `rates` has them all.

    Attributes:
        title: for a table.
        of: what its chances are, in the plural.
        events, chances: of one patient's counts.
        diameters_mm: of the lesions counted, from the first to below the second; None of any other rate.
        bounds: of the rate.
    """

    title: str
    of: str
    events: Callable[[Counts], float]
    chances: Callable[[Counts], float]
    higher_is_better: bool = False
    diameters_mm: tuple[float, float | None] | None = None
    bounds: tuple[float, float] = (0.0, math.inf)


def rates(size_limits_mm: Sequence[float]) -> dict[str, Rate]:
    """All rates by name, the sensitivity of every size class that these diameters part among them."""
    classes = zip((0.0, *size_limits_mm), (*size_limits_mm, None), strict=True)
    found = [_sensitivity("sensitivity", "Sensitivity, all lesions", 0.0, None)]
    if size_limits_mm:
        found += [_sensitivity(f"sensitivity: {_size(*c)}", f"Sensitivity, {_size(*c)}", *c) for c in classes]
    return dict(found) | FALSE_POSITIVES


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


def _sensitivity(name: str, title: str, low_mm: float, high_mm: float | None) -> tuple[str, Rate]:
    def of_size(counts: Counts) -> list[bool]:
        most = math.inf if high_mm is None else high_mm
        return [found for diameter_mm, found in counts["lesions"] if low_mm <= diameter_mm < most]

    return name, Rate(
        title, "lesions", lambda counts: sum(of_size(counts)), lambda counts: len(of_size(counts)), True,
        (low_mm, high_mm), (0.0, 1.0),
    )  # fmt: skip


def _size(low_mm: float, high_mm: float | None) -> str:
    if high_mm is None:
        return f"{low_mm:g} mm and more"
    return f"{low_mm:g} to {high_mm:g} mm" if low_mm else f"under {high_mm:g} mm"


def _tumor_free(key: str) -> Callable[[Counts], float]:
    return lambda counts: counts["tumor_free"][key]


FALSE_POSITIVES: dict[str, Rate] = {
    "false_positives": Rate(
        "False positives per scan", "scans", lambda counts: counts["false_positives"], lambda counts: counts["scans"]
    ),
    "tumor_free_false_positives": Rate(
        "False positives per tumor-free scan", "tumor-free scans",
        _tumor_free("false_positives"), _tumor_free("scans"),
    ),
    "tumor_free_slice_false_positives": Rate(
        "False positives per tumor-free slice", "tumor-free slices",
        _tumor_free("slice_false_positives"), _tumor_free("slices"),
    ),
    "tumor_free_slice_voxels": Rate(
        "False-positive voxels per tumor-free slice", "tumor-free slices",
        _tumor_free("slice_voxels"), _tumor_free("slices"),
    ),
}  # fmt: skip
