"""Lesions as things that are found or not: their parts matched, counted by patient, and the rates over patients.

Parts connect by diagonals, in volumes (X, Y, Z) in 3-D. Pictures (X, Y), of which nobody says how far apart they lie,
have theirs in each picture: a lesion then counts once in every slice that shows it. A rate is a ratio of sums,
Σ events / Σ chances, over patients and seeds: of all lesions the share that was found, not the mean of each patient's
share, which a patient without lesions does not have.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from medaug.errors import DataError
from medaug.evaluation.intervals import Interval, SeedSpread, mean_interval, rate_interval, share_interval
from medaug.evaluation.outlines import Region
from medaug.lesions.geometry import diameter_of_voxels, labelled_parts

Counts = Mapping[str, Any]
"""What `count_detections` knows of one patient."""
LEAST_VOXELS = 8
"""A predicted part of fewer voxels does not count as a lesion."""
LEAST_IOU = 0.1
"""A lesion is found if it overlaps at least so much with the predicted parts that touch it."""
LEAST_PATIENTS = 2
"""Patients with chances that an interval needs: of one alone there is none for others."""


class LesionCounts(NamedTuple):
    """One scan's labelled lesions, those that no predicted voxel touches, and predicted parts that touch no label."""

    lesions: int
    lost: int
    gained: int


def lost_and_gained(prediction: np.ndarray, truth: np.ndarray) -> LesionCounts:
    """Compares two masks (bool, *S) of one scan, part by part: a lesion is lost if no predicted voxel lies in it.

    Predicted parts below 8 voxels are not gained.
    """
    _, found, gained = _matched(prediction, truth, least_iou=0.0)
    return LesionCounts(len(found), int((~found).sum()), gained)


def count_detections(regions: Sequence[Region]) -> Counts:
    """The counts of one patient, as JSON, of one region in all pictures and volumes: lesions are its parts.

    A touch is not enough, or one part over the whole image would find everything and never be wrong: a lesion is found
    if it and all predicted parts that touch it, taken together as in BraTS 2023 (Moawad 2023, 2306.00838), overlap with
    an IoU of at least 0.1, the limit of PI-CAI (Saha 2024, Lancet Oncol 25:879). A predicted part of 8 voxels or more
    that finds no lesion is a false positive.

    Returns:
        "dimensions": 3 where parts connect across slices, else 2; "lesions": [equivalent diameter in mm, found] each;
        "scans"; "false_positives" in them; and "tumor_free": "scans" without any of the region in the label and the
        "false_positives" in them, "slices" (last axis) without any, in whatever scan, the "slice_false_positives" that
        are seen in each of these alone, and all "slice_voxels" predicted there.
    """
    lesions: list[list[float | bool]] = []
    false_positives: Counter[str] = Counter()
    tumor: dict[str, bool] = {}
    slices = np.zeros(3, int)
    for region in regions:
        voxels, found, gained = _matched(region.prediction, region.truth, LEAST_IOU)
        diameters = [round(diameter_of_voxels(int(count), region.spacing_mm), 3) for count in voxels]
        lesions += [[d, bool(hit)] for d, hit in zip(diameters, found, strict=True)]
        false_positives[region.scan] += gained
        tumor[region.scan] = tumor.get(region.scan, False) or len(voxels) > 0
        slices += _in_tumor_free_slices(region)
    free = [scan for scan, has_tumor in tumor.items() if not has_tumor]
    keys = ("slices", "slice_false_positives", "slice_voxels")
    return {
        "dimensions": regions[0].truth.ndim,
        "lesions": lesions,
        "scans": len(tumor),
        "false_positives": false_positives.total(),
        "tumor_free": {"scans": len(free), "false_positives": sum(false_positives[scan] for scan in free)}
        | dict(zip(keys, slices.tolist(), strict=True)),
    }


@dataclass(frozen=True)
class Rate:
    """One rate; `rates` has them all.

    Attributes:
        title: in full; `short` is what a column is called whose table says what it counts.
        of: what its chances are, in the plural.
        events, chances: of one patient's counts.
        diameters_mm: of the lesions counted, from the first to below the second; None of any other rate.
        bounds: of the rate.
    """

    title: str
    short: str
    of: str
    events: Callable[[Counts], float]
    chances: Callable[[Counts], float]
    higher_is_better: bool = False
    diameters_mm: tuple[float, float | None] | None = None
    bounds: tuple[float, float] = (0.0, math.inf)


def rates(size_limits_mm: Sequence[float], unit: str = "mm") -> dict[str, Rate]:
    """All rates by name, the sensitivity of every size class that these diameters part among them."""
    found = {"sensitivity": _sensitivity("all", 0.0, None)}
    for low, high in zip((0.0, *size_limits_mm), (*size_limits_mm, None), strict=True) if size_limits_mm else ():
        if high is None:
            size = f"{low:g} {unit} and more"
        else:
            size = f"{low:g} to {high:g} {unit}" if low else f"under {high:g} {unit}"
        found[f"sensitivity: {size}"] = _sensitivity(size, low, high)
    return found | FALSE_POSITIVES


def ratio_scores(events: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Scores whose mean is Σ events / Σ chances = R, a row a patient with chances, to be resampled like any others.

    They are the first-order ones of a ratio (Cochran 1977, Sampling Techniques, 6.4; the infinitesimal jackknife),
    z = R + (events − R chances) / mean(chances), whose spread is what resampling patients and seeds does to R.

    Args:
        events: (P, S), by patient and seed.
        chances: (P,), the same for every seed: what the labels hold.

    Raises:
        DataError: if fewer than two patients have chances.
    """
    counted = np.asarray(chances) > 0
    events, chances = np.asarray(events, np.float64)[counted], np.asarray(chances, np.float64)[counted]
    if len(chances) < LEAST_PATIENTS:
        raise DataError(
            f"found {len(chances)} patients with anything to count; expected at least {LEAST_PATIENTS} for an "
            "interval. Score more patients."
        )
    rate = events.sum() / (chances.sum() * events.shape[1])
    return rate + (events - rate * chances[:, None]) / chances.mean()


def interval_of(
    rate: Rate, scores: np.ndarray, chances: np.ndarray, spread: SeedSpread | None = None, level: float = 0.95
) -> Interval:
    """The rate of `ratio_scores` (P, S) with an interval for new patients and new seeds, made for rare events.

    Args:
        chances: (P,), by patient; those without any are not among the scores.
        spread: of the seeds, pooled over arms.
    """
    found = mean_interval(scores, spread, level)
    if math.isinf(rate.bounds[1]):
        return rate_interval(found, float(chances.sum()))
    return share_interval(found, float(chances.sum()) * scores.shape[1], len(scores))


def _sensitivity(short: str, low_mm: float, high_mm: float | None) -> Rate:
    def of_size(counts: Counts) -> list[bool]:
        most = math.inf if high_mm is None else high_mm
        return [found for diameter_mm, found in counts["lesions"] if low_mm <= diameter_mm < most]

    return Rate(
        f"Sensitivity, {short}",
        short,
        "lesions",
        lambda counts: sum(of_size(counts)),
        lambda counts: len(of_size(counts)),
        True,
        (low_mm, high_mm),
        (0.0, 1.0),
    )


def _false_positives(
    where: str, events: str, chances: str, what: str = "False positives", short: str = "", *, tumor_free: bool = True
) -> Rate:
    """The rate of a count by another, of those that `count_detections` has in all or of what is free of tumors."""

    def counted(key: str) -> Callable[[Counts], float]:
        return lambda counts: (counts["tumor_free"] if tumor_free else counts)[key]

    return Rate(f"{what} per {where}", short or f"per {where}", f"{where}s", counted(events), counted(chances))


FALSE_POSITIVES: dict[str, Rate] = {
    "false_positives": _false_positives("scan", "false_positives", "scans", tumor_free=False),
    "tumor_free_false_positives": _false_positives("tumor-free scan", "false_positives", "scans"),
    "tumor_free_slice_false_positives": _false_positives("tumor-free slice", "slice_false_positives", "slices"),
    "tumor_free_slice_voxels": _false_positives(
        "tumor-free slice", "slice_voxels", "slices", "False-positive voxels", "voxels there"
    ),
}


def _matched(prediction: np.ndarray, truth: np.ndarray, least_iou: float) -> tuple[np.ndarray, np.ndarray, int]:
    """How large each part of the truth is, whether it is found (L,), and how many predicted parts find none of them."""
    (predicted, parts), (labelled, sizes) = labelled_parts(prediction), labelled_parts(truth)
    both = prediction & truth
    pairs, shared = np.unique(labelled[both].astype(np.int64) * len(parts) + predicted[both], return_counts=True)
    lesion, part = np.divmod(pairs, len(parts))  # that overlap, and by how many voxels
    inside = np.bincount(lesion, shared, len(sizes))
    joined = sizes + np.bincount(lesion, parts[part], len(sizes)) - inside  # of a lesion and all parts that touch it
    found = (inside > 0) & (inside >= least_iou * joined)
    alone = parts >= LEAST_VOXELS
    alone[part[found[lesion]]] = False
    return sizes[1:], found[1:], int(alone[1:].sum())


def _in_tumor_free_slices(region: Region) -> tuple[int, int, int]:
    """Slices of the scan without any label, predicted parts seen in one of them alone, and predicted voxels there."""
    masks = (region.prediction, region.truth)
    prediction, truth = (np.moveaxis(mask, -1, 0) if mask.ndim == 3 else mask[None] for mask in masks)
    free = ~truth.any(axis=(1, 2))
    shown = [picture for picture in prediction[free] if picture.any()]
    parts = sum(int((labelled_parts(picture)[1][1:] >= LEAST_VOXELS).sum()) for picture in shown)
    beyond = region.shape[-1] - len(truth) if region.truth.ndim == 3 else 0
    return int(free.sum()) + beyond, parts, sum(int(np.count_nonzero(picture)) for picture in shown)
