"""What a verdict needs: seeds, patients, and a difference large enough for them.

A verdict needs an interval and Wilcoxon's test that both hold after Holm's correction (see `statistics`). The p value
of the test is 2 / 2^n at the least, where all n patients agree: with few patients, or many comparisons, no difference
however large gives a verdict, and that is known before anything is trained.

How many patients a difference would take follows from the scores of those there are. In the crossed layout of
`intervals` (every seed is scored on every patient) the variance of a mean difference is σ²_patient / P + σ²_seed / S +
σ²_rest / (P S): more patients lower all of it but the seeds' own part, which more training runs lower.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

LEAST_SEEDS = 2
"""One seed does not show how much training itself varies."""
POWER = 0.8
"""Of a difference that is called detectable."""


def least_patients(n_comparisons: int = 1, level: float = 0.95) -> int:
    """The fewest patients whose Wilcoxon p value, 2 / 2^n at the least, can be small enough after Holm's correction."""
    return 1 + math.ceil(math.log2(n_comparisons / (1 - level)))


def lacking(n_patients: int, n_seeds: int, n_comparisons: int = 1, level: float = 0.95) -> list[str]:
    """What keeps any difference from a verdict, however large it is: sentences; none where one is possible."""
    least, sentences = least_patients(n_comparisons, level), []
    if n_seeds < LEAST_SEEDS:
        sentences.append(
            f"One seed: how much training itself varies is not in the interval; a verdict needs {LEAST_SEEDS} seeds "
            "or more."
        )
    if n_patients < least:
        after = f" after Holm's correction for {n_comparisons} comparisons" if n_comparisons > 1 else ""
        sentences.append(
            f"Too few patients: with {n_patients}, Wilcoxon's p value is {2.0 ** (1 - n_patients):.2g} at the least; "
            f"a verdict needs {least} patients or more{after}."
        )
    return sentences


def detectable(half_width: float, freedom: float, n_comparisons: int = 1, level: float = 0.95) -> float:
    """About the true difference that a test set would show in 80 % of repeats: (t_level + t_power) standard errors.

    Args:
        half_width: of the t interval of `level`, with `freedom` degrees of freedom, alone.
        n_comparisons: that Holm corrects for: the difference is shown at (1 − level) / n, where it is the clearest.
    """
    error = half_width / stats.t.ppf((1 + level) / 2, freedom)
    corrected = stats.t.ppf(1 - (1 - level) / (2 * n_comparisons), freedom)
    return float(error * (corrected + stats.t.ppf(POWER, freedom)))


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


def patients_needed(
    n_patients: int, smallest_detectable: float, wanted: float, share: float = 0.0, n_comparisons: int = 1
) -> int | None:
    """About how many test patients would show a true difference of `wanted`; None: no number would, with these seeds.

    The smallest detectable difference is a multiple of the standard error, so its square goes with the variance:
    δ² (share + (1 − share) P / n) = wanted².

    Args:
        n_patients: P, of whom `smallest_detectable` (δ, see `detectable`) is.
        share: see `seed_share`.
        n_comparisons: that Holm corrects for; fewer patients than `least_patients` of so many show nothing.
    """
    if smallest_detectable == 0:
        return max(n_patients, least_patients(n_comparisons))
    room = (wanted / smallest_detectable) ** 2 - share
    needed = math.ceil(n_patients * (1 - share) / room) if room > 0 else None
    return None if needed is None else max(needed, least_patients(n_comparisons))
