"""The answer of a benchmark in words and plots: what the GAN adds to the best rival, as on the page of a run.

Where the answer is "inconclusive", it also says what it would take to tell. A plot is drawn when asked for, as PNG for
the page and as SVG for print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from medaug.benchmarks.results import BenchmarkResults, lacking_of
from medaug.data.cache import file_name
from medaug.evaluation.statistics import Comparison, detectable, patients_needed
from medaug.experiment.records import Cell, Detection, Summary
from medaug.experiment.summary import CLASS_SEPARATOR
from medaug.figures.charts import Encode, by_setting
from medaug.report.page import MISSING, Verdict
from medaug.report.sections import forest_plot, patient_plot
from medaug.report.verdicts import short_sentence, verdict_of

MOST_PATIENTS = 10_000
"""Beyond, a number of patients is not named."""
OF_A_CLASS = "sensitivity: "
"""What the name of a rate of one size class begins with; the rest names the class."""


class Asked(NamedTuple):
    """A comparison by the main metric, and what it would take to decide it.

    Attributes:
        needed: about how many test patients would tell a difference as large as the one seen; None: no number would,
            with as many seeds.
    """

    comparison: Comparison
    needed: int | None

    @property
    def needs(self) -> str:
        """What it lacks for a verdict, in a word or two."""
        if self.comparison.lost_to_correction:
            return "fewer arms"
        verdict = self.comparison.verdict
        if verdict == "too few seeds" or (verdict == "inconclusive" and self.needed is None):
            return "more seeds"
        if verdict != "inconclusive":
            return MISSING
        return f"> {MOST_PATIENTS:,}" if (self.needed or 0) > MOST_PATIENTS else f"{self.needed:,}"


@dataclass(frozen=True)
class Drawing:
    """One plot, drawn when asked for; `name` is its file's, without an ending, `alt` says what it shows."""

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Encode], bytes]


def answer_of(group: Summary) -> list[Asked]:
    """The comparisons that the answer of one setting rests on (`Summary.answer`)."""
    asked = []
    for c in group.answer:
        needed = patients_needed(
            c.n_patients, detectable(c), abs(c.difference.mean), c.estimate.seed_share, c.n_comparisons
        )
        asked.append(Asked(c, needed))
    return asked


def headline_of(results: BenchmarkResults, group: Summary) -> Verdict:
    """The answer of one setting as the page's headline: that of a run, with what it would take to tell."""
    found, answer = verdict_of(group), answer_of(group)
    if not answer:
        return found
    ratio = f" and {group.ratio:.0%} of a GAN arm's samples synthetic" if results.gan_arms else ""
    patients, seeds = _number(len(group.patients), "test patient"), _number(len(group.seeds), "seed")
    sentences = [f"With {patients_text(group)}{ratio}, on {patients} and {seeds}."]
    if answer[0].comparison.verdict == "inconclusive":
        sentences.append(_what_it_would_take(answer[0], group))
    compared = [asked.comparison for asked in answer]
    judged = (group.best_with_gan, group.best)  # what the headline says
    sentences += [short_sentence(c, group) for c in compared if (c.arm, c.reference) != judged]
    return replace(found, sentence=" ".join([*sentences, *lacking_of(group)]))


def patients_text(group: Summary) -> str:
    """How many patients are labelled in a setting."""
    return _number(group.labelled or 0, "labelled patient")


def _what_it_would_take(asked: Asked, group: Summary) -> str:
    """For an undecided comparison: what this test set could have shown, and how many patients about would tell."""
    c, needed = asked
    unit, against = group.metrics[c.metric].unit, c.reference
    if c.lost_to_correction:
        return (
            f"Against {against} it would be decided if it were asked alone, which does not stand after Holm's "
            f"correction for {c.n_comparisons} comparisons: ask of fewer arms, name it as evaluation.primary before "
            "anything is trained, or add test patients or seeds."
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


def differences(summary: Summary) -> list[Drawing]:
    """All arms to `standard`, and GAN arms to the best arm without a GAN where that is another one."""
    found = []
    for name, compared in (("differences", summary.main_comparisons), ("rivals", summary.best_rivals)):
        if not compared:
            continue
        metric = summary.metrics[compared[0].metric]
        better = "Right" if metric.higher_is_better else "Left"
        of_whom = "GAN arms against the best arm without a GAN. " if name == "rivals" else ""
        title = f"Difference in {metric.title} to {compared[0].reference}"
        caption = f"{of_whom}{better} of zero is better. 95 % intervals over patients and seeds."
        listed = "; ".join(f"{c.arm} {c.difference.mean:+.3f}, {c.verdict}" for c in compared)
        alt = f"{title} with its interval: {listed}"
        found.append(Drawing(name, title, caption, alt, partial(forest_plot, summary, compared)))
    return found


def by_patient(summary: Summary, cells: Sequence[Cell]) -> list[Drawing]:
    """Every test patient's score in every arm."""
    title, alt = f"{summary.title} by patient", f"{summary.title} of every test patient by arm"
    caption = "Each dot is a test patient alone, averaged over seeds."
    return [Drawing("patients", title, caption, alt, partial(patient_plot, summary, cells))]


def curves(results: BenchmarkResults, group: Summary) -> list[Drawing]:
    """The main metric over the number of labelled patients, and over the synthetic part, where there are several.

    They run through `group`, the setting of the headline.
    """

    def curve(
        name: str, over: str, ticks: list[str], groups: list[Summary], xlabel: str, of: str, rest: str
    ) -> Drawing:
        arms = dict.fromkeys(arm for one in groups for arm in one.arms)
        lines = {arm: [one.arms[arm][one.main] if arm in one.arms else None for one in groups] for arm in arms}
        title, listed = results.main.title, f"{', '.join(ticks[:-1])} and {ticks[-1]}"
        return Drawing(
            name,
            f"{title} by {over}",
            f"Bars are 95 % intervals. {rest}",
            f"{title} of each arm {of.format(listed)}; the table of all settings has the figures",
            lambda encode: by_setting(lines, ticks=ticks, xlabel=xlabel, ylabel=results.main.heading, encode=encode),
        )

    found = []
    if len(results.labelled) > 1:
        groups = [results.group(labelled, group.ratio) for labelled in results.labelled]
        ticks, of = [str(number) for number in results.labelled], "with {} labelled patients"
        rest = f"Synthetic part of GAN arms: {group.ratio:g}."
        over, xlabel = "number of labelled patients", "labelled training patients"
        found.append(curve("labelled", over, ticks, groups, xlabel, of, rest))
    if len(results.ratios) > 1:
        groups = [results.group(group.labelled, ratio) for ratio in results.ratios]
        ticks, of = [f"{ratio:g}" for ratio in results.ratios], "where {} of the samples are synthetic"
        rest = f"{group.labelled} labelled patients; arms without a GAN do not vary."
        found.append(curve("ratio", "synthetic part", ticks, groups, "synthetic part of a batch", of, rest))
    return found


def size_bars(group: Summary) -> list[Drawing]:
    """The part of lesions that is found, by size class and arm, where it was counted.

    A class without an interval (lesions in fewer than two patients) is left out.
    """
    several, drawings = len(group.detection) > 1, list[Drawing]()
    for kind, detection in group.detection.items():
        drawings += _bars_of(detection, f"-{file_name(kind)}" * several, f"{CLASS_SEPARATOR}{kind}" * several)
    return drawings


def _bars_of(detection: Detection, of_file: str, of_title: str) -> list[Drawing]:
    rates, by_rate = detection.rates, detection.arms
    shown = [name for name in rates if name.startswith(OF_A_CLASS) and any(arm[name] for arm in by_rate.values())]
    if not shown:
        return []
    ticks = [f"{name.removeprefix(OF_A_CLASS)}\n{rates[name].count} lesions" for name in shown]
    by_arm = {arm: [found[name] for name in shown] for arm, found in by_rate.items()}
    alt = "Part of lesions found, by size: " + "; ".join(
        f"{arm} {', '.join('nan' if rate is None else f'{rate.mean:.2f}' for rate in found)}"
        for arm, found in by_arm.items()
    )
    draw = partial(by_setting, by_arm, ticks=ticks, xlabel="size of the lesion", ylabel="part found", bars=True)
    caption = "Bars are 95 % intervals over patients and seeds."
    title = f"Lesions found by size{of_title}"
    return [Drawing(f"sizes{of_file}", title, caption, alt, lambda encode: draw(encode=encode))]


def _number(count: int, of_what: str) -> str:
    return f"{count} {of_what}" if count == 1 else f"{count} {of_what}s"
