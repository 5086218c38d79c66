"""The engine of insertion and removal: `paint` lets the generator draw what was planned (see `planning`).

Painting cuts the crop, brings it to the weights' grid, translates it and puts the result back; of many plans at once,
too (`paint_all`). Insertion, growth and, without a generator, copy-paste paint the same plans.

Crops are cut in mm, axis by axis. What is put back has two edges, on the scan's own grid. An insertion ends at the
label's edge and blends inward: the label is where the tumor is seen. A removal replaces the whole mask and reaches
`REACH_VOXELS` of the weights' voxels (in mm) beyond it, for the tumor's blurred edge. A scan finer than the weights'
grid keeps its own detail, up to what is noise there. Background keeps its bits, and nothing that is written leaves the
range of the scan's own values. Images are float32 (C, X, Y[, Z]), each channel in its own unit; one generator edits all
of them at once.

2-D weights edit a volume slice by slice, with the same noise in every slice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medaug.lesions.geometry import CropBox, box_in_mm, component_boxes, extract
from medaug.lesions.places import with_less_around
from medaug.lesions.prior import Lesion
from medaug.lesions.reference import match_surroundings, parts_on, shares_of
from medaug.models.base import Direction
from medaug.models.insertion.base import composite, insertion_weight, removal_weight
from medaug.models.weights import Weights
from medaug.resampling import resized, resized_mask
from medaug.transforms.canvas import Canvas, Limits, limits_of
from medaug.transforms.planning import Plan, Style, in_image
from medaug.volumes import Window

A = TypeVar("A")
Q = TypeVar("Q")
T = TypeVar("T")
MARGIN = 1.6
"""A crop is at least this many times as wide as the region to edit."""
CROPS_AT_ONCE = 32
"""Crops that a GPU takes in one pass of the generator."""
REACH_VOXELS = 3.0
"""A removal changes nothing so far from its mask, in voxels of the weights' grid, or farther."""


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
    return paint_all([Painting(image, planned, windows, limits)], weights)[0]


@dataclass(frozen=True)
class Painting:
    """A tumor to be painted into an image; the attributes are the arguments of `paint`."""

    image: np.ndarray
    planned: Plan
    windows: Sequence[Window]
    limits: Sequence[Limits] | None = None


def paint_all(paintings: Sequence[Painting], weights: Weights | None, *, at_once: int | None = None) -> list[Edit]:
    """`paint`, of many: lesions, and slices, whose crops are of one size go through the generator together.

    What comes out is what one by one would, but for rounding: 1e-5 of the window in float32.

    Args:
        at_once: crops that go through the generator in one pass; None: one on a CPU, which keeps every bit, and
            `CROPS_AT_ONCE` elsewhere.
    """
    edits, strokes = [], list[_Stroke]()
    for painting in paintings:
        image = painting.image.copy()
        limits = painting.limits or [limits_of(channel) for channel in image]
        edits.append(Edit(image, np.zeros(image.shape[1:], dtype=np.uint8)))
        for level, lesion in painting.planned.parts:
            here = ... if level is None else (..., level)
            canvas = Canvas(image[here], painting.windows, limits)
            strokes.append(_Stroke.begun(canvas, lesion, painting.planned, here, edits[-1].parts[here], weights))
    for stroke, edited in zip(strokes, _drawn(strokes, weights, at_once), strict=True):
        stroke.finish(edited)
    return edits


def together(
    edits: Sequence[Generator[Painting, Edit, T]], weights: Weights | None, *, at_once: int | None = None
) -> list[T]:
    """What several edits return, each of which gives what is to be painted next and is sent what came of it.

    All of them go on side by side, so that the next tumors of all go through the generator together.

    Args:
        at_once: as of `paint_all`.
    """
    return _side_by_side(edits, partial(paint_all, weights=weights, at_once=at_once))


def _side_by_side(edits: Sequence[Generator[Q, A, T]], answered: Callable[[list[Q]], Sequence[A]]) -> list[T]:
    """What generators return, each of which asks and is sent an answer; `answered` has the next of all of them."""
    results: dict[int, T] = {}
    sent: dict[int, A | None] = dict.fromkeys(range(len(edits)))
    while sent:
        asked: dict[int, Q] = {}
        for number, answer in sent.items():
            try:
                asked[number] = edits[number].send(answer)  # type: ignore[arg-type]  # None starts it
            except StopIteration as done:
                results[number] = done.value
        sent = dict(zip(asked, answered([*asked.values()]), strict=True))
    return [results[number] for number in range(len(edits))]


@dataclass(frozen=True)
class _Stroke:
    """One lesion on its way to a canvas, that of the plan's slice `here`, and to `parts` (*S) there.

    Attributes:
        crop: (C, *crop) what is there, in [-1, 1]; `start` what the generator starts from.
        target: (P, *crop) its mask.
    """

    canvas: Canvas
    lesion: Lesion
    planned: Plan
    here: Any
    parts: np.ndarray
    crop: np.ndarray
    start: Tensor
    target: Tensor

    @classmethod
    def begun(
        cls, canvas: Canvas, lesion: Lesion, planned: Plan, here: Any, parts: np.ndarray, weights: Weights | None
    ) -> _Stroke:
        """Cuts the crop, and pastes the reference where the generator, if there is one, starts from that."""
        if weights is not None:
            lesion = with_less_around(lesion, MARGIN, weights.translator.stride)
        crop = canvas.crop(lesion.box, lesion.parts.shape)
        start = torch.from_numpy(crop)[None]
        target = as_mask(lesion.mask)
        if weights is None:
            start = composite(start, _texture(lesion, crop), insertion_weight(target))
        else:
            target = torch.from_numpy(shares_of(lesion.parts, weights.n_parts))[None]
            if weights.uses_references and not planned.null:
                start = weights.translator.paste(start, _texture(lesion, crop), target)
        return cls(canvas, lesion, planned, here, parts, crop, start[0], target[0])

    def finish(self, edited: np.ndarray) -> None:
        """Puts the edited crop into the image, and its voxels' part numbers into `parts`."""
        canvas, lesion, planned, here, box = self.canvas, self.lesion, self.planned, self.here, self.lesion.box
        region = None if planned.region is None else planned.region[here]
        marked = resized_mask(lesion.mask, box.size) if region is None else extract(region, box, 0) > 0
        if planned.within is not None:
            marked &= extract(planned.within[here], box, False)
        editable = canvas.editable(marked, box)
        marked &= editable.any(axis=0)
        weight, soft = (insertion_weight(as_mask(mask))[0, 0].numpy() for mask in (lesion.mask, marked))
        canvas.put(self.crop, edited, weight, soft * editable, box)
        numbers = parts_on(lesion, box.size, marked)
        if region is not None and region.dtype != bool and region.max() > 1:
            numbers = np.where(marked, extract(region, box, 0), 0)
        self.parts[...] = in_image(numbers, box, canvas.image.shape[1:])


def _drawn(strokes: Sequence[_Stroke], weights: Weights | None, at_once: int | None) -> list[np.ndarray]:
    """What the generator makes of each stroke, (C, *crop); without weights the pasted lesion as it is."""
    if weights is None:
        return [stroke.start.numpy() for stroke in strokes]
    at_once = at_once or _at_once(weights)
    by_size: dict[tuple[int, ...], list[int]] = {}
    for number, stroke in enumerate(strokes):
        by_size.setdefault(tuple(stroke.start.shape), []).append(number)
    drawn: dict[int, np.ndarray] = {}
    for numbers in by_size.values():
        for first in range(0, len(numbers), at_once):
            some = numbers[first : first + at_once]
            start, target = (torch.stack([getattr(strokes[n], name) for n in some]) for name in ("start", "target"))
            plans = [strokes[n].planned for n in some]
            made = _translate(weights, start, "a2b", target, [p.seed for p in plans], [p.style for p in plans])
            drawn |= zip(some, made, strict=True)
    return [drawn[number] for number in range(len(strokes))]


def _texture(lesion: Lesion, crop: np.ndarray) -> Tensor:
    return torch.from_numpy(match_surroundings(lesion, crop))[None]


def as_mask(mask: np.ndarray) -> Tensor:
    """A mask (*S) as networks take it: (1, 1, *S) float32."""
    return torch.from_numpy(mask.astype(np.float32))[None, None]


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
    sliced = weights.translator.spatial_dims < parts.ndim
    mask = parts > 0
    places: list[Any] = [(..., z) for z in np.flatnonzero(mask.any(axis=(0, 1)))] if sliced else [...]
    image, replaced = image.copy(), mask.astype(np.uint8)
    removals = [_removing(image[at], parts[at], windows, weights, spacing_mm, limits) for at in places]
    for at, still in zip(places, _side_by_side(removals, partial(_filled, weights=weights, seed=seed)), strict=True):
        replaced[at] = still
    return Edit(image, replaced)


def _removing(
    image: np.ndarray,
    parts: np.ndarray,
    windows: Sequence[Window],
    weights: Weights,
    spacing_mm: Sequence[float],
    limits: Sequence[Limits],
) -> Generator[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """Replaces the tumors of an image, or a slice, in place; gives (crop, target) of one piece after the other, and is
    sent the crop without it. Returns where something was replaced (*S).
    """
    mask, spacing_mm = parts > 0, spacing_mm[: parts.ndim]
    replaced, canvas, own_mm = mask.copy(), Canvas(image, windows, limits), weights.lesion_prior.spacing_mm
    for piece in component_boxes(mask):
        crop, covered, box = lesion_crop(image, parts, windows, weights, piece, spacing_mm)
        edited = yield crop, covered
        marked = extract(mask, box, False)
        distance = ndimage.distance_transform_edt(~marked, sampling=np.divide(spacing_mm, own_mm))
        weight = removal_weight(torch.from_numpy(covered)[None].amax(1, keepdim=True))[0, 0].numpy()
        soft = np.minimum(resized(weight, box.size), np.maximum(0, 1 - distance / REACH_VOXELS))
        soft = np.where(marked, 1.0, soft) * canvas.editable(marked, box, beyond=True)
        replaced &= ~in_image(marked & ~soft.any(axis=0), box, mask.shape)
        if (marked & (soft > 0)).any():
            canvas.put(crop, edited, weight, soft, box)
    return replaced


def _filled(asked: list[tuple[np.ndarray, np.ndarray]], weights: Weights, seed: int) -> list[np.ndarray]:
    """The crops without what their targets mark, all with the same noise."""
    at_once, filled = _at_once(weights), list[np.ndarray]()
    for first in range(0, len(asked), at_once):
        some = zip(*asked[first : first + at_once], strict=True)
        crops, targets = (torch.from_numpy(np.stack(arrays)) for arrays in some)
        filled += [*_translate(weights, crops, "b2a", targets, [seed] * len(crops))]
    return filled


def _at_once(weights: Weights) -> int:
    return 1 if weights.device.type == "cpu" else CROPS_AT_ONCE


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


@torch.inference_mode()
def _translate(
    weights: Weights,
    x: Tensor,
    direction: Direction,
    mask: Tensor,
    seeds: Sequence[int],
    styles: Sequence[Style | None] = (None,),
) -> np.ndarray:
    """Crops (B, C, *crop) through the generator, each with the noise of its own seed, all with a style or none."""
    chances = [torch.Generator().manual_seed(seed) for seed in seeds]
    codes = [list(style) for style in styles if style is not None]
    style = torch.tensor(codes, dtype=torch.float32) if codes else None
    return weights.translate(x, direction, mask=mask, style=style, generator=chances).numpy()
