"""Are synthetic lesions as large, as bright and in the same places as real ones?

Wasserstein-1 distances: how far lesions must move, on average, to turn one set into the other, in the measure's unit.
A distance that groups of real patients show among themselves is no fault.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import wasserstein_distance

from medaug.audits.measures.cases import Limits
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.lesions import Lesions
from medaug.audits.measures.resampling import against_halves, bootstrap_interval, group_size, too_few


@dataclass(frozen=True)
class Measure:
    """One property of a lesion. `column` of `Lesions` holds it; `noun` and `unit` go into sentences and plots."""

    audit: str
    column: str
    noun: str
    unit: str
    digits: int

    @property
    def question(self) -> str:
        return f"Do synthetic lesions have the {self.noun} of real ones?"

    def of(self, lesions: Lesions) -> np.ndarray:
        """(N,) or (N, D)."""
        return getattr(lesions, self.column)


SIZE = Measure("lesion_size", "diameters_mm", "equivalent diameter", "mm", 1)
CONTRAST = Measure("lesion_contrast", "contrasts", "contrast to the surroundings", "window units", 3)
LOCATION = Measure("lesion_location", "locations", "place in the organ", "of the organ's width", 3)
MEASURES = (SIZE, CONTRAST, LOCATION)


def distribution_audit(measure: Measure, real: Lesions, synthetic: Lesions, limits: Limits, *, seed: int) -> Finding:
    """Judges the distance of one measure between real held-out and synthetic lesions.

    Args:
        limits: in multiples of the floor, the distance that 95 % of random groups of real patients stay below.
    """
    if (reason := too_few(real, synthetic)) is not None:
        return skipped(measure.audit, measure.question, reason)
    rng = np.random.RandomState(seed)
    ours, theirs = measure.of(real), measure.of(synthetic)
    value, group = distance(ours, theirs), group_size(real, synthetic)
    low, high = bootstrap_interval(distance, (ours, real.patients), (theirs, synthetic.origins), rng)
    halves = against_halves(distance, ours, theirs, real.patients, group, rng)
    standard = distance(*(values / _spread(ours) for values in (ours, theirs)))
    others = len(np.unique(real.patients)) - group
    sentence = (
        f"{_capital(measure.noun)}: {value:.{measure.digits}f} {measure.unit} apart ({low:.{measure.digits}f} to "
        f"{high:.{measure.digits}f}; {standard:.2f} standard deviations); random groups of {group} and {others} real "
        f"patients differ by up to {halves.floor:.{measure.digits}f}. {_medians(measure, ours, theirs)}"
    )
    return judged(
        measure.audit,
        measure.question,
        sentence,
        value=value,
        low=low,
        high=high,
        unit=measure.unit,
        warn=limits.warn * halves.floor,
        fail=limits.fail * halves.floor,
        floor=halves.floor,
        n=real.counts("real") | synthetic.counts("synthetic"),
        details={"standardised": standard, "group_patients": group, "floors": halves.listed()},
    )


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples (N,) and (M,); of (N, D) and (M, D) the largest along an axis."""
    columns = zip(first.reshape(len(first), -1).T, second.reshape(len(second), -1).T, strict=True)
    return max(float(wasserstein_distance(*pair)) for pair in columns)


def _spread(values: np.ndarray) -> np.ndarray:
    spread = values.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def _medians(measure: Measure, real: np.ndarray, synthetic: np.ndarray) -> str:
    """Of both sets, by axis."""
    shown = [
        " × ".join(f"{x:.{measure.digits}f}" for x in np.atleast_1d(np.median(values, axis=0)))
        for values in (real, synthetic)
    ]
    return f"Medians: real {shown[0]}, synthetic {shown[1]} {measure.unit}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
