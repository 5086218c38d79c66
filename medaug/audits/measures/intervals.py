"""Intervals of audits: patients are what was drawn at random, so patients are resampled, with all of their cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 1000


def over_patients(
    values: Sequence[float] | np.ndarray,
    patients: Sequence[str] | np.ndarray,
    *,
    seed: int,
    statistic: Callable[[np.ndarray], float] = np.mean,
) -> tuple[float | None, float | None]:
    """The 95 % percentile interval of a statistic of cases; (None, None) with fewer than two patients.

    Args:
        values: (cases,) or (cases, columns); `statistic` is given the cases of a resample.
        patients: of each case.
    """
    rows = np.asarray(values, dtype=np.float64)
    names, numbers = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < 2:
        return None, None
    members = [np.flatnonzero(numbers == k) for k in range(len(names))]
    rng = np.random.RandomState(seed)
    draws = [
        float(statistic(rows[np.concatenate([members[k] for k in rng.randint(len(names), size=len(names))])]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)
