"""Editing one lesion in a scan: cut the crop, bring it to the weights' grid, translate it, put the change back.

What is put back is the change, not the crop: a scan finer than the weights' grid keeps its own detail, and where the
translator changed nothing the scan keeps its bits. Arrays are float32 (X, Y[, Z]) in the scan's own unit.

2-D weights edit a volume slice by slice, with the same noise in every slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.lesions import CropBox, Lesion, box_around, component_boxes, extract, match_surroundings
from medaug.lesions.crops import resized
from medaug.networks.compositing import composite, soft_mask
from medaug.translators import Direction
from medaug.translators.weights import Weights
from medaug.volumes import Window

MARGIN = 1.6
"""A crop is at least this many times as wide as the region to remove."""
INSIDE = 0.95
"""A slice of a lesion is left out if less of it lies in the organ."""
COVERED = 0.25
"""A voxel of the weights' grid counts as marked if this part of it is."""


@dataclass(frozen=True)
class Edit:
    """The edited scan and the region that was asked for (bool)."""

    image: np.ndarray
    mask: np.ndarray


def insert_lesion(
    image: np.ndarray, lesion: Lesion, window: Window, weights: Weights, *, seed: int,
    style: Sequence[float] | None = None, null: bool = False,
) -> Edit:  # fmt: skip
    """Puts `lesion` where its box is, in an image of the weights' dimensions; `seed` is of the translator's noise.

    With `null` nothing is pasted: the translator gets the crop as it is, and the mask.
    """
    crop, start, target = _place(image, lesion, window)
    if weights.uses_references and not null:
        start = weights.translator.paste(start, _texture(lesion, crop), target)
    changed = _translate(weights, start, "a2b", target, seed, style)
    return _edited(image, lesion, changed - crop, window)


def paste_lesion(image: np.ndarray, lesion: Lesion, window: Window) -> Edit:
    """Puts the reference of `lesion` where its box is, matched to its surroundings and soft-edged, and no more."""
    crop, start, target = _place(image, lesion, window)
    pasted = composite(start, _texture(lesion, crop), soft_mask(target))[0, 0].numpy()
    return _edited(image, lesion, pasted - crop, window)


def insert_stack(
    image: np.ndarray, stack: Iterable[tuple[int, Lesion]], window: Window, weights: Weights, *, seed: int,
    style: Sequence[float] | None = None, null: bool = False,
) -> Edit:  # fmt: skip
    """Puts a 2-D lesion's cross-sections into the slices of a volume, with the same noise and style in each."""
    image, mask = image.copy(), np.zeros(image.shape, dtype=bool)
    for z, section in stack:
        edit = insert_lesion(image[..., z], section, window, weights, seed=seed, style=style, null=null)
        image[..., z], mask[..., z] = edit.image, edit.mask
    return Edit(image, mask)


def with_room(
    stack: Iterable[tuple[int, Lesion]], level: int, organ: np.ndarray, occupied: np.ndarray
) -> list[tuple[int, Lesion]]:
    """The slices on either side of `level` as far as the lesion has room there: in the organ, clear of other tumors."""
    fitting = {}
    for z, section in stack:
        region = np.zeros(organ.shape[:-1], dtype=bool)
        _set_region(region, section.mask, section.box)
        inside = (region & organ[..., z]).sum() >= INSIDE * region.sum()
        if z == level or (inside and region.any() and not (region & occupied[..., z]).any()):
            fitting[z] = section
    low = high = level
    while low - 1 in fitting:
        low -= 1
    while high + 1 in fitting:
        high += 1
    return [(z, fitting[z]) for z in range(low, high + 1)]


def remove_region(image: np.ndarray, mask: np.ndarray, window: Window, weights: Weights, *, seed: int) -> Edit:
    """Replaces each connected part of `mask` by what the translator takes for healthy tissue."""
    image = image.copy()
    if weights.translator.spatial_dims < image.ndim:
        for z in np.flatnonzero(mask.any(axis=(0, 1))):
            image[..., z] = remove_region(image[..., z], mask[..., z], window, weights, seed=seed).image
        return Edit(image, mask)
    for part in component_boxes(mask):
        crop, covered, box = lesion_crop(image, mask, window, weights, part)
        target = torch.from_numpy(covered.astype(np.float32))[None, None]
        changed = _translate(weights, torch.from_numpy(crop)[None, None], "b2a", target, seed)
        _add_change(image, changed - crop, box, window)
    return Edit(image, mask)


def lesion_crop(
    image: np.ndarray, mask: np.ndarray, window: Window, weights: Weights, part: tuple[slice, ...]
) -> tuple[np.ndarray, np.ndarray, CropBox]:
    """(crop in [-1, 1], mask bool) of the weights' crop size around `part`, and its box."""
    size = tuple(weights.lesion_prior.crop_size)
    box = _box_for(part, size)
    crop = resized(window.normalize(extract(image, box, window.low)), size)
    return crop, resized(extract(mask, box, False).astype(np.float32), size) > COVERED, box


def _place(image: np.ndarray, lesion: Lesion, window: Window) -> tuple[np.ndarray, Tensor, Tensor]:
    """(the lesion's crop of the image in [-1, 1], the same and the lesion's mask as (1, 1, *S))."""
    crop = resized(window.normalize(extract(image, lesion.box, window.low)), lesion.mask.shape)
    return crop, torch.from_numpy(crop)[None, None], torch.from_numpy(lesion.mask.astype(np.float32))[None, None]


def _texture(lesion: Lesion, crop: np.ndarray) -> Tensor:
    return torch.from_numpy(match_surroundings(lesion, crop))[None, None]


def _edited(image: np.ndarray, lesion: Lesion, change: np.ndarray, window: Window) -> Edit:
    image, mask = image.copy(), np.zeros(image.shape, dtype=bool)
    _add_change(image, change, lesion.box, window)
    _set_region(mask, lesion.mask, lesion.box)
    return Edit(image, mask)


@torch.inference_mode()
def _translate(
    weights: Weights, x: Tensor, direction: Direction, mask: Tensor, seed: int, style: Sequence[float] | None = None
) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    device = next(weights.translator.parameters()).device
    code = None if style is None else torch.tensor([list(style)], dtype=torch.float32, device=device)
    edited = weights.translator.translate(
        x.to(device), direction, mask=mask.to(device), style=code, generator=generator
    )
    return edited.cpu()[0, 0].numpy()


def _box_for(part: tuple[slice, ...], size: tuple[int, ...]) -> CropBox:
    """The crop around a region: the weights' size, or larger (and then looked at more coarsely) for a larger region."""
    factor = max(1.0, *(MARGIN * (axis.stop - axis.start) / s for axis, s in zip(part, size, strict=True)))
    return box_around([(axis.start + axis.stop) // 2 for axis in part], [int(round(s * factor)) for s in size])


def _add_change(image: np.ndarray, change: np.ndarray, box: CropBox, window: Window) -> None:
    """Adds a change in [-1, 1] units to the part of the box inside the image, in place."""
    scaled = resized(change, box.size) * np.float32((window.high - window.low) / 2)
    inside, part = box.overlap(image.shape)
    view = image[inside]
    view[...] = np.where(scaled[part] == 0, view, view + scaled[part])


def _set_region(region: np.ndarray, mask: np.ndarray, box: CropBox) -> None:
    inside, part = box.overlap(region.shape)
    region[inside] |= resized(mask.astype(np.float32), box.size)[part] >= 0.5
