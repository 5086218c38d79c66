"""How many test patients a question would need, from the scores of those there are.

In the crossed layout of `intervals` (every seed is scored on every patient) the variance of a mean difference is
σ²_patient / P + σ²_seed / S + σ²_rest / (P S): more patients lower all of it but the seeds' own part, which more
training runs lower.
"""

from __future__ import annotations

import math

import numpy as np


def seed_share(differences: np.ndarray) -> float:
    """The part of the variance of the mean that more patients would not lower, in [0, 1).

    Args:
        differences: (P, S), of two arms, by patient and seed. With one seed, 0: nothing is known of it.
    """
    patients, seeds = differences.shape
    if seeds < 2 or patients < 2:
        return 0.0
    mean = differences.mean()
    by_patient, by_seed = differences.mean(1) - mean, differences.mean(0) - mean
    rest = differences - mean - by_patient[:, None] - by_seed[None]
    ms_patient = seeds * float((by_patient**2).sum()) / (patients - 1)
    ms_seed = patients * float((by_seed**2).sum()) / (seeds - 1)
    ms_rest = float((rest**2).sum()) / ((patients - 1) * (seeds - 1))
    of_seeds = max(0.0, ms_seed - ms_rest)
    return of_seeds / (of_seeds + ms_patient) if of_seeds else 0.0


def patients_needed(n_patients: int, smallest_detectable: float, wanted: float, share: float = 0.0) -> int | None:
    """About how many test patients would show a true difference of `wanted`; None: no number would, with these seeds.

    The smallest detectable difference is a multiple of the standard error, so its square goes with the variance:
    δ² (share + (1 − share) P / n) = wanted².

    Args:
        n_patients: P, of whom `smallest_detectable` (δ) is.
        share: see `seed_share`.
    """
    if smallest_detectable == 0:
        return n_patients
    room = (wanted / smallest_detectable) ** 2 - share
    return math.ceil(n_patients * (1 - share) / room) if room > 0 else None
