"""Where a lesion may lie when nobody drew the organ: the brain where the image shows a skull, else the body.

The skull is a dark line between two bright regions: a watershed (Meyer and Beucher 1990) from the depth of the head and
from its rim meets on it. It is taken for a skull only if it is dark, lies deep enough, and has bright scalp outside. A
skull-stripped brain has no such line and keeps its whole body; an abdomen may be bounded by its wall. Everything is
in-plane: axis 2 of a volume only joins slices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from medaug.lesions.body import by_plane, find_foreground
from medaug.lesions.geometry import components, grow

FALLBACKS = (1.0, 0.5, 0.25, 0.0)
"""Fractions of the margin that are tried until something is left."""
DEEP_MM = 25.0
"""What lies deeper under the surface is inside the skull, whatever the scalp's thickness."""
SKULL_DEPTH_MM = 7.0
"""At least so much scalp and bone lie outside the line, along three quarters of it."""
SKULL_DARKEST = 0.6
SCALP_BRIGHTEST = 0.85
"""The line is at most, and the brighter part of what lies outside at least, this much as bright as the brain."""
BRAIN_LEAST = 0.3
"""Fraction of the head's area."""
HALF_BONE_MM = 3.0
"""The line runs through the middle of the bone; the brain ends this much before it."""
SPIKES_MM = 5.0
"""Parts of the found brain thinner than twice this (orbits, vessels, leaks through the bone) are dropped."""


def find_organ(image: np.ndarray, spacing_mm: Sequence[float], *, margin_mm: float) -> np.ndarray:
    """Head, body or brain in an image (X, Y[, Z]) in [-1, 1], deeper than `margin_mm` (in-plane) under the surface.

    Inside a skull the organ is the brain as far as it lies that deep. A margin that leaves nothing is halved.

    Returns:
        bool, the image's shape; never empty.
    """
    volume = np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1)
    in_plane = tuple(spacing_mm[:2])
    body = components(find_foreground(volume))[0]
    depth_mm = by_plane(lambda plane: _depth(plane, in_plane), body)
    allowed = body & _inside_skull(volume, depth_mm, in_plane)
    for fraction in FALLBACKS:
        organ = allowed & (depth_mm > margin_mm * fraction)
        if organ.any():
            return organ.reshape(image.shape)
    return body.reshape(image.shape)


def _depth(body: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Distance in mm to the nearest voxel outside the body; the image's edge is no surface."""
    if body.all():
        return np.full(body.shape, np.inf)
    return ndimage.distance_transform_edt(body, sampling=spacing_mm)


def _inside_skull(volume: np.ndarray, depth_mm: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Slice by slice the brain; one that shows no skull is bounded by the nearest that does, if there is any."""
    brains = [_brain(volume[..., z], depth_mm[..., z], spacing_mm) for z in range(volume.shape[-1])]
    found = np.array([z for z, brain in enumerate(brains) if brain is not None])
    if not found.size:
        return np.ones(volume.shape, dtype=bool)
    return np.stack([brains[found[np.abs(found - z).argmin()]] for z in range(len(brains))], axis=-1)


def _brain(image: np.ndarray, depth_mm: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray | None:
    """What the skull encloses in one slice; None where there is no skull to see."""
    body = depth_mm > 0
    if not body.any() or body.all():
        return None
    deep = depth_mm > min(DEEP_MM, 0.5 * depth_mm.max())
    rim = depth_mm <= max(2.0, 1.5 * max(spacing_mm))
    inside = watershed(-ndimage.gaussian_filter(image, 0.5), np.where(deep, 2, np.where(rim, 1, 0))) == 2
    if not _is_skull(image, body, inside, deep, depth_mm):
        return None
    parts = components(grow(grow(inside, -HALF_BONE_MM - SPIKES_MM, spacing_mm), SPIKES_MM, spacing_mm))
    return ndimage.binary_fill_holes(parts[0]) & body if parts else None


def _is_skull(image: np.ndarray, body: np.ndarray, inside: np.ndarray, deep: np.ndarray, depth_mm: np.ndarray) -> bool:
    """Whether the line around `inside` is dark, deep, and between bright brain and bright scalp."""
    edge = inside & ndimage.binary_dilation(~inside)
    outside = body & ~inside
    if not edge.any() or not outside.any() or inside.sum() < BRAIN_LEAST * body.sum():
        return False
    background = float(np.median(image[~body]))
    brain = float(np.median(image[deep])) - background
    line = float(np.median(ndimage.grey_erosion(image, size=(3, 3))[edge])) - background
    scalp = float(np.percentile(image[outside], 75)) - background
    bounded = line <= SKULL_DARKEST * brain and scalp >= SCALP_BRIGHTEST * brain
    return brain > 0 and bounded and float(np.percentile(depth_mm[edge], 25)) >= SKULL_DEPTH_MM
