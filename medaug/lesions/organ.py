"""The region lesions may lie in (brain, body), found from intensities alone.

Otsu's threshold (Otsu 1979) separates tissue from air; in a head scan with skull, an opening cuts the thin scalp off
the brain, which is then the largest piece. What remains is closed, its holes filled slice by slice, and shrunk by a
margin so that lesions keep off the skull. It is a bound for placing lesions, not an anatomical segmentation.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.geometry import check_spacing, grow, largest_component

WORKING_SPACING_MM = 2.0


def find_organ(image: np.ndarray, spacing_mm: tuple[float, ...], *, margin_mm: float) -> np.ndarray:
    """The brain or body mask of one normalized image.

    Volumes are worked on at about 2 mm (every second voxel of a 1 mm scan), slices at their own resolution.

    Args:
        image: (X, Y) or (X, Y, Z), in [-1, 1] with the background at the low end.
        spacing_mm: voxel size per axis.
        margin_mm: how far the mask is shrunk; where that would leave next to nothing, half of it, and so on to 0.

    Returns:
        Boolean mask of the image's shape, never empty.

    Raises:
        DataError: if the image is blank (constant).
    """
    check_spacing(image, spacing_mm)
    if not float(image.max()) > float(image.min()):
        raise DataError.about(
            "image", f"a constant image of shape {image.shape}", "an image with contrast", "Leave blank slices out."
        )
    steps = (1,) * 2 if image.ndim == 2 else tuple(max(1, int(WORKING_SPACING_MM / s + 0.01)) for s in spacing_mm)
    small = image[tuple(slice(None, None, step) for step in steps)]
    spacing = tuple(s * step for s, step in zip(spacing_mm, steps, strict=True))
    organ = _shrink(_tissue_core(_body(small, spacing), small, spacing), margin_mm, spacing)
    for axis, step in enumerate(steps):
        organ = np.repeat(organ, step, axis=axis) if step > 1 else organ
    return organ[tuple(slice(0, n) for n in image.shape)]


def otsu_threshold(values: np.ndarray, bins: int = 256) -> float:
    """The threshold that maximizes the variance between the two classes (Otsu 1979, eq. 12)."""
    counts, edges = np.histogram(values, bins=bins)
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    mass = np.cumsum(counts * centers)
    mean_below = mass[:-1] / np.maximum(below, 1)
    mean_above = (mass[-1] - mass[:-1]) / np.maximum(above, 1)
    between = below.astype(np.float64) * above * (mean_below - mean_above) ** 2
    return float(edges[1:-1][np.flatnonzero(between >= between.max() * (1 - 1e-9))].mean())


OPENING_MM = 3.5
CLOSING_MM = 6.0


def _body(image: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Everything that is not air: above Otsu's threshold of the image with its bright end cut off."""
    first = otsu_threshold(image)
    bright = image[image > first]
    cut = float(np.median(bright)) if bright.size else float(image.max())
    threshold = otsu_threshold(np.minimum(image, cut))
    body = largest_component(image > threshold)
    return _fill_slices(_close(body, CLOSING_MM, spacing_mm)) if body.any() else image > image.min()


def _tissue_core(body: np.ndarray, image: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """The brain inside scalp and skull, if thin structures can be cut off it; the body otherwise."""
    threshold = otsu_threshold(np.minimum(image, float(np.median(image[body]))))
    tissue = body & (image > threshold)
    core = largest_component(grow(tissue, -OPENING_MM, spacing_mm))
    core = grow(core, OPENING_MM, spacing_mm) & tissue
    core = _fill_slices(_close(largest_component(core), CLOSING_MM, spacing_mm)) & body
    return core if core.sum() >= 0.4 * body.sum() else body


def _close(mask: np.ndarray, radius_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Closing: grown and shrunk again, on a padded array so that the field of view cuts nothing off."""
    pad = [(int(np.ceil(radius_mm / s)) + 1,) * 2 for s in spacing_mm]
    closed = grow(grow(np.pad(mask, pad), radius_mm, spacing_mm), -radius_mm, spacing_mm)
    return closed[tuple(slice(low, -high) for low, high in pad)] | mask


def _fill_slices(mask: np.ndarray) -> np.ndarray:
    """Holes filled in each slice across the last axis (a 2-D mask is one slice)."""
    if mask.ndim == 2:
        return ndimage.binary_fill_holes(mask)
    return np.stack([ndimage.binary_fill_holes(mask[..., z]) for z in range(mask.shape[-1])], axis=-1)


def _shrink(mask: np.ndarray, margin_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Shrunk by the margin, or by less where under 5 % of the mask would remain."""
    for part in (1.0, 0.5, 0.25):
        shrunk = grow(mask, -margin_mm * part, spacing_mm)
        if shrunk.sum() >= 0.05 * mask.sum() and shrunk.any():
            return shrunk
    return mask
