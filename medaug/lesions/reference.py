"""A reference lesion in new surroundings: matched to their brightness, fitted to a given mask, stacked into 3-D.

Read by the training samples and by the transforms, so that training and use start from the same composite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from medaug.lesions.crops import box_around
from medaug.lesions.geometry import equivalent_diameter_mm
from medaug.lesions.prior import Lesion, LesionPrior

RING_VOXELS = (1, 4)


def match_surroundings(lesion: Lesion, crop: np.ndarray) -> np.ndarray:
    """The lesion's texture, shifted so that it stands out from `crop` as it did from its own surroundings.

    The shift is the difference of the two rings' median brightness; a drawn contrast scales the texture about its ring.

    Args:
        crop: the target crop (*S) in [-1, 1], on the lesion's grid.

    Returns:
        (*S) float32 in [-1, 1].
    """
    around = _ring(lesion.mask)
    tissue = around & (crop > -0.98)
    here = float(np.median(crop[tissue])) if tissue.any() else float(np.median(crop))
    there = lesion.surroundings
    gain = (
        np.clip(lesion.contrast / lesion.reference_contrast, 0.5, 2.0) if abs(lesion.reference_contrast) > 0.05 else 1
    )
    return np.clip(here + (lesion.texture - there) * gain, -1.0, 1.0).astype(np.float32)


def lesion_for_mask(
    prior: LesionPrior, mask: np.ndarray, spacing_mm: Sequence[float], rng: np.random.RandomState, *,
    reference: int | None = None,
) -> Lesion:  # fmt: skip
    """A lesion that fills exactly the given mask: the texture of a reference of like size, scaled onto it.

    Args:
        mask: (*S) bool on the target's grid, not empty.
        reference: which one; None draws among the ten nearest in size.
    """
    where = np.argwhere(mask)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    ratio = np.asarray(prior.spacing_mm) / np.asarray(spacing_mm)
    needed = (high - low) * 1.4 / (np.asarray(prior.crop_size) * ratio)
    size = tuple(int(round(s * r * max(1.0, needed.max()))) for s, r in zip(prior.crop_size, ratio, strict=True))
    box = box_around(tuple(int(c) for c in (low + high) // 2), size)
    if reference is None:
        diameter_mm = equivalent_diameter_mm(mask, spacing_mm)
        order = np.argsort([abs(r.diameter_mm - diameter_mm) for r in prior.references], kind="stable")
        reference = int(order[rng.randint(min(10, len(order)))])
    chosen = prior.references[reference]
    crop_mask = _nearest(box.cut(mask), prior.crop_size)
    texture = _stretched(chosen.image, chosen.mask, crop_mask)
    return Lesion(
        mask=crop_mask, texture=texture, box=box, reference=reference, patient=chosen.patient,
        diameter_mm=equivalent_diameter_mm(mask, spacing_mm), contrast=chosen.contrast,
        reference_contrast=chosen.contrast, surroundings=chosen.surroundings,
    )  # fmt: skip


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
        elif scale > 0.25:
            mask = _scaled(lesion.mask.astype(np.float32), scale, 0.0) >= 0.5
            if mask.any():
                yield z, replace(lesion, mask=mask, texture=_scaled(lesion.texture, scale, None))


def _ring(mask: np.ndarray) -> np.ndarray:
    inner, outer = (ndimage.binary_dilation(mask, iterations=n) for n in RING_VOXELS)
    return outer & ~inner


def _stretched(image: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The image inside `source`, scaled so that its bounding box covers `target`'s, and continued beyond its edge."""
    nearest = ndimage.distance_transform_edt(~source, return_distances=False, return_indices=True)
    filled = image[tuple(nearest)]
    boxes = [np.argwhere(m) for m in (source, target)]
    (low_s, high_s), (low_t, high_t) = ((w.min(axis=0), w.max(axis=0)) for w in boxes)
    scale = (high_s - low_s + 1) / (high_t - low_t + 1)
    offset = (low_s + high_s) / 2 - scale * (low_t + high_t) / 2
    return ndimage.affine_transform(filled, scale, offset, order=1, mode="nearest").astype(np.float32)


def _scaled(array: np.ndarray, scale: float, fill: float | None) -> np.ndarray:
    center = (np.asarray(array.shape) - 1) / 2
    options = {"mode": "nearest"} if fill is None else {"mode": "constant", "cval": fill}
    return ndimage.affine_transform(array, np.full(array.ndim, 1 / scale), center - center / scale, order=1, **options)


def _nearest(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    if mask.shape == tuple(size):
        return mask.astype(bool)
    x = torch.from_numpy(mask.astype(np.float32))[None, None]
    mode = "bilinear" if mask.ndim == 2 else "trilinear"
    return (functional.interpolate(x, tuple(size), mode=mode)[0, 0] >= 0.5).numpy()
