"""What a page answers: what the GAN adds to the best rival, in which words. The screen says the same first sentence."""

from __future__ import annotations

from medaug.config.evaluation import REFERENCE, with_gan
from medaug.evaluation.intervals import Interval
from medaug.evaluation.statistics import Comparison
from medaug.experiment.records import Summary
from medaug.report.page import Tone, Verdict

GAN_TRAININGS = {
    False: "One GAN training: how much another one would differ is in no interval.",
    True: "Each seed has a GAN training of its own: how much they differ is in the intervals.",
}


def verdict_of(summary: Summary) -> Verdict:
    """The answer of a summary by its main metric: the best rival, and what that arm with a GAN does against it.

    The best rival is the best on the very patients that it is judged on, which flatters it and never the GAN. Which GAN
    arm is set against it follows from names alone, and no score. The sentence has the GAN arm of main interest, too.
    What was named beforehand comes before all that.
    """
    if (named := summary.primary) is not None:
        rest = " ".join([named.sentence, *(short_sentence(c, summary) for c in summary.answer)])
        rest += f" {GAN_TRAININGS[summary.gan_seeds]}" if named.arm in summary.gan_arms else ""
        of = f" in {summary.metrics[named.metric].title}" if named.metric != summary.main else ""
        said = f"{named.arm} {_said(named)} against {named.reference}{of}: {change_text(named, summary)}"
        return Verdict(_tone(named), f"{said}, the one comparison that was named beforehand", rest)
    best, twin, answer = summary.best, summary.best_with_gan, summary.answer
    if best not in summary.arms:
        remedy = f"Only GAN arms were trained; add others, such as {REFERENCE}, to evaluation.arms."
        return Verdict("info", "No rival was trained: nothing says what the GAN adds", remedy)
    which, mean = "best" if len(summary.plain_arms) > 1 else "only", summary.arms[best][summary.main].mean
    head = f"{best} is the {which} rival ({summary.title} {mean:.3f}{_unit(summary, summary.main)})"
    if not summary.gan_arms:
        remedy = f"Add {twin} ({with_gan(best, 'gan-offline')} where nothing is inserted online) to evaluation.arms."
        return Verdict("info", f"{head}; no arm with a GAN was trained", remedy)
    rest = " ".join(
        [
            *(c.sentence for c in answer[:1]),
            *(short_sentence(c, summary) for c in answer[1:]),
            GAN_TRAININGS[summary.gan_seeds],
        ]
    )
    if twin not in summary.arms:
        add = "add it to evaluation.arms to see what the GAN adds"
        return Verdict("info", f"{head}; {twin} was not trained: {add}", rest)
    c = answer[0]
    return Verdict(_tone(c), f"{head}; {twin} {_said(c)} against it: {change_text(c, summary)}", rest)


def _tone(c: Comparison) -> Tone:
    tones: dict[str, Tone] = {"helps": "helps", "hurts": "hurts", "inconclusive": "inconclusive"}
    return tones.get(c.verdict, "info")


def short_sentence(c: Comparison, summary: Summary) -> str:
    """What one comparison found."""
    own, other = (summary.arms[arm][c.metric].mean for arm in (c.arm, c.reference))
    return f"{c.arm} ({own:.3f}) {_said(c)} against {c.reference} ({other:.3f}): {change_text(c, summary)}."


def interval_text(interval: Interval, *, signed: bool = False) -> str:
    """The mean, and from where to where."""
    sign = "+" if signed else ""
    return f"{interval.mean:{sign}.3f} ({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"


def change_text(c: Comparison, summary: Summary) -> str:
    """A difference and its interval, in the unit of the metric (of the images, where it has theirs) or in points."""
    unit, d = _unit(summary, c.metric), c.difference
    digits, factor = (2, 1) if unit else (1, 100)
    mean, low, high = (f"{factor * value:+.{digits}f}" for value in (d.mean, d.low, d.high))
    return f"{mean}{unit or ' points'} ({d.level:.0%} interval {low} to {high})"


def _said(c: Comparison) -> str:
    """The word of the verdict; where the interval excludes zero and there is none, what takes it away."""
    words = {
        "too few seeds": "has too few seeds for a verdict",
        "no relevant difference": "makes no relevant difference",
    }
    if c.verdict != "inconclusive":
        return words.get(c.verdict, c.verdict)
    if c.lost_to_correction:
        return "is inconclusive after Holm's correction"
    few = c.difference.excludes(0.0) and c.smallest_detectable is None
    return "is inconclusive of so few patients" if few else "is inconclusive"


def _unit(summary: Summary, metric: str) -> str:
    """The unit of a metric after a blank; nothing where it has none."""
    unit = summary.metrics[metric].unit
    if unit is None:
        unit = summary.translation.unit if summary.translation else ""
    return f" {unit}" if unit else ""
