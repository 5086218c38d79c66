"""Where which lesion goes: seeded and cheap, on the CPU. What is planned here the `engine` paints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medaug.lesions.drawing import Shape, draw_lesion, draw_level
from medaug.lesions.geometry import CropBox
from medaug.lesions.places import widened
from medaug.lesions.prior import Lesion
from medaug.lesions.reference import lesion_for_mask, sections
from medaug.models.weights import Weights
from medaug.resampling import resized_mask

INSIDE = 0.95
"""A slice of a lesion is left out if less of it lies in the organ."""
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


def drawn_style(weights: Weights, rng: np.random.RandomState) -> tuple[float, ...] | None:
    """A style from the prior; None (and nothing drawn) where the method knows none."""
    length = weights.translator.style_dim
    return tuple(float(value) for value in rng.standard_normal(length)) if length else None


def _with_room(stack: Iterable[tuple[int, Lesion]], level: int, organ: np.ndarray, occupied: np.ndarray) -> Parts:
    """The slices on either side of `level` as far as the lesion has room there: in the organ, clear of other tumors."""
    fitting = {}
    for z, section in stack:
        region = in_image(resized_mask(section.mask, section.box.size), section.box, organ.shape[:-1])
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


def in_image(marks: np.ndarray, box: CropBox, shape: tuple[int, ...]) -> np.ndarray:
    """What is marked in a box, on the image (*S)."""
    region = np.zeros(shape, dtype=marks.dtype)
    inside, part = box.overlap(shape)
    region[inside] = marks[part]
    return region
