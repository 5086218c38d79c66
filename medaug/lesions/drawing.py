"""Drawing one lesion from a prior: a training lesion is bent to the drawn size, then a place is found for it.

The shape costs most, so each is tried in several places before another is drawn. Sizes are in mm; the prior's grid and
the target's may differ. What counts for room and overlap are the voxels that end up marked on the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from scipy import ndimage

from medaug.errors import ConfigError, DataError
from medaug.lesions.geometry import (
    CropBox,
    bounding_box,
    box_around,
    box_around_mask,
    diameter_of_voxels,
    equivalent_diameter_mm,
    extract,
    largest_component,
    voxels_of_diameter,
)
from medaug.lesions.prior import MARGIN_VOXELS, Lesion, LesionPrior, ReferenceLesion
from medaug.lesions.reference import (
    Warp,
    clear_of_edge,
    comes_from,
    draw_warp,
    laid_out,
    numbered,
    procedural_blob,
    reach_of,
    sampled,
    shares_of,
    stretched,
    warp_points,
)
from medaug.resampling import nearest_mask, resized_mask

Shape = Literal["bank", "blob", "mixed"]
SIZE_SPREAD, CONTRAST_SPREAD = 0.2, 0.15
"""Standard deviations of the log-normal kernels around a drawn reference's size and contrast: other patients differ by
more than a few training patients do."""
SCALING = (0.7, 1.4)
"""References are enlarged by so much, if there are any of about the drawn size."""
VOXELS_TOLERANCE = 0.2
"""How far the bent reference's voxels may be from the drawn size's."""
SIZE_SLACK = 0.13
"""How far a lesion on the target may be from the asked sizes; coarse voxels can only come near them."""
PLACES = (True, True, False, False)
"""A shape is tried about where a training lesion was (relative to the organ; True), then anywhere in it."""
PLACE_SPREAD = 0.06
WARPS = 4
"""How often a reference is bent anew where it misses the size or leaves the crop."""
CLEARANCE_VOXELS = 2
"""The distance on the target between a lesion and others."""
TEXTURE_VOXELS = 2
"""The texture of a 3-D lesion is computed so far around it, in voxels of the crop."""
INSIDE = 0.98
"""At least this part of a lesion lies in the organ; the rest is cut off."""
SHOWN = (0.5, 2.0)
"""On the target a lesion is at least and at most so many times as large; a coarser grid cannot show it."""


def draw_lesion(
    prior: LesionPrior,
    organ: np.ndarray,
    occupied: np.ndarray,
    rng: np.random.RandomState,
    *,
    spacing_mm: Sequence[float] | None = None,
    size_mm: tuple[float, float] | None = None,
    shape: Shape = "bank",
    reference: int | None = None,
    near: np.ndarray | None = None,
    voxels: np.ndarray | None = None,
    whole_texture: bool = False,
    max_tries: int = 20,
) -> Lesion | None:
    """Draws a lesion that lies in `organ` and keeps clear of `occupied`; None where there is no room.

    Args:
        organ, occupied: (*S) bool on the target's grid.
        spacing_mm: the target's voxel size; None: the prior's.
        size_mm: least and most diameter; None draws from the training fold's sizes.
        shape: "bank" (training masks, bent), "blob" (procedural) or "mixed".
        reference: the number of the training lesion to use; None draws one of like size.
        near: (*S) bool, in which its centre lies, about the middle if it fits there; None: anywhere in the organ.
        voxels: (N, dims) of the organ, alike from all of it, to draw places from; `organ` and `occupied` may then lie
            on the disk (uint8), and are read where a lesion is tried and nowhere else.
        whole_texture: of a 3-D lesion, too, the texture of the whole crop, for one that grows; by default it ends
            `TEXTURE_VOXELS` beyond the lesion, where nobody looks.
        max_tries: how many shapes are tried, each in several places.

    Raises:
        ConfigError: if `size_mm` is not a least and a most diameter.
        DataError: if `size_mm` goes beyond what fits the crop (naming the largest), or there is no such reference.
    """
    if shape not in get_args(Shape):
        raise ConfigError(f"shape: found {shape!r}; expected bank, blob or mixed")
    _check_size(prior, size_mm)
    prior.check_reference(reference)
    if not (organ.any() if voxels is None else len(voxels)):
        return None
    spacing_mm = prior.spacing_mm if spacing_mm is None else tuple(spacing_mm)
    target = Target(organ, occupied, spacing_mm, prior, near, voxels)
    least_mm, most_mm = (0.0, np.inf) if size_mm is None else size_mm
    for attempt in range(max_tries):
        late = max(0, attempt - max_tries // 2 + 1)
        drawn = _drawn(prior, rng, size_mm, shape, reference, 0.85**late if size_mm is None else 1.0)
        if drawn is None:
            continue
        mask = drawn.parts > 0
        region = target.region(mask)
        if region is None:
            continue
        size = diameter_of_voxels(region.voxels, spacing_mm)
        if not least_mm * (1 - SIZE_SLACK) <= size <= most_mm * (1 + SIZE_SLACK):
            continue
        for usual in PLACES:
            center = target.usual_place(rng) if usual else target.anywhere(rng)
            if center is None:
                return None
            placed = target.place(mask, region, center)
            if placed is not None:
                box, mask = placed
                diameter_mm = equivalent_diameter_mm(mask, prior.spacing_mm)
                parts = np.where(mask, drawn.parts, 0).astype(np.uint8)
                texture = drawn.texture(None if whole_texture or mask.ndim == 2 else mask)
                return prior.lesion(drawn.reference, parts, texture, box, diameter_mm, drawn.contrast)
    return None


def draw_level(organ: np.ndarray, rng: np.random.RandomState) -> int:
    """A slice of a volume, the likelier the more organ it has."""
    area = organ.reshape(-1, organ.shape[-1]).sum(axis=0).astype(float)
    if not area.any():
        return organ.shape[-1] // 2
    return int(rng.choice(len(area), p=area / area.sum()))


def widened(mask: np.ndarray) -> np.ndarray | None:
    """The mask with its clearance; None for an empty one."""
    if not mask.any():
        return None
    near = box_around_mask(mask, CLEARANCE_VOXELS)
    wide = np.zeros(mask.shape, dtype=bool)
    wide[near] = ndimage.binary_dilation(mask[near], iterations=CLEARANCE_VOXELS)
    return wide


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

    def region(self, mask: np.ndarray) -> _Region | None:
        """Where a crop's mask is in a box of this grid; None where its voxels cannot show it."""
        here = resized_mask(mask, self.box_size)
        voxels = int(np.count_nonzero(here))
        shown = (voxels / here.size) / (np.count_nonzero(mask) / mask.size)
        if not voxels or not SHOWN[0] <= shown <= SHOWN[1]:
            return None
        part = box_around_mask(here)
        return _Region(here[part], tuple(axis.start for axis in part), voxels)

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

    def anywhere(self, rng: np.random.RandomState) -> np.ndarray | None:
        """A voxel of the organ, away from other lesions where all voxels are looked at; None if there is none."""
        if self.voxels is not None and self.near is None:
            drawn: np.ndarray = self.voxels[rng.randint(len(self.voxels))]
            return drawn
        if not len(self._free):
            return None
        return np.array(np.unravel_index(self._free[rng.randint(len(self._free))], self.organ.shape))

    def place(self, mask: np.ndarray, region: _Region, center: np.ndarray) -> tuple[CropBox, np.ndarray] | None:
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


class _Region(NamedTuple):
    """Where a lesion is in its box: a mask without empty borders, where that begins, and its voxels."""

    mask: np.ndarray
    start: tuple[int, ...]
    voxels: int


@dataclass(frozen=True)
class _Drawn:
    """A shape at the centre of a crop, not yet placed; `warp` bent the reference, None: a blob took its place."""

    reference: int
    chosen: ReferenceLesion
    parts: np.ndarray
    contrast: tuple[float, ...]
    warp: Warp | None

    def texture(self, mask: np.ndarray | None) -> np.ndarray:
        """(C, *crop_size); where the part that found a place is given (bool), -1 far around it."""
        size = self.parts.shape
        if self.warp is None:
            return stretched(self.chosen.image, self.chosen.mask, self.parts > 0)
        if mask is None:
            return sampled(self.chosen.image, warp_points(self.warp, size)).clip(-1, 1)
        near = box_around_mask(mask, TEXTURE_VOXELS)
        wanted = ndimage.binary_dilation(mask[near], iterations=TEXTURE_VOXELS)
        texture = np.full((len(self.chosen.image), *size), -1, dtype=np.float32)
        points = warp_points(self.warp, size, near)[torch.from_numpy(wanted)]
        texture[:, *near][:, wanted] = sampled(self.chosen.image, points).clip(-1, 1)
        return texture


def _drawn(
    prior: LesionPrior,
    rng: np.random.RandomState,
    size_mm: tuple[float, float] | None,
    shape: Shape,
    reference: int | None,
    shrink: float,
) -> _Drawn | None:
    """One draw; None where it does not fit the crop."""
    sizes = prior.diameters_mm
    if size_mm is not None:
        diameter = rng.uniform(*size_mm)
    else:
        usual = sizes[rng.randint(len(sizes)) if reference is None else reference]
        usual *= np.exp(rng.normal(0, SIZE_SPREAD))
        diameter = min(max(usual * shrink, min(usual, sizes.min())), prior.largest_mm)
    if reference is None:
        scale = diameter / sizes
        near = np.flatnonzero((scale > SCALING[0]) & (scale < SCALING[1]))
        reference = int(near[rng.randint(len(near))]) if len(near) else int(np.abs(np.log(scale)).argmin())
    chosen = prior.references[reference]
    gain = float(np.exp(rng.normal(0, CONTRAST_SPREAD)))
    contrast = tuple(value * gain for value in chosen.contrast)
    if shape == "bank" or (shape == "mixed" and rng.random_sample() < 0.5):
        warped = _warped(prior, chosen, diameter, rng)
        if warped is not None:
            return _Drawn(reference, chosen, warped[0], contrast, warped[1])
        if size_mm is None:
            return None
    mask = procedural_blob(rng, diameter, prior.spacing_mm, prior.crop_size, margin=MARGIN_VOXELS)
    return _Drawn(reference, chosen, laid_out(chosen.parts, mask), contrast, None)


def _warped(
    prior: LesionPrior, chosen: ReferenceLesion, diameter: float, rng: np.random.RandomState
) -> tuple[np.ndarray, Warp] | None:
    """(parts, warp) of a reference bent to this diameter; None if it leaves the crop however it is turned."""
    wanted, size = voxels_of_diameter(diameter, prior.spacing_mm), chosen.parts.shape
    warp = None
    for _ in range(WARPS):
        warp = warp or draw_warp(rng, len(size), scale=diameter / chosen.diameter_mm)
        box = reach_of(warp, chosen.mask)
        points = warp_points(warp, size, box)
        near = torch.from_numpy(comes_from(points, chosen.mask))
        mask = np.zeros(near.shape, dtype=bool)
        mask[near] = sampled([chosen.mask], points[near])[0] >= 0.5
        mask = largest_component(mask)
        voxels = np.count_nonzero(mask)
        if not voxels:
            warp = None
        elif abs(voxels - wanted) > max(1, VOXELS_TOLERANCE * wanted):
            warp = warp.enlarged((wanted / voxels) ** (1 / mask.ndim))
        else:
            parts, bent = np.zeros(size, dtype=np.uint8), mask.astype(np.uint8)
            if (count := int(chosen.parts.max())) > 1:
                shares = sampled(shares_of(chosen.parts, count), points[torch.from_numpy(mask)])
                bent[mask] = numbered(shares, shares[0] >= 0)
            parts[box] = bent
            if clear_of_edge(parts > 0, MARGIN_VOXELS):
                return parts, warp
            warp = None
    return None


def _check_size(prior: LesionPrior, size_mm: tuple[float, float] | None) -> None:
    if size_mm is None:
        return
    (low, high), unit = size_mm, prior.length_unit
    if not 0 < low <= high:
        raise ConfigError(
            f"size_mm: found {low:g} to {high:g}; expected the least, then the most diameter, above 0 {unit}"
        )
    if high > prior.largest_mm:
        crop = " × ".join(map(str, prior.crop_size))
        raise DataError(
            f"size_mm: found lesions of up to {high:g} {unit}; the largest that fits the {crop} voxels of a crop is "
            f"{prior.largest_mm:.1f} {unit}. Lower size_mm, or train with a larger crop.size."
        )
