"""Fixed-size crops that may reach over the image's edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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

    def cut(self, array: np.ndarray, fill: float = 0) -> np.ndarray:
        """The crop, `fill` where the box leaves the array."""
        return extract(array, self, fill)


def box_around(center: Sequence[int], size: Sequence[int]) -> CropBox:
    """The box of this size around a voxel."""
    return CropBox(tuple(int(c) - s // 2 for c, s in zip(center, size, strict=True)), tuple(int(s) for s in size))


def extract(array: np.ndarray, box: CropBox, fill: float) -> np.ndarray:
    """A copy of the box, `fill` where it leaves the array."""
    crop = np.full(box.size, fill, dtype=array.dtype)
    inside, part = box.overlap(array.shape)
    crop[part] = array[inside]
    return crop
