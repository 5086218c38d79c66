"""In-plane resampling of an image and its mask to a fixed grid, with the affine that goes with it.

The field of view stays; the voxel size changes. Voxel j of the new grid covers the old voxels from j·s to (j+1)·s
(s = old size / new size), so its centre lies at (j + 0.5)·s - 0.5: the origin shifts by half the difference.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def resample_image(image: np.ndarray, grid_size: tuple[int, int]) -> np.ndarray:
    """Linear interpolation of axes 0 and 1, with a triangle filter where the grid gets coarser (no aliasing).

    Args:
        image: (X, Y) or (X, Y, Z).
        grid_size: the new (X, Y).

    Returns:
        float32, slices contiguous in memory.
    """
    slices = np.asarray(image, dtype=np.float32)
    slices = np.moveaxis(slices, 2, 0) if image.ndim == 3 else slices[None]
    batch = torch.from_numpy(np.ascontiguousarray(slices))[:, None]  # (Z, 1, X, Y)
    resampled = functional.interpolate(batch, size=grid_size, mode="bilinear", align_corners=False, antialias=True)
    result = resampled[:, 0].numpy()
    return np.asfortranarray(np.moveaxis(result, 0, 2) if image.ndim == 3 else result[0])


def resample_mask(mask: np.ndarray, grid_size: tuple[int, int]) -> np.ndarray:
    """A new voxel belongs to the mask if the mask covers at least half of its area.

    Args:
        mask: bool (X, Y) or (X, Y, Z).
        grid_size: the new (X, Y).
    """
    x, y = _overlap(mask.shape[0], grid_size[0]), _overlap(mask.shape[1], grid_size[1])
    covered = np.einsum("ai,bj,ij...->ab...", x, y, mask.astype(np.float32), optimize=True)
    return covered >= 0.5 - 1e-5


def resampled_affine(affine: np.ndarray, shape: tuple[int, ...], grid_size: tuple[int, int]) -> np.ndarray:
    """The (4, 4) affine of the new grid: larger steps along axes 0 and 1, and the half-voxel shift of the origin."""
    scale = np.array([shape[0] / grid_size[0], shape[1] / grid_size[1], 1.0])
    step = np.diag([*scale, 1.0])
    step[:3, 3] = 0.5 * scale - 0.5
    return np.asarray(affine, dtype=np.float64) @ step


def _overlap(old: int, new: int) -> np.ndarray:
    """(new, old): the fraction of each new voxel that each old one covers."""
    edges = np.arange(new + 1) * (old / new)
    left, right = edges[:-1, None], edges[1:, None]
    start = np.arange(old)[None, :]
    return (np.clip(np.minimum(right, start + 1) - np.maximum(left, start), 0, None) * (new / old)).astype(np.float32)
