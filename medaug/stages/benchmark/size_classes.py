"""The part of lesions found by size class, as the summary of a group tells it."""

from __future__ import annotations

from medaug.report.benchmark import Estimate
from medaug.stages.benchmark.reading import Group


def sensitivities(group: Group) -> tuple[list[str], dict[str, list[Estimate]]] | None:
    """(size classes, by arm an estimate for each); None where lesions were not counted."""
    if "detection" not in group:
        return None
    by_arm = {arm: found["sensitivity"] for arm, found in group["detection"]["arms"].items()}
    classes = list(dict.fromkeys(name for found in by_arm.values() for name in found))
    return classes, {
        arm: [Estimate(*(found[name][key] for key in ("mean", "low", "high"))) for name in classes]
        for arm, found in by_arm.items()
    }
