"""Metrics of one patient's segmentation, and of slices pooled over patients, brought to one score a patient.

The patient is the unit of every test. A patient is one volume (X, Y, Z) or several separate slices (X, Y): Dice pools
the voxels of all of them; the surface metrics are averaged over the slices that hold truth or prediction. They equal
MONAI's `compute_hausdorff_distance` and `compute_surface_dice`, computed here many times faster.
Every score is finite, so that no patient drops out of a comparison:

| truth | prediction | dice | hd95_mm           | nsd |
|-------|------------|------|-------------------|-----|
| empty | empty      | 1    | 0                 | 1   |
| one of them empty  | 0    | image diagonal    | 0   |

A new metric is one function and one line in `METRICS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from medaug.errors import DataError
from medaug.evaluation.intervals import Interval, logit_interval, mean_interval
from medaug.evaluation.outlines import Region

PredictionAndTruth = tuple[np.ndarray, np.ndarray]  # (prediction, truth), bool, one shape
THRESHOLD = 0.5
"""A probability above it says tumor."""


@dataclass(frozen=True)
class Metric:
    """A score of one patient, or one of slices that are pooled over patients (see `pseudo_values`).

    `score(regions, tolerance_mm)`, or `score(scores, tumor)` of slices of which at least one has a tumor and
    one has none, must return a finite number within `bounds`.
    """

    title: str
    unit: str
    higher_is_better: bool
    score: Callable[..., float]
    bounds: tuple[float, float] = (0.0, 1.0)


def score_patient(
    pairs: Sequence[PredictionAndTruth], spacing_mm: Sequence[float], tolerance_mm: float = 2.0
) -> dict[str, float]:
    """All `METRICS` of one patient.

    Args:
        pairs: (prediction, truth) arrays, bool or 0/1: one pair of (X, Y, Z), or one pair of (X, Y) per slice.
        spacing_mm: voxel size along each array axis.
        tolerance_mm: how far a surface may be off and still count as right (NSD).

    Raises:
        DataError: if there is no pair, the two arrays of a pair differ in shape, or the spacing does not fit them.
    """
    regions = []
    for prediction, truth in ((np.asarray(prediction), np.asarray(truth)) for prediction, truth in pairs):
        if prediction.shape != truth.shape:
            raise DataError(
                f"prediction: found shape {prediction.shape}; expected the truth's {truth.shape}. "
                "Predict on the truth's grid, or resample the prediction onto it."
            )
        if len(spacing_mm) != prediction.ndim or not all(s > 0 for s in spacing_mm):
            raise DataError(
                f"spacing_mm: found {tuple(spacing_mm)}; expected {prediction.ndim} positive values, one per array "
                f"axis of shape {prediction.shape}. Drop the channel axis, or give the missing spacing."
            )
        spacing = tuple(float(s) for s in spacing_mm)
        regions.append(Region(prediction.astype(bool), truth.astype(bool), spacing, truth.shape))
    if not regions:
        raise DataError("a patient without a single prediction cannot be scored; give at least one (prediction, truth)")
    return score_regions(regions, tolerance_mm)


def score_regions(regions: Sequence[Region], tolerance_mm: float) -> dict[str, float]:
    """All `METRICS` of one patient, of whom there is at least one volume or picture."""
    return {name: float(metric.score(regions, tolerance_mm)) for name, metric in METRICS.items()}


def dice(regions: Sequence[Region], tolerance_mm: float = 0.0) -> float:
    """2 |P ∩ T| / (|P| + |T|), voxels pooled over all of the patient's; 1 where both are empty throughout."""
    predicted, labelled, both = (sum(counts) for counts in zip(*(region.voxels for region in regions), strict=True))
    return 2.0 * both / (predicted + labelled) if predicted + labelled else 1.0


def hd95_mm(regions: Sequence[Region], tolerance_mm: float = 0.0) -> float:
    """The larger of the two directed 95th-percentile surface distances in mm."""

    def distance(region: Region) -> float:
        return max(float(np.percentile(d, 95)) for d in region.distances_mm)

    def diagonal(region: Region) -> float:
        return float(np.linalg.norm(np.multiply(region.shape, region.spacing_mm)))

    return _mean_over_occupied(regions, distance, missed=diagonal, empty=0.0)


def nsd(regions: Sequence[Region], tolerance_mm: float) -> float:
    """The fraction of both surfaces that lies within `tolerance_mm` of the other one (Nikolov 2018, 1809.04430)."""

    def agreement(region: Region) -> float:
        return float(np.mean(np.concatenate(region.distances_mm) <= tolerance_mm))

    return _mean_over_occupied(regions, agreement, missed=lambda region: 0.0, empty=1.0)


METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", "", True, dice),
    "hd95_mm": Metric("Hausdorff distance, 95th percentile", "mm", False, hd95_mm, (0.0, math.inf)),
    "nsd": Metric("Normalized surface Dice", "", True, nsd),
}


def _mean_over_occupied(
    regions: Sequence[Region], score: Callable[[Region], float], missed: Callable[[Region], float], empty: float
) -> float:
    """The mean of a score of two surfaces over the regions that hold truth or prediction.

    Args:
        missed: the score where only one of the two is there; `empty` where no region has anything.
    """
    counted = [(region, region.voxels) for region in regions]
    scores = [
        score(region) if predicted and labelled else missed(region)
        for region, (predicted, labelled, _) in counted
        if predicted or labelled
    ]
    return float(np.mean(scores)) if scores else empty


@dataclass(frozen=True)
class Scored:
    """A patient's slices (or patches): scores (N,), the higher the more like a tumor, and whether there is one (N,)."""

    scores: np.ndarray
    tumor: np.ndarray


def auc(scores: np.ndarray, tumor: np.ndarray) -> float:
    """The chance that a slice with a tumor scores above one without; ties count half."""
    return float(roc_auc_score(tumor, scores))


def sensitivity(scores: np.ndarray, tumor: np.ndarray) -> float:
    """The part of the slices with a tumor that score above 0.5."""
    return float((scores[tumor] > THRESHOLD).mean())


def specificity(scores: np.ndarray, tumor: np.ndarray) -> float:
    """The part of the slices without a tumor that do not."""
    return float((scores[~tumor] <= THRESHOLD).mean())


def balanced_accuracy(scores: np.ndarray, tumor: np.ndarray) -> float:
    """The mean of sensitivity and specificity."""
    return (sensitivity(scores, tumor) + specificity(scores, tumor)) / 2


POOLED_METRICS: dict[str, Metric] = {
    "auc": Metric("AUC", "", True, auc),
    "balanced_accuracy": Metric("Balanced accuracy", "", True, balanced_accuracy),
    "sensitivity": Metric("Sensitivity", "", True, sensitivity),
    "specificity": Metric("Specificity", "", True, specificity),
}


def pseudo_values(patients: Sequence[Scored], metric: Callable[[np.ndarray, np.ndarray], float] = auc) -> np.ndarray:
    """One value a patient (P,), whose mean is the metric of all slices together.

    An AUC compares slices of one patient with slices of another, so it is no mean over patients. Its jackknife
    pseudo-values are: P · AUC(all) − (P − 1) · AUC(without patient p), shifted so that their mean is the AUC itself
    (Dorfman, Berbaum and Metz 1992, Invest Radiol 27:723). Resampling them resamples patients with all of their slices.

    Raises:
        DataError: if fewer than two patients have slices with, or fewer than two without a tumor.
    """

    def pooled(some: Sequence[Scored]) -> float:
        return metric(np.concatenate([p.scores for p in some]), np.concatenate([p.tumor for p in some]))

    check_kinds([patient.tumor for patient in patients])
    without = np.array([pooled([*patients[:i], *patients[i + 1 :]]) for i in range(len(patients))])
    whole = pooled(patients)
    values = len(patients) * whole - (len(patients) - 1) * without
    return values + whole - values.mean()


def check_kinds(tumor_by_patient: Sequence[np.ndarray]) -> None:
    """Refuses patients whose pooled metrics would have no interval.

    Raises:
        DataError: if fewer than two have slices with, or fewer than two without a tumor.
    """
    with_tumor = sum(bool(tumor.any()) for tumor in tumor_by_patient)
    tumor_free = sum(not tumor.all() for tumor in tumor_by_patient)
    if min(with_tumor, tumor_free) < 2:
        raise DataError(
            f"held-out patients: found {with_tumor} who have slices with, and {tumor_free} who have slices without a "
            "tumor; expected at least 2 of each. Score more patients, or data whose scans reach beyond the tumors."
        )


def within_patient(scored: Scored) -> dict[str, float | None]:
    """All pooled metrics of one patient's slices alone; None where they are all of one kind."""
    both = scored.tumor.any() and not scored.tumor.all()
    return {name: m.score(scored.scores, scored.tumor) if both else None for name, m in POOLED_METRICS.items()}


def auc_interval(patients: Mapping[str, Scored], level: float = 0.95) -> Interval:
    """The AUC of all slices with an interval for new patients.

    Raises:
        DataError: as `pseudo_values`.
    """
    values = pseudo_values(list(patients.values()))[:, None]
    return logit_interval(mean_interval(values, level=level), len(patients))
