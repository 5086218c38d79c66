"""How near each lesion is to others: by its features, and by the correlation of aligned crops.

Aligned: each lesion's box, a quarter wider, is brought to one grid, so that size, place and stretching do not count;
of the mirror images the one that fits best does. The correlation runs over the voxels of either mask.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy.spatial.distance import cdist

from medaug.audits.measures.lesions import Lesions, standardised
from medaug.lesions.crops import CropBox, extract, resized, resized_mask
from medaug.lesions.geometry import bounding_box

ROOM = 0.125
"""On either side, of the lesion's extent."""
GRIDS = {2: 24, 3: 16}
"""Voxels a side of the aligned crops, by dimensions."""

Distances = Callable[[Lesions, Lesions], np.ndarray]
"""(N, M) between N and M lesions."""


def feature_distances(real: Lesions) -> Distances:
    """(N, M) root mean square differences of features that are z-scored by `real`."""

    def distances(first: Lesions, second: Lesions) -> np.ndarray:
        table = [standardised(lesions.features, real.features) for lesions in (first, second)]
        return cdist(*table) / np.sqrt(max(1, table[0].shape[1]))

    return distances


def correlation_distances(first: Lesions, second: Lesions) -> np.ndarray:
    """(N, M): 1 − the correlation of aligned crops, of the best mirror image."""
    images, masks = aligned(first)
    others, other_masks = aligned(second)
    axes = range(1, images.ndim)
    mirrors = [flip for count in range(images.ndim) for flip in combinations(axes, count)]
    return 1 - np.max(
        [_correlations(images, masks, np.flip(others, flip), np.flip(other_masks, flip)) for flip in mirrors], axis=0
    )


def aligned(lesions: Lesions) -> tuple[np.ndarray, np.ndarray]:
    """Images and masks (N, *grid) on one grid around each lesion."""
    grid = (GRIDS[lesions.images.ndim - 1],) * (lesions.images.ndim - 1)
    images, masks = [], []
    for image, mask in zip(lesions.images, lesions.masks, strict=True):
        corner, extent = bounding_box(mask)
        room = np.ceil(extent * ROOM).astype(int)
        box = CropBox(tuple((corner - room).tolist()), tuple((extent + 2 * room).tolist()))
        images.append(resized(extract(image, box, -1.0), grid))
        masks.append(resized_mask(extract(mask, box, False), grid, keep=True))
    return np.array(images, dtype=np.float64), np.array(masks)


def _correlations(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) Pearson correlations of images x (N, *S) with y (M, *S) over the union of masks a and b.

    A sum over the union is that over a, plus that over b, less that over both: matrix products, no loop over pairs.
    """
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)

    def over_union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first * a) @ second.T + first @ (second * b).T - (first * a) @ (second * b).T

    ones, others = np.ones_like(x), np.ones_like(y)
    count = over_union(ones, others)
    mean_x, mean_y = over_union(x, others) / count, over_union(ones, y) / count
    variance_x = over_union(x**2, others) / count - mean_x**2
    variance_y = over_union(ones, y**2) / count - mean_y**2
    covariance = over_union(x, y) / count - mean_x * mean_y
    return covariance / np.sqrt(np.maximum(variance_x * variance_y, 1e-12))
