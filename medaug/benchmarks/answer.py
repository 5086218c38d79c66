"""The answer of a benchmark in words: the best GAN arm against `standard`, and against the best arm without a GAN.

Where the answer is "inconclusive", it also says what it would take to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medaug.benchmarks.reading import Group, Results, best_of
from medaug.evaluation.statistics import detectable, lacking, patients_needed, seed_share
from medaug.experiment.arms import REFERENCE
from medaug.experiment.summary import best_rivals
from medaug.report.page import Verdict
from medaug.report.sections import change_text
from medaug.report.verdicts import tone_of

MOST_PATIENTS = 10_000
"""Beyond, a number of patients is not named."""


@dataclass(frozen=True)
class Answer:
    """The best GAN arm of one setting.

    Attributes:
        comparisons: of that arm, by the main metric: with `standard`, then with the best arm without a GAN where that
            is another one. Values as in `evaluation.Comparison`.
        needed: for each comparison about how many test patients would tell a difference as large as the one seen;
            None: no number would, with as many seeds.
    """

    arm: str
    comparisons: list[dict[str, Any]]
    needed: list[int | None]


def answer_of(results: Results, group: Group) -> Answer | None:
    """The answer of one setting; None without a GAN arm, or with nothing to compare it with."""
    arm = best_of(group, [name for name in group["arms"] if name in results.gan_arms], results.main)
    asked = [*group["comparisons"], *best_rivals(group)]
    compared = [c for c in asked if c["arm"] == arm and c["metric"] == results.main]
    if arm is None or not compared:
        return None
    return Answer(arm, compared, [_needed(results, group, c) for c in compared])


def verdict_of(results: Results, group: Group) -> Verdict:
    """The answer of one setting as the page's headline."""
    answer = answer_of(results, group)
    if answer is None:
        return Verdict("info", "No GAN arm was compared", "Add an arm such as standard+gan to evaluation.arms.")
    parts = [f"{c['verdict']} against {c['reference']} ({change_text(c, group)})" for c in answer.comparisons]
    sentences = [
        f"{setting_text(results, group)}, on {_number(len(group['patients']), 'test patient')} and "
        f"{_number(len(group['seeds']), 'seed')}:"
    ]
    sentences += [_in_words(c, group) for c in answer.comparisons]
    if not best_rivals(group) and answer.comparisons[0]["reference"] == REFERENCE:
        sentences.append("No arm without a GAN does better than standard.")
    for comparison, needed in zip(answer.comparisons, answer.needed, strict=True):
        if comparison["verdict"] == "inconclusive":
            sentences.append(what_it_would_take(comparison, needed, group))
    sentences += lacking_of(group)
    return Verdict(tone_of(answer.comparisons), f"{answer.arm}: {', '.join(parts)}", " ".join(sentences))


def lacking_of(group: Group) -> list[str]:
    """What keeps every comparison of a setting from a verdict; nothing where one is possible."""
    asked = [c.get("n_comparisons", 1) for c in [*group["comparisons"], *group["rivals"]]]
    return lacking(len(group["patients"]), len(group["seeds"]), max(asked)) if asked else []


def what_it_would_take(comparison: dict[str, Any], needed: int | None, group: Group) -> str:
    """For an undecided comparison: what this test set could have shown, and how many patients about would tell."""
    unit, against = group["metrics"][comparison["metric"]]["unit"], comparison["reference"]
    if lost_to_holm(comparison):
        return (
            f"Against {against} the interval alone excludes zero, which does not stand after Holm's correction for "
            f"{comparison.get('n_comparisons', 1)} comparisons: ask of fewer arms, or add test patients or seeds."
        )
    shows = comparison["smallest_detectable"]
    least = (
        "no true difference, however large," if shows is None else f"a true difference of about {_amount(shows, unit)}"
    )
    shown = f"To tell (against {against}): this test set shows {least} in 80 % of repeats"
    seen = _amount(abs(comparison["difference"]["mean"]), unit)
    seeds = _number(comparison["n_seeds"], "seed")
    if needed is None:
        return f"{shown}; one as small as that seen ({seen}) needs more seeds: training varies more than that."
    many = f"more than {MOST_PATIENTS:,}" if needed > MOST_PATIENTS else f"about {_rounded(needed):,}"
    return f"{shown}; one as large as that seen ({seen}) would take {many} test patients, with {seeds}."


def lost_to_holm(comparison: dict[str, Any]) -> bool:
    """Whether the interval excludes zero, and the verdict is "inconclusive" all the same."""
    outside = comparison["difference"]["low"] > 0 or comparison["difference"]["high"] < 0
    return outside and comparison["verdict"] == "inconclusive"


def setting_text(results: Results, group: Group) -> str:
    """The setting in words."""
    ratio = f" and {group['ratio']:.0%} of a GAN arm's samples synthetic" if results.gan_arms else ""
    return f"With {patients_text(group['labelled'])}{ratio}"


def patients_text(labelled: int) -> str:
    return _number(labelled, "labelled patient")


def _in_words(comparison: dict[str, Any], group: Group) -> str:
    metric, d = group["metrics"][comparison["metric"]], comparison["difference"]
    unit = f" {metric['unit']}" if metric["unit"] else ""
    own, other = (group["arms"][comparison[key]][comparison["metric"]]["mean"] for key in ("arm", "reference"))
    return (
        f"{metric['title']} {own:.3f}{unit} against {other:.3f}{unit} of {comparison['reference']}, difference "
        f"{d['mean']:+.3f}{unit} ({d['level']:.0%} interval {d['low']:+.3f} to {d['high']:+.3f})."
    )


def _needed(results: Results, group: Group, comparison: dict[str, Any]) -> int | None:
    """Where a patient has no score alone (a pooled metric), the seeds' part is not known and counts as none."""
    differences = results.table(group, comparison["arm"]) - results.table(group, comparison["reference"])
    share = seed_share(differences) if np.isfinite(differences).all() else 0.0
    d, asked = comparison["difference"], comparison.get("n_comparisons", 1)
    freedom = comparison.get("freedom", comparison["n_patients"] - 1)  # summaries of earlier versions have neither
    shown = detectable((d["high"] - d["low"]) / 2, freedom, asked, d["level"])
    return patients_needed(comparison["n_patients"], shown, abs(d["mean"]), share, asked)


def _amount(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}" if unit else f"{100 * value:.1f} points"


def _rounded(count: int) -> int:
    """To two digits: it is an estimate."""
    digits = max(0, len(str(count)) - 2)
    return round(count, -digits)


def _number(count: int, of_what: str) -> str:
    return f"{count} {of_what}" if count == 1 else f"{count} {of_what}s"
