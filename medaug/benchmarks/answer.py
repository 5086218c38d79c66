"""The answer of a benchmark in words: the best GAN arm against `standard`, and against the best arm without a GAN.

Where the answer is "inconclusive", it also says what it would take to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medaug.benchmarks.results import BenchmarkResults, lacking_of
from medaug.evaluation.statistics import Comparison, detectable, patients_needed, seed_share
from medaug.experiment.arms import REFERENCE
from medaug.experiment.records import Summary
from medaug.report.page import Verdict
from medaug.report.verdicts import change_text, tone_of

MOST_PATIENTS = 10_000
"""Beyond, a number of patients is not named."""


class Asked(NamedTuple):
    """A comparison by the main metric, and what it would take to decide it.

    Attributes:
        needed: about how many test patients would tell a difference as large as the one seen; None: no number would,
            with as many seeds.
    """

    comparison: Comparison
    needed: int | None

    @property
    def lost_to_holm(self) -> bool:
        """Whether the interval excludes zero, and the verdict is "inconclusive" all the same."""
        return self.comparison.verdict == "inconclusive" and self.comparison.difference.excludes(0.0)


@dataclass(frozen=True)
class Answer:
    """The best GAN arm of one setting, compared with `standard`, then with the best arm without a GAN if another."""

    arm: str
    asked: list[Asked]


def answer_of(results: BenchmarkResults, group: Summary) -> Answer | None:
    """The answer of one setting; None without a GAN arm, or with nothing to compare it with."""
    sign = 1 if results.main.higher_is_better else -1
    with_gan = [arm for arm in group.arms if arm in results.gan_arms]
    best = max(with_gan, key=lambda arm: sign * group.arms[arm][group.main].mean, default=None)
    compared = [c for c in [*group.main_comparisons, *group.best_rivals] if c.arm == best]
    if best is None or not compared:
        return None
    return Answer(best, [Asked(c, _needed(results, group, c)) for c in compared])


def headline_of(results: BenchmarkResults, group: Summary) -> Verdict:
    """The answer of one setting as the page's headline."""
    answer = answer_of(results, group)
    if answer is None:
        return Verdict("info", "No GAN arm was compared", "Add an arm such as standard+gan to evaluation.arms.")
    ratio = f" and {group.ratio:.0%} of a GAN arm's samples synthetic" if results.gan_arms else ""
    patients, seeds = _number(len(group.patients), "test patient"), _number(len(group.seeds), "seed")
    sentences = [f"With {patients_text(group)}{ratio}, on {patients} and {seeds}:"]
    compared = [asked.comparison for asked in answer.asked]
    for c in compared:
        metric, d = group.metrics[c.metric], c.difference
        unit = f" {metric.unit}" if metric.unit else ""
        own, other = (group.arms[arm][c.metric].mean for arm in (c.arm, c.reference))
        sentences.append(
            f"{metric.title} {own:.3f}{unit} against {other:.3f}{unit} of {c.reference}, difference "
            f"{d.mean:+.3f}{unit} ({d.level:.0%} interval {d.low:+.3f} to {d.high:+.3f})."
        )
    if not group.best_rivals and compared[0].reference == REFERENCE:
        sentences.append("No arm without a GAN does better than standard.")
    sentences += [_what_it_would_take(a, group) for a in answer.asked if a.comparison.verdict == "inconclusive"]
    parts = [f"{c.verdict} against {c.reference} ({change_text(c, group)})" for c in compared]
    sentences += lacking_of(group)
    return Verdict(tone_of(compared), f"{answer.arm}: {', '.join(parts)}", " ".join(sentences))


def patients_text(group: Summary) -> str:
    """How many patients are labelled in a setting."""
    return _number(group.labelled or 0, "labelled patient")


def _what_it_would_take(asked: Asked, group: Summary) -> str:
    """For an undecided comparison: what this test set could have shown, and how many patients about would tell."""
    c, needed = asked
    unit, against = group.metrics[c.metric].unit, c.reference
    if asked.lost_to_holm:
        return (
            f"Against {against} the interval alone excludes zero, which does not stand after Holm's correction for "
            f"{c.n_comparisons} comparisons: ask of fewer arms, or add test patients or seeds."
        )

    def amount(value: float) -> str:
        return f"{value:.2f} {unit}" if unit else f"{100 * value:.1f} points"

    shows = c.smallest_detectable
    least = "no true difference, however large," if shows is None else f"a true difference of about {amount(shows)}"
    shown = f"To tell (against {against}): this test set shows {least} in 80 % of repeats"
    seen = amount(abs(c.difference.mean))
    if needed is None:
        return f"{shown}; one as small as that seen ({seen}) needs more seeds: training varies more than that."
    rounded = round(needed, -max(0, len(str(needed)) - 2))  # two digits: it is an estimate
    many = f"more than {MOST_PATIENTS:,}" if needed > MOST_PATIENTS else f"about {rounded:,}"
    seeds = _number(c.n_seeds, "seed")
    return f"{shown}; one as large as that seen ({seen}) would take {many} test patients, with {seeds}."


def _needed(results: BenchmarkResults, group: Summary, c: Comparison) -> int | None:
    """The seeds' part is not known, and counts as none, of a metric that a patient alone does not have."""
    scores = {(cell.arm, cell.seed): cell.scores for cell in results.cells(group)}
    of_arm, of_reference = (
        np.array([[scores[arm, s][p][group.main] for s in group.seeds] for p in group.patients], dtype=np.float64)
        for arm in (c.arm, c.reference)
    )
    differences = of_arm - of_reference
    share = seed_share(differences) if np.isfinite(differences).all() else 0.0
    d = c.difference
    shown = detectable((d.high - d.low) / 2, c.freedom, c.n_comparisons, d.level)
    return patients_needed(c.n_patients, shown, abs(d.mean), share, c.n_comparisons)


def _number(count: int, of_what: str) -> str:
    return f"{count} {of_what}" if count == 1 else f"{count} {of_what}s"
