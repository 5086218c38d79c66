"""Geometry of masks: growing, rings, connected parts, sizes in mm; boxes that may reach over the image's edge.

Masks are bool arrays (X, Y) or (X, Y, Z) (other dtypes: above or below zero is inside), `spacing_mm` has one entry an
axis. Distances are exact Euclidean ones between voxel centres (scipy's EDT), taken only as far around the mask as they
are needed; so nothing depends on the voxel grid but its resolution, and the cost follows the lesion, not the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Spacing = Sequence[float]

TOLERANCE_MM = 1e-6
"""Distances are sums of floats: a voxel at exactly the margin counts as within it."""


def grow(mask: np.ndarray, margin_mm: float, spacing_mm: Spacing) -> np.ndarray:
    """All voxels within `margin_mm` of the mask; a negative margin removes all within as much of what is outside.

    The array's border is not outside: a mask cut off by the field of view does not shrink there.
    """
    mask = mask.astype(bool)
    if margin_mm == 0 or not mask.any() or (margin_mm < 0 and mask.all()):
        return mask
    changed = np.zeros_like(mask)
    near = box_around_mask(mask, [int(abs(margin_mm) / s) + 1 for s in spacing_mm])
    if margin_mm > 0:
        changed[near] = ndimage.distance_transform_edt(~mask[near], sampling=spacing_mm) <= margin_mm + TOLERANCE_MM
    else:
        changed[near] = ndimage.distance_transform_edt(mask[near], sampling=spacing_mm) > TOLERANCE_MM - margin_mm
    return changed


def ring(mask: np.ndarray, *, inner_mm: float, outer_mm: float, spacing_mm: Spacing) -> np.ndarray:
    """The shell between `inner_mm` (exclusive) and `outer_mm` (inclusive) outside the mask."""
    mask = mask.astype(bool)
    shell = np.zeros_like(mask)
    if mask.any():
        near = box_around_mask(mask, [int(outer_mm / s) + 1 for s in spacing_mm])
        distance = ndimage.distance_transform_edt(~mask[near], sampling=spacing_mm)
        shell[near] = (distance > inner_mm + TOLERANCE_MM) & (distance <= outer_mm + TOLERANCE_MM)
    return shell


def labelled_parts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the connected parts of a mask (diagonals connect) from 1.

    Returns:
        (each voxel's number, 0 outside the mask; how many voxels have each number, 0 included).
    """
    numbers, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    return numbers, np.bincount(numbers.reshape(-1), minlength=count + 1)


def components(mask: np.ndarray) -> list[np.ndarray]:
    """Connected parts (diagonals connect), largest first."""
    numbers, sizes = labelled_parts(mask)
    boxes = ndimage.find_objects(numbers)
    parts = []
    for index in np.argsort(-sizes[1:], kind="stable"):
        part = np.zeros(mask.shape, dtype=bool)
        part[boxes[index]] = numbers[boxes[index]] == index + 1
        parts.append(part)
    return parts


def component_boxes(mask: np.ndarray) -> list[tuple[slice, ...]]:
    """The bounding boxes of `components`, in their order: a volume's many parts without a mask for each."""
    numbers, sizes = labelled_parts(mask)
    boxes = ndimage.find_objects(numbers)
    return [boxes[index] for index in np.argsort(-sizes[1:], kind="stable")]


def component_voxels(mask: np.ndarray) -> np.ndarray:
    """How many voxels each of `components` has, in their order."""
    return -np.sort(-labelled_parts(mask)[1][1:])


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The first of `components`; an empty mask as it is."""
    largest = mask.astype(bool)
    if largest.any():
        box = box_around_mask(largest)
        numbers, sizes = labelled_parts(largest[box])
        if len(sizes) > 2:
            largest[box] = numbers == 1 + sizes[1:].argmax()
    return largest


def bounding_box(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first voxel, extent) of a mask that is not empty."""
    low, extent, part = [], [], mask
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        span = np.flatnonzero(part.any(axis=others))
        low.append(span[0])
        extent.append(span[-1] - span[0] + 1)
        part = part[(*[slice(None)] * axis, slice(span[0], span[-1] + 1))]  # the next axis looks at less
    return np.array(low), np.array(extent)


def box_around_mask(mask: np.ndarray, margin: Sequence[int] | int = 0) -> tuple[slice, ...]:
    """The bounding box of a mask that is not empty, `margin` voxels wider (an axis), within the array."""
    low, extent = bounding_box(mask)
    margins = np.broadcast_to(margin, mask.ndim)
    return tuple(slice(max(0, a - m), a + n + m) for a, n, m in zip(low, extent, margins, strict=True))


def from_nearest(values: np.ndarray, known: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Values (*S) in which each `missing` voxel has that of the nearest `known` one, in voxels; both bool, not empty.

    No more of the array is looked at than the box in which the nearest must lie.
    """
    margin, filled = 4, values.copy()
    while True:
        box = box_around_mask(missing, margin)
        if known[box].any():
            distance, nearest = ndimage.distance_transform_edt(~known[box], return_indices=True)
            if distance[missing[box]].max() <= margin or known[box].shape == known.shape:
                filled[box][missing[box]] = values[box][tuple(nearest[:, missing[box]])]
                return filled
        margin *= 2


def relative_location(mask: np.ndarray, organ: np.ndarray) -> tuple[float, ...]:
    """Centre of the mask's box in the organ's, 0 to 1 an axis inside it; in its own box where the organ is empty."""
    corner, extent = bounding_box(mask)
    organ_corner, organ_extent = bounding_box(organ if organ.any() else mask)
    return tuple(float(x) for x in (corner + extent / 2 - organ_corner) / np.maximum(organ_extent, 1))


def volume_ml(mask: np.ndarray, spacing_mm: Spacing) -> float:
    """Volume in ml of a 3-D mask.

    Raises:
        ValueError: for a mask that is not 3-D.
    """
    if mask.ndim != 3:
        raise ValueError(f"volume needs a 3-D mask; found {mask.ndim}-D")
    return float(np.count_nonzero(mask) * np.prod(spacing_mm)) / 1000.0


def equivalent_diameter_mm(mask: np.ndarray, spacing_mm: Spacing) -> float:
    """Diameter of the circle (2-D) of equal area or the sphere (3-D) of equal volume."""
    return diameter_of_voxels(int(np.count_nonzero(mask)), tuple(spacing_mm)[: mask.ndim])


def diameter_of_voxels(voxels: int, spacing_mm: Spacing) -> float:
    """The inverse of `voxels_of_diameter`: in mm, of a circle (two spacings) or sphere (three) of so many voxels."""
    size = float(voxels * np.prod(spacing_mm))
    return 2 * (size / np.pi) ** 0.5 if len(spacing_mm) == 2 else 2 * (size * 3 / (4 * np.pi)) ** (1 / 3)


def voxels_of_diameter(diameter_mm: float, spacing_mm: Spacing) -> int:
    """How many voxels a circle (two spacings) or sphere (three) of this diameter has; at least one."""
    radius = diameter_mm / 2
    size = np.pi * radius**2 if len(spacing_mm) == 2 else 4 / 3 * np.pi * radius**3
    return max(1, int(round(size / float(np.prod(spacing_mm)))))


@dataclass(frozen=True)
class CropBox:
    """A box on an image's grid, in voxels; it may lie partly outside."""

    start: tuple[int, ...]
    size: tuple[int, ...]

    def overlap(self, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """(the part of the image the box covers, the part of the crop that lies inside the image)."""
        inside, part = [], []
        for start, size, length in zip(self.start, self.size, shape, strict=True):
            low, high = min(max(start, 0), length), max(min(start + size, length), 0)
            high = max(low, high)
            inside.append(slice(low, high))
            part.append(slice(low - start, high - start))
        return tuple(inside), tuple(part)


def box_around(center: Sequence[int] | np.ndarray, size: Sequence[int]) -> CropBox:
    """The box of this size around a voxel."""
    return CropBox(tuple(int(c) - s // 2 for c, s in zip(center, size, strict=True)), tuple(int(s) for s in size))


def box_in_mm(
    corner: Sequence[int] | np.ndarray,
    extent: Sequence[int] | np.ndarray,
    crop_size: Sequence[int],
    crop_spacing_mm: Sequence[float],
    spacing_mm: Sequence[float],
    *,
    room: float,
) -> CropBox:
    """The box of a crop's size in mm around a region; larger, by one factor, if the region needs more.

    Args:
        corner, extent: of the region, in voxels of the image.
        spacing_mm: of the image.
        room: how many times as wide as the region the box is at least, along every axis.
    """
    corner, extent = np.asarray(corner), np.asarray(extent)
    size = np.multiply(crop_size, crop_spacing_mm) / np.asarray(spacing_mm)
    factor = max(1.0, float((extent * room / size).max()))
    return box_around(corner + extent // 2, [max(1, round(n)) for n in (size * factor).tolist()])


def extract(array: np.ndarray, box: CropBox, fill: float) -> np.ndarray:
    """A copy of the box, `fill` where it leaves the array."""
    crop = np.full(box.size, fill, dtype=array.dtype)
    inside, part = box.overlap(array.shape)
    crop[part] = array[inside]
    return crop
