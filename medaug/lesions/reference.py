"""A reference lesion in new surroundings: matched to their brightness, fitted to a given mask, stacked into 3-D.

Read by the training samples and by the transforms, so that training and use start from the same composite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.crops import box_in_mm, extract, resized_mask
from medaug.lesions.geometry import bounding_box, equivalent_diameter_mm
from medaug.lesions.prior import AIR, Lesion, LesionPrior, surroundings_of
from medaug.lesions.shapes import stretched

GAIN = (0.5, 2.0)
CONTRAST_LEAST = 0.05
"""A texture that stands out less is not scaled."""
LIKE_SIZE = 10
ROOM = 1.4
"""A crop is at least so many times as wide as the mask in it."""
SECTION_LEAST = 0.25
"""Cross-sections smaller than this part of the widest are left out."""


def match_surroundings(lesion: Lesion, crop: np.ndarray) -> np.ndarray:
    """The lesion's texture, shifted so that it stands out from `crop` as it did from its own surroundings.

    The shift is the difference of the two rings' median brightness; a drawn contrast scales the texture about its ring.
    Where the lesion touched its own scan's background (the rim of a skull-stripped brain), `crop` is left as it is, and
    the lesion is continued up to its mask's edge.

    Args:
        crop: the target crop (*S) in [-1, 1], on the lesion's grid.

    Returns:
        (*S) float32 in [-1, 1].
    """
    tissue = surroundings_of(lesion.mask, lesion.mask) & (crop > AIR)
    here = float(np.median(crop[tissue])) if tissue.any() else float(np.median(crop))
    there = lesion.surroundings
    own = lesion.reference_contrast
    gain = np.clip(lesion.contrast / own, *GAIN) if abs(own) > CONTRAST_LEAST else 1.0
    background = ndimage.binary_dilation(lesion.texture <= AIR)  # with the voxels it was blended into
    texture, missing, known = lesion.texture, lesion.mask & background, lesion.mask & ~background
    if missing.any() and known.any():  # a voxel of the lesion that is background is taken from the nearest that is not
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        texture = np.where(missing, texture[tuple(nearest)], texture)
    matched = np.clip(here + (texture - there) * gain, -1.0, 1.0)
    return np.where(background & ~lesion.mask, crop, matched).astype(np.float32)


def lesion_for_mask(
    prior: LesionPrior,
    mask: np.ndarray,
    spacing_mm: Sequence[float],
    rng: np.random.RandomState,
    *,
    reference: int | None = None,
) -> Lesion:
    """A lesion that fills exactly the given mask: the texture of a reference of like size, scaled onto it.

    Args:
        mask: (*S) bool on the target's grid, not empty.
        reference: which one; None draws among the ten nearest in size.
    """
    mask = mask.astype(bool)
    if not mask.any():
        raise DataError("the mask is empty; mark the voxels where the lesion shall be")
    prior.check_reference(reference)
    corner, extent = bounding_box(mask)
    box = box_in_mm(corner, extent, prior.crop_size, prior.spacing_mm, spacing_mm, room=ROOM)
    if reference is None:
        diameter_mm = equivalent_diameter_mm(mask, spacing_mm)
        order = np.argsort(np.abs(prior.diameters_mm - diameter_mm), kind="stable")
        reference = int(order[rng.randint(min(LIKE_SIZE, len(order)))])
    chosen = prior.references[reference]
    crop_mask = resized_mask(extract(mask, box, False), prior.crop_size, keep=True)
    texture = stretched(chosen.image, chosen.mask, crop_mask)
    return Lesion(
        mask=crop_mask,
        texture=texture,
        box=box,
        reference=reference,
        patient=chosen.patient,
        diameter_mm=equivalent_diameter_mm(mask, spacing_mm),
        contrast=chosen.contrast,
        reference_contrast=chosen.contrast,
        surroundings=chosen.surroundings,
    )


def sections(
    lesion: Lesion, levels: int, level: int, thickness_mm: float, *, flatness: float = 1.0
) -> Iterator[tuple[int, Lesion]]:
    """A 2-D lesion as a stack in a volume of `levels` slices: (slice, its cross-section), widest at `level`.

    Cross-sections shrink like those of an ellipsoid whose height is `flatness` times its diameter.
    """
    half_mm = max(flatness * lesion.diameter_mm / 2, thickness_mm / 2)
    reach = int(half_mm / thickness_mm)
    for z in range(max(0, level - reach), min(levels, level + reach + 1)):
        scale = float(np.sqrt(max(0.0, 1 - ((z - level) * thickness_mm / half_mm) ** 2)))
        if z == level:
            yield z, lesion
        elif scale > SECTION_LEAST:
            mask = _scaled(lesion.mask.astype(np.float32), scale, 0.0) >= 0.5
            if mask.any():
                yield z, replace(lesion, mask=mask, texture=_scaled(lesion.texture, scale, None))


def _scaled(array: np.ndarray, scale: float, fill: float | None) -> np.ndarray:
    center = (np.asarray(array.shape) - 1) / 2
    options = {"mode": "nearest"} if fill is None else {"mode": "constant", "cval": fill}
    return ndimage.affine_transform(array, np.full(array.ndim, 1 / scale), center - center / scale, order=1, **options)
