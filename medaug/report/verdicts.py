"""What a page answers: which two arms its headline is about, in which words, and what must not be overlooked."""

from __future__ import annotations

from collections.abc import Sequence

from medaug.config.evaluation import REFERENCE
from medaug.evaluation.intervals import Interval
from medaug.evaluation.statistics import Comparison
from medaug.experiment.records import Summary
from medaug.report.page import Tone, Verdict


def verdict_of(summary: Summary) -> Verdict:
    """The answer of a summary by its main metric: of the GAN arm of main interest, and of no other arm.

    The headline names that arm and its reference: `standard`, or where that was not trained the best arm without a GAN.
    The sentence has the best rival too, if it is better than `standard`.
    """
    gan = summary.gan_arms
    compared = [c for c in [*summary.main_comparisons, *summary.best_rivals] if c.arm in gan[:1]]
    if not compared:
        needed = f"add another, such as {REFERENCE}," if gan else f"add one, such as {REFERENCE}+gan,"
        return Verdict(
            "info",
            "No comparison was made" if gan else "No GAN arm was compared",
            f"{'Only GAN arms were' if gan else 'No arm with a GAN was'} trained; {needed} to evaluation.arms.",
        )
    c = compared[0]
    change = f"{summary.metrics[c.metric].title} {change_text(c, summary)}"
    headlines = {
        "helps": f"{c.arm} helps against {c.reference}: {change}",
        "hurts": f"{c.arm} hurts against {c.reference}: {change}",
        "inconclusive": f"Inconclusive: {c.arm} against {c.reference}, {change}, {_undecided(c)}",
    }
    named = f"Too few seeds for a verdict: {c.arm} against {c.reference}, {change}"
    return Verdict(tone_of(compared), headlines.get(c.verdict, named), " ".join(c.sentence for c in compared))


def tone_of(compared: Sequence[Comparison]) -> Tone:
    """The first comparison sets the tone; help is shown as such only where it stands against the rivals, too."""
    first, *rivals = (c.verdict for c in compared)
    tones: dict[str, Tone] = {"helps": "helps", "hurts": "hurts", "inconclusive": "inconclusive"}
    return "info" if first == "helps" and any(word != "helps" for word in rivals) else tones.get(first, "info")


def rival_notes(summary: Summary, where: str = "") -> list[str]:
    """What a reader must not overlook: a cheap arm that does as well as a GAN."""
    words = {"hurts": "does better than", "inconclusive": "does as well as", "too few seeds": "cannot be told from"}
    return [
        f"{where}{c.reference}, which needs no GAN, {words[c.verdict]} {c.arm}: the difference of {c.arm} to it is "
        f"{interval_text(c.difference, signed=True)}."
        for c in summary.best_rivals
        if c.verdict in words
    ]


def interval_text(interval: Interval, *, signed: bool = False) -> str:
    """The mean, and from where to where."""
    sign = "+" if signed else ""
    return f"{interval.mean:{sign}.3f} ({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"


def change_text(comparison: Comparison, summary: Summary) -> str:
    """A mean difference, in the unit of the metric (or of the images, where it has theirs), or in hundredths."""
    mean, unit = comparison.difference.mean, summary.metrics[comparison.metric].unit
    if unit is None:
        unit = summary.translation.unit if summary.translation else ""
    return f"{mean:+.2f} {unit}" if unit else f"{100 * mean:+.1f} points"


def _undecided(c: Comparison) -> str:
    """Why there is neither help nor harm."""
    if not c.difference.excludes(0.0):
        return "and the interval includes zero"
    few = c.smallest_detectable is None
    return "and the patients are too few for any verdict" if few else "which does not stand after Holm's correction"
