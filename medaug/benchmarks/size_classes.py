"""The part of lesions found by size class, as the summary of a group tells it (see `downstream.detection`)."""

from __future__ import annotations

from medaug.benchmarks.reading import Group
from medaug.report.benchmark import NOTHING, Estimate

OF_A_CLASS = "sensitivity: "
"""What the name of a rate of one size class begins with; the rest names the class."""


def sensitivities(group: Group) -> tuple[list[str], dict[str, list[Estimate]]] | None:
    """(size classes with their number of lesions, by arm an estimate for each); None where lesions were not counted.

    A class without an interval (lesions in fewer than two patients) is left out.
    """
    found = group.get("detection")
    if not found:
        return None
    rates = {name: rate for name, rate in found["rates"].items() if name.startswith(OF_A_CLASS)}
    shown = [name for name in rates if any(by_rate[name] for by_rate in found["arms"].values())]
    if not shown:
        return None
    ticks = [f"{name.removeprefix(OF_A_CLASS)}\n{rates[name]['count']} lesions" for name in shown]
    return ticks, {
        arm: [
            Estimate(*(by_rate[name][key] for key in ("mean", "low", "high"))) if by_rate[name] else NOTHING
            for name in shown
        ]
        for arm, by_rate in found["arms"].items()
    }
