"""One lesion at growing sizes: one shape scaled about its centre, as nested masks of exact volume on the target's grid.

Volume grows exponentially, V(t) = V(0) · 2^(t / doubling time) (Collins et al. 1956), and diameters by its cube root; a
2-D picture shows the section of such a lesion, so its area grows by 2^(2/3 · t / doubling time). The voxels of the
target are put in the order in which the scaled shape reaches them: step k has the first n_k of them, so masks are
nested and have the volume that was asked for, to the voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medaug.errors import ConfigError, DataError
from medaug.lesions.crops import CropBox
from medaug.lesions.geometry import voxels_of_diameter
from medaug.lesions.placing import INSIDE
from medaug.lesions.radial import RadialShape

ALWAYS_INSIDE = 8
"""A lesion of fewer voxels has no part that could be cut off."""


MOST_STEPS, LARGEST_MM = 1000, 1000.0


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
    """Where one shape grows on a target, and how far it can.

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
        size = self.room_voxels * float(np.prod(self.spacing_mm))
        return float(
            2 * (size / np.pi) ** 0.5 if len(self.spacing_mm) == 2 else 2 * (size * 3 / (4 * np.pi)) ** (1 / 3)
        )

    def holds(self, diameter_mm: float) -> bool:
        """Whether a lesion of this diameter has room."""
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
            raise outgrown(diameters_mm[-1], self.largest_mm, unit)
        for count, following, diameter in zip(counts, counts[1:], diameters_mm, strict=False):
            if following <= count:
                raise DataError(
                    f"growth: found {count} voxels at {diameter:.2f} {unit} and {following} a step later; expected "
                    "more at every step. Use a longer interval, a larger start, or a scan of smaller voxels."
                )
        return [self._mask(count, shape) for count in counts]

    def _mask(self, count: int, shape: Sequence[int]) -> np.ndarray:
        part = np.zeros(self.box.size, dtype=bool)
        part.reshape(-1)[self.order[:count]] = True
        mask = np.zeros(tuple(shape), dtype=bool)
        inside, of_box = self.box.overlap(shape)
        mask[inside] = part[of_box]
        return mask


def outgrown(diameter_mm: float, largest_mm: float, unit: str) -> DataError:
    """The error of a series that ends larger than it can."""
    return DataError(
        f"growth: found a series that ends at {diameter_mm:.1f} {unit}; expected at most {largest_mm:.1f} {unit}, the "
        "largest size that fits the organ and the weights' crop here. Use fewer steps, a smaller start, a shorter "
        "interval, a longer doubling time, or train with a larger crop.size."
    )


def offsets_mm(
    start: Sequence[int], size: Sequence[int], center: np.ndarray, spacing_mm: Sequence[float]
) -> list[np.ndarray]:
    """By axis, how far each voxel of a box is from a centre (in voxels); they broadcast to the box."""
    axes = [(np.arange(n) + first - c) * s for first, n, c, s in zip(start, size, center, spacing_mm, strict=True)]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))
