"""Drawing one lesion from a prior: a training lesion is bent to the drawn size, then a place is found for it.

The shape costs most, so each is tried in several places before another is drawn. Sizes are in mm; the prior's grid and
the target's may differ. What counts for room and overlap are the voxels that end up marked on the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy import ndimage

from medaug.errors import ConfigError, DataError
from medaug.lesions.geometry import (
    CropBox,
    bounding_box,
    box_around,
    box_around_mask,
    equivalent_diameter_mm,
    extract,
    largest_component,
    voxels_of_diameter,
)
from medaug.lesions.prior import MARGIN_VOXELS, Lesion, LesionPrior
from medaug.lesions.reference import (
    clear_of_edge,
    draw_warp,
    laid_out,
    numbered,
    procedural_blob,
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
        max_tries: how many shapes are tried, each in several places.

    Raises:
        ConfigError: if `size_mm` is not a least and a most diameter.
        DataError: if `size_mm` goes beyond what fits the crop (naming the largest), or there is no such reference.
    """
    if shape not in get_args(Shape):
        raise ConfigError(f"shape: found {shape!r}; expected bank, blob or mixed")
    _check_size(prior, size_mm)
    prior.check_reference(reference)
    if not organ.any():
        return None
    spacing_mm = prior.spacing_mm if spacing_mm is None else tuple(spacing_mm)
    target = Target(organ, occupied, spacing_mm, prior, near)
    least_mm, most_mm = (0.0, np.inf) if size_mm is None else size_mm
    for attempt in range(max_tries):
        late = max(0, attempt - max_tries // 2 + 1)
        drawn = _drawn(prior, rng, size_mm, shape, reference, 0.85**late if size_mm is None else 1.0)
        region = None if drawn is None else target.region(drawn.parts > 0)
        if drawn is None or region is None:
            continue
        size = equivalent_diameter_mm(region, spacing_mm)
        if not least_mm * (1 - SIZE_SLACK) <= size <= most_mm * (1 + SIZE_SLACK):
            continue
        for usual in PLACES:
            center = target.usual_place(rng) if usual else target.anywhere(rng)
            if center is None:
                return None
            placed = target.place(drawn.parts > 0, region, center)
            if placed is not None:
                box, mask = placed
                diameter_mm = equivalent_diameter_mm(mask, prior.spacing_mm)
                parts = np.where(mask, drawn.parts, 0).astype(np.uint8)
                return prior.lesion(drawn.reference, parts, drawn.texture, box, diameter_mm, drawn.contrast)
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
    """

    def __init__(
        self,
        organ: np.ndarray,
        occupied: np.ndarray,
        spacing_mm: Sequence[float],
        prior: LesionPrior,
        near: np.ndarray | None = None,
    ):
        self.prior, self.organ, self.blocked = prior, organ.astype(bool), widened(occupied.astype(bool))
        self.near = near
        self.corner, self.extent = bounding_box(organ if near is None else near)
        extents = zip(prior.crop_size, prior.spacing_mm, spacing_mm, strict=True)
        self.box_size = tuple(max(1, int(round(n * own / other))) for n, own, other in extents)

    def region(self, mask: np.ndarray) -> np.ndarray | None:
        """A crop's mask on this grid (*box_size); None where its voxels cannot show it."""
        region = resized_mask(mask, self.box_size)
        shown = region.mean() / mask.mean()
        return region if SHOWN[0] <= shown <= SHOWN[1] else None

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
        """Flat indices of the voxels in the organ that are away from other lesions."""
        allowed = self.organ if self.near is None else self.organ & self.near
        return np.flatnonzero(allowed if self.blocked is None else allowed & ~self.blocked)


class _Drawn(NamedTuple):
    """A shape with its texture at the centre of a crop, not yet placed."""

    reference: int
    parts: np.ndarray
    texture: np.ndarray
    contrast: tuple[float, ...]


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
        warped = _warped(prior, reference, diameter, rng)
        if warped is not None:
            return _Drawn(reference, *warped, contrast)
        if size_mm is None:
            return None
    mask = procedural_blob(rng, diameter, prior.spacing_mm, prior.crop_size, margin=MARGIN_VOXELS)
    return _Drawn(reference, laid_out(chosen.parts, mask), stretched(chosen.image, chosen.mask, mask), contrast)


def _warped(
    prior: LesionPrior, reference: int, diameter: float, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray] | None:
    """(parts, texture) of a reference bent to this diameter; None if it leaves the crop however it is turned."""
    chosen = prior.references[reference]
    wanted = voxels_of_diameter(diameter, prior.spacing_mm)
    warp = None
    for _ in range(WARPS):
        warp = warp or draw_warp(rng, len(prior.crop_size), scale=diameter / chosen.diameter_mm)
        points = warp_points(warp, chosen.parts.shape)
        inside, *texture = sampled([chosen.mask, *chosen.image], points)
        mask = largest_component(inside >= 0.5)
        voxels = np.count_nonzero(mask)
        if not voxels:
            warp = None
        elif abs(voxels - wanted) > max(1, VOXELS_TOLERANCE * wanted):
            warp = warp.enlarged((wanted / voxels) ** (1 / mask.ndim))
        elif clear_of_edge(mask, MARGIN_VOXELS):
            parts = mask.astype(np.uint8)
            if (count := int(chosen.parts.max())) > 1:
                parts = numbered(sampled(list(shares_of(chosen.parts, count)), points), mask)
            return parts, np.stack(texture).clip(-1, 1)
        else:
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
