"""Verdicts on scores: helps, hurts, no relevant difference, or inconclusive, with an interval over patients and seeds.

The interval decides (see `intervals`: patients and seeds are both random), and what it shows has to matter: a gain
below the smallest relevant difference is none. Wilcoxon's test over patients has to agree with a gain or a loss, as
papers print it; alone it would decide too often, because it takes the seeds at hand for all there are. Every verdict
of an evaluation is corrected for all the others (`holm`). Scores are arrays (P, S): patients × seeds.

What a verdict needs is known before anything is trained (`lacking`). How many patients a difference would take follows
from the two errors of its mean: more patients lower one of them, and only more training runs the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from medaug.errors import DataError
from medaug.evaluation.intervals import Estimate, Interval, SeedSpread, checked_scores

Verdict = Literal["helps", "hurts", "no relevant difference", "inconclusive", "too few seeds", "not judged"]
"""The last belongs to a comparison that is shown and that nobody asked a verdict of."""
LEAST_SEEDS = 2
"""One seed does not show how much training itself varies."""
POWER = 0.8
"""The chance at which a true difference is called detectable."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another on the same patients and seeds.

    Attributes:
        difference: arm − reference, in the metric's unit (for a distance, negative is better).
        estimate: the same with its two errors.
        p_value: Wilcoxon signed-rank over patients, on differences averaged over seeds.
        p_interval: 1 − the largest level whose interval excludes zero or, where the difference is not relevant, lies
            within ± `smallest_relevant`: new patients and new seeds.
        effect_size: rank-biserial correlation of the patients' differences, −1 to 1 (Kerby 2014): the share of ranks
            above zero minus the share below.
        smallest_relevant: what is no larger is no gain and no loss, in the metric's unit; 0: everything is.
        n_comparisons: those that the verdict is corrected for, itself included.
        smallest_detectable: about the true difference that this test set would have shown with 80 % power after that
            correction; None where it would have shown none, however large.
        p_adjusted, p_interval_adjusted: after Holm's correction, once `holm` has been applied.
        sentence: the result in plain words.
        unit: of the metric.
    """

    arm: str
    reference: str
    metric: str
    difference: Interval
    estimate: Estimate
    p_value: float
    p_interval: float
    effect_size: float
    n_patients: int
    n_seeds: int
    higher_is_better: bool
    smallest_relevant: float = 0.0
    n_comparisons: int = 1
    verdict: Verdict = "not judged"
    sentence: str = ""
    smallest_detectable: float | None = None
    p_adjusted: float | None = None
    p_interval_adjusted: float | None = None
    unit: str = ""

    @property
    def lost_to_correction(self) -> bool:
        """Whether it would have a verdict alone, and has none after the correction for the others."""
        alone = replace(self, p_adjusted=None, p_interval_adjusted=None, n_comparisons=1)
        return self.verdict == "inconclusive" and _verdict(alone) != "inconclusive"


def compare(
    arm_scores: np.ndarray,
    reference_scores: np.ndarray,
    *,
    metric: str,
    higher_is_better: bool,
    spread: SeedSpread | None = None,
    smallest_relevant: float = 0.0,
    arm: str = "arm",
    reference: str = "reference",
    level: float = 0.95,
    unit: str = "",
) -> Comparison:
    """Compares two arms, paired by patient and by seed; the verdict is that of this comparison alone (see `holm`).

    Args:
        arm_scores, reference_scores: (P, S), the same patients in the rows, the same seeds in the columns.
        spread: how far seeds move an arm's mean, pooled over all arms of the evaluation; None: over these two.

    Raises:
        DataError: if the shapes differ, a score is NaN or infinite, or there are fewer than two patients.
    """
    arm_scores, reference_scores = checked_scores(arm_scores, arm), checked_scores(reference_scores, reference)
    if arm_scores.shape != reference_scores.shape:
        raise DataError(
            f"{arm}: found scores of shape {arm_scores.shape}; expected {reference_scores.shape}, the patients × seeds "
            f"of {reference}. Compare two arms on the same patients and the same seeds only."
        )
    differences, spread = arm_scores - reference_scores, spread or SeedSpread.of([arm_scores, reference_scores])
    estimate, by_patient = Estimate.of(differences, spread.of_difference), differences.mean(1)
    p_interval = estimate.p_value()
    if smallest_relevant and abs(estimate.mean) <= smallest_relevant:
        p_interval = max(estimate.p_value(smallest_relevant), estimate.p_value(-smallest_relevant))
    unequal = by_patient[by_patient != 0]  # as Wilcoxon has them
    ranks = stats.rankdata(np.abs(unequal))
    return _judged(
        Comparison(
            arm=arm,
            reference=reference,
            metric=metric,
            difference=estimate.interval(level),
            estimate=estimate,
            p_value=float(stats.wilcoxon(by_patient).pvalue) if by_patient.any() else 1.0,
            p_interval=p_interval,
            effect_size=float((ranks * np.sign(unequal)).sum() / ranks.sum()) if len(unequal) else 0.0,
            n_patients=differences.shape[0],
            n_seeds=differences.shape[1],
            higher_is_better=higher_is_better,
            smallest_relevant=smallest_relevant,
            unit=unit,
        )
    )


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Corrects for asking several questions at once (Holm 1979): fills the adjusted p values, in the order given.

    A verdict stands only if its adjusted p values are at most 1 − level; else it becomes "inconclusive".
    """
    by_patient = _holm_adjusted([c.p_value for c in comparisons])
    by_interval = _holm_adjusted([c.p_interval for c in comparisons])
    return [
        _judged(replace(c, p_adjusted=p, p_interval_adjusted=p_interval, n_comparisons=len(comparisons)))
        for c, p, p_interval in zip(comparisons, by_patient, by_interval, strict=True)
    ]


def without_verdict(c: Comparison) -> Comparison:
    """The same difference as something that is shown and not asked: no other verdict is corrected for it."""
    if c.verdict == "too few seeds":
        return c
    c = replace(c, verdict="not judged", smallest_detectable=None)
    return replace(c, sentence=_sentence(c))


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


def detectable(c: Comparison) -> float:
    """About the true difference that a test set would show in 80 % of repeats.

    Holm's correction is at its strictest: the difference is shown where it is the clearest of all.
    """
    shown = c.estimate.half_width(1 - (1 - c.difference.level) / c.n_comparisons)
    return max(shown, c.smallest_relevant) + c.estimate.half_width(2 * POWER - 1)


def patients_needed(
    n_patients: int, smallest_detectable: float, wanted: float, share: float = 0.0, n_comparisons: int = 1
) -> int | None:
    """About how many test patients would show a true difference of `wanted`; None: no number would, with these seeds.

    The smallest detectable difference is a multiple of the standard error, so its square goes with the variance:
    δ² (share + (1 − share) P / n) = wanted².

    Args:
        n_patients: P, of whom `smallest_detectable` (δ, see `detectable`) is.
        share: `Estimate.seed_share`.
        n_comparisons: that Holm corrects for; fewer patients than `least_patients` of so many show nothing.
    """
    if smallest_detectable == 0:
        return max(n_patients, least_patients(n_comparisons))
    room = (wanted / smallest_detectable) ** 2 - share
    needed = math.ceil(n_patients * (1 - share) / room) if room > 0 else None
    return None if needed is None else max(needed, least_patients(n_comparisons))


def _judged(c: Comparison) -> Comparison:
    """The comparison with its verdict, by the p values as far as they are adjusted, and what it could have shown."""
    possible = not lacking(c.n_patients, c.n_seeds, c.n_comparisons, c.difference.level)
    c = replace(c, verdict=_verdict(c), smallest_detectable=detectable(c) if possible else None)
    return replace(c, sentence=_sentence(c))


def _verdict(c: Comparison) -> Verdict:
    level, mean = c.difference.level, c.difference.mean
    by_patient = c.p_value if c.p_adjusted is None else c.p_adjusted
    by_interval = c.p_interval if c.p_interval_adjusted is None else c.p_interval_adjusted
    if c.n_seeds < LEAST_SEEDS:
        return "too few seeds"
    if by_interval > 1 - level:
        return "inconclusive"
    if c.smallest_relevant and abs(mean) <= c.smallest_relevant:
        return "no relevant difference"
    if by_patient > 1 - level or lacking(c.n_patients, c.n_seeds, c.n_comparisons, level):
        return "inconclusive"
    return "helps" if (mean > 0) == c.higher_is_better else "hurts"


def _holm_adjusted(p_values: list[float]) -> list[float]:
    count = len(p_values)
    adjusted, running = [0.0] * count, 0.0
    for rank, i in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, (count - rank) * p_values[i])
        adjusted[i] = min(1.0, running)
    return adjusted


def _sentence(c: Comparison) -> str:
    digits, unit = (2, f" {c.unit}") if c.unit else (3, "")
    d = c.difference
    heads: dict[Verdict, str] = {
        "helps": f"{c.arm} helps {c.metric} against {c.reference}",
        "hurts": f"{c.arm} hurts {c.metric} against {c.reference}",
        "no relevant difference": f"No relevant difference in {c.metric} (within ±{c.smallest_relevant:g}{unit}): "
        f"{c.arm} against {c.reference}",
        "inconclusive": f"Inconclusive for {c.metric}: {c.arm} against {c.reference}",
        "too few seeds": f"Too few seeds for a verdict on {c.metric}: {c.arm} against {c.reference}",
        "not judged": f"{c.metric}, without a verdict: {c.arm} against {c.reference}",
    }
    of = " of no relevant difference" if c.smallest_relevant and abs(d.mean) <= c.smallest_relevant else ""
    p = f"p{of} = {c.p_interval:.2g}, Wilcoxon p = {c.p_value:.2g}"
    if c.p_adjusted is not None and c.p_interval_adjusted is not None:
        adjusted = f"{c.p_interval_adjusted:.2g} and {c.p_adjusted:.2g}"
        p += f"; {adjusted} after Holm's correction for {c.n_comparisons} comparisons" if c.n_comparisons > 1 else ""
    seeds = "1 seed" if c.n_seeds == 1 else f"{c.n_seeds} seeds"
    sentences = [
        f"{heads[c.verdict]}: {d.mean:+.{digits}f}{unit} "
        f"({d.level:.0%} interval {d.low:+.{digits}f} to {d.high:+.{digits}f}; {c.n_patients} patients, {seeds}; {p}).",
        *(lacking(c.n_patients, c.n_seeds, c.n_comparisons, d.level) if c.verdict != "not judged" else []),
    ]
    if c.smallest_detectable is not None:
        sentences.append(
            f"The smallest true difference this test set would show in {POWER:.0%} of repeats is about "
            f"{c.smallest_detectable:.{digits}f}{unit}."
        )
    return " ".join(sentences)
