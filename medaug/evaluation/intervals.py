"""The mean of scores over patients and seeds, with an interval, and how sure it is that it is not zero.

Patients and seeds are both random: another hospital has other patients, another run another seed. They are crossed
(every seed is scored on every patient), as readers and cases are in a reader study, so both are resampled
(Owen 2007, the pigeonhole bootstrap). With three seeds a percentile interval is too short, because three values
understate their own spread; it is therefore widened until it is at least as wide as the t interval of the crossed
random-effects analysis with Hillis' degrees of freedom (Hillis 2007, Stat Med 26:596), the "expanded percentile"
interval of Hesterberg (2015, 1411.5279). Scores are arrays (P, S): patients × seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from medaug.errors import DataError

BISECTIONS = 16


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; `level` is 0.95 for a 95 % interval."""

    mean: float
    low: float
    high: float
    level: float

    def excludes(self, value: float) -> bool:
        return value < self.low or value > self.high

    def within(self, least: float, most: float) -> Interval:
        """The part of it in which the figure can lie."""
        return replace(self, low=max(least, self.low), high=min(most, self.high))


def mean_interval(
    scores: np.ndarray, rng: np.random.RandomState, level: float = 0.95, resamples: int = 4000
) -> Interval:
    """The mean of scores (P, S) with an interval for new patients and new seeds.

    With one seed, only patients are resampled: the interval then says nothing of how much training varies.

    Raises:
        DataError: if a score is NaN or infinite, or there are fewer than two patients.
    """
    return Resampled.of(checked_scores(scores, "scores"), rng, resamples).interval(level)


@dataclass(frozen=True)
class Resampled:
    """The mean of scores (P, S) and what its intervals are made from.

    Attributes:
        draws: (resamples,) means of the crossed bootstrap; `spread` is their standard deviation.
        error, freedom: standard error of the mean with both factors random, and its degrees of freedom.
    """

    mean: float
    draws: np.ndarray
    spread: float
    error: float
    freedom: float

    @classmethod
    def of(cls, scores: np.ndarray, rng: np.random.RandomState, resamples: int) -> Resampled:
        """Resamples checked scores: rows and columns are drawn with replacement, independently.

        Var(mean) = (MS_patient + MS_seed − MS_rest) / (P S), never below the larger of the first two alone; degrees of
        freedom by Satterthwaite on the two that add.
        """
        patients, seeds = scores.shape
        times_patient = rng.multinomial(patients, np.full(patients, 1 / patients), resamples)  # (R, P)
        times_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)  # (R, S)
        draws = np.sort(np.einsum("rs,rs->r", times_patient @ scores, times_seed) / scores.size)  # for np.quantile
        ms_patient, ms_seed, ms_rest = mean_squares(scores)
        total, freedom = max(ms_patient + ms_seed - ms_rest, ms_patient, ms_seed), float(patients - 1)
        if seeds > 1 and total > 0:
            freedom = max(1.0, total**2 / (ms_patient**2 / (patients - 1) + ms_seed**2 / (seeds - 1)))
        return cls(float(scores.mean()), draws, float(draws.std()), float(np.sqrt(total / scores.size)), freedom)

    def interval(self, level: float) -> Interval:
        """The expanded percentile interval."""
        low, high = np.quantile(self.draws, [(1 - level) / 2, (1 + level) / 2])
        spread = self.spread * ndtri((1 + level) / 2)
        wanted = self.error * stdtrit(self.freedom, (1 + level) / 2)
        widening = max(1.0, wanted / spread) if spread > 0 else 1.0
        low, high = (float(self.mean + (end - self.mean) * widening) for end in (low, high))
        return Interval(self.mean, low, high, level)

    def p_value(self) -> float:
        """1 − the largest level whose interval excludes zero.

        Where even the interval of all draws does, the p value of the t statistic, if that is smaller.
        """
        least, most = 2 / len(self.draws), 1.0
        if self.interval(1 - least).excludes(0.0):
            return min(least, 2 * float(stdtr(self.freedom, -abs(self.mean) / self.error))) if self.error else 0.0
        for _ in range(BISECTIONS):
            middle = (least + most) / 2
            if self.interval(1 - middle).excludes(0.0):
                most = middle
            else:
                least = middle
        return most


def checked_scores(scores: np.ndarray, name: str) -> np.ndarray:
    """The scores as float64.

    Raises:
        DataError: if there are fewer than two patients, or a score is NaN or infinite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] < 2 or scores.shape[1] < 1:
        raise DataError(
            f"{name}: found scores of shape {scores.shape}; expected (patients, seeds) with at least two patients. "
            "A verdict needs more test patients."
        )
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        raise DataError(
            f"{name}: found {len(bad)} scores that are NaN or infinite, the first at patient row {bad[0][0]}, seed "
            f"column {bad[0][1]}; expected finite scores. Score that cell again; no patient is dropped silently."
        )
    return scores


def mean_squares(scores: np.ndarray) -> tuple[float, float, float]:
    """The mean squares (of patients, seeds, the rest) of scores (P, S) in the two-way layout; with one seed the last
    two are 0: nothing is known of them."""
    patients, seeds = scores.shape
    mean = scores.mean()
    by_patient, by_seed = scores.mean(1) - mean, scores.mean(0) - mean
    ms_patient = seeds * float((by_patient**2).sum()) / (patients - 1)
    if seeds == 1:
        return ms_patient, 0.0, 0.0
    rest = scores - mean - by_patient[:, None] - by_seed[None]
    ms_seed = patients * float((by_seed**2).sum()) / (seeds - 1)
    return ms_patient, ms_seed, float((rest**2).sum()) / ((patients - 1) * (seeds - 1))
