"""Mask geometry in mm: growing, soft edges, rings, components, sizes, contrast.

Masks are boolean arrays (X, Y) or (X, Y, Z); `spacing_mm` has one entry per axis. Distances are exact Euclidean
distances between voxel centres (`scipy.ndimage.distance_transform_edt`), computed only in the neighbourhood of the
mask, so the cost follows the lesion and not the scan. Nothing here knows of images files, units or networks; intensities
are whatever the caller uses (normalized [-1, 1] in medaug).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from medaug.errors import ConfigError

Slices = tuple[slice, ...]


def bounding_box(mask: np.ndarray) -> Slices:
    """The smallest box that holds the mask, one slice per axis; empty slices (0:0) for an empty mask."""
    slices = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        slices.append(slice(int(occupied[0]), int(occupied[-1]) + 1) if occupied.size else slice(0, 0))
    return tuple(slices)


def grow(mask: np.ndarray, margin_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """All voxels within `margin_mm` of the mask; a negative margin shrinks it from every outside voxel.

    The border of the array is not background: a mask cut off by the field of view does not shrink there.

    Args:
        mask: boolean, (X, Y) or (X, Y, Z).
        margin_mm: distance in mm; 0 returns a copy.
        spacing_mm: voxel size per axis.

    Raises:
        ConfigError: if `spacing_mm` does not fit the mask's dimensions.
    """
    mask = mask.astype(bool)
    check_spacing(mask, spacing_mm)
    if margin_mm == 0 or not mask.any():
        return mask
    if margin_mm > 0:
        region = _padded_box(mask, margin_mm, spacing_mm)
        grown = np.zeros_like(mask)
        grown[region] = _distance_to(mask[region], spacing_mm) <= margin_mm + _EPSILON_MM
        return grown
    if mask.all():
        return mask
    region = _padded_box(mask, max(spacing_mm), spacing_mm)
    shrunk = np.zeros_like(mask)
    shrunk[region] = ndimage.distance_transform_edt(mask[region], sampling=spacing_mm) > -margin_mm + _EPSILON_MM
    return shrunk


def soft_edge(
    mask: np.ndarray, *, grow_mm: float, width_mm: float, spacing_mm: tuple[float, ...]
) -> np.ndarray:  # fmt: skip
    """Blending weights: 1 up to `grow_mm` outside the mask, then a cosine fall to exactly 0 over `width_mm`.

    The support is strictly bounded: a voxel farther than `grow_mm + width_mm` from the mask has weight 0.0, which is
    what makes a composite bit-identical to its background there.

    Returns:
        float32 weights in [0, 1], the mask's shape.

    Raises:
        ConfigError: if a distance is negative or `spacing_mm` does not fit the mask.
    """
    check_spacing(mask, spacing_mm)
    if grow_mm < 0 or width_mm < 0:
        raise ConfigError(f"grow_mm={grow_mm} and width_mm={width_mm}: expected both >= 0. Give distances in mm.")
    mask = mask.astype(bool)
    weights = np.zeros(mask.shape, np.float32)
    if not mask.any():
        return weights
    region = _padded_box(mask, grow_mm + width_mm, spacing_mm)
    outside_mm = _distance_to(mask[region], spacing_mm) - grow_mm
    fall = np.clip(outside_mm / max(width_mm, _EPSILON_MM), 0.0, 1.0)
    weights[region] = np.where(fall >= 1.0, 0.0, 0.5 * (1.0 + np.cos(np.pi * fall)))
    weights[region][outside_mm <= _EPSILON_MM] = 1.0
    return weights


def ring(mask: np.ndarray, *, inner_mm: float, outer_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """The shell of voxels outside the mask whose distance to it lies in (`inner_mm`, `outer_mm`]."""
    if not 0 <= inner_mm < outer_mm:
        raise ConfigError(f"inner_mm={inner_mm}, outer_mm={outer_mm}: expected 0 <= inner_mm < outer_mm.")
    return grow(mask, outer_mm, spacing_mm) & ~grow(mask, inner_mm, spacing_mm)


def labelled_components(mask: np.ndarray) -> Iterator[tuple[Slices, np.ndarray]]:
    """Connected components (full connectivity) as (box, mask inside the box), largest first.

    Cheap on whole volumes: no full-size array per component.
    """
    labels, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    boxes = ndimage.find_objects(labels)
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)[1:]
    for index in np.argsort(-sizes, kind="stable"):
        yield boxes[index], labels[boxes[index]] == index + 1


def components(mask: np.ndarray) -> list[np.ndarray]:
    """Connected components (full connectivity), largest first, each a boolean array of the mask's shape."""
    parts = []
    for box, inside in labelled_components(mask):
        part = np.zeros(mask.shape, bool)
        part[box] = inside
        parts.append(part)
    return parts


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected component; the (empty) mask itself if there is none."""
    labels, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count <= 1:
        return mask.astype(bool)
    return labels == 1 + int(np.argmax(np.bincount(labels.reshape(-1))[1:]))


def volume_ml(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> float:
    """Volume in ml of a 3-D mask; a 2-D mask counts as a slab 1 mm thick."""
    check_spacing(mask, spacing_mm)
    return float(np.count_nonzero(mask)) * math.prod(spacing_mm) / 1000.0


def equivalent_diameter_mm(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> float:
    """Diameter of the circle of equal area (2-D) or the sphere of equal volume (3-D)."""
    check_spacing(mask, spacing_mm)
    return diameter_of(float(np.count_nonzero(mask)) * math.prod(spacing_mm), mask.ndim)


def diameter_of(size: float, spatial_dims: int) -> float:
    """Diameter in mm of the circle of area `size` mm² (2-D) or the sphere of volume `size` mm³ (3-D)."""
    return 2.0 * math.sqrt(size / math.pi) if spatial_dims == 2 else 2.0 * (size * 0.75 / math.pi) ** (1 / 3)


def size_of(diameter_mm: float, spatial_dims: int) -> float:
    """Area in mm² (2-D) or volume in mm³ (3-D) of a circle or sphere: the inverse of `diameter_of`."""
    radius = diameter_mm / 2.0
    return math.pi * radius**2 if spatial_dims == 2 else 4.0 / 3.0 * math.pi * radius**3


def contrast(
    image: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, ...], *, where: np.ndarray | None = None
) -> float:
    """Mean inside the mask minus the mean of its surroundings 2 to 8 mm away, in the image's own unit.

    Args:
        image: (X, Y) or (X, Y, Z).
        mask: the lesion, same shape.
        spacing_mm: voxel size per axis.
        where: the surroundings are counted only here (the organ, without other lesions). Where that leaves no voxel
            the whole ring counts; without a ring (the mask fills the image) the contrast is 0.
    """
    mask = mask.astype(bool)
    if not mask.any():
        return 0.0
    region = _padded_box(mask, 8.0, spacing_mm)
    image, mask = image[region], mask[region]
    around = ring(mask, inner_mm=2.0, outer_mm=8.0, spacing_mm=spacing_mm)
    within = around if where is None else around & where[region].astype(bool)
    around = within if within.any() else around
    if not around.any():
        return 0.0
    return float(image[mask].mean(dtype=np.float64) - image[around].mean(dtype=np.float64))


def check_spacing(array: np.ndarray, spacing_mm: tuple[float, ...]) -> None:
    """Refuses a spacing that does not have one positive entry per axis.

    Raises:
        ConfigError: naming the shape and the spacing.
    """
    if len(spacing_mm) != array.ndim or not all(s > 0 for s in spacing_mm):
        raise ConfigError(
            f"spacing_mm={tuple(spacing_mm)} for an array of shape {array.shape}: expected {array.ndim} positive "
            "values, one per axis. Give the voxel size in mm."
        )


_EPSILON_MM = 1e-6


def _distance_to(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Distance in mm from each voxel centre to the nearest voxel of the (non-empty) mask."""
    return ndimage.distance_transform_edt(~mask, sampling=spacing_mm)


def _padded_box(mask: np.ndarray, margin_mm: float, spacing_mm: tuple[float, ...]) -> Slices:
    """The mask's bounding box widened by `margin_mm` and one voxel, inside the array."""
    return tuple(
        slice(max(0, box.start - math.ceil(margin_mm / s) - 1), min(n, box.stop + math.ceil(margin_mm / s) + 1))
        for box, s, n in zip(bounding_box(mask), spacing_mm, mask.shape, strict=True)
    )
