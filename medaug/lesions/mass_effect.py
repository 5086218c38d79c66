"""Mass effect: tissue around a growing lesion is pushed away from its centre.

Along each ray from the centre the lesion's surface lies at R mm, and tissue that is now at distance r came from

    g(r) = r - A (1 - t)^2,   t = (r - R) / L    from the surface to L mm beyond it; beyond, nothing moves,
    g(r) = r - A r / R                           under the lesion,

with A = strength · MOST · R · L / reach, where L is `reach_mm`, or less where the organ ends before. g grows strictly
(its slope is 1 + 2 (1 - t) · strength · MOST · R / reach outside, and at least 1 - MOST inside) and rays stay rays, so
the map is one to one: it never folds. Nothing moves at the organ's edge, which is where bone is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medaug.errors import ConfigError
from medaug.lesions.growth import Growth
from medaug.lesions.radial import look_up, offsets_mm, wall_mm

MOST = 0.8
"""At full strength the tissue at the surface came from a fifth of the way to it; from the centre, it would be torn."""
STILL_MM = 1e-6


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
    """The mass effect of a growth's shape at this scale.

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
