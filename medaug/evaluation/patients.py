"""One patient's scores and counts from what was outlined, worked out beside the network in other processes.

Surfaces and connected parts of a whole volume take a core most of a second, as long as a GPU needs to predict the next
one. This module imports neither torch nor MONAI, so that a process is at work within two seconds of its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from medaug.evaluation.detection import Counts, count_detections
from medaug.evaluation.metrics import score_regions
from medaug.evaluation.outlines import Outlined, Region


class OutlineScores(NamedTuple):
    """By what is scored (the tumor, a class, a region): all `METRICS`, and the lesions counted."""

    scores: dict[str, dict[str, float]]
    detection: dict[str, Counts]


def score_outlined(
    outlined: Sequence[Outlined], scored: Mapping[str, Sequence[int]], tolerance_mm: float
) -> OutlineScores:
    """Scores all pictures and volumes of one patient.

    Args:
        scored: the classes of each thing that is scored, by its name.
        tolerance_mm: as in `score_patient`.
    """
    found = OutlineScores({}, {})
    for kind, classes in scored.items():
        regions = [part.region(classes) for part in outlined]
        found.detection[kind] = count_detections(regions)
        found.scores[kind] = score_regions(_alike(regions), tolerance_mm)
    return found


def _alike(regions: Sequence[Region]) -> list[Region]:
    """The same, a picture as a volume of one slice where the patient has volumes too."""
    volume = next((region for region in regions if region.truth.ndim == 3), None)
    if volume is None:
        return list(regions)
    return [
        region
        if region.truth.ndim == 3
        else replace(
            region,
            prediction=region.prediction[..., None],
            truth=region.truth[..., None],
            spacing_mm=(*region.spacing_mm, volume.spacing_mm[-1]),
            shape=(*region.shape, 1),
        )
        for region in regions
    ]
