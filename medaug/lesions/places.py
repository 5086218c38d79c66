"""Where on an image a lesion of a prior may lie: in the organ, clear of other lesions, and where its voxels show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medaug.lesions.geometry import CropBox, bounding_box, box_around, box_around_mask, extract, largest_component
from medaug.lesions.prior import Lesion, LesionPrior
from medaug.resampling import nearest_mask, resized_mask

CENTRES, LOOKED_AT = 32, 100
"""So many voxels are tried as the centre of a 3-D lesion, by so many of its voxels."""
PLACE_SPREAD = 0.06
CLEARANCE_VOXELS = 2
"""The distance on the target between a lesion and others."""
INSIDE = 0.98
"""At least this part of a lesion lies in the organ; the rest is cut off."""
AROUND = 8
"""A generator sees at least so many voxels around a 3-D lesion that it inserts, where the crop has them."""
SHOWN = (0.5, 2.0)
"""On the target a lesion is at least and at most so many times as large; a coarser grid cannot show it."""


def widened(mask: np.ndarray) -> np.ndarray | None:
    """The mask with its clearance; None for an empty one."""
    if not mask.any():
        return None
    near = box_around_mask(mask, CLEARANCE_VOXELS)
    wide = np.zeros(mask.shape, dtype=bool)
    wide[near] = ndimage.binary_dilation(mask[near], iterations=CLEARANCE_VOXELS)
    return wide


def with_less_around(lesion: Lesion, margin: float, stride: int) -> Lesion:
    """A 3-D lesion with no more of its crop than a generator needs, which costs by the voxel (2-D crops are small).

    It has learnt lesions of all sizes in that crop: what is left is `margin` times as wide as the lesion, and reaches
    `AROUND` voxels beyond it. Of a target with other voxels, on which a part would lie askew, the crop stays whole.

    Args:
        stride: what is left has multiples of it along every axis, as the crop has.
    """
    crop = lesion.parts.shape
    if len(crop) == 2 or lesion.box.size != crop:
        return lesion
    low, extent = bounding_box(lesion.mask)
    wanted = np.maximum(extent * margin, extent + 2 * AROUND)
    size = np.minimum(np.ceil(wanted / stride) * stride, crop).astype(int)
    start = np.clip(low + extent // 2 - size // 2, 0, np.array(crop) - size)
    part = tuple(slice(a, a + n) for a, n in zip(start.tolist(), size.tolist(), strict=True))
    box = CropBox(tuple((lesion.box.start + start).tolist()), tuple(size.tolist()))
    return replace(lesion, parts=lesion.parts[part], texture=lesion.texture[:, *part], box=box)


class Region(NamedTuple):
    """Where a lesion is in its box: a mask without empty borders, where that begins, and its voxels."""

    mask: np.ndarray
    start: tuple[int, ...]
    voxels: int


class Target:
    """An image to place lesions of a prior in; crops cover the same mm on both grids.

    Args:
        organ, occupied: (*S), where lesions may lie (not empty), and where others do.
        spacing_mm: of the image.
        near: (*S) bool, in which the centres of lesions lie; None: in the organ, often where training lesions were.
        voxels: as of `draw_lesion`.
    """

    def __init__(
        self,
        organ: np.ndarray,
        occupied: np.ndarray,
        spacing_mm: Sequence[float],
        prior: LesionPrior,
        near: np.ndarray | None = None,
        voxels: np.ndarray | None = None,
    ):
        self.prior, self.organ, self.occupied, self.near, self.voxels = prior, organ, occupied, near, voxels
        if voxels is None or near is not None:
            self.corner, self.extent = bounding_box(organ if near is None else near)
        else:
            self.corner = voxels.min(axis=0)
            self.extent = voxels.max(axis=0) - self.corner + 1
        extents = zip(prior.crop_size, prior.spacing_mm, spacing_mm, strict=True)
        self.box_size = tuple(max(1, int(round(n * own / other))) for n, own, other in extents)

    def region(self, mask: np.ndarray) -> Region | None:
        """Where a crop's mask is in a box of this grid; None where its voxels cannot show it."""
        here = resized_mask(mask, self.box_size)
        voxels = int(np.count_nonzero(here))
        shown = (voxels / here.size) / (np.count_nonzero(mask) / mask.size)
        if not voxels or not SHOWN[0] <= shown <= SHOWN[1]:
            return None
        part = box_around_mask(here)
        return Region(here[part], tuple(axis.start for axis in part), voxels)

    def usual_place(self, rng: np.random.RandomState) -> np.ndarray:
        """The voxel about where a training lesion was, relative to the organ's box; or of `near`, about its middle."""
        if self.near is not None:
            voxels = np.argwhere(self.near)
            middle = voxels.mean(axis=0) + rng.normal(0, PLACE_SPREAD, self.near.ndim) * self.extent
            nearest: np.ndarray = voxels[((voxels - middle) ** 2).sum(axis=1).argmin()]
            return nearest
        location = np.asarray(self.prior.references[rng.randint(len(self.prior.references))].location)
        location = location + rng.normal(0, PLACE_SPREAD, len(location))
        return np.round(self.corner + location * self.extent).astype(int)

    def anywhere(self, rng: np.random.RandomState, region: Region) -> np.ndarray | None:
        """A voxel of the organ, away from other lesions where all voxels are looked at; None if there is none.

        A shape in 3-D costs more than many places, so of `CENTRES` the first is taken about which some of the lesion's
        voxels lie in the organ: without the rest it would be refused.
        """
        free = self._free if self.voxels is None or self.near is not None else self.voxels
        if not len(free):
            return None
        flat = self.organ.ndim == 2
        drawn = free[rng.randint(len(free), size=1 if flat else CENTRES)]
        if free.ndim == 1:
            drawn = np.stack(np.unravel_index(drawn, self.organ.shape), axis=-1)
        if flat:
            first: np.ndarray = drawn[0]
            return first
        some = np.argwhere(region.mask)
        some = some[:: max(1, len(some) // LOOKED_AT)] + region.start
        at = (drawn - np.array(self.box_size) // 2)[:, None] + some
        there = ((at >= 0) & (at < self.organ.shape)).all(axis=2)
        at = np.where(there[..., None], at, 0)
        inside = ((self.organ[tuple(np.moveaxis(at, -1, 0))] != 0) & there).mean(axis=1)
        best: np.ndarray = drawn[(inside >= INSIDE).argmax() if (inside >= INSIDE).any() else inside.argmax()]
        return best

    def place(self, mask: np.ndarray, region: Region, center: np.ndarray) -> tuple[CropBox, np.ndarray] | None:
        """(box around this voxel, mask clipped to the organ) if the lesion fits there; `region` is where it is here."""
        box = box_around(center, self.box_size)
        here = CropBox(tuple(a + b for a, b in zip(box.start, region.start, strict=True)), region.mask.shape)
        inside = np.count_nonzero(region.mask & (extract(self.organ, here, 0) != 0))
        if inside < INSIDE * region.voxels or self._touches_another(region.mask, here):
            return None
        if inside < region.voxels:
            mask = largest_component(mask & nearest_mask(extract(self.organ, box, False), mask.shape))
        return (box, mask) if mask.any() else None

    def _touches_another(self, mask: np.ndarray, here: CropBox) -> bool:
        """Whether a mask in this box has voxels of the image on another lesion, or nearer than the clearance."""
        wide = tuple(n + 2 * CLEARANCE_VOXELS for n in here.size)
        around = CropBox(tuple(start - CLEARANCE_VOXELS for start in here.start), wide)
        blocked = widened(extract(self.occupied, around, 0) > 0)
        if blocked is None:
            return False
        part = here.overlap(self.organ.shape)[1]
        return bool((blocked[(slice(CLEARANCE_VOXELS, -CLEARANCE_VOXELS),) * mask.ndim] & mask)[part].any())

    @cached_property
    def _free(self) -> np.ndarray:
        """Flat indices of the voxels in the organ that are away from other lesions."""
        allowed = self.organ.astype(bool) if self.near is None else self.organ.astype(bool) & self.near
        blocked = widened(self.occupied.astype(bool))
        return np.flatnonzero(allowed if blocked is None else allowed & ~blocked)
