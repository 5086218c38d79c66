"""Does a lesion go on from slice to slice as real ones do? Edits made slice by slice may flicker along z.

Scans are smoother across thin slices than across thick ones, so the step along z means nothing by itself: it is set
against the steps in the plane of the same region, and that against the same ratio of real lesions of the same scans.
Images are normalized to [-1, 1], (X, Y, Z); distances in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medaug.errors import DataError


@dataclass(frozen=True)
class ZConsistency:
    """Real against synthetic regions.

    Attributes:
        real, synthetic: median `z_ratio` of either.
        ratio: synthetic over real: 1 as continuous as real scans, above 1 flicker, below 1 smeared along z.
        n_real, n_synthetic: how many regions stand behind the medians.
    """

    real: float
    synthetic: float
    ratio: float
    n_real: int
    n_synthetic: int


def z_ratio(image: np.ndarray, region: np.ndarray, spacing_mm: Sequence[float]) -> float | None:
    """Mean |∂z| over the mean of |∂x| and |∂y|, all per mm, between neighbours that both lie in `region`.

    None where there are no such neighbours on each axis (a region in one slice) or nothing varies in the plane.

    Raises:
        DataError: if the shapes differ, or the image is no volume.
    """
    if image.ndim != 3 or image.shape != region.shape:
        raise DataError(
            f"found an image of shape {image.shape} and a region of {region.shape}; expected two volumes of one shape. "
            "Give both as (X, Y, Z)."
        )
    found = (_mean_step(image.astype(np.float64), region.astype(bool), axis) for axis in range(3))
    steps = [step for step in found if step is not None]
    if len(steps) < 3:
        return None
    x, y, z = (step / mm for step, mm in zip(steps, spacing_mm, strict=True))
    return float(2 * z / (x + y)) if x + y > 0 else None


def z_consistency(real: Sequence[float], synthetic: Sequence[float]) -> ZConsistency | None:
    """Medians of the `z_ratio` of real and synthetic regions, and their ratio; None where one of them is missing."""
    if not len(real) or not len(synthetic) or not np.median(real) > 0:
        return None
    typical, found = float(np.median(real)), float(np.median(synthetic))
    return ZConsistency(typical, found, found / typical, len(real), len(synthetic))


def _mean_step(image: np.ndarray, region: np.ndarray, axis: int) -> float | None:
    """Mean absolute difference of neighbours along an axis, both in the region."""
    image, region = np.moveaxis(image, axis, 0), np.moveaxis(region, axis, 0)
    both = region[1:] & region[:-1]
    return float(np.abs(np.diff(image, axis=0))[both].mean()) if both.any() else None
