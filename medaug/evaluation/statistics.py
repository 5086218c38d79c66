"""From scores to a verdict: helps, hurts or inconclusive, with an interval over patients and seeds.

Patients and seeds are both random: another hospital has other patients, another run another seed. They are crossed
(every seed is scored on every patient), as readers and cases are in a reader study, so both are resampled
(Owen 2007, the pigeonhole bootstrap). With three seeds a percentile interval is too short, because three values
understate their own spread; it is therefore widened until it is at least as wide as the t interval of the crossed
random-effects analysis with Hillis' degrees of freedom (Hillis 2007, Stat Med 26:596), the "expanded percentile"
interval of Hesterberg (2015, 1411.5279). Scores are arrays (P, S): patients × seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from medaug.errors import DataError

Verdict = Literal["helps", "hurts", "inconclusive"]
POWER = 0.8  # of `smallest_detectable`


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
class Comparison:
    """One arm against another on the same patients and seeds.

    Attributes:
        difference: arm − reference, in the metric's unit (for a distance, negative is better).
        p_value: Wilcoxon signed-rank over patients, on differences averaged over seeds.
        smallest_detectable: the true difference that this test set would have shown with 80 % power.
        p_adjusted: the p value after Holm's correction, once `holm` has been applied.
        sentence: the result in plain words.
    """

    arm: str
    reference: str
    metric: str
    difference: Interval
    p_value: float
    n_patients: int
    n_seeds: int
    verdict: Verdict
    sentence: str
    smallest_detectable: float
    higher_is_better: bool
    p_adjusted: float | None = None


def mean_interval(
    scores: np.ndarray, rng: np.random.RandomState, level: float = 0.95, resamples: int = 4000
) -> Interval:
    """The mean of scores (P, S) with an interval for new patients and new seeds.

    With one seed, only patients are resampled: the interval then says nothing of how much training varies.

    Raises:
        DataError: if a score is NaN or infinite, or there are fewer than two patients.
    """
    scores = _checked(scores, "scores")
    mean = float(scores.mean())
    draws = _crossed_bootstrap(scores, rng, resamples)  # (resamples,)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    spread = float(draws.std()) * stats.norm.ppf((1 + level) / 2)
    error, freedom = _crossed_standard_error(scores)
    wanted = error * stats.t.ppf((1 + level) / 2, freedom)
    widening = max(1.0, wanted / spread) if spread > 0 else 1.0
    return Interval(mean, float(mean + (low - mean) * widening), float(mean + (high - mean) * widening), level)


def compare(
    arm_scores: np.ndarray, reference_scores: np.ndarray, *, metric: str, higher_is_better: bool,
    rng: np.random.RandomState, arm: str = "arm", reference: str = "reference", level: float = 0.95,
    resamples: int = 4000,
) -> Comparison:  # fmt: skip
    """Compares two arms, paired by patient and by seed: the verdict is "helps" only if the interval excludes zero.

    Args:
        arm_scores, reference_scores: (P, S), the same patients in the rows, the same seeds in the columns.

    Raises:
        DataError: if the shapes differ, a score is NaN or infinite, or there are fewer than two patients.
    """
    arm_scores, reference_scores = _checked(arm_scores, arm), _checked(reference_scores, reference)
    if arm_scores.shape != reference_scores.shape:
        raise DataError(
            f"{arm}: found scores of shape {arm_scores.shape}; expected {reference_scores.shape}, the patients × seeds "
            f"of {reference}. Compare two arms on the same patients and the same seeds only."
        )
    differences = arm_scores - reference_scores
    interval = mean_interval(differences, rng, level, resamples)
    comparison = Comparison(
        arm=arm, reference=reference, metric=metric, difference=interval, p_value=_wilcoxon(differences.mean(1)),
        n_patients=differences.shape[0], n_seeds=differences.shape[1],
        verdict=_verdict(interval, higher_is_better), sentence="",
        smallest_detectable=_smallest_detectable(differences, interval), higher_is_better=higher_is_better,
    )  # fmt: skip
    return replace(comparison, sentence=_sentence(comparison))


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Corrects for asking several questions at once (Holm 1979): fills `p_adjusted`, in the order given.

    A verdict stands only if its interval excludes zero and its adjusted p value is at most 1 − level;
    else it becomes "inconclusive".
    """
    count = len(comparisons)
    adjusted, running = [0.0] * count, 0.0
    for rank, i in enumerate(sorted(range(count), key=lambda i: comparisons[i].p_value)):
        running = max(running, (count - rank) * comparisons[i].p_value)
        adjusted[i] = min(1.0, running)
    corrected = []
    for comparison, p in zip(comparisons, adjusted, strict=True):
        stands = p <= 1 - comparison.difference.level
        verdict = comparison.verdict if stands else "inconclusive"
        comparison = replace(comparison, p_adjusted=p, verdict=verdict)
        corrected.append(replace(comparison, sentence=_sentence(comparison, count)))
    return corrected


def _crossed_bootstrap(scores: np.ndarray, rng: np.random.RandomState, resamples: int) -> np.ndarray:
    """Means (resamples,) of scores (P, S) with rows and columns drawn with replacement, independently."""
    patients, seeds = scores.shape
    times_patient = rng.multinomial(patients, np.full(patients, 1 / patients), resamples)  # (R, P)
    times_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)  # (R, S)
    return np.einsum("rs,rs->r", times_patient @ scores, times_seed) / scores.size


def _crossed_standard_error(scores: np.ndarray) -> tuple[float, float]:
    """Standard error of the mean of scores (P, S), both factors random, and its degrees of freedom.

    Mean squares of the two-way layout: Var(mean) = (MS_patient + MS_seed − MS_rest) / (P S), never below the larger
    of the first two alone; degrees of freedom by Satterthwaite on the two that add.
    """
    patients, seeds = scores.shape
    mean = scores.mean()
    by_patient, by_seed = scores.mean(1) - mean, scores.mean(0) - mean
    ms_patient = seeds * float((by_patient**2).sum()) / (patients - 1)
    if seeds == 1:
        return float(np.sqrt(ms_patient / patients)), float(patients - 1)
    ms_seed = patients * float((by_seed**2).sum()) / (seeds - 1)
    rest = scores - mean - by_patient[:, None] - by_seed[None]
    ms_rest = float((rest**2).sum()) / ((patients - 1) * (seeds - 1))
    total = max(ms_patient + ms_seed - ms_rest, ms_patient, ms_seed)
    if total == 0:
        return 0.0, float(patients - 1)
    freedom = total**2 / (ms_patient**2 / (patients - 1) + ms_seed**2 / (seeds - 1))
    return float(np.sqrt(total / scores.size)), max(1.0, freedom)


def _smallest_detectable(differences: np.ndarray, interval: Interval) -> float:
    """(t_level + t_power) standard errors, from the width of the interval that decided the verdict."""
    _, freedom = _crossed_standard_error(differences)
    half_width = (interval.high - interval.low) / 2
    return float(half_width * (1 + stats.t.ppf(POWER, freedom) / stats.t.ppf((1 + interval.level) / 2, freedom)))


def _wilcoxon(differences: np.ndarray) -> float:
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


def _verdict(difference: Interval, higher_is_better: bool) -> Verdict:
    if not difference.excludes(0.0):
        return "inconclusive"
    return "helps" if (difference.mean > 0) == higher_is_better else "hurts"


def _sentence(c: Comparison, n_comparisons: int = 1) -> str:
    digits, unit = (2, " mm") if c.metric.endswith("_mm") else (3, "")
    d = c.difference
    heads = {
        "helps": f"{c.arm} helps {c.metric} against {c.reference}",
        "hurts": f"{c.arm} hurts {c.metric} against {c.reference}",
        "inconclusive": f"Inconclusive for {c.metric}: {c.arm} against {c.reference}",
    }
    p = f"Wilcoxon p = {c.p_value:.2g}"
    if c.p_adjusted is not None:
        p += f", {c.p_adjusted:.2g} after Holm's correction for {n_comparisons} comparisons"
    seeds = "1 seed" if c.n_seeds == 1 else f"{c.n_seeds} seeds"
    text = (
        f"{heads[c.verdict]}: {d.mean:+.{digits}f}{unit} "
        f"({d.level:.0%} interval {d.low:+.{digits}f} to {d.high:+.{digits}f}; {c.n_patients} patients, {seeds}; {p}). "
        f"The smallest true difference this test set would show in {POWER:.0%} of repeats is about "
        f"{c.smallest_detectable:.{digits}f}{unit}."
    )
    return text + (" One seed: how much training itself varies is not in the interval." if c.n_seeds == 1 else "")


def _checked(scores: np.ndarray, name: str) -> np.ndarray:
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
