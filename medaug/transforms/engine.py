"""The engine of insertion and removal: `plan` says where which lesion goes, `paint` lets the generator draw it there.

Planning is seeded and cheap; painting cuts the crop, brings it to the weights' grid, translates it and puts the result
back. Insertion, growth and, without a generator, copy-paste paint the same plans.

Crops are cut in mm, axis by axis. What is put back has two edges, on the scan's own grid. An insertion ends at the
label's edge and blends inward: the label is where the tumor is seen. A removal replaces the whole mask and reaches
`REACH_VOXELS` of the weights' voxels (in mm) beyond it, for the tumor's blurred edge. A scan finer than the weights'
grid keeps its own detail, up to what is noise there. Background keeps its bits, and nothing that is written leaves the
range of the scan's own values. Images are float32 (C, X, Y[, Z]), each channel in its own unit; one generator edits all
of them at once.

2-D weights edit a volume slice by slice, with the same noise in every slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medaug.lesions.drawing import Shape, draw_lesion, draw_level
from medaug.lesions.geometry import CropBox, box_in_mm, component_boxes, extract
from medaug.lesions.places import widened, with_less_around
from medaug.lesions.prior import Lesion
from medaug.lesions.reference import lesion_for_mask, match_surroundings, parts_on, sections, shares_of
from medaug.models.base import Direction
from medaug.models.insertion.base import composite, insertion_weight, removal_weight
from medaug.models.weights import Weights
from medaug.resampling import resized, resized_mask
from medaug.transforms.canvas import Canvas, Limits, limits_of
from medaug.volumes import Window

MARGIN = 1.6
"""A crop is at least this many times as wide as the region to edit."""
INSIDE = 0.95
"""A slice of a lesion is left out if less of it lies in the organ."""
REACH_VOXELS = 3.0
"""A removal changes nothing so far from its mask, in voxels of the weights' grid, or farther."""
Style = Sequence[float]
Facts = dict[str, Any]
"""What was drawn, as a manifest keeps it."""
Parts = list[tuple[int | None, Lesion]]
"""A lesion, or its section in each slice of a volume, with the slice's number."""


@dataclass(frozen=True)
class Plan:
    """One tumor to be.

    Attributes:
        parts: what is painted where.
        seed, style: of the generator, the same in every slice.
        region: (*S) the tumor's exact voxels, bool or part numbers; None takes the lesion's own to the image's grid.
        within: (*S) bool, what no voxel of the tumor may leave; None: the lesion's place says it.
        null: paste nothing: the generator gets the crop as it is, and the mask.
        facts: of the lesion and its style.
    """

    parts: Parts
    seed: int = 0
    style: Style | None = None
    region: np.ndarray | None = None
    within: np.ndarray | None = None
    null: bool = False
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What is asked of tumors that are drawn: diameters (None: the training fold's), shapes, style, or nothing.

    `strictly_inside` cuts off what reaches over the organ's edge, to the voxel: for organs that a label outlines.
    """

    size_mm: tuple[float, float] | None = None
    shape: Shape = "bank"
    style: Style | None = None
    null: bool = False
    strictly_inside: bool = False


@dataclass(frozen=True)
class Edit:
    """The edited scan (C, *S), and where it was edited (*S).

    Attributes:
        parts: uint8, by part number what an insertion labels; 1 what a removal emptied.
    """

    image: np.ndarray
    parts: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """All that was edited (bool, *S)."""
        return self.parts > 0


def plan(
    weights: Weights,
    organ: np.ndarray,
    occupied: np.ndarray,
    rng: np.random.RandomState,
    spacing_mm: Sequence[float],
    wanted: Wanted,
    near: np.ndarray | None = None,
) -> Plan | None:
    """A lesion of the prior somewhere in `organ`, clear of `occupied` (both *S, bool); None where there is no room.

    2-D weights get a stack of sections of one lesion, as far as it has room on either side of the drawn slice.

    Args:
        near: (*S) bool, a part of the organ in which its centre lies; None: anywhere.
    """
    dims, level = weights.translator.spatial_dims, None
    if dims < organ.ndim:
        level = draw_level(organ if near is None else near, rng)
    here = ... if level is None else (..., level)
    lesion = draw_lesion(
        weights.lesion_prior,
        organ[here],
        occupied[here],
        rng,
        spacing_mm=spacing_mm[:dims],
        size_mm=wanted.size_mm,
        shape=wanted.shape,
        near=None if near is None else near[here],
    )
    if lesion is None:
        return None
    seed = int(rng.randint(2**31))
    own = drawn_style(weights, rng)  # also where one is given: what is drawn next stays the same
    style = wanted.style or own
    parts: Parts = [(None, lesion)]
    if level is not None:
        stack = sections(lesion, organ.shape[-1], level, spacing_mm[-1], flatness=rng.uniform(0.7, 1.1))
        parts = _with_room(stack, level, organ, occupied)
    facts = ({"style": list(style)} if style else {}) | ({"null": True} if wanted.null else {})
    within = organ if wanted.strictly_inside else None
    return Plan(parts, seed, style, within=within, null=wanted.null, facts=lesion.provenance() | facts)


def plan_in(
    weights: Weights, region: np.ndarray, spacing_mm: Sequence[float], seed: int, reference: int | None, wanted: Wanted
) -> Plan:
    """A lesion that fills `region` exactly (*S, bool or part numbers); 2-D weights get one of like size a slice."""

    def filling(mask: np.ndarray) -> Lesion:
        rng = np.random.RandomState(seed)
        return lesion_for_mask(weights.lesion_prior, mask, spacing_mm[: mask.ndim], rng, reference=reference)

    rng = np.random.RandomState(seed)
    noise_seed, style = int(rng.randint(2**31)), wanted.style or drawn_style(weights, rng)
    parts: Parts = (
        [(None, filling(region))]
        if weights.translator.spatial_dims == region.ndim
        else [(int(z), filling(region[..., z])) for z in np.flatnonzero(region.any(axis=(0, 1)))]
    )
    return Plan(parts, noise_seed, style, region, null=wanted.null)


def paint(
    image: np.ndarray,
    planned: Plan,
    windows: Sequence[Window],
    weights: Weights | None,
    limits: Sequence[Limits] | None = None,
) -> Edit:
    """Puts a planned tumor into an image (C, *S).

    Args:
        windows: by channel, as of the image that the crop is normalised in.
        weights: without any the reference lesion is put there, matched to its surroundings and soft-edged, and no more.
        limits: by channel, of the values that may be written; None are the image's own.
    """
    limits = limits or [limits_of(channel) for channel in image]
    image, parts = image.copy(), np.zeros(image.shape[1:], dtype=np.uint8)
    for level, lesion in planned.parts:
        here = ... if level is None else (..., level)
        canvas = Canvas(image[here], windows, limits)
        parts[here] = _painted(canvas, lesion, planned, here, weights)
    return Edit(image, parts)


def _painted(canvas: Canvas, lesion: Lesion, planned: Plan, here: Any, weights: Weights | None) -> np.ndarray:
    """Paints one lesion onto the canvas, of the plan's slice `here`; where (part numbers, *S)."""
    if weights is not None:
        lesion = with_less_around(lesion, MARGIN, weights.translator.stride)
    box, region = lesion.box, None if planned.region is None else planned.region[here]
    crop = canvas.crop(box, lesion.parts.shape)
    start = torch.from_numpy(crop)[None]
    if weights is None:
        edited = composite(start, _texture(lesion, crop), insertion_weight(as_mask(lesion.mask)))[0].numpy()
    else:
        target = torch.from_numpy(shares_of(lesion.parts, weights.n_parts))[None]
        if weights.uses_references and not planned.null:
            start = weights.translator.paste(start, _texture(lesion, crop), target)
        edited = _translate(weights, start, "a2b", target, planned.seed, planned.style)
    marked = resized_mask(lesion.mask, box.size) if region is None else extract(region, box, 0) > 0
    if planned.within is not None:
        marked &= extract(planned.within[here], box, False)
    editable = canvas.editable(marked, box)
    marked &= editable.any(axis=0)
    weight, soft = (insertion_weight(as_mask(mask))[0, 0].numpy() for mask in (lesion.mask, marked))
    canvas.put(crop, edited, weight, soft * editable, box)
    numbers = parts_on(lesion, box.size, marked)
    if region is not None and region.dtype != bool and region.max() > 1:
        numbers = np.where(marked, extract(region, box, 0), 0)
    return _in_image(numbers, box, canvas.image.shape[1:])


def _texture(lesion: Lesion, crop: np.ndarray) -> Tensor:
    return torch.from_numpy(match_surroundings(lesion, crop))[None]


def as_mask(mask: np.ndarray) -> Tensor:
    """A mask (*S) as networks take it: (1, 1, *S) float32."""
    return torch.from_numpy(mask.astype(np.float32))[None, None]


def _with_room(stack: Iterable[tuple[int, Lesion]], level: int, organ: np.ndarray, occupied: np.ndarray) -> Parts:
    """The slices on either side of `level` as far as the lesion has room there: in the organ, clear of other tumors."""
    fitting = {}
    for z, section in stack:
        region = _in_image(resized_mask(section.mask, section.box.size), section.box, organ.shape[:-1])
        blocked = widened(occupied[..., z])
        inside = (region & organ[..., z]).sum() >= INSIDE * region.sum()
        if z == level or (inside and region.any() and (blocked is None or not (region & blocked).any())):
            fitting[z] = section
    low = high = level
    while low - 1 in fitting:
        low -= 1
    while high + 1 in fitting:
        high += 1
    return [(z, fitting[z]) for z in range(low, high + 1)]


def remove_region(
    image: np.ndarray,
    parts: np.ndarray,
    windows: Sequence[Window],
    weights: Weights,
    spacing_mm: Sequence[float],
    seed: int,
    limits: Sequence[Limits] | None = None,
) -> Edit:
    """Replaces each connected piece of the tumor by what the translator takes for healthy tissue, in all channels.

    Args:
        image: (C, *S).
        parts: (*S) what to remove, bool or part numbers; a bool counts as the first part.
    """
    limits = limits or [limits_of(channel) for channel in image]
    image, mask = image.copy(), parts > 0
    replaced = mask.copy()
    if weights.translator.spatial_dims < mask.ndim:
        for z in np.flatnonzero(mask.any(axis=(0, 1))):
            edit = remove_region(image[..., z], parts[..., z], windows, weights, spacing_mm[:2], seed, limits)
            image[..., z], replaced[..., z] = edit.image, edit.mask
        return Edit(image, replaced.astype(np.uint8))
    canvas, own_mm = Canvas(image, windows, limits), weights.lesion_prior.spacing_mm
    for piece in component_boxes(mask):
        crop, covered, box = lesion_crop(image, parts, windows, weights, piece, spacing_mm)
        target = torch.from_numpy(covered)[None]
        edited = _translate(weights, torch.from_numpy(crop)[None], "b2a", target, seed)
        marked = extract(mask, box, False)
        distance = ndimage.distance_transform_edt(~marked, sampling=np.divide(spacing_mm, own_mm))
        weight = removal_weight(target.amax(1, keepdim=True))[0, 0].numpy()
        soft = np.minimum(resized(weight, box.size), np.maximum(0, 1 - distance / REACH_VOXELS))
        soft = np.where(marked, 1.0, soft) * canvas.editable(marked, box, beyond=True)
        replaced &= ~_in_image(marked & ~soft.any(axis=0), box, mask.shape)
        if (marked & (soft > 0)).any():
            canvas.put(crop, edited, weight, soft, box)
    return Edit(image, replaced.astype(np.uint8))


def lesion_crop(
    image: np.ndarray,
    parts: np.ndarray,
    windows: Sequence[Window],
    weights: Weights,
    piece: tuple[slice, ...],
    spacing_mm: Sequence[float],
) -> tuple[np.ndarray, np.ndarray, CropBox]:
    """(crop (C, *crop) in [-1, 1], every voxel that the tumor touches by part (P, *crop), its box).

    A region too large for the crop is looked at more coarsely.

    Args:
        parts: (*S) bool, which counts as the first part, or part numbers.
        piece: the box of the connected piece to look at.
    """
    prior = weights.lesion_prior
    corner, extent = zip(*((axis.start, axis.stop - axis.start) for axis in piece), strict=True)
    box = box_in_mm(corner, extent, prior.crop_size, prior.spacing_mm, spacing_mm, room=MARGIN)
    crop = Canvas(image, windows).crop(box, prior.crop_size)
    inside = extract(parts.astype(np.uint8), box, 0)
    shares = [resized_mask(share > 0, prior.crop_size, touched=True) for share in shares_of(inside, weights.n_parts)]
    return crop, np.stack(shares).astype(np.float32), box


def drawn_style(weights: Weights, rng: np.random.RandomState) -> tuple[float, ...] | None:
    """A style from the prior; None (and nothing drawn) where the method knows none."""
    length = weights.translator.style_dim
    return tuple(float(value) for value in rng.standard_normal(length)) if length else None


@torch.inference_mode()
def _translate(
    weights: Weights, x: Tensor, direction: Direction, mask: Tensor, seed: int, style: Sequence[float] | None = None
) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    device = next(weights.translator.parameters()).device
    code = None if style is None else torch.tensor([list(style)], dtype=torch.float32, device=device)
    edited = weights.translator.translate(
        x.to(device), direction, mask=mask.to(device), style=code, generator=generator
    )
    return edited.cpu()[0].numpy()


def _in_image(marks: np.ndarray, box: CropBox, shape: tuple[int, ...]) -> np.ndarray:
    """What is marked in a box, on the image (*S)."""
    region = np.zeros(shape, dtype=marks.dtype)
    inside, part = box.overlap(shape)
    region[inside] = marks[part]
    return region
