"""Geometry of lesion masks: growing, rings, components, sizes in mm.

Masks are bool arrays (X, Y) or (X, Y, Z), `spacing_mm` has one entry an axis. Distances are exact Euclidean ones
(scipy's EDT), so nothing depends on the voxel grid but its resolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

Spacing = Sequence[float]


def grow(mask: np.ndarray, margin_mm: float, spacing_mm: Spacing) -> np.ndarray:
    """All voxels within `margin_mm` of the mask; a negative margin shrinks it by as much."""
    if margin_mm == 0 or not mask.any():
        return mask.astype(bool)
    if margin_mm < 0:
        if mask.all():
            return mask.astype(bool)
        return ndimage.distance_transform_edt(mask, sampling=spacing_mm) > -margin_mm
    return ndimage.distance_transform_edt(~mask.astype(bool), sampling=spacing_mm) <= margin_mm


def ring(mask: np.ndarray, *, inner_mm: float, outer_mm: float, spacing_mm: Spacing) -> np.ndarray:
    """The shell between `inner_mm` (exclusive) and `outer_mm` (inclusive) outside the mask."""
    if not mask.any():
        return np.zeros(mask.shape, dtype=bool)
    distance = ndimage.distance_transform_edt(~mask.astype(bool), sampling=spacing_mm)
    return (distance > inner_mm) & (distance <= outer_mm)


def components(mask: np.ndarray) -> list[np.ndarray]:
    """Connected parts (diagonals connect), largest first."""
    labels, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)[1:]
    return [labels == index + 1 for index in np.argsort(-sizes, kind="stable")]


def volume_ml(mask: np.ndarray, spacing_mm: Spacing) -> float:
    """Volume in ml of a 3-D mask.

    Raises:
        ValueError: for a mask that is not 3-D.
    """
    if mask.ndim != 3:
        raise ValueError(f"volume needs a 3-D mask; found {mask.ndim}-D")
    return float(mask.sum() * np.prod(spacing_mm)) / 1000.0


def equivalent_diameter_mm(mask: np.ndarray, spacing_mm: Spacing) -> float:
    """Diameter of the circle (2-D) of equal area or the sphere (3-D) of equal volume."""
    size = float(mask.sum() * np.prod(spacing_mm[: mask.ndim]))
    return 2 * (size / np.pi) ** 0.5 if mask.ndim == 2 else 2 * (size * 3 / (4 * np.pi)) ** (1 / 3)


def contrast(image: np.ndarray, mask: np.ndarray, spacing_mm: Spacing, *, where: np.ndarray | None = None) -> float:
    """Mean inside the mask minus mean of the ring 2 to 8 mm around it (within `where`); 0 without surroundings."""
    around = ring(mask, inner_mm=2.0, outer_mm=8.0, spacing_mm=spacing_mm)
    if where is not None:
        around &= where
    return float(image[mask].mean() - image[around].mean()) if around.any() and mask.any() else 0.0
