"""Random but replayable deformations of lesion crops, and procedural masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from medaug.lesions.geometry import components, equivalent_diameter_mm

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


def draw_warp(
    rng: np.random.RandomState, spatial_dims: int, *, scale: float = 1.0, rotation_deg: float = 40.0,
    anisotropy: float = 0.15, bend: float = 0.08,
) -> Warp:  # fmt: skip
    """A random warp that enlarges by about `scale`: rotation in-plane, flips, anisotropy, smooth bending."""
    angle = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg))
    turn = np.eye(spatial_dims)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    stretch = np.exp(rng.uniform(-anisotropy, anisotropy, spatial_dims))
    stretch *= scale / np.prod(stretch) ** (1 / spatial_dims)
    flips = np.where(rng.random_sample(spatial_dims) < 0.5, -1.0, 1.0)
    displacement = rng.normal(0.0, bend, (spatial_dims, *([COARSE] * spatial_dims)))
    return Warp(turn @ np.diag(flips / stretch), displacement)


def apply_warp(arrays: Sequence[np.ndarray], warp: Warp) -> list[np.ndarray]:
    """Warps crops (*S) about their centre, borders repeated; all by one grid.

    Bicubic in 2-D: linear interpolation blurs a texture, and a blurred lesion is told from a real one at a glance.
    """
    dims = arrays[0].ndim
    size = arrays[0].shape
    axes = [torch.linspace(-1, 1, n) for n in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (*S, d), in array order
    smooth = functional.interpolate(
        torch.from_numpy(warp.displacement.astype(np.float32))[None], size,
        mode="bicubic" if dims == 2 else "trilinear", align_corners=True,
    )[0].movedim(0, -1)  # fmt: skip
    points = grid @ torch.from_numpy(warp.matrix.T.astype(np.float32)) + smooth
    stack = torch.from_numpy(np.stack(arrays).astype(np.float32))[None]  # (1, N, *S)
    warped = functional.grid_sample(
        stack, points.flip(-1)[None], mode="bicubic" if dims == 2 else "bilinear", padding_mode="border",
        align_corners=True,
    )  # fmt: skip
    return list(warped[0].numpy())


def procedural_blob(
    rng: np.random.RandomState, diameter_mm: float, spacing_mm: Sequence[float], size: Sequence[int]
) -> np.ndarray:
    """An irregular, connected mask of about this equivalent diameter: a noise field on an ellipsoid, cut at a level."""
    axes = [(np.arange(n) - n // 2) * s for n, s in zip(size, spacing_mm, strict=True)]
    squash = np.exp(rng.uniform(-0.25, 0.25, len(size)))
    radius = np.sqrt(sum((g / q) ** 2 for g, q in zip(np.meshgrid(*axes, indexing="ij"), squash, strict=True)))
    sigma = [max(0.16 * diameter_mm / s, 0.7) for s in spacing_mm]
    noise = ndimage.gaussian_filter(rng.standard_normal(size), sigma)
    field = radius / (diameter_mm / 2) + 0.35 * noise / max(float(noise.std()), 1e-9)
    wanted = _voxels(diameter_mm, spacing_mm, len(size))
    level = np.partition(field.reshape(-1), min(wanted, field.size - 1))[min(wanted, field.size - 1)]
    mask = ndimage.binary_fill_holes(components(field < level)[0])
    if abs(equivalent_diameter_mm(mask, spacing_mm) / diameter_mm - 1) > 0.1:
        mask = radius < np.sort(radius.reshape(-1))[min(wanted, field.size - 1)]
    return mask


def _voxels(diameter_mm: float, spacing_mm: Sequence[float], dims: int) -> int:
    size = np.pi * (diameter_mm / 2) ** 2 if dims == 2 else 4 / 3 * np.pi * (diameter_mm / 2) ** 3
    return max(1, int(round(size / float(np.prod(spacing_mm)))))
