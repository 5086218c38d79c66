"""Real against real, and intervals: both by patient, because lesions of one patient are alike.

The floor of a distance is the same distance between two groups of the real patients, drawn many times: what lesions of
other patients of the same population show too. Its 95 % quantile is what a synthetic set is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from medaug.audits.measures.lesions import LesionSet

LEAST_PATIENTS = 4
LEAST_LESIONS = 8
DRAWS = 200
"""Halvings of the real patients, and resamples of an interval."""
FLOOR_QUANTILE = 0.95

Distance = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Halves:
    """Distances from one group of real patients: to equally many lesions of the rest, and of the synthetic set.

    Attributes:
        floors, values: (DRAWS,) real against real, and real against synthetic lesions.
        lesions: in the smaller group, as many in every draw.
    """

    floors: np.ndarray
    values: np.ndarray
    lesions: int

    @property
    def floor(self) -> float:
        return float(np.quantile(self.floors, FLOOR_QUANTILE))

    def listed(self) -> list[float]:
        """The floors, as a finding's details keep them for its picture."""
        return [float(f"{floor:.4g}") for floor in self.floors]


def too_few(real: LesionSet, synthetic: LesionSet) -> str | None:
    """Why these sets are too small to compare; None if they are not."""
    patients = len(np.unique(real.patients))
    if patients < LEAST_PATIENTS:
        return f"real lesions of {patients} held-out patients; {LEAST_PATIENTS} are needed to compare real with real"
    for name, lesions in (("real", real), ("synthetic", synthetic)):
        if len(lesions) < LEAST_LESIONS:
            return f"{len(lesions)} {name} lesions; at least {LEAST_LESIONS} are needed"
    return None


def group_size(real: LesionSet, synthetic: LesionSet) -> int:
    """Patients in the smaller group: half of them, or as few as the synthetic lesions were made from."""
    sources = {source for source in synthetic.sources if source is not None}
    half = len(np.unique(real.patients)) // 2
    return max(2, min(half, len(sources))) if sources else half


def halvings(patients: np.ndarray, group: int, rng: np.random.RandomState) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of all other patients, rows of `group` random patients), `DRAWS` times."""
    names, numbers = np.unique(patients, return_inverse=True)
    for _ in range(DRAWS):
        drawn = np.isin(numbers, rng.permutation(len(names))[:group])
        yield np.flatnonzero(~drawn), np.flatnonzero(drawn)


def against_halves(
    distance: Distance,
    real: np.ndarray,
    synthetic: np.ndarray,
    patients: np.ndarray,
    group: int,
    rng: np.random.RandomState,
) -> Halves:
    """Both distances between sets of equal sizes, so that what small sets add to a distance is in both.

    Args:
        distance: of two sets of rows.
        real, synthetic: (N, ...), (M, ...), one row a lesion.
        patients: (N,) of the real lesions.
        group: patients in the smaller group.
    """
    pairs = list(halvings(patients, group, rng))
    least = min(len(synthetic), *(len(drawn) for _, drawn in pairs))
    floors, values = [], []
    for rest, drawn in pairs:
        floors.append(distance(real[rest], real[rng.permutation(drawn)[:least]]))
        values.append(distance(real[rest], synthetic[rng.permutation(len(synthetic))[:least]]))
    return Halves(np.array(floors), np.array(values), least)


def bootstrap_interval(
    distance: Distance,
    real: tuple[np.ndarray, np.ndarray],
    synthetic: tuple[np.ndarray, np.ndarray],
    rng: np.random.RandomState,
) -> tuple[float, float]:
    """95 % interval of the distance of two sets of (rows, patients); patients of both are drawn with replacement.

    A resample repeats lesions, which adds to a distance that is never negative. The basic bootstrap interval
    (2 × estimate − quantiles; Davison and Hinkley 1997, section 5.2) takes that off again; it is cut off at 0.
    """
    estimate = distance(real[0], synthetic[0])
    draws = [distance(*(rows[_resampled(patients, rng)] for rows, patients in (real, synthetic))) for _ in range(DRAWS)]
    low, high = 2 * estimate - np.quantile(draws, [0.975, 0.025])
    return max(0.0, float(low)), max(0.0, float(high))


def _resampled(patients: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Rows of patients drawn with replacement, each with all of its lesions."""
    names, numbers = np.unique(patients, return_inverse=True)
    rows = [np.flatnonzero(numbers == number) for number in range(len(names))]
    return np.concatenate([rows[number] for number in rng.randint(len(names), size=len(names))])
