"""Where a drawn lesion fits: inside the organ, clear of other lesions, on a target whose voxels may be of another size.

What counts for room and overlap are the voxels that end up marked on the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from medaug.lesions.crops import CropBox, box_around, extract, nearest_mask, resized_mask
from medaug.lesions.geometry import bounding_box, largest_component

CLEARANCE_VOXELS = 2
"""On the target: between a lesion and others."""
INSIDE = 0.98
"""At least this part of a lesion lies in the organ; the rest is cut off."""
SHOWN = (0.5, 2.0)
"""On the target a lesion is at least and at most so many times as large; a coarser grid cannot show it."""


@dataclass
class Target:
    """An image to place lesions in.

    Attributes:
        organ: (*S) bool, not empty; `corner` and `extent` are its bounding box.
        blocked: (*S) bool, other lesions and their clearance; None without any.
        box_size: of a crop, in voxels of this image.
    """

    organ: np.ndarray
    blocked: np.ndarray | None
    corner: np.ndarray
    extent: np.ndarray
    box_size: tuple[int, ...]

    @classmethod
    def of(
        cls,
        organ: np.ndarray,
        occupied: np.ndarray,
        spacing_mm: Sequence[float],
        crop_size: Sequence[int],
        crop_spacing_mm: Sequence[float],
    ) -> Target:
        """The target with this organ and these lesions (*S); crops cover the same mm on both grids."""
        extents = zip(crop_size, crop_spacing_mm, spacing_mm, strict=True)
        box_size = tuple(max(1, int(round(n * own / other))) for n, own, other in extents)
        return cls(organ.astype(bool), widened(occupied.astype(bool)), *bounding_box(organ), box_size)

    def region(self, mask: np.ndarray) -> np.ndarray | None:
        """A crop's mask on this grid (*box_size); None where its voxels cannot show it."""
        region = resized_mask(mask, self.box_size)
        shown = region.mean() / mask.mean()
        return region if SHOWN[0] <= shown <= SHOWN[1] else None

    def at(self, location: np.ndarray) -> np.ndarray:
        """The voxel at a place relative to the organ's bounding box, 0 to 1 an axis."""
        return np.round(self.corner + location * self.extent).astype(int)

    def anywhere(self, rng: np.random.RandomState) -> np.ndarray | None:
        """A voxel of the organ away from other lesions; None if there is none."""
        if not len(self._free):
            return None
        return np.array(np.unravel_index(self._free[rng.randint(len(self._free))], self.organ.shape))

    def place(self, mask: np.ndarray, region: np.ndarray, center: np.ndarray) -> tuple[CropBox, np.ndarray] | None:
        """(box around this voxel, mask clipped to the organ) if the lesion fits there; `region` is its mask here."""
        box = box_around(center, self.box_size)
        voxels = np.argwhere(region) + box.start
        total = len(voxels)
        at = tuple(voxels[((voxels >= 0) & (voxels < self.organ.shape)).all(axis=1)].T)
        inside = np.count_nonzero(self.organ[at])
        if inside < INSIDE * total or (self.blocked is not None and self.blocked[at].any()):
            return None
        if inside < total:
            mask = largest_component(mask & nearest_mask(extract(self.organ, box, False), mask.shape))
        return (box, mask) if mask.any() else None

    @cached_property
    def _free(self) -> np.ndarray:
        """Flat indices."""
        return np.flatnonzero(self.organ if self.blocked is None else self.organ & ~self.blocked)


def draw_level(organ: np.ndarray, rng: np.random.RandomState) -> int:
    """A slice, the likelier the more organ it has."""
    area = organ.reshape(-1, organ.shape[-1]).sum(axis=0).astype(float)
    if not area.any():
        return organ.shape[-1] // 2
    return int(rng.choice(len(area), p=area / area.sum()))


def widened(mask: np.ndarray) -> np.ndarray | None:
    """The mask with its clearance; None for an empty one."""
    if not mask.any():
        return None
    low, extent = bounding_box(mask)
    near = tuple(
        slice(max(0, start - CLEARANCE_VOXELS), start + length + CLEARANCE_VOXELS)
        for start, length in zip(low, extent, strict=True)
    )
    wide = np.zeros(mask.shape, dtype=bool)
    wide[near] = ndimage.binary_dilation(mask[near], iterations=CLEARANCE_VOXELS)
    return wide
