"""Editing one lesion in a scan: cut the crop, bring it to the weights' grid, translate it, put the result back.

Crops are cut in mm, axis by axis. What is put back has two edges, on the scan's own grid. An insertion ends at the
label's edge and blends inward: the label is where the tumor is seen. A removal replaces the whole mask and reaches
`REACH_VOXELS` of the weights' voxels (in mm) beyond it, for the tumor's blurred edge. A scan finer than the weights'
grid keeps its own detail, up to what is noise there. Background keeps its bits, and nothing that is written leaves the
range of the scan's own values. Arrays are float32 (X, Y[, Z]) in the scan's own unit.

2-D weights edit a volume slice by slice, with the same noise in every slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medaug.lesions.anatomy import find_foreground
from medaug.lesions.crops import CropBox, box_in_mm, extract, resized, resized_mask
from medaug.lesions.drawing import widened
from medaug.lesions.geometry import component_boxes
from medaug.lesions.prior import Lesion
from medaug.lesions.reference import match_surroundings
from medaug.models.base import Direction
from medaug.models.insertion.compositing import composite, insertion_weight, removal_weight
from medaug.models.weights import Weights
from medaug.volumes import Window, measured_in

MARGIN = 1.6
"""A crop is at least this many times as wide as the region to remove."""
INSIDE = 0.95
"""A slice of a lesion is left out if less of it lies in the organ."""
REACH_VOXELS = 3.0
"""A removal changes nothing so far from its mask, in voxels of the weights' grid, or farther."""
NOISE = 2.0
"""Detail that the weights' grid cannot hold is kept up to so many standard deviations of what there is around."""
NORMAL_QUARTER = 0.3186
"""A quarter of normal noise is smaller than this part of its standard deviation; the largest are edges, not noise."""
PLATEAU = 0.01
"""A lowest value that so many of a scan's voxels have is padding."""
LEAST_SHARE = 1e-3

Limits = tuple[float, float]


@dataclass(frozen=True)
class Edit:
    """The edited scan and where it was edited (bool): what an insertion labels, what a removal emptied."""

    image: np.ndarray
    mask: np.ndarray


def insert_lesion(
    image: np.ndarray,
    lesion: Lesion,
    window: Window,
    weights: Weights,
    *,
    seed: int,
    style: Sequence[float] | None = None,
    null: bool = False,
    region: np.ndarray | None = None,
    limits: Limits | None = None,
) -> Edit:
    """Puts `lesion` where its box is, in an image of the weights' dimensions.

    Args:
        seed: of the translator's noise.
        null: paste nothing: the translator gets the crop as it is, and the mask.
        region: (*S) bool, the lesion's exact voxels; None takes the lesion's own mask to the image's grid.
        limits: of the values that may be written; None are the image's own.
    """
    crop, start, target = _place(image, lesion, window)
    if weights.uses_references and not null:
        start = weights.translator.paste(start, _texture(lesion, crop), target)
    edited = _translate(weights, start, "a2b", target, seed, style)
    return _inserted(image, lesion, crop, edited, window, region, limits)


def paste_lesion(image: np.ndarray, lesion: Lesion, window: Window) -> Edit:
    """Puts the reference of `lesion` where its box is, matched to its surroundings and soft-edged, and no more.

    `window` is of the whole scan, which may be brighter than this image.
    """
    crop, start, target = _place(image, lesion, window)
    pasted = composite(start, _texture(lesion, crop), insertion_weight(target))[0, 0].numpy()
    return _inserted(image, lesion, crop, pasted, window, None, limits_of(image, window))


def insert_stack(
    image: np.ndarray,
    stack: Iterable[tuple[int, Lesion]],
    window: Window,
    weights: Weights,
    *,
    seed: int,
    style: Sequence[float] | None = None,
    null: bool = False,
    region: np.ndarray | None = None,
    limits: Limits | None = None,
) -> Edit:
    """Puts a 2-D lesion's cross-sections into the slices of a volume, with the same noise and style in each."""
    limits = limits or limits_of(image)
    image, mask = image.copy(), np.zeros(image.shape, dtype=bool)
    for z, section in stack:
        plane = None if region is None else region[..., z]
        edit = insert_lesion(
            image[..., z], section, window, weights, seed=seed, style=style, null=null, region=plane, limits=limits
        )
        image[..., z], mask[..., z] = edit.image, edit.mask
    return Edit(image, mask)


def with_room(
    stack: Iterable[tuple[int, Lesion]], level: int, organ: np.ndarray, occupied: np.ndarray
) -> list[tuple[int, Lesion]]:
    """The slices on either side of `level` as far as the lesion has room there: in the organ, clear of other tumors."""
    fitting = {}
    for z, section in stack:
        region, blocked = _on_grid(section, organ.shape[:-1]), widened(occupied[..., z])
        inside = (region & organ[..., z]).sum() >= INSIDE * region.sum()
        if z == level or (inside and region.any() and (blocked is None or not (region & blocked).any())):
            fitting[z] = section
    low = high = level
    while low - 1 in fitting:
        low -= 1
    while high + 1 in fitting:
        high += 1
    return [(z, fitting[z]) for z in range(low, high + 1)]


def remove_region(
    image: np.ndarray,
    mask: np.ndarray,
    window: Window,
    weights: Weights,
    *,
    spacing_mm: Sequence[float],
    seed: int,
    limits: Limits | None = None,
) -> Edit:
    """Replaces each connected part of `mask` by what the translator takes for healthy tissue."""
    limits = limits or limits_of(image)
    image, replaced = image.copy(), mask.copy()
    if weights.translator.spatial_dims < image.ndim:
        for z in np.flatnonzero(mask.any(axis=(0, 1))):
            edit = remove_region(
                image[..., z], mask[..., z], window, weights, spacing_mm=spacing_mm[:2], seed=seed, limits=limits
            )
            image[..., z], replaced[..., z] = edit.image, edit.mask
        return Edit(image, replaced)
    own_mm = weights.lesion_prior.spacing_mm
    for part in component_boxes(mask):
        crop, covered, box = lesion_crop(image, mask, window, weights, part, spacing_mm)
        target = torch.from_numpy(covered.astype(np.float32))[None, None]
        edited = _translate(weights, torch.from_numpy(crop)[None, None], "b2a", target, seed)
        marked = extract(mask, box, False)
        distance = ndimage.distance_transform_edt(~marked, sampling=np.divide(spacing_mm, own_mm))
        weight = removal_weight(target)[0, 0].numpy()
        soft = np.minimum(resized(weight, box.size), np.maximum(0, 1 - distance / REACH_VOXELS))
        soft = np.where(marked, 1.0, soft) * _editable(image, marked, box, window, limits, beyond=True)
        replaced &= ~_in_image(marked & (soft == 0), box, image.shape)
        if (marked & (soft > 0)).any():
            _put(image, crop, edited, weight, soft, box, window, limits)
    return Edit(image, replaced)


def lesion_crop(
    image: np.ndarray,
    mask: np.ndarray,
    window: Window,
    weights: Weights,
    part: tuple[slice, ...],
    spacing_mm: Sequence[float],
) -> tuple[np.ndarray, np.ndarray, CropBox]:
    """(crop in [-1, 1], every voxel that the mask touches) of the weights' crop size around `part`, and its box.

    A region too large for the crop is looked at more coarsely.
    """
    prior = weights.lesion_prior
    corner, extent = zip(*((axis.start, axis.stop - axis.start) for axis in part), strict=True)
    box = box_in_mm(corner, extent, prior.crop_size, prior.spacing_mm, spacing_mm, room=MARGIN)
    crop = resized(window.normalize(extract(image, box, window.low)), prior.crop_size)
    return crop, resized_mask(extract(mask, box, False), prior.crop_size, touched=True), box


def limits_of(image: np.ndarray, window: Window | None = None) -> Limits:
    """The least and largest value of a scan, padding apart.

    Args:
        window: of the whole scan that the image is a part of, where it is known: what it holds may be brighter.
    """
    measured = measured_in(image)
    low, high = float(measured.min()), float(measured.max())
    body = measured > low
    if np.count_nonzero(body) < (1 - PLATEAU) * measured.size and body.any():
        low = float(measured.min(where=body, initial=high))
    return low, high if window is None or window.unit == "HU" else max(high, window.high)


def _place(image: np.ndarray, lesion: Lesion, window: Window) -> tuple[np.ndarray, Tensor, Tensor]:
    """(the lesion's crop of the image in [-1, 1], the same and the lesion's mask as (1, 1, *S))."""
    crop = resized(window.normalize(extract(image, lesion.box, window.low)), lesion.mask.shape)
    return crop, torch.from_numpy(crop)[None, None], torch.from_numpy(lesion.mask.astype(np.float32))[None, None]


def _texture(lesion: Lesion, crop: np.ndarray) -> Tensor:
    return torch.from_numpy(match_surroundings(lesion, crop))[None, None]


def _inserted(
    image: np.ndarray,
    lesion: Lesion,
    crop: np.ndarray,
    edited: np.ndarray,
    window: Window,
    region: np.ndarray | None,
    limits: Limits | None,
) -> Edit:
    limits, box = limits or limits_of(image), lesion.box
    marked = resized_mask(lesion.mask, box.size) if region is None else extract(region, box, False)
    marked &= _editable(image, marked, box, window, limits)
    image = image.copy()
    weight, soft = (
        insertion_weight(torch.from_numpy(mask.astype(np.float32))[None, None])[0, 0].numpy()
        for mask in (lesion.mask, marked)
    )
    _put(image, crop, edited, weight, soft, box, window, limits)
    return Edit(image, _in_image(marked, box, image.shape))


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


def _put(
    image: np.ndarray,
    crop: np.ndarray,
    edited: np.ndarray,
    weight: np.ndarray,
    soft: np.ndarray,
    box: CropBox,
    window: Window,
    limits: Limits,
) -> None:
    """Puts an edited crop into the image, in place.

    Between the grids goes what the translator wants, free of the crop's own soft edge, `weight` (*crop): so nothing of
    the coarser grid's edge is seen on the finer. Where it wants no change the image keeps its bits.

    Args:
        crop, edited: (*crop) in [-1, 1].
        soft: (*box) how much of each voxel of the image is replaced, 0 to 1.
    """
    inside, part = box.overlap(image.shape)
    soft, scan = soft[part], image[inside]
    if not soft.any():
        return
    share = resized(weight, box.size)[part]
    known = share > LEAST_SHARE
    change = resized(edited - crop, box.size)[part] / np.where(known, share, 1)
    if (~known & (soft > 0)).any():  # parts of the lesion that are thinner than a voxel of the weights
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        change = change[tuple(nearest)]
    seen = resized(crop, box.size)[part]
    around = (soft == 0) & (scan > limits[0])
    detail = scan - window.denormalize(seen)
    noise = NOISE * float(np.percentile(np.abs(detail[around]), 25)) / NORMAL_QUARTER if around.any() else 0.0
    detail = np.clip(detail - detail[soft > 0].mean(), -noise, noise)
    target = np.clip(window.denormalize(seen + change) + detail, *limits)
    blended = np.clip(scan + soft * (target - scan), *limits)  # rounding apart, they are within the limits
    scan[...] = np.where((soft > 0) & (change != 0), blended, scan)


def _editable(
    image: np.ndarray, marked: np.ndarray, box: CropBox, window: Window, limits: Limits, *, beyond: bool = False
) -> np.ndarray:
    """Where an edit of the box's voxels `marked` may change the image (bool, on the box): never in the padding.

    Padding is what lies below the limits, but for holes that the body encloses in a slice.

    Args:
        beyond: also around what is marked, in the body.
    """
    inside, part = box.overlap(image.shape)
    planes, here = (image, inside) if image.ndim == 2 else (image[..., inside[2]], (*inside[:2], slice(None)))
    low, allowed = image[inside] < limits[0], np.zeros(box.size, dtype=bool)
    within = marked[part]
    if (within & low).any():
        in_plane = np.reshape(ndimage.generate_binary_structure(2, 1), (3, 3, 1)[: image.ndim])
        within = within & (~low | ndimage.binary_fill_holes(planes >= limits[0], in_plane)[here])
    if beyond:
        within = within | (find_foreground(window.normalize(planes))[here] & ~low & ~marked[part])
    allowed[part] = within
    return allowed


def _on_grid(lesion: Lesion, shape: tuple[int, ...]) -> np.ndarray:
    """The lesion's mask on the grid of an image of this shape."""
    return _in_image(resized_mask(lesion.mask, lesion.box.size), lesion.box, shape)


def _in_image(mask: np.ndarray, box: CropBox, shape: tuple[int, ...]) -> np.ndarray:
    region = np.zeros(shape, dtype=bool)
    inside, part = box.overlap(shape)
    region[inside] = mask[part]
    return region
