"""Crops of fixed size around a lesion: where they are, cutting them out, putting them back, resampling them.

A `CropBox` may leave the array: `extract` pads there and `paste` ignores that part. Where the scan's spacing differs from
the network's, `matching_box` is the box of the same physical extent on the scan's grid, and `resample` carries a crop
between the two grids (voxel i of n covers the interval [i, i + 1) / n of the box); equal sizes are copied unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from medaug.errors import ConfigError


@dataclass(frozen=True)
class CropBox:
    """Voxels `start[i] .. start[i] + size[i] - 1` along each axis; `start` may be negative."""

    start: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def stop(self) -> tuple[int, ...]:
        return tuple(a + n for a, n in zip(self.start, self.size, strict=True))

    @property
    def center(self) -> tuple[int, ...]:
        """The voxel that `box_around` was given."""
        return tuple(a + n // 2 for a, n in zip(self.start, self.size, strict=True))

    def inside(self, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Slices of the part inside an array of this shape: (in the array, in the crop)."""
        array, crop = [], []
        for a, b, n in zip(self.start, self.stop, shape, strict=True):
            low, high = min(max(a, 0), n), max(min(b, n), 0)
            high = max(low, high)
            array.append(slice(low, high))
            crop.append(slice(low - a, high - a) if high > low else slice(0, 0))
        return tuple(array), tuple(crop)


def box_around(center: tuple[float, ...], size: tuple[int, ...]) -> CropBox:
    """The box of this size whose voxel `size // 2` is the voxel nearest to `center`."""
    return CropBox(tuple(int(np.floor(c + 0.5)) - n // 2 for c, n in zip(center, size, strict=True)), tuple(size))


def matching_box(
    center: tuple[float, ...], size: tuple[int, ...], spacing_mm: tuple[float, ...], target_spacing_mm: tuple[float, ...]
) -> CropBox:  # fmt: skip
    """The box on a grid of `target_spacing_mm` with the physical extent of a crop of `size` at `spacing_mm`.

    `center` is in voxels of the target grid. Equal spacings give `box_around(center, size)`.
    """
    extent = zip(size, spacing_mm, target_spacing_mm, strict=True)
    return box_around(center, tuple(max(1, round(n * s / t)) for n, s, t in extent))


def extract(array: np.ndarray, box: CropBox, fill: float | bool) -> np.ndarray:
    """A copy of the box's voxels; `fill` where the box leaves the array.

    Args:
        array: (*S) or with leading axes (C, *S): the box applies to the last axes.
        box: where to cut.
        fill: value outside the array.
    """
    lead = array.shape[: array.ndim - len(box.size)]
    source, target = box.inside(array.shape[len(lead) :])
    crop = np.full(lead + box.size, fill, dtype=array.dtype)
    crop[(..., *target)] = array[(..., *source)]
    return crop


def paste(array: np.ndarray, box: CropBox, crop: np.ndarray) -> None:
    """Writes the part of the crop that lies inside the array into it, in place: the inverse of `extract`.

    Raises:
        ConfigError: if the crop does not have the box's size.
    """
    if crop.shape[crop.ndim - len(box.size) :] != box.size:
        raise ConfigError(
            f"a crop of shape {crop.shape} for a box of size {box.size}: expected equal. Resample it first."
        )
    target, source = box.inside(array.shape[array.ndim - len(box.size) :])
    array[(..., *target)] = crop[(..., *source)]


def resample(crop: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A crop on another grid over the same physical box: linear, smoothed first where it gets coarser.

    Args:
        crop: float (*S), or boolean (*S): a mask is interpolated linearly and kept where it is at least 0.5.
        size: voxels per axis of the result.

    Returns:
        The same kind of array with shape `size`; an unchanged copy if that is its shape already.
    """
    if crop.shape == tuple(size):
        return crop.copy()
    values = crop.astype(np.float32)
    for axis, (old, new) in enumerate(zip(crop.shape, size, strict=True)):
        if old > new:
            values = ndimage.gaussian_filter1d(values, (old / new - 1.0) / 2.0, axis=axis, mode="nearest")
    mode = "bilinear" if crop.ndim == 2 else "trilinear"
    resized = F.interpolate(torch.from_numpy(values)[None, None], size=tuple(size), mode=mode, align_corners=False)
    result = resized[0, 0].numpy()
    return result >= 0.5 if crop.dtype == bool else result
