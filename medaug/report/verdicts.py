"""What a page answers: which two arms its headline is about, in which words, and what must not be overlooked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medaug.experiment.arms import REFERENCE
from medaug.experiment.summary import best_rivals, gan_arms
from medaug.report.page import Tone, Verdict
from medaug.report.sections import change_text, interval_text, main_comparisons


def verdict_of(summary: dict[str, Any]) -> Verdict:
    """The answer of a summary by its main metric: of the GAN arm of main interest, and of no other arm.

    The headline names that arm and its reference: `standard`, or where that was not trained the best arm without a GAN.
    The sentence has the best rival too, if it is better than `standard`.
    """
    gan = gan_arms_of(summary)
    compared = [c for c in [*main_comparisons(summary), *best_rivals(summary)] if c["arm"] in gan[:1]]
    if not compared:
        needed = f"add another, such as {REFERENCE}," if gan else f"add one, such as {REFERENCE}+gan,"
        return Verdict(
            "info",
            "No comparison was made" if gan else "No GAN arm was compared",
            f"{'Only GAN arms were' if gan else 'No arm with a GAN was'} trained; {needed} to evaluation.arms.",
        )
    c = compared[0]
    change = f"{summary['metrics'][c['metric']]['title']} {change_text(c, summary)}"
    headlines = {
        "helps": f"{c['arm']} helps against {c['reference']}: {change}",
        "hurts": f"{c['arm']} hurts against {c['reference']}: {change}",
        "inconclusive": f"Inconclusive: {c['arm']} against {c['reference']}, {change}, {_undecided(c)}",
    }
    named = f"Too few seeds for a verdict: {c['arm']} against {c['reference']}, {change}"
    return Verdict(tone_of(compared), headlines.get(c["verdict"], named), " ".join(c["sentence"] for c in compared))


def gan_arms_of(summary: dict[str, Any]) -> list[str]:
    """The GAN arms of a summary, the one of main interest first."""
    found = summary.get("gan_arms")  # summaries of earlier versions have none
    return gan_arms(summary["arms"]) if found is None else list(found)


def tone_of(compared: Sequence[dict[str, Any]]) -> Tone:
    """That of the first comparison; help is shown as such only where it stands against the rivals, too."""
    first, *rivals = (c["verdict"] for c in compared)
    tones: dict[str, Tone] = {"helps": "helps", "hurts": "hurts", "inconclusive": "inconclusive"}
    return "info" if first == "helps" and any(word != "helps" for word in rivals) else tones.get(first, "info")


def rival_notes(summary: dict[str, Any], where: str = "") -> list[str]:
    """What a reader must not overlook: a cheap arm that does as well as a GAN."""
    words = {"hurts": "does better than", "inconclusive": "does as well as", "too few seeds": "cannot be told from"}
    return [
        f"{where}{c['reference']}, which needs no GAN, {words[c['verdict']]} {c['arm']}: the difference of {c['arm']} "
        f"to it is {interval_text(c['difference'], signed=True)}."
        for c in best_rivals(summary)
        if c["verdict"] in words
    ]


def _undecided(c: dict[str, Any]) -> str:
    """Why there is neither help nor harm."""
    if c["difference"]["low"] <= 0 <= c["difference"]["high"]:
        return "and the interval includes zero"
    few = c["smallest_detectable"] is None
    return "and the patients are too few for any verdict" if few else "which does not stand after Holm's correction"
