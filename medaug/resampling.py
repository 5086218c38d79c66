"""Images and masks on another grid over the same field of view: the voxel size changes, and nothing moves.

Voxel j of the new grid covers the old voxels from j·s to (j+1)·s (s = old size / new size), so its centre lies at
(j + 0.5)·s - 0.5: the origin shifts by half the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch.nn import functional


def resample_image(image: np.ndarray, grid_size: Sequence[int], *, plane_first: bool = True) -> np.ndarray:
    """Linear interpolation axis by axis, with a triangle filter where the grid gets coarser (no aliasing).

    Args:
        image: (X, Y) or (X, Y, Z).
        grid_size: the new (X, Y), or (X, Y, Z) of a volume.
        plane_first: whole scans go plane by plane, then along axis 2; crops of lesions the other way round. The two
            differ by rounding alone, which keeps prepared cases and trained weights to their bits.

    Returns:
        float32; slices contiguous in memory, or rows of crops. It may be the image itself where the grid is its own.
    """
    order: Literal["F", "C"] = "F" if plane_first else "C"
    image = np.asarray(image, dtype=np.float32)
    if image.shape == tuple(grid_size):
        return np.asarray(image, order=order)
    smooth = plane_first or any(have > want for have, want in zip(image.shape, grid_size, strict=True))
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, 2, 0) if image.ndim == 3 else image[None]))
    x = _in_plane(x, grid_size[:2], smooth) if plane_first else x  # (Z, X, Y)
    if len(grid_size) == 3:
        lines = _in_plane(x.flatten(1).T[None], (x[0].numel(), grid_size[2]), smooth)[0]
        x = lines.T.reshape(grid_size[2], *x.shape[1:])
    x = x if plane_first else _in_plane(x, grid_size[:2], smooth)
    result = x.numpy()
    return np.asarray(np.moveaxis(result, 0, 2) if image.ndim == 3 else result[0], order=order)


def resample_mask(mask: np.ndarray, grid_size: tuple[int, ...]) -> np.ndarray:
    """A mask (bool, (X, Y[, Z])) on the new grid: a voxel belongs to it if the mask covers at least half of it."""
    x, y = _overlap(mask.shape[0], grid_size[0]), _overlap(mask.shape[1], grid_size[1])
    covered = np.einsum("ai,bj,ij...->ab...", x, y, mask.astype(np.float32), optimize=True)
    if len(grid_size) == 3:
        covered = covered @ _overlap(mask.shape[2], grid_size[2]).T
    return covered >= 0.5 - 1e-5


def resample_classes(classes: np.ndarray, grid_size: tuple[int, ...]) -> np.ndarray:
    """Class numbers (uint8 (X, Y[, Z]), 0 none) on the new grid, each class as `resample_mask` has it."""
    resampled = np.zeros((*grid_size, *classes.shape[len(grid_size) :]), dtype=np.uint8)
    for number in np.unique(classes[classes != 0]):
        resampled[resample_mask(classes == number, grid_size) & (resampled == 0)] = number
    return resampled


def resized(crop: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A crop on another grid over the same box; the very same array where the size is right already."""
    return resample_image(crop, size, plane_first=False)


def resized_mask(mask: np.ndarray, size: Sequence[int], *, keep: bool = False, touched: bool = False) -> np.ndarray:
    """A mask on another grid over the same box: interpolated linearly, kept where at least 0.5.

    Args:
        keep: a mask too small for that is kept in the voxels it falls into.
        touched: all voxels that the mask falls into are kept, however little of them it fills.
    """
    size = tuple(size)
    if mask.shape == size:
        return mask.astype(bool)
    kept = resized(mask, size) >= 0.5
    if touched or (keep and not kept.any()):
        kept[tuple(((np.argwhere(mask) + 0.5) * np.array(size) / mask.shape).astype(int).T)] = True
    return kept


def nearest_mask(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A mask on another grid over the same box, each voxel as the nearest one."""
    if mask.shape == tuple(size):
        return mask.astype(bool)
    picks = [((np.arange(n) + 0.5) * have / n).astype(int) for n, have in zip(size, mask.shape, strict=True)]
    return mask[np.ix_(*picks)].astype(bool)


def resampled_affine(affine: np.ndarray, shape: tuple[int, ...], grid_size: tuple[int, ...]) -> np.ndarray:
    """The (4, 4) affine of the new grid: larger steps along its axes, and the half-voxel shift of the origin."""
    scale = np.ones(3)
    scale[: len(grid_size)] = np.array(shape[: len(grid_size)]) / np.array(grid_size)
    step = np.diag([*scale, 1.0])
    step[:3, 3] = 0.5 * scale - 0.5
    return np.asarray(affine, dtype=np.float64) @ step


def grid_of_spacing(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], wanted_mm: tuple[float, ...]
) -> tuple[int, ...]:
    """The size at which voxels come closest to `wanted_mm`, along as many axes, in the field of view as it is."""
    axes = zip(shape, spacing_mm, wanted_mm, strict=False)
    return tuple(max(1, round(size * spacing / wanted)) for size, spacing, wanted in axes)


def _in_plane(slices: torch.Tensor, size: Sequence[int], smooth: bool) -> torch.Tensor:
    """(Z, X, Y) on a grid of another (X, Y); torch smooths against aliasing in two dimensions only."""
    x = slices[None].contiguous()
    return functional.interpolate(x, tuple(size), mode="bilinear", align_corners=False, antialias=smooth)[0]


def _overlap(old: int, new: int) -> np.ndarray:
    """(new, old): the fraction of each new voxel that each old one covers."""
    edges = np.arange(new + 1) * (old / new)
    left, right = edges[:-1, None], edges[1:, None]
    start = np.arange(old)[None, :]
    return (np.clip(np.minimum(right, start + 1) - np.maximum(left, start), 0, None) * (new / old)).astype(np.float32)
