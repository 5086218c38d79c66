"""Random but replayable deformations of lesion crops, and procedural masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from medaug.lesions.geometry import (
    bounding_box,
    box_around_mask,
    equivalent_diameter_mm,
    largest_component,
    voxels_of_diameter,
)

COARSE = 4
"""Control points an axis of the smooth deformation."""


@dataclass(frozen=True)
class Warp:
    """An affine map plus a smooth displacement, in units of the crop's half width.

    Attributes:
        matrix: (d, d), output to input.
        displacement: (d, COARSE, ...), control points.
    """

    matrix: np.ndarray
    displacement: np.ndarray

    def enlarged(self, factor: float) -> Warp:
        """The same warp, its result `factor` times as large."""
        return Warp(self.matrix / factor, self.displacement)


def draw_warp(
    rng: np.random.RandomState,
    spatial_dims: int,
    *,
    scale: float = 1.0,
    rotation_deg: float = 40.0,
    anisotropy: float = 0.15,
    bend: float = 0.08,
) -> Warp:
    """A random warp that enlarges by about `scale`: rotation in-plane, flips, anisotropy, smooth bending."""
    angle = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg))
    turn = np.eye(spatial_dims)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    stretch = np.exp(rng.uniform(-anisotropy, anisotropy, spatial_dims))
    stretch *= scale / np.prod(stretch) ** (1 / spatial_dims)
    flips = np.where(rng.random_sample(spatial_dims) < 0.5, -1.0, 1.0)
    displacement = rng.normal(0.0, bend, (spatial_dims, *([COARSE] * spatial_dims)))
    return Warp(turn @ np.diag(flips / stretch), displacement)


def warp_points(warp: Warp, size: tuple[int, ...]) -> Tensor:
    """The places that a warped crop's voxels come from: (*S, d) in [-1, 1], last axis in torch's order (Z, Y, X)."""
    grid, weights = _grid(size)
    bend = torch.from_numpy(warp.displacement[::-1].astype(np.float32))
    for weight in weights:  # each turn consumes the first control axis and appends a voxel axis
        bend = torch.tensordot(bend, weight, dims=([1], [1]))  # (d, COARSE.., *S)
    turned = torch.from_numpy(warp.matrix[::-1].astype(np.float32)) @ grid.flatten(1)
    return (turned.view_as(grid) + bend).movedim(0, -1)


def sampled(crops: Sequence[np.ndarray], points: Tensor) -> np.ndarray:
    """Crops of one size (*S) at these points, linear, borders repeated; (N, *S), float32."""
    x = torch.from_numpy(np.array(crops, dtype=np.float32))[None]
    return functional.grid_sample(x, points[None], padding_mode="border", align_corners=True)[0].numpy()


def procedural_blob(
    rng: np.random.RandomState, diameter_mm: float, spacing_mm: Sequence[float], size: Sequence[int], *, margin: int = 1
) -> np.ndarray:
    """An irregular, connected mask of about this equivalent diameter: a noise field on an ellipsoid, cut at a level.

    Where that misses the diameter by 10 % or comes nearer to the edge than `margin` voxels, the plain ball.
    """
    squash = np.exp(rng.uniform(-0.25, 0.25, len(size)))
    sigma = [max(0.16 * diameter_mm / s, 0.7) for s in spacing_mm]
    noise = ndimage.gaussian_filter(rng.standard_normal(size), sigma)
    field = _radius_mm(size, spacing_mm, squash) / (diameter_mm / 2) + 0.35 * noise / max(float(noise.std()), 1e-9)
    wanted = voxels_of_diameter(diameter_mm, spacing_mm)
    mask = largest_component(_lowest(field, wanted))
    box = box_around_mask(mask)
    mask[box] = ndimage.binary_fill_holes(mask[box])
    off = abs(equivalent_diameter_mm(mask, spacing_mm) / diameter_mm - 1)
    return mask if off <= 0.1 and clear_of_edge(mask, margin) else _lowest(_radius_mm(size, spacing_mm), wanted)


def clear_of_edge(mask: np.ndarray, margin: int) -> bool:
    """Tells whether no voxel of the (non-empty) mask lies in the array's outermost `margin` voxels."""
    low, extent = bounding_box(mask)
    return bool((low >= margin).all() and (low + extent <= np.array(mask.shape) - margin).all())


def stretched(image: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The image inside `source`, scaled so that its bounding box covers `target`'s, and continued beyond its edge."""
    (_, extent_s), (low_t, extent_t) = bounding_box(source), bounding_box(target)
    box = box_around_mask(source)
    nearest = ndimage.distance_transform_edt(~source[box], return_distances=False, return_indices=True)
    texture = image[box][tuple(nearest)].astype(np.float32)
    for low, have, want, length in zip(low_t, extent_s, extent_t, target.shape, strict=True):
        place = (have - 1) / 2 + (np.arange(length) - low - (want - 1) / 2) * have / want
        place = place.clip(0, have - 1)  # the box's edge is repeated
        linear = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(have)))
        texture = np.tensordot(texture, linear.astype(np.float32), ([0], [1]))  # the first axis becomes the last
    return texture


@lru_cache(maxsize=8)
def _grid(size: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """(points of the identity (d, *S) in array order, per axis the weights (n, COARSE) of the control points)."""
    axes = [torch.linspace(-1, 1, n) for n in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    units = torch.eye(COARSE)[None, :, :, None]  # (1, COARSE channels, COARSE points, 1)
    mode = "bicubic" if len(size) == 2 else "bilinear"
    return grid, [functional.interpolate(units, (n, 1), mode=mode, align_corners=True)[0, ..., 0].T for n in size]


def _radius_mm(size: Sequence[int], spacing_mm: Sequence[float], squash: np.ndarray | float = 1.0) -> np.ndarray:
    axes = [(np.arange(n) - n // 2) * s for n, s in zip(size, spacing_mm, strict=True)]
    axes = [axis / q for axis, q in zip(axes, np.broadcast_to(squash, len(axes)), strict=True)]
    return np.sqrt(sum(g**2 for g in np.meshgrid(*axes, indexing="ij", sparse=True)))


def _lowest(field: np.ndarray, count: int) -> np.ndarray:
    """A mask of the `count` lowest voxels; ties at the level stay out, but never all of them."""
    count = min(count, field.size - 1)
    level = np.partition(field.reshape(-1), count)[count]
    return field < level if field.min() < level else field <= level
