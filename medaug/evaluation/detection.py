"""Lesions as things that are found or not: connected parts (diagonals connect) of a label and of a prediction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

LEAST_VOXELS = 8
"""Of a predicted part that counts as a lesion."""


class LesionCounts(NamedTuple):
    """Of one scan: labelled lesions, those that no predicted voxel touches, and predicted parts that touch no label."""

    lesions: int
    lost: int
    gained: int


def lost_and_gained(prediction: np.ndarray, truth: np.ndarray) -> LesionCounts:
    """Compares two masks (bool, *S) of one scan, part by part; predicted parts below 8 voxels are not gained."""
    predicted, labelled = (_parts(mask) for mask in (prediction, truth))
    count = int(labelled.max())
    found = np.unique(labelled[prediction & truth])
    sizes, hits = np.bincount(predicted.reshape(-1)), np.unique(predicted[truth])
    large = np.flatnonzero(sizes >= LEAST_VOXELS)
    gained = set(large[large > 0].tolist()) - set(hits.tolist())
    return LesionCounts(count, count - int((found > 0).sum()), len(gained))


def _parts(mask: np.ndarray) -> np.ndarray:
    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))[0]
