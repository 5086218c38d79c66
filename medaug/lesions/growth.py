"""A lesion at growing sizes: one shape scaled about its centre, as nested masks of exact volume on the target's grid.

Volume grows exponentially, V(t) = V(0) · 2^(t / doubling time) (Collins et al. 1956), and diameters by its cube root; a
2-D picture shows the section of such a lesion, so its area grows by 2^(2/3 · t / doubling time). The voxels of the
target are put in the order in which the scaled shape reaches them: step k has the first n_k of them, so masks are
nested and have the volume that was asked for, to the voxel.

A 2-D lesion grows in a volume as a stack: a body with the drawn shape at its middle, whose sections shrink like those
of an ellipsoid. Shape, place, reference texture and centre are the same at every size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from medaug.errors import ConfigError, DataError
from medaug.lesions.crops import CropBox, extract, resized_mask
from medaug.lesions.drawing import CLEARANCE_VOXELS, INSIDE, draw_lesion, draw_level
from medaug.lesions.geometry import diameter_of_voxels, voxels_of_diameter
from medaug.lesions.prior import MARGIN_VOXELS, Lesion, LesionPrior
from medaug.lesions.radial import RadialShape, offsets_mm
from medaug.lesions.reference import SECTION_LEAST

MOST_STEPS, LARGEST_MM = 1000, 1000.0
ALWAYS_INSIDE = 8
"""A lesion of fewer voxels has no part that could be cut off."""
FLATNESS = (0.7, 1.1)
"""The height of a stack over its diameter."""
PLACES = 12
"""How many lesions are drawn at a size before a smaller one is looked for."""
SMALLER, SHRINKINGS = 0.85, 16


@dataclass(frozen=True)
class GrowthPlan:
    """When a lesion is seen, and how large it is then.

    Attributes:
        steps: how many times.
        start_mm: diameter of the sphere of equal volume at day 0.
        doubling_days: in which the volume doubles.
        interval_days: between two steps.

    Raises:
        ConfigError: for values that are not above 0, or a single step.
    """

    steps: int = 6
    start_mm: float = 4.0
    doubling_days: float = 60.0
    interval_days: float = 30.0

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise ConfigError(f"steps: found {self.steps}; expected at least 2, or there is nothing to compare")
        for name in ("start_mm", "doubling_days", "interval_days"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ConfigError(f"{name}: found {value:g}; expected a number above 0")
        doublings = (self.steps - 1) * self.interval_days / self.doubling_days
        if self.steps > MOST_STEPS or math.log2(self.start_mm) + doublings / 3 > math.log2(LARGEST_MM):
            raise ConfigError(
                f"steps, interval_days and doubling_days: found {self.steps} steps in which the volume doubles "
                f"{doublings:.3g} times from {self.start_mm:g} mm; expected at most {MOST_STEPS} steps, and a tumor "
                f"below {LARGEST_MM:g} mm at the last. Ask for fewer steps, or a longer doubling time."
            )

    @property
    def days(self) -> tuple[float, ...]:
        return tuple(k * self.interval_days for k in range(self.steps))

    @property
    def diameters_mm(self) -> tuple[float, ...]:
        return tuple(self.start_mm * 2 ** (day / (3 * self.doubling_days)) for day in self.days)


@dataclass(frozen=True)
class Growth:
    """The place on a target in which one shape grows, and the room that it has.

    Attributes:
        shape, center: the body, and its centre in voxels of the target.
        box: on the target; the order of growth is known inside it.
        order: flat indices into the box, in the order in which the growing shape reaches them; those with room only.
        room_voxels: how many of them there are before the shape is cut off by what bounds it.
    """

    shape: RadialShape
    center: np.ndarray
    spacing_mm: tuple[float, ...]
    box: CropBox
    order: np.ndarray
    room_voxels: int

    @classmethod
    def of(
        cls, shape: RadialShape, center: np.ndarray, spacing_mm: Sequence[float], box: CropBox, room: np.ndarray
    ) -> Growth:
        """The growth of a shape in `room` (bool, on the box). A fiftieth of it may be cut off by the room's edge."""
        offsets = offsets_mm(box.start, box.size, center, spacing_mm)
        distance = np.sqrt(sum(axis**2 for axis in offsets))
        scale = distance / shape.radius_mm(np.stack(np.broadcast_arrays(*offsets)))
        order = np.argsort(scale, axis=None, kind="stable")
        has_room = room.reshape(-1)[order]
        reached = np.arange(1, order.size + 1)
        outside = np.cumsum(~has_room)
        cut = outside > np.where(reached < ALWAYS_INSIDE, 0, (1 - INSIDE) * reached)
        uncut = int(cut.argmax()) if cut.any() else order.size
        room_voxels = uncut - (int(outside[uncut - 1]) if uncut else 0)
        return cls(shape, np.asarray(center), tuple(spacing_mm), box, order[has_room], room_voxels)

    @cached_property
    def largest_mm(self) -> float:
        """The largest diameter that has room here."""
        return diameter_of_voxels(self.room_voxels, self.spacing_mm)

    def holds(self, diameter_mm: float) -> bool:
        """Tells whether a lesion of this diameter has room."""
        return voxels_of_diameter(diameter_mm, self.spacing_mm) <= self.room_voxels

    def scale_of(self, diameter_mm: float) -> float:
        """How many times as large as the shape itself a lesion of this diameter is."""
        return diameter_mm / self.shape.diameter_mm

    def masks(self, diameters_mm: Sequence[float], shape: Sequence[int], unit: str = "mm") -> list[np.ndarray]:
        """The lesion (bool, an image of this shape) at these growing diameters.

        Raises:
            DataError: if it outgrows its room (naming the largest size), or two sizes have equally many voxels.
        """
        counts = [voxels_of_diameter(diameter, self.spacing_mm) for diameter in diameters_mm]
        if not self.holds(diameters_mm[-1]):
            raise _outgrown(diameters_mm[-1], self.largest_mm, unit)
        for count, following, diameter in zip(counts, counts[1:], diameters_mm, strict=False):
            if following <= count:
                raise DataError(
                    f"growth: found {count} voxels at {diameter:.2f} {unit} and {following} a step later; expected "
                    "more at every step. Use a longer interval, a larger start, or a scan of smaller voxels."
                )
        inside, of_box = self.box.overlap(shape)
        masks = []
        for count in counts:
            part, mask = np.zeros(self.box.size, dtype=bool), np.zeros(tuple(shape), dtype=bool)
            part.reshape(-1)[self.order[:count]] = True
            mask[inside] = part[of_box]
            masks.append(mask)
        return masks


@dataclass(frozen=True)
class GrowingLesion:
    """A drawn lesion that grows on a target.

    Attributes:
        lesion: at the size it was drawn in, with its crop; 2-D also where it grows in a volume as a stack.
        growth: on the target.
    """

    lesion: Lesion
    growth: Growth

    def at(self, mask: np.ndarray, diameter_mm: float) -> list[tuple[int | None, Lesion]]:
        """The lesion at this size: (slice of a stack or None, lesion). `mask` (*S) is where it is on the target."""
        scale = self.growth.scale_of(diameter_mm)
        if self.lesion.mask.ndim == mask.ndim:
            return [(None, self._scaled(mask, scale))]
        half_height_mm = scale * float(self.growth.shape.radii_mm[:, 0].mean())
        stack: list[tuple[int | None, Lesion]] = []
        for z in np.flatnonzero(mask.any(axis=(0, 1))):
            height = (z - self.growth.center[2]) * self.growth.spacing_mm[2] / half_height_mm
            section = max(SECTION_LEAST, float(np.sqrt(max(0.0, 1 - height**2))))
            stack.append((int(z), self._scaled(mask[..., z], scale * section)))
        return stack

    def _scaled(self, mask: np.ndarray, scale: float) -> Lesion:
        """Mask and texture on the crop's grid; the texture is scaled about the centre that the shape grows from."""
        crop_size, box = self.lesion.mask.shape, self.lesion.box
        center = (self.growth.center[: mask.ndim] - box.start + 0.5) * np.divide(crop_size, box.size) - 0.5
        texture = ndimage.affine_transform(
            self.lesion.texture, np.full(mask.ndim, 1 / scale), center - center / scale, order=1, mode="nearest"
        )
        crop_mask = resized_mask(extract(mask, box, False), crop_size, keep=True)
        return replace(self.lesion, mask=crop_mask, texture=texture.astype(np.float32))


def draw_growing(
    prior: LesionPrior,
    end_mm: float,
    organ: np.ndarray,
    occupied: np.ndarray,
    rng: np.random.RandomState,
    *,
    spacing_mm: Sequence[float],
) -> GrowingLesion:
    """Draws a lesion with room to grow to the diameter `end_mm`.

    Args:
        organ, occupied: (*S) bool on the target: where it may lie, and other lesions, which it keeps clear of.
        spacing_mm: the target's voxel size.

    Raises:
        DataError: if it cannot grow so large here, naming the largest size that fits.
    """
    dims, room = len(prior.crop_size), organ & ~ndimage.binary_dilation(occupied, iterations=CLEARANCE_VOXELS)

    def drawn(size_mm: float) -> GrowingLesion | None:
        """One draw at a size; None where it finds no place."""
        if dims == organ.ndim:
            lesion = draw_lesion(prior, organ, occupied, rng, spacing_mm=spacing_mm, size_mm=(size_mm, size_mm))
            return None if lesion is None else let_grow(lesion, spacing_mm, room)
        level, flatness = draw_level(organ, rng), float(rng.uniform(*FLATNESS))
        across = min(size_mm / flatness ** (1 / 3), prior.largest_mm)
        plane = organ[..., level], occupied[..., level]
        lesion = draw_lesion(prior, *plane, rng, spacing_mm=spacing_mm[:dims], size_mm=(across, across))
        return None if lesion is None else let_grow(lesion, spacing_mm, room, level=level, flatness=flatness)

    largest = 0.0
    for shrinking in range(SHRINKINGS):
        size_mm = min(end_mm, prior.largest_mm) * SMALLER**shrinking
        for _ in range(PLACES):
            found = drawn(size_mm)
            if found is not None:
                largest = max(largest, found.growth.largest_mm)
                if found.growth.holds(end_mm):
                    return found
        if largest:
            raise _outgrown(end_mm, largest, prior.length_unit)
    raise DataError(
        f"growth: found no room for a lesion of {size_mm:.1f} {prior.length_unit}; expected a larger organ. "
        "Give its mask."
    )


def let_grow(
    lesion: Lesion, spacing_mm: Sequence[float], room: np.ndarray, *, level: int | None = None, flatness: float = 1.0
) -> GrowingLesion:
    """Lets a lesion grow where it lies.

    Args:
        spacing_mm: of the target, one entry an axis of `room`.
        room: (*S) bool on the target: where it may grow to.
        level: of a 2-D lesion in a volume: the slice of its middle; `flatness` is its height over its diameter.
    """
    box, crop_size = lesion.box, lesion.mask.shape
    crop_spacing = [n * s / c for n, s, c in zip(box.size, spacing_mm, crop_size, strict=False)]
    shape, center = RadialShape.of(lesion.mask, crop_spacing)
    center = (center + 0.5) * np.divide(box.size, crop_size) - 0.5 + box.start
    margin = [-(-MARGIN_VOXELS * n // c) for n, c in zip(box.size, crop_size, strict=True)]
    if level is not None:
        half_height_mm = flatness * shape.diameter_mm / 2
        widest = max(n * s for n, s in zip(box.size, spacing_mm, strict=False)) / shape.diameter_mm
        reach = int(widest * half_height_mm / spacing_mm[-1]) + 1
        shape, center, margin = shape.lifted(half_height_mm), np.append(center, level), [*margin, 0]
        box = CropBox((*box.start, level - reach), (*box.size, 2 * reach + 1))
    free = np.zeros(box.size, dtype=bool)
    kept = tuple(slice(m, n - m) for m, n in zip(margin, box.size, strict=True))
    free[kept] = extract(room, box, False)[kept]
    return GrowingLesion(lesion, Growth.of(shape, center, spacing_mm, box, free))


def _outgrown(diameter_mm: float, largest_mm: float, unit: str) -> DataError:
    """The error of a series that ends larger than it can."""
    return DataError(
        f"growth: found a series that ends at {diameter_mm:.1f} {unit}; expected at most {largest_mm:.1f} {unit}, the "
        "largest size that fits the organ and the weights' crop here. Use fewer steps, a smaller start, a shorter "
        "interval, a longer doubling time, or train with a larger crop.size."
    )
