"""The plots of a benchmark, each as something that can be drawn as PNG for the page and as SVG for print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from medaug.benchmarks.reading import Group, Results
from medaug.benchmarks.size_classes import sensitivities
from medaug.experiment.summary import best_rivals
from medaug.figures.charts import Encode, to_png
from medaug.report.benchmark import NOTHING, Estimate, grouped_bars, score_lines
from medaug.report.page import Figure
from medaug.report.sections import forest_plot, main_comparisons, main_metric, patient_plot


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
        return Figure(self.title, self.draw(to_png), self.caption, self.alt)

    def named(self, name: str) -> Drawing:
        return replace(self, name=name)


def drawings_of(results: Results, group: Group) -> list[Drawing]:
    """Every plot that there is something to draw of; curves run through `group`, the setting of the headline."""
    return [
        *differences(group),
        *by_patient(group, cells_of_group(results, group)),
        *curves(results, group),
        *size_bars(group),
    ]


def differences(summary: dict[str, Any]) -> list[Drawing]:
    """All arms to `standard`, and GAN arms to the best arm without a GAN where that is another one."""
    found = []
    for name, compared in (("differences", main_comparisons(summary)), ("rivals", best_rivals(summary))):
        if compared:
            reference, metric = compared[0]["reference"], summary["metrics"][compared[0]["metric"]]
            better = "Right" if metric["higher_is_better"] else "Left"
            of_whom = "GAN arms against the best arm without a GAN. " if name == "rivals" else ""
            found.append(
                Drawing(
                    name,
                    f"Difference in {metric['title']} to {reference}",
                    f"{of_whom}{better} of zero is better. 95 % intervals over patients and seeds.",
                    f"Difference in {metric['title']} to {reference} with its interval: "
                    + "; ".join(f"{c['arm']} {c['difference']['mean']:+.3f}, {c['verdict']}" for c in compared),
                    partial(forest_plot, summary, compared),
                )
            )
    return found


def by_patient(summary: dict[str, Any], cells: dict[str, Any]) -> list[Drawing]:
    """Every test patient's score in every arm."""
    title = summary["metrics"][main_metric(summary)]["title"]
    return [
        Drawing(
            "patients",
            f"{title} by patient",
            "Each dot is a test patient alone, averaged over seeds.",
            f"{title} of every test patient by arm",
            lambda encode: patient_plot(cells, summary, encode),
        )
    ]


def curves(results: Results, group: Group) -> list[Drawing]:
    """The main metric over the number of labelled patients, and over the synthetic part, where there are several."""
    title = results.metrics[results.main]["title"]
    label = f"{title} ({unit})" if (unit := results.metrics[results.main]["unit"]) else title
    found = []
    if len(results.labelled) > 1:
        groups = [results.group(labelled, group["ratio"]) for labelled in results.labelled]
        found.append(
            Drawing(
                "labelled",
                f"{title} by number of labelled patients",
                f"Bars are 95 % intervals. Synthetic part of GAN arms: {group['ratio']:g}.",
                f"{title} of each arm with {_listed(results.labelled)} labelled patients; the table of all settings "
                "has the figures",
                _lines(results, groups, [f"{n}" for n in results.labelled], "labelled training patients", label),
            )
        )
    if len(results.ratios) > 1:
        groups = [results.group(group["labelled"], ratio) for ratio in results.ratios]
        found.append(
            Drawing(
                "ratio",
                f"{title} by synthetic part",
                f"Bars are 95 % intervals. {group['labelled']} labelled patients; arms without a GAN do not vary.",
                f"{title} of each arm where {_listed(results.ratios)} of the samples are synthetic; the table of all "
                "settings has the figures",
                _lines(results, groups, [f"{ratio:g}" for ratio in results.ratios], "synthetic part of a batch", label),
            )
        )
    return found


def size_bars(group: Group) -> list[Drawing]:
    """The part of lesions that is found, by size class and arm, where it was counted."""
    if (found := sensitivities(group)) is None:
        return []
    classes, by_arm = found
    alt = "Part of lesions found, by size: " + "; ".join(
        f"{arm} {', '.join(f'{e.mean:.2f}' for e in estimates)}" for arm, estimates in by_arm.items()
    )
    return [
        Drawing(
            "sizes",
            "Lesions found by size",
            "Bars are 95 % intervals over patients and seeds.",
            alt,
            lambda encode: grouped_bars(
                by_arm, ticks=classes, xlabel="size of the lesion", ylabel="part found", encode=encode
            ),
        )
    ]


def cells_of_group(results: Results, group: Group) -> dict[str, Any]:
    """By `<arm>-seed<k>`, with "scores": what the sections of a run's page are drawn from."""
    return {
        f"{arm}-seed{seed}": {"scores": scores}
        for arm in group["arms"]
        for seed, scores in results.scores(group, arm).items()
    }


def _lines(
    results: Results, groups: list[Group], ticks: list[str], xlabel: str, ylabel: str
) -> Callable[[Encode], bytes]:
    arms = dict.fromkeys(arm for group in groups for arm in group["arms"])
    lines = {arm: [_estimate(group["arms"].get(arm, {}).get(results.main)) for group in groups] for arm in arms}
    return lambda encode: score_lines(lines, ticks=ticks, xlabel=xlabel, ylabel=ylabel, encode=encode)


def _estimate(interval: dict[str, float] | None) -> Estimate:
    return NOTHING if interval is None else Estimate(interval["mean"], interval["low"], interval["high"])


def _listed(values: list[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values[:-1]) + f" and {values[-1]:g}"
