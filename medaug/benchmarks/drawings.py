"""The plots of a benchmark, each as something that can be drawn as PNG for the page and as SVG for print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from medaug.benchmarks.results import BenchmarkResults
from medaug.experiment.records import Cell, Summary
from medaug.figures.charts import Encode, grouped_bars, score_lines, to_png
from medaug.report.page import Figure
from medaug.report.sections import forest_plot, patient_plot

OF_A_CLASS = "sensitivity: "
"""What the name of a rate of one size class begins with; the rest names the class."""


@dataclass(frozen=True)
class Drawing:
    """One plot, drawn when asked for.

    Attributes:
        name: of its file, without an ending.
        alt: what it shows, in words.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Encode], bytes]

    def figure(self) -> Figure:
        """The plot for a page."""
        return Figure(self.title, self.draw(to_png), self.caption, self.alt)

    def named(self, name: str) -> Drawing:
        """This drawing under another name."""
        return replace(self, name=name)


def drawings_of(results: BenchmarkResults, group: Summary) -> list[Drawing]:
    """Every plot that there is something to draw of; curves run through `group`, the setting of the headline."""
    cells = results.cells(group)
    return [*differences(group), *by_patient(group, cells), *curves(results, group), *size_bars(group)]


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
        listed = "; ".join(f"{c.arm} {c.difference.mean:+.3f}, {c.verdict}" for c in compared)
        found.append(
            Drawing(
                name,
                title,
                f"{of_whom}{better} of zero is better. 95 % intervals over patients and seeds.",
                f"{title} with its interval: {listed}",
                partial(forest_plot, summary, compared),
            )
        )
    return found


def by_patient(summary: Summary, cells: Sequence[Cell]) -> list[Drawing]:
    """Every test patient's score in every arm."""
    title, alt = f"{summary.title} by patient", f"{summary.title} of every test patient by arm"
    caption = "Each dot is a test patient alone, averaged over seeds."
    return [Drawing("patients", title, caption, alt, partial(patient_plot, summary, cells))]


def curves(results: BenchmarkResults, group: Summary) -> list[Drawing]:
    """The main metric over the number of labelled patients, and over the synthetic part, where there are several."""
    title = results.main.title
    found = []
    if len(results.labelled) > 1:
        groups = [results.group(labelled, group.ratio) for labelled in results.labelled]
        found.append(
            Drawing(
                "labelled",
                f"{title} by number of labelled patients",
                f"Bars are 95 % intervals. Synthetic part of GAN arms: {group.ratio:g}.",
                f"{title} of each arm with {_listed(results.labelled)} labelled patients; the table of all settings "
                "has the figures",
                _lines(results, groups, [f"{n}" for n in results.labelled], "labelled training patients"),
            )
        )
    if len(results.ratios) > 1:
        groups = [results.group(group.labelled, ratio) for ratio in results.ratios]
        found.append(
            Drawing(
                "ratio",
                f"{title} by synthetic part",
                f"Bars are 95 % intervals. {group.labelled} labelled patients; arms without a GAN do not vary.",
                f"{title} of each arm where {_listed(results.ratios)} of the samples are synthetic; the table of all "
                "settings has the figures",
                _lines(results, groups, [f"{ratio:g}" for ratio in results.ratios], "synthetic part of a batch"),
            )
        )
    return found


def size_bars(group: Summary) -> list[Drawing]:
    """The part of lesions that is found, by size class and arm, where it was counted.

    A class without an interval (lesions in fewer than two patients) is left out.
    """
    if (found := group.detection) is None:
        return []
    classes = [name for name in found.rates if name.startswith(OF_A_CLASS)]
    shown = [name for name in classes if any(by_rate[name] for by_rate in found.arms.values())]
    if not shown:
        return []
    ticks = [f"{name.removeprefix(OF_A_CLASS)}\n{found.rates[name].count} lesions" for name in shown]
    by_arm = {arm: [by_rate[name] for name in shown] for arm, by_rate in found.arms.items()}
    alt = "Part of lesions found, by size: " + "; ".join(
        f"{arm} {', '.join('nan' if rate is None else f'{rate.mean:.2f}' for rate in rates)}"
        for arm, rates in by_arm.items()
    )
    draw = partial(grouped_bars, by_arm, ticks=ticks, xlabel="size of the lesion", ylabel="part found")
    caption = "Bars are 95 % intervals over patients and seeds."
    return [Drawing("sizes", "Lesions found by size", caption, alt, lambda encode: draw(encode=encode))]


def _lines(
    results: BenchmarkResults, groups: list[Summary], ticks: list[str], xlabel: str
) -> Callable[[Encode], bytes]:
    arms = dict.fromkeys(arm for group in groups for arm in group.arms)
    lines = {arm: [group.arms[arm][group.main] if arm in group.arms else None for group in groups] for arm in arms}
    ylabel = results.main.heading
    return lambda encode: score_lines(lines, ticks=ticks, xlabel=xlabel, ylabel=ylabel, encode=encode)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values[:-1]) + f" and {values[-1]:g}"
