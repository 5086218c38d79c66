"""A lesion at growing sizes, one shape scaled about its centre, and how it pushes the tissue around it away.

Volume grows exponentially, V(t) = V(0) · 2^(t / doubling time) (Collins et al. 1956), and diameters by its cube root; a
2-D picture shows the section of such a lesion, so its area grows by 2^(2/3 · t / doubling time). The voxels of the
target are put in the order in which the scaled shape reaches them: step k has the first n_k of them, so masks are
nested and have the volume that was asked for, to the voxel. A 2-D lesion grows in a volume as a stack: a body with the
drawn shape at its middle, whose sections shrink like those of an ellipsoid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from medaug.errors import ConfigError, DataError
from medaug.lesions.drawing import draw_lesion, draw_level
from medaug.lesions.geometry import CropBox, extract
from medaug.lesions.places import CLEARANCE_VOXELS
from medaug.lesions.prior import MARGIN_VOXELS, Lesion, LesionPrior
from medaug.lesions.radial import Growth, RadialShape, look_up, offsets_mm, outgrown, wall_mm
from medaug.lesions.reference import SECTION_LEAST, laid_out, scaled
from medaug.resampling import resized_mask

MOST_STEPS, LARGEST_MM = 1000, 1000.0
FLATNESS = (0.7, 1.1)
"""The height of a stack over its diameter."""
PLACES = 12
"""How many lesions are drawn at a size before a smaller one is looked for."""
SMALLER, SHRINKINGS = 0.85, 16
MOST = 0.8
"""At full strength the tissue at the surface came from a fifth of the way to it; from the centre, it would be torn."""
STILL_MM = 1e-6


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
        texture = np.stack([scaled(channel, scale, center) for channel in self.lesion.texture]).astype(np.float32)
        crop_mask = resized_mask(extract(mask, box, False), crop_size, keep=True)
        return replace(self.lesion, parts=laid_out(self.lesion.parts, crop_mask), texture=texture)


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
            lesion = draw_lesion(
                prior, organ, occupied, rng, spacing_mm=spacing_mm, size_mm=(size_mm, size_mm), whole_texture=True
            )
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
            raise outgrown(end_mm, largest, prior.length_unit)
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


@dataclass(frozen=True)
class MassEffect:
    """How hard a lesion pushes, and how far that is felt.

    Attributes:
        strength: 0 (it replaces what was there) to 1 (it pushes nearly all of it away).
        reach_mm: from its surface; beyond, nothing moves.

    Raises:
        ConfigError: for a strength outside 0 to 1, or a reach that is not above 0.
    """

    strength: float = 0.0
    reach_mm: float = 20.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"mass_effect: found {self.strength:g}; expected 0 (none) to 1")
        if not (np.isfinite(self.reach_mm) and self.reach_mm > 0):
            raise ConfigError(f"reach_mm: found {self.reach_mm:g}; expected a distance above 0 mm")


@dataclass(frozen=True)
class Displacement:
    """Which voxels move, and the places their tissue comes from.

    Attributes:
        moved: (n, d) voxels; `sources`: (n, d), the place of each one's tissue before, in voxels.
    """

    moved: np.ndarray
    sources: np.ndarray

    def image(self, array: np.ndarray, order: int = 1) -> np.ndarray:
        """The displaced image (*S), linear; voxels that do not move keep their bits."""
        result = array.copy()
        if len(self.moved):
            values = ndimage.map_coordinates(array, self.sources.T, order=order, mode="nearest")
            result[tuple(self.moved.T)] = values
        return result

    def label(self, array: np.ndarray) -> np.ndarray:
        """The displaced label (*S), nearest: no value that was not there."""
        return self.image(array, order=0)


def displacement(growth: Growth, scale: float, organ: np.ndarray, effect: MassEffect) -> Displacement:
    """The mass effect of a growth's shape at this scale: tissue around it is pushed away from its centre.

    Along each ray from the centre the lesion's surface lies at R mm, and tissue that is now at distance r came from

        g(r) = r - A (1 - t)^2,   t = (r - R) / L    from the surface to L mm beyond it; beyond, nothing moves,
        g(r) = r - A r / R                           under the lesion,

    with A = strength · MOST · R · L / reach, where L is `reach_mm`, or less where the organ ends before. g grows
    strictly (its slope is 1 + 2 (1 - t) · strength · MOST · R / reach outside, and at least 1 - MOST inside) and rays
    stay rays, so the map is one to one: it never folds. Nothing moves at the organ's edge, which is where bone is.

    Args:
        organ: (*S) bool on the target; nothing outside it moves.
    """
    if effect.strength == 0:
        return Displacement(np.zeros((0, organ.ndim), int), np.zeros((0, organ.ndim)))
    center, spacing, reach = growth.center, growth.spacing_mm, effect.reach_mm
    far = scale * float(growth.shape.radii_mm.max()) + reach
    axes = list(zip(center, spacing, organ.shape, strict=True))
    start = [max(0, int(np.floor(c - far / s))) for c, s, _ in axes]  # of the part that may be touched
    end = [min(n, int(np.ceil(c + far / s)) + 1) for c, s, n in axes]
    size = [max(0, high - low) for low, high in zip(start, end, strict=True)]
    offsets = np.stack(np.broadcast_arrays(*offsets_mm(start, size, center, spacing)))
    distance = np.sqrt((offsets**2).sum(axis=0))
    surface = scale * growth.shape.radius_mm(offsets)
    wall = wall_mm(organ, center, spacing, far)
    length = np.clip(look_up(wall, offsets) - surface, 0.0, reach)
    amplitude = effect.strength * MOST * surface * length / reach
    beyond = np.clip((distance - surface) / np.maximum(length, STILL_MM), 0.0, 1.0)
    shift = np.where(distance < surface, amplitude * distance / surface, amplitude * (1 - beyond) ** 2)
    moves = (shift > STILL_MM) & organ[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))]
    moved = np.argwhere(moves) + start
    towards = offsets[:, moves].T / np.maximum(distance[moves], STILL_MM)[:, None]
    return Displacement(moved, moved - towards * shift[moves][:, None] / np.array(spacing))
