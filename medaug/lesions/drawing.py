"""Drawing one lesion from a prior: a training lesion is bent to the drawn size, then a place is found for it.

The shape costs most, so each is tried in several places before another is drawn. Sizes are in mm; the prior's grid and
the target's may differ. What counts for room and overlap are the voxels that end up marked on the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from medaug.errors import ConfigError, DataError
from medaug.lesions.geometry import (
    box_around_mask,
    diameter_of_voxels,
    equivalent_diameter_mm,
    largest_component,
    voxels_of_diameter,
)
from medaug.lesions.places import Target
from medaug.lesions.prior import MARGIN_VOXELS, Lesion, LesionPrior, ReferenceLesion
from medaug.lesions.reference import (
    Warp,
    clear_of_edge,
    comes_from,
    draw_warp,
    laid_out,
    listed,
    numbered,
    procedural_blob,
    reach_of,
    sampled,
    shares_of,
    stretched,
    warp_points,
)

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
WARPS = 4
"""How often a reference is bent anew where it misses the size or leaves the crop."""
TEXTURE_VOXELS = 2
"""The texture of a 3-D lesion is computed so far around it, in voxels of the crop."""


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
            center = target.usual_place(rng) if usual else target.anywhere(rng, region)
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
        points = listed(warp_points(self.warp, size, near), np.flatnonzero(wanted))
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
        near = np.flatnonzero(comes_from(points, chosen.mask))
        mask = np.zeros(points.shape[:-1], dtype=bool)
        mask.reshape(-1)[near] = sampled([chosen.mask], listed(points, near))[0] >= 0.5
        mask = largest_component(mask)
        voxels = np.count_nonzero(mask)
        if not voxels:
            warp = None
        elif abs(voxels - wanted) > max(1, VOXELS_TOLERANCE * wanted):
            warp = warp.enlarged((wanted / voxels) ** (1 / mask.ndim))
        else:
            parts, bent = np.zeros(size, dtype=np.uint8), mask.astype(np.uint8)
            if (count := int(chosen.parts.max())) > 1:
                shares = sampled(shares_of(chosen.parts, count), listed(points, np.flatnonzero(mask)))
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
