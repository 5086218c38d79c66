"""Reference lesions bent, blobs in their place, and both in new surroundings: matched, fitted to a mask, stacked.

Deformations can be replayed. Training samples and transforms read this, so both start from the same composite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from medaug.errors import DataError
from medaug.lesions.geometry import (
    bounding_box,
    box_around_mask,
    box_in_mm,
    equivalent_diameter_mm,
    extract,
    from_nearest,
    largest_component,
    voxels_of_diameter,
)
from medaug.lesions.prior import AIR, RING_VOXELS, Lesion, LesionPrior, surroundings_of
from medaug.resampling import resized, resized_mask

COARSE = 4
"""Control points an axis of the smooth deformation."""
GAIN = (0.5, 2.0)
CONTRAST_LEAST = 0.05
"""A texture that stands out less is not scaled."""
LIKE_SIZE = 10
ROOM = 1.4
"""A crop is at least so many times as wide as the mask in it."""
SECTION_LEAST = 0.25
"""Cross-sections smaller than this part of the widest are left out."""


@dataclass(frozen=True)
class Warp:
    """An affine map plus a smooth displacement, in units of the crop's half width.

    Attributes:
        matrix: (d, d), output to input.
        displacement: (d, COARSE, ...), control points.
    """

    matrix: np.ndarray
    displacement: np.ndarray

    def enlarged(self, factor: float) -> Warp:
        """The same warp, its result `factor` times as large."""
        return Warp(self.matrix / factor, self.displacement)


def draw_warp(
    rng: np.random.RandomState,
    spatial_dims: int,
    *,
    scale: float = 1.0,
    rotation_deg: float = 40.0,
    anisotropy: float = 0.15,
    bend: float = 0.08,
) -> Warp:
    """A random warp that enlarges by about `scale`: rotation in-plane, flips, anisotropy, smooth bending."""
    angle = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg))
    turn = np.eye(spatial_dims)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    stretch = np.exp(rng.uniform(-anisotropy, anisotropy, spatial_dims))
    stretch *= scale / np.prod(stretch) ** (1 / spatial_dims)
    flips = np.where(rng.random_sample(spatial_dims) < 0.5, -1.0, 1.0)
    displacement = rng.normal(0.0, bend, (spatial_dims, *([COARSE] * spatial_dims)))
    return Warp(turn @ np.diag(flips / stretch), displacement)


def warp_points(warp: Warp, size: tuple[int, ...], box: tuple[slice, ...] | None = None) -> Tensor:
    """The places that a warped crop's voxels come from: (*S, d) in [-1, 1], last axis in torch's order (Z, Y, X).

    Args:
        size: of the crop.
        box: of the voxels that are asked for; None: all.
    """
    grid, weights = _grid(size)
    box = (slice(None),) * len(size) if box is None else box
    matrix = torch.from_numpy(warp.matrix[::-1].astype(np.float32))
    points = torch.from_numpy(warp.displacement[::-1].astype(np.float32))
    if len(size) == 3:  # what is interpolated linearly holds the affine map, too
        corners = torch.meshgrid(*[torch.linspace(-1, 1, COARSE)] * 3, indexing="ij")
        points = points + torch.tensordot(matrix, torch.stack(corners), dims=1)
    for weight, part in zip(weights, box, strict=True):  # each consumes the first control axis, appends a voxel axis
        points = torch.tensordot(points, weight[part], dims=([1], [1]))  # (d, COARSE.., *S)
    if len(size) == 2:
        grid = grid[:, *box]
        points = (matrix @ grid.flatten(1)).view_as(grid) + points
    return points.movedim(0, -1)


def reach_of(warp: Warp, mask: np.ndarray) -> tuple[slice, ...]:
    """A box of the warped crop outside of which nothing can come from a mask (*S, bool, not empty).

    A voxel x comes from Mx + bend(x), so what comes from the mask's box lies in M⁻¹(box - bend); the bend is at most
    what its control points are, and half of it more where splines overshoot them.
    """
    low, extent = bounding_box(mask)
    half_width = (np.array(mask.shape) - 1) / 2
    middle = (low + (extent - 1) / 2) / half_width - 1
    bend = np.abs(warp.displacement).reshape(mask.ndim, -1).max(axis=1) * (2.0 if mask.ndim == 2 else 1.0)
    half = (extent + 1) / 2 / half_width + bend
    inverse = np.linalg.inv(warp.matrix)
    center, reach = (inverse @ middle + 1) * half_width, np.abs(inverse) @ half * half_width
    first = np.clip(np.floor(center - reach), 0, np.array(mask.shape) - 1).astype(int)
    last = np.clip(np.ceil(center + reach), 0, np.array(mask.shape) - 1).astype(int)
    return tuple(slice(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True))


def comes_from(points: Tensor, mask: np.ndarray) -> np.ndarray:
    """Which of a warp's points (*S, d) come from the box of a mask (bool, not empty) or the voxels beside it: bool."""
    low, extent = bounding_box(mask)
    inside = np.ones(points.shape[:-1], dtype=bool)
    for axis, (first, count, length) in enumerate(zip(low[::-1], extent[::-1], mask.shape[::-1], strict=True)):
        place = points[..., axis].numpy()
        inside &= (place >= 2 * (first - 1) / (length - 1) - 1) & (place <= 2 * (first + count) / (length - 1) - 1)
    return inside


def listed(points: Tensor, numbers: np.ndarray) -> Tensor:
    """Those of a warp's points (*S, d) that have these flat numbers: (N, d)."""
    return points.movedim(-1, 0).reshape(points.shape[-1], -1)[:, torch.from_numpy(numbers)].T


def sampled(crops: Sequence[np.ndarray] | np.ndarray, points: Tensor) -> np.ndarray:
    """Crops (K, *S) at these points, (*T, d), or (N, d) of a list: linear, borders repeated; (K, *T), float32."""
    x, dims = torch.from_numpy(np.require(crops, np.float32, ["C", "W"]))[None], points.shape[-1]
    shape = points.shape[:-1] if points.ndim > 2 else (*[1] * (dims - 1), len(points))
    found = functional.grid_sample(x, points.reshape(1, *shape, dims), padding_mode="border", align_corners=True)
    return found[0].reshape(len(x[0]), *points.shape[:-1]).numpy()


def procedural_blob(
    rng: np.random.RandomState, diameter_mm: float, spacing_mm: Sequence[float], size: Sequence[int], *, margin: int = 1
) -> np.ndarray:
    """An irregular, connected mask of about this equivalent diameter: a noise field on an ellipsoid, cut at a level.

    Where that misses the diameter by 10 % or comes nearer to the edge than `margin` voxels, the plain ball.
    """
    squash = np.exp(rng.uniform(-0.25, 0.25, len(size)))
    sigma = [max(0.16 * diameter_mm / s, 0.7) for s in spacing_mm]
    noise = ndimage.gaussian_filter(rng.standard_normal(size), sigma)
    field = _radius_mm(size, spacing_mm, squash) / (diameter_mm / 2) + 0.35 * noise / max(float(noise.std()), 1e-9)
    wanted = voxels_of_diameter(diameter_mm, spacing_mm)
    mask = largest_component(_lowest(field, wanted))
    box = box_around_mask(mask)
    mask[box] = ndimage.binary_fill_holes(mask[box])
    off = abs(equivalent_diameter_mm(mask, spacing_mm) / diameter_mm - 1)
    return mask if off <= 0.1 and clear_of_edge(mask, margin) else _lowest(_radius_mm(size, spacing_mm), wanted)


def clear_of_edge(mask: np.ndarray, margin: int) -> bool:
    """Tells whether no voxel of the (non-empty) mask lies in the array's outermost `margin` voxels."""
    low, extent = bounding_box(mask)
    return bool((low >= margin).all() and (low + extent <= np.array(mask.shape) - margin).all())


def stretched(image: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The image inside `source`, scaled so that its bounding box covers `target`'s, and continued beyond its edge.

    Args:
        image: (C, *S).
        source, target: (*S) bool.
    """
    (_, extent_s), (low_t, extent_t) = bounding_box(source), bounding_box(target)
    box = box_around_mask(source)
    nearest = ndimage.distance_transform_edt(~source[box], return_distances=False, return_indices=True)
    textures = []
    for channel in image:
        texture = channel[box][tuple(nearest)].astype(np.float32)
        for low, have, want, length in zip(low_t, extent_s, extent_t, target.shape, strict=True):
            place = (have - 1) / 2 + (np.arange(length) - low - (want - 1) / 2) * have / want
            place = place.clip(0, have - 1)  # the box's edge is repeated
            linear = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(have)))
            texture = np.tensordot(texture, linear.astype(np.float32), ([0], [1]))  # the first axis becomes the last
        textures.append(texture)
    return np.stack(textures)


def laid_out(parts: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A lesion's parts (*S, part numbers), scaled onto another mask (bool, *S) of which each voxel gets one: uint8."""
    if parts.max() == 1:
        return target.astype(np.uint8)
    return numbered(stretched(shares_of(parts, int(parts.max())), parts > 0, target), target)


def shares_of(parts: np.ndarray, count: int) -> np.ndarray:
    """How much of each voxel is of which part, (count, *S) float32: 0 or 1, of part numbers 1 to `count` (*S)."""
    return (parts == np.arange(1, count + 1).reshape(-1, *[1] * parts.ndim)).astype(np.float32)


def numbered(shares: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The inverse of `shares_of` where they were resampled: in `mask` the part with the largest share, uint8."""
    return np.where(mask, shares.argmax(axis=0) + 1, 0).astype(np.uint8)


def parts_on(lesion: Lesion, size: Sequence[int], marked: np.ndarray) -> np.ndarray:
    """The lesion's parts on another grid over its crop: part numbers (uint8, *size) in exactly the voxels `marked`."""
    if lesion.parts.max() == 1:
        return marked.astype(np.uint8)
    shares = np.stack([resized(share, size) for share in shares_of(lesion.parts, int(lesion.parts.max()))])
    known = shares.sum(axis=0) > 0
    if (marked & ~known).any():  # what the lesion's own grid does not reach is of the nearest part
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        shares = shares[:, *nearest]
    return numbered(shares, marked)


def match_surroundings(lesion: Lesion, crop: np.ndarray) -> np.ndarray:
    """The lesion's texture, shifted so that it stands out from `crop` as it did from its own surroundings.

    The shift is the difference of the two rings' median brightness; a drawn contrast scales the texture about its ring.
    Where the lesion touched its own scan's background (the rim of a skull-stripped brain), `crop` is left as it is, and
    the lesion is continued up to its mask's edge. So it is far from the lesion, outside its mask's box and ring.

    Args:
        crop: the target crop (C, *S) in [-1, 1], on the lesion's grid.

    Returns:
        (C, *S) float32 in [-1, 1].
    """
    near = box_around_mask(lesion.mask, RING_VOXELS[1])
    mask, matched = lesion.mask[near], crop.astype(np.float32)
    ring = surroundings_of(mask, mask)
    for channel, target in enumerate(crop[:, *near]):
        tissue = ring & (target > AIR)
        here = float(np.median(target[tissue])) if tissue.any() else float(np.median(crop[channel]))
        there, own = lesion.surroundings[channel], lesion.reference_contrast[channel]
        gain = np.clip(lesion.contrast[channel] / own, *GAIN) if abs(own) > CONTRAST_LEAST else 1.0
        texture = lesion.texture[channel][near]
        background = ndimage.binary_dilation(texture <= AIR)  # with the voxels it was blended into
        missing, known = mask & background, mask & ~background
        if missing.any() and known.any():  # a voxel of the lesion that is background is taken from the nearest
            texture = from_nearest(texture, known, missing)
        shown = np.clip(here + (texture - there) * gain, -1.0, 1.0)
        matched[channel][near] = np.where(background & ~mask, target, shown)
    return matched


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
        mask: (*S) on the target's grid, not empty: bool, which gets the reference's parts, or part numbers of its own.
        reference: which one; None draws among the ten nearest in size.
    """
    given, mask = mask, mask > 0
    if not mask.any():
        raise DataError("the mask is empty; mark the voxels where the lesion shall be")
    prior.check_reference(reference)
    corner, extent = bounding_box(mask)
    box = box_in_mm(corner, extent, prior.crop_size, prior.spacing_mm, spacing_mm, room=ROOM)
    diameter_mm = equivalent_diameter_mm(mask, spacing_mm)
    if reference is None:
        order = np.argsort(np.abs(prior.diameters_mm - diameter_mm), kind="stable")
        reference = int(order[rng.randint(min(LIKE_SIZE, len(order)))])
    chosen = prior.references[reference]
    crop_mask = resized_mask(extract(mask, box, False), prior.crop_size, keep=True)
    texture = stretched(chosen.image, chosen.mask, crop_mask)
    parts = laid_out(chosen.parts, crop_mask)
    if given.dtype != bool and given.max() > 1:
        own = np.stack([resized(extract(s, box, 0), crop_mask.shape) for s in shares_of(given, int(given.max()))])
        parts = numbered(own, crop_mask)
    return prior.lesion(reference, parts, texture, box, diameter_mm, chosen.contrast)


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
            middle = (np.asarray(lesion.mask.shape) - 1) / 2
            mask = scaled(lesion.mask.astype(np.float32), scale, middle, fill=0.0) >= 0.5
            if mask.any():
                shares = shares_of(lesion.parts, int(lesion.parts.max()))
                parts = numbered(np.stack([scaled(share, scale, middle, fill=0.0) for share in shares]), mask)
                texture = np.stack([scaled(channel, scale, middle) for channel in lesion.texture])
                yield z, replace(lesion, parts=parts, texture=texture)


def scaled(array: np.ndarray, scale: float, center: np.ndarray, fill: float | None = None) -> np.ndarray:
    """A crop (*S) scaled about a voxel, linear; beyond its edge `fill`, or what lies at the edge."""
    options = {"mode": "nearest"} if fill is None else {"mode": "constant", "cval": fill}
    return ndimage.affine_transform(array, np.full(array.ndim, 1 / scale), center - center / scale, order=1, **options)


@lru_cache(maxsize=8)
def _grid(size: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """(points of the identity (d, *S) in array order, per axis the weights (n, COARSE) of the control points)."""
    axes = [torch.linspace(-1, 1, n) for n in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    units = torch.eye(COARSE)[None, :, :, None]  # (1, COARSE channels, COARSE points, 1)
    mode = "bicubic" if len(size) == 2 else "bilinear"
    return grid, [functional.interpolate(units, (n, 1), mode=mode, align_corners=True)[0, ..., 0].T for n in size]


def _radius_mm(size: Sequence[int], spacing_mm: Sequence[float], squash: np.ndarray | float = 1.0) -> np.ndarray:
    axes = [(np.arange(n) - n // 2) * s for n, s in zip(size, spacing_mm, strict=True)]
    axes = [axis / q for axis, q in zip(axes, np.broadcast_to(squash, len(axes)), strict=True)]
    return np.sqrt(sum(g**2 for g in np.meshgrid(*axes, indexing="ij", sparse=True)))


def _lowest(field: np.ndarray, count: int) -> np.ndarray:
    """A mask of the `count` lowest voxels; ties at the level stay out, but never all of them."""
    count = min(count, field.size - 1)
    level = np.partition(field.reshape(-1), count)[count]
    return field < level if field.min() < level else field <= level
