"""The mean of scores over patients and seeds, with an interval, and how sure it is that it is not zero.

Patients and seeds are both random: another hospital has other patients, another run another seed. They are crossed
(every seed is scored on every patient), so a mean has two errors that add: one falls with the patients, the other with
the seeds. Both are estimated, the second from very few seeds, so the mean is referred to the sum of two independent
t variables (Behrens and Fisher; Fisher 1935, Annals of Eugenics 6:391), as for two samples of unequal variance. One t
with Satterthwaite's degrees of freedom, the usual choice (Hillis 2007, Stat Med 26:596), decides up to twice too often
with two or three seeds: where they happen to agree, it takes the patients' freedom for its own.

How far seeds vary is much the same for all arms of an evaluation. `SeedSpread` pools it over them, as each arm trains
its own network: A arms and S seeds give A (S − 1) degrees of freedom instead of S − 1. `make calibration` shows what
comes of it. Scores are arrays (P, S): patients × seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincinv, expit, gammaincinv, logit, ndtri, stdtr, stdtrit

from medaug.errors import DataError

NODES = np.linspace(-30.0, 0.0, 240)
"""Where the lower half of a distribution is summed, on the logit scale: its tails count in corrected p values."""


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


@dataclass(frozen=True)
class SeedSpread:
    """How far training anew moves an arm's mean over the patients.

    Attributes:
        variance: of that mean, from one seed to the next.
        freedom: the degrees of freedom that it is known with; 0: one seed, which says nothing.
    """

    variance: float
    freedom: int

    @classmethod
    def of(cls, tables: Iterable[np.ndarray]) -> SeedSpread:
        """Pooled over arms, each a table (P, S) of the same patients and seeds."""
        means = np.array([table.mean(0) for table in tables])
        freedom = means.shape[0] * (means.shape[1] - 1)
        squares = float(((means - means.mean(1, keepdims=True)) ** 2).sum())
        return cls(squares / freedom if freedom else 0.0, freedom)

    @property
    def of_difference(self) -> SeedSpread:
        """Of two arms, trained apart from each other."""
        return replace(self, variance=2 * self.variance)


@dataclass(frozen=True)
class Estimate:
    """A mean and its two errors.

    Attributes:
        of_patients: standard error of the mean that more patients lower, known with `patients_freedom`.
        of_seeds: the one that more seeds lower, known with `seeds_freedom`.
    """

    mean: float
    of_patients: float
    patients_freedom: int
    of_seeds: float = 0.0
    seeds_freedom: int = 0

    @classmethod
    def of(cls, scores: np.ndarray, spread: SeedSpread | None = None) -> Estimate:
        """Of checked scores (P, S); `spread` is pooled over more than these, None: these alone."""
        (patients, seeds), (ms_patient, ms_rest) = scores.shape, _mean_squares(scores)
        spread = spread or SeedSpread.of([scores])
        beyond = max(0.0, spread.variance - ms_rest / patients)  # a mean over patients varies by that, too
        of_seeds = math.sqrt(beyond / seeds) if spread.freedom else 0.0
        return cls(float(scores.mean()), math.sqrt(ms_patient / scores.size), patients - 1, of_seeds, spread.freedom)

    def p_value(self, value: float = 0.0) -> float:
        """Two-sided, for the true mean being `value`."""
        distance = abs(self.mean - value)
        return _beyond(distance, self) if distance else 1.0

    def half_width(self, level: float) -> float:
        """Of the interval of this level."""
        return _half_width(self, level)

    def interval(self, level: float = 0.95) -> Interval:
        width = self.half_width(level)
        return Interval(self.mean, self.mean - width, self.mean + width, level)

    @property
    def seed_share(self) -> float:
        """The part, in [0, 1], of the mean's variance that more patients would not lower."""
        total = self.of_patients**2 + self.of_seeds**2
        return self.of_seeds**2 / total if total else 0.0


@lru_cache(4096)
def _half_width(e: Estimate, level: float) -> float:
    errors = e.of_patients + e.of_seeds
    if not errors:
        return 0.0
    freedom = min(e.patients_freedom, e.seeds_freedom) if e.of_seeds else e.patients_freedom
    most = 1.01 * errors * float(stdtrit(freedom, (1 + level) / 2))  # as if the two errors never cancelled
    return float(brentq(lambda width: _beyond(width, e) - (1 - level), 0.0, most, rtol=1e-7))


def _beyond(distance: float, e: Estimate) -> float:
    """The chance of |a T₁ + b T₂| ≥ distance > 0, for two independent t variables."""
    if not e.of_seeds or not e.of_patients:
        error, freedom = (e.of_seeds, e.seeds_freedom) if e.of_seeds else (e.of_patients, e.patients_freedom)
        return 2 * float(stdtr(freedom, -distance / error)) if error else 0.0
    parts = [(e.patients_freedom, e.of_patients), (e.seeds_freedom, e.of_seeds)]
    (freedom, error), (summed_freedom, summed_error) = sorted(parts)  # the smoother is summed over
    half, weights = _half_of_t(summed_freedom)  # the other half mirrors it
    tails = stdtr(freedom, (np.stack([half, -half]) * summed_error - distance) / error).sum(0)
    return min(1.0, 2 * float(tails @ weights))


@cache
def _half_of_t(freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the lower half of a t variable, and the probability that each stands for."""
    share, step = expit(NODES), NODES[1] - NODES[0]
    weights = share * (1 - share) * step
    weights[[0, -1]] /= 2
    return stdtrit(freedom, share), weights


def mean_interval(scores: np.ndarray, spread: SeedSpread | None = None, level: float = 0.95) -> Interval:
    """The mean of scores (P, S) with an interval for new patients and new seeds.

    With one seed, only patients vary: the interval then says nothing of how much training does.

    Args:
        spread: of the seeds, pooled over all arms; None: from these scores alone.

    Raises:
        DataError: if a score is NaN or infinite, or there are fewer than two patients.
    """
    return Estimate.of(checked_scores(scores, "scores"), spread).interval(level)


def share_interval(found: Interval, trials: float, patients: int) -> Interval:
    """The interval of a share, in [0, 1], from one that is symmetric: Clopper and Pearson's (1934) with as many trials
    as a variance so large has (Korn and Graubard 1998, Survey Methodology 24:193).

    Args:
        trials: how many there were, of all patients; where nothing varies, the patients count as the trials.
    """
    share, alpha, spread = found.mean, 1 - found.level, _variance(found)
    n = min(trials, share * (1 - share) / spread) if 0 < share < 1 and spread else patients
    hits = share * n
    low = float(betaincinv(hits, n - hits + 1, alpha / 2)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - alpha / 2)) if hits < n else 1.0
    return replace(found, low=min(low, share), high=max(high, share))


def logit_interval(found: Interval, patients: int) -> Interval:
    """The interval of an area under a curve, in [0, 1], from one that is symmetric: so on the logit scale."""
    if not 0 < found.mean < 1:
        return share_interval(found, patients, patients)
    half_width = (found.high - found.low) / 2 / (found.mean * (1 - found.mean))
    low, high = (float(expit(logit(found.mean) + side * half_width)) for side in (-1, 1))
    return replace(found, low=low, high=high)


def rate_interval(found: Interval, chances: float) -> Interval:
    """The interval of events by chance, from one that is symmetric: the gamma interval (Fay and Feuer 1997, Stat Med
    16:791), which is Garwood's exact one of Poisson counts where events come one by one, with a bound where none came.

    Args:
        chances: how many there were: scans, or slices.
    """
    rate, alpha, one = found.mean, 1 - found.level, 1 / chances
    spread = max(_variance(found), rate * one)  # counts vary by that, at least
    low = spread / rate * float(gammaincinv(rate**2 / spread, alpha / 2)) if rate else 0.0
    more, wider = rate + one, spread + one**2
    return replace(found, low=low, high=wider / more * float(gammaincinv(more**2 / wider, 1 - alpha / 2)))


def _variance(found: Interval) -> float:
    """That of a normal variable with an interval so wide."""
    return ((found.high - found.low) / 2 / float(ndtri((1 + found.level) / 2))) ** 2


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


def _mean_squares(scores: np.ndarray) -> tuple[float, float]:
    """The mean squares of patients and of the rest of scores (P, S); with one seed the rest is 0."""
    patients, seeds = scores.shape
    mean = scores.mean()
    by_patient, by_seed = scores.mean(1) - mean, scores.mean(0) - mean
    ms_patient = seeds * float((by_patient**2).sum()) / (patients - 1)
    rest = scores - mean - by_patient[:, None] - by_seed[None]
    return ms_patient, float((rest**2).sum()) / ((patients - 1) * max(1, seeds - 1))
