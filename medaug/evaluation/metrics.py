"""Scores of one patient's segmentation: Dice, 95th-percentile Hausdorff distance, normalized surface Dice.

The patient is the unit of every test. A patient is one volume (X, Y, Z) or several separate slices (X, Y): Dice pools
the voxels of all of them; the surface metrics are averaged over the slices that hold truth or prediction. They equal
MONAI's `compute_hausdorff_distance` and `compute_surface_dice`, computed here about ten times faster on a slice.
Every score is finite, so that no patient drops out of a comparison:

| truth | prediction | dice | hd95_mm           | nsd |
|-------|------------|------|-------------------|-----|
| empty | empty      | 1    | 0                 | 1   |
| one of them empty  | 0    | image diagonal    | 0   |

A new metric is one function and one line in `METRICS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from medaug.errors import DataError

PredictionAndTruth = tuple[np.ndarray, np.ndarray]  # (prediction, truth), bool, one shape


@dataclass(frozen=True)
class Metric:
    """A score of one patient, or one of slices that are pooled over patients (see `pooled`).

    `score(pairs, spacing_mm, tolerance_mm)`, or `score(scores, tumor)` of slices of which at least one has a tumor and
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
    checked = [_checked(prediction, truth, spacing_mm) for prediction, truth in pairs]
    if not checked:
        raise DataError("a patient without a single prediction cannot be scored; give at least one (prediction, truth)")
    spacing = tuple(float(s) for s in spacing_mm)
    return {name: float(metric.score(checked, spacing, tolerance_mm)) for name, metric in METRICS.items()}


def dice(pairs: Sequence[PredictionAndTruth], spacing_mm: tuple[float, ...] = (), tolerance_mm: float = 0.0) -> float:
    """2 |P ∩ T| / (|P| + |T|), voxels pooled over all pairs of the patient; 1 where both are empty throughout."""
    overlap = sum(int(np.count_nonzero(p & t)) for p, t in pairs)
    total = sum(int(np.count_nonzero(p)) + int(np.count_nonzero(t)) for p, t in pairs)
    return 2.0 * overlap / total if total else 1.0


def hd95_mm(pairs: Sequence[PredictionAndTruth], spacing_mm: tuple[float, ...], tolerance_mm: float = 0.0) -> float:
    """The larger of the two directed 95th-percentile surface distances in mm."""

    def distance(to_truth: np.ndarray, to_prediction: np.ndarray) -> float:
        return max(float(np.percentile(d, 95)) for d in (to_truth, to_prediction))

    diagonals = [float(np.linalg.norm(np.multiply(truth.shape, spacing_mm))) for _, truth in pairs]
    return _mean_over_occupied(pairs, spacing_mm, distance, empty=0.0, missed=diagonals)


def nsd(pairs: Sequence[PredictionAndTruth], spacing_mm: tuple[float, ...], tolerance_mm: float) -> float:
    """The fraction of both surfaces that lies within `tolerance_mm` of the other one (Nikolov 2018, 1809.04430)."""

    def agreement(to_truth: np.ndarray, to_prediction: np.ndarray) -> float:
        return float(np.mean(np.concatenate([to_truth, to_prediction]) <= tolerance_mm))

    return _mean_over_occupied(pairs, spacing_mm, agreement, empty=1.0, missed=[0.0] * len(pairs))


METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", "", True, dice),
    "hd95_mm": Metric("Hausdorff distance, 95th percentile", "mm", False, hd95_mm, (0.0, math.inf)),
    "nsd": Metric("Normalized surface Dice", "", True, nsd),
}


def _mean_over_occupied(
    pairs: Sequence[PredictionAndTruth],
    spacing_mm: tuple[float, ...],
    surface_score: Callable[[np.ndarray, np.ndarray], float],
    empty: float,
    missed: Sequence[float],
) -> float:
    """Mean of `surface_score` over the pairs that hold truth or prediction; `missed[i]` where only one of them does."""
    scores = []
    for (prediction, truth), score_if_missed in zip(pairs, missed, strict=True):
        if prediction.any() and truth.any():
            scores.append(surface_score(*_surface_distances_mm(prediction, truth, spacing_mm)))
        elif prediction.any() or truth.any():
            scores.append(score_if_missed)
    return float(np.mean(scores)) if scores else empty


def _surface_distances_mm(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from each surface voxel of the prediction to the truth's surface, and the other way round.

    A surface voxel has a face neighbour outside its mask; the image border counts as outside.
    """
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(prediction | truth))
    prediction, truth = prediction[box], truth[box]
    prediction_surface, truth_surface = prediction & ~binary_erosion(prediction), truth & ~binary_erosion(truth)
    to_truth = distance_transform_edt(~truth_surface, sampling=spacing_mm)[prediction_surface]
    to_prediction = distance_transform_edt(~prediction_surface, sampling=spacing_mm)[truth_surface]
    return to_truth, to_prediction


def _checked(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> PredictionAndTruth:
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise DataError(
            f"prediction: found shape {prediction.shape}; expected the truth's {truth.shape}. "
            "Predict on the truth's grid, or resample the prediction onto it."
        )
    if len(spacing_mm) != prediction.ndim or not all(s > 0 for s in spacing_mm):
        raise DataError(
            f"spacing_mm: found {tuple(spacing_mm)}; expected {prediction.ndim} positive values, one per array axis "
            f"of shape {prediction.shape}. Drop the channel axis, or give the missing spacing."
        )
    return prediction.astype(bool), truth.astype(bool)
