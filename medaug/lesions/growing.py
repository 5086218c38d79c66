"""A lesion drawn from a prior that grows on a target: at every size its mask there, and its crop for the translator.

A 2-D lesion grows in a volume as a stack: a body with the drawn shape at its middle, whose sections shrink like those
of an ellipsoid. Shape, place, reference texture and centre are the same at every size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.crops import CropBox, extract, resized_mask
from medaug.lesions.growth import Growth, outgrown
from medaug.lesions.placing import CLEARANCE_VOXELS, draw_level
from medaug.lesions.prior import LesionPrior
from medaug.lesions.radial import RadialShape
from medaug.lesions.reference import SECTION_LEAST
from medaug.lesions.sampling import MARGIN_VOXELS, Lesion, largest_mm

FLATNESS = (0.7, 1.1)
"""Of a stack: its height over its diameter."""
PLACES = 12
"""How many lesions are drawn at a size before a smaller one is looked for."""
SMALLER = 0.85
SHRINKINGS = 16


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
    room = organ & ~ndimage.binary_dilation(occupied, iterations=CLEARANCE_VOXELS)
    largest = 0.0
    for shrinking in range(SHRINKINGS):
        size_mm = min(end_mm, largest_mm(prior)) * SMALLER**shrinking
        for _ in range(PLACES):
            drawn = _drawn(prior, size_mm, organ, occupied, rng, spacing_mm, room)
            if drawn is not None:
                largest = max(largest, drawn.growth.largest_mm)
                if drawn.growth.holds(end_mm):
                    return drawn
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


def _drawn(
    prior: LesionPrior,
    size_mm: float,
    organ: np.ndarray,
    occupied: np.ndarray,
    rng: np.random.RandomState,
    spacing_mm: Sequence[float],
    room: np.ndarray,
) -> GrowingLesion | None:
    """One draw at a size; None where it finds no place."""
    dims = len(prior.crop_size)
    if dims == organ.ndim:
        lesion = prior.sample(organ, occupied, rng, spacing_mm=spacing_mm, size_mm=(size_mm, size_mm))
        return None if lesion is None else let_grow(lesion, spacing_mm, room)
    level, flatness = draw_level(organ, rng), float(rng.uniform(*FLATNESS))
    across = min(size_mm / flatness ** (1 / 3), largest_mm(prior))
    plane = organ[..., level], occupied[..., level]
    lesion = prior.sample(*plane, rng, spacing_mm=spacing_mm[:dims], size_mm=(across, across))
    return None if lesion is None else let_grow(lesion, spacing_mm, room, level=level, flatness=flatness)
