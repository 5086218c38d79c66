"""Fixed-size crops that may reach over the image's edge, and masks on two grids over one box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medaug.resampling import resample_image


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
