"""Where a lesion may lie when nobody drew the organ: the head or body, away from its edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from medaug.lesions.geometry import components, grow

FALLBACKS = (1.0, 0.5, 0.25, 0.0)
"""Fractions of the margin that are tried until something is left."""


def find_organ(image: np.ndarray, spacing_mm: Sequence[float], *, margin_mm: float) -> np.ndarray:
    """The largest bright body in an image in [-1, 1], holes filled slice by slice, shrunk by `margin_mm` in-plane.

    Returns:
        bool, the image's shape; never empty on an image with contrast.
    """
    threshold = _threshold(image)
    body = ndimage.binary_opening(image > threshold) if image.ndim == 2 else image > threshold
    parts = components(body if body.any() else image > threshold)
    body = parts[0] if parts else np.ones(image.shape, dtype=bool)
    if body.ndim == 2:
        return _shrunk(_filled(body), margin_mm, spacing_mm)
    body = np.stack([_filled(body[..., z]) for z in range(body.shape[-1])], axis=-1)
    planes = [grow(body[..., z], -margin_mm, spacing_mm[:2]) for z in range(body.shape[-1])]
    shrunk = np.stack(planes, axis=-1)
    return shrunk if shrunk.any() else body


def _threshold(image: np.ndarray) -> float:
    """Between background and tissue: well below Otsu's, which splits dark from bright tissue."""
    low, high = float(image.min()), float(threshold_otsu(image))
    return low + 0.35 * (high - low)


def _filled(body: np.ndarray) -> np.ndarray:
    return ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(body, 3), iterations=2))[3:-3, 3:-3]


def _shrunk(body: np.ndarray, margin_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    for fraction in FALLBACKS:
        organ = grow(body, -margin_mm * fraction, spacing_mm)
        if organ.any():
            return organ
    return body
