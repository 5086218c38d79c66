"""Star-shaped bodies, one radius in mm for every direction from a centre, and the place in which one grows.

Scaled copies of such a body about its centre are nested, which a mask's own scaled copies need not be. Directions are
a regular table: `AZIMUTHS` angles in the plane of axes 0 and 1, in 3-D times `POLARS` angles from axis 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.geometry import CropBox, Spacing, diameter_of_voxels, equivalent_diameter_mm, voxels_of_diameter
from medaug.lesions.places import INSIDE

AZIMUTHS, POLARS = 180, 61
STEP = 0.25
"""Rays are sampled this densely, in the smallest voxel size."""
SMOOTHING = 0.06
"""A mask's surface is smoothed over this part of its diameter: single voxels are not its shape."""
ALWAYS_INSIDE = 8
"""A lesion of fewer voxels has no part that could be cut off."""
_WRAPS = ("wrap", "nearest")


@dataclass(frozen=True)
class RadialShape:
    """A star-shaped body about the origin.

    Attributes:
        radii_mm: (AZIMUTHS,) or (AZIMUTHS, POLARS).
    """

    radii_mm: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, spacing_mm: Spacing) -> tuple[RadialShape, np.ndarray]:
        """The body that reaches as far as the (non-empty) mask in every direction, and its centre in voxels (d,)."""
        center = np.array(ndimage.center_of_mass(mask))
        if not mask[tuple(np.round(center).astype(int))]:  # a crescent has its centre outside: the deepest voxel
            depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)
            center = np.array(np.unravel_index(int(depth.argmax()), depth.shape), dtype=float) - 1
        sigma = [SMOOTHING * equivalent_diameter_mm(mask, spacing_mm) / s for s in spacing_mm]
        surface = ndimage.gaussian_filter(np.pad(mask, 1).astype(np.float32), sigma)
        farthest_voxel = np.linalg.norm((np.argwhere(mask) - center) * spacing_mm, axis=1).max()
        reach = float(farthest_voxel + 2 * max(spacing_mm))
        inside, distances = _along_rays(surface, center + 1, spacing_mm, reach)
        farthest = distances[inside.shape[-1] - 1 - np.argmax(inside[..., ::-1], axis=-1)]
        radii = np.where(inside.any(axis=-1), farthest + STEP * min(spacing_mm) / 2, 0.0)
        radii = np.maximum(radii, 0.5 * min(spacing_mm))
        radii = ndimage.gaussian_filter(radii, (2.0, 1.0)[: radii.ndim], mode=_WRAPS[: radii.ndim])  # the rays' steps
        if radii.ndim == 2:
            radii[:, [0, -1]] = radii[:, [0, -1]].mean(axis=0)  # all directions that are one (a pole) get one value
        return cls(radii), center

    @property
    def diameter_mm(self) -> float:
        """The diameter of the circle of equal area, or the sphere of equal volume."""
        if self.radii_mm.ndim == 1:
            return 2 * float((self.radii_mm**2).mean()) ** 0.5
        weights = np.broadcast_to(np.sin(np.linspace(0.0, np.pi, POLARS)), self.radii_mm.shape)
        return 2 * float(np.average(self.radii_mm**3, weights=weights)) ** (1 / 3)

    def radius_mm(self, offsets_mm: np.ndarray) -> np.ndarray:
        """The surface's distance in the direction of each offset (d, *S) from the centre: (*S)."""
        return look_up(self.radii_mm, offsets_mm)

    def lifted(self, half_height_mm: float) -> RadialShape:
        """The 3-D body with this 2-D shape at its middle, whose sections shrink like those of an ellipsoid."""
        polar = np.linspace(0.0, np.pi, POLARS)
        across, along = np.sin(polar) / self.radii_mm[:, None], np.cos(polar) / half_height_mm
        return RadialShape(1.0 / np.sqrt(across**2 + along**2))


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
            raise outgrown(diameters_mm[-1], self.largest_mm, unit)
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


def outgrown(diameter_mm: float, largest_mm: float, unit: str) -> DataError:
    """The error of a series that ends larger than it can."""
    return DataError(
        f"growth: found a series that ends at {diameter_mm:.1f} {unit}; expected at most {largest_mm:.1f} {unit}, the "
        "largest size that fits the organ and the weights' crop here. Use fewer steps, a smaller start, a shorter "
        "interval, a longer doubling time, or train with a larger crop.size."
    )


def wall_mm(room: np.ndarray, center: np.ndarray, spacing_mm: Spacing, reach_mm: float) -> np.ndarray:
    """How far a ray from `center` (voxels) runs inside `room` (*S bool), at most `reach_mm`: a table for `look_up`.

    Each direction has the least of its neighbours', so that nothing between two directions reaches over the wall.
    """
    inside, distances = _along_rays(room.astype(np.float32), center, spacing_mm, reach_mm)
    first_out = np.where(inside.all(axis=-1), len(distances) - 1, np.argmin(inside, axis=-1))
    free = np.maximum(distances[first_out] - max(spacing_mm), 0.0)
    return ndimage.minimum_filter(free, size=(5, 3)[: free.ndim], mode=_WRAPS[: free.ndim])


def offsets_mm(
    start: Sequence[int], size: Sequence[int], center: np.ndarray, spacing_mm: Sequence[float]
) -> list[np.ndarray]:
    """Distances by axis of a box's voxels from a centre (in voxels); they broadcast to the box."""
    axes = [(np.arange(n) + first - c) * s for first, n, c, s in zip(start, size, center, spacing_mm, strict=True)]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def look_up(table: np.ndarray, offsets_mm: np.ndarray) -> np.ndarray:
    """A table by direction, linearly between its directions, at offsets (d, *S): (*S)."""
    azimuth = np.mod(np.arctan2(offsets_mm[1], offsets_mm[0]), 2 * np.pi) * (AZIMUTHS / (2 * np.pi))
    where = [azimuth]
    if table.ndim == 2:
        across = np.hypot(offsets_mm[0], offsets_mm[1])
        where.append(np.arctan2(across, offsets_mm[2]) * ((POLARS - 1) / np.pi))
    closed = np.concatenate([table, table[:1]])
    return ndimage.map_coordinates(closed, where, order=1, mode="nearest")


def _along_rays(
    field: np.ndarray, center: np.ndarray, spacing_mm: Sequence[float], reach_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """(whether each ray's points are inside: at least 0.5, outside the array 0, (*table, n); their distances (n,))."""
    distances = np.arange(0.0, reach_mm + STEP * min(spacing_mm), STEP * min(spacing_mm))
    azimuth, polar = np.arange(AZIMUTHS) * (2 * np.pi / AZIMUTHS), np.linspace(0.0, np.pi, POLARS)
    directions = np.stack([np.cos(azimuth), np.sin(azimuth)])
    if field.ndim == 3:
        height = np.broadcast_to(np.cos(polar), (1, AZIMUTHS, POLARS))
        directions = np.concatenate([directions[..., None] * np.sin(polar), height])
    spacing = np.reshape(spacing_mm, (-1, *([1] * directions.ndim)))
    origin = np.reshape(center, spacing.shape)
    points = origin + directions[..., None] * distances / spacing
    return ndimage.map_coordinates(field, points, order=1, mode="constant") >= 0.5, distances
