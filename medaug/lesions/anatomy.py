"""What of a patient an image shows, where nobody drew it: the foreground, the body, and where a lesion may lie.

The foreground is all that stands out of the background. The body is head or trunk with skin, skull, lungs and bowel,
arms beside it, but not the couch: what stands out is thick in the body and thin in couches (hollow as they may be),
tubes and blankets. A lesion may lie in the brain where the image shows a skull, else in the body; a skull-stripped
brain keeps its whole body, and an abdomen may be bounded by its wall.

A slice alone misleads below the brain, where a face lies behind dark sinuses, and over it, where scalp lies on bone. In
a volume the brain is followed from its clearest slice up and down: what belongs to it is as bright as the brain was
there one slice before, lies where that lay, and holds together. Orbits are too bright or too dark for that, muscles
and mucosa too thin. All is measured in mm in the plane; slices (axis 2) are neighbours, however far the header says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from medaug.lesions.geometry import box_around_mask, components, grow, labelled_parts, largest_component
from medaug.volumes import Window

THIN_MM = 4.0
"""Half the thickness of what is no body by itself."""
GAPS_MM = 6.0
"""Half the width of gaps that belong to the body (air under the skin, a collar of artefacts)."""
PART_LEAST = 0.03
"""Parts with less than this share of what is thick in the largest part are no arms or legs."""
THICK_LEAST = 0.2
"""Lungs and bowel leave more than this share of a trunk's voxels thick, the shell of a couch nothing."""
CT_WINDOW = Window(-600.0, 200.0, "HU")
"""Fat is far above its lower end, couch foam and blankets are below it."""
FALLBACKS = (1.0, 0.5, 0.25, 0.0)
"""Fractions of the organ's margin that are tried until something is left."""
DEEP_MM = 25.0
"""What lies deeper under the surface is inside the skull, whatever the scalp's thickness."""
SKULL_DEPTH_MM = 7.0
"""At least so much scalp and bone lie outside the line, along three quarters of it."""
SKULL_DARKEST, SCALP_BRIGHTEST = 0.6, 0.85
"""The line is at most, and the brighter part of what lies outside at least, this much as bright as the brain."""
BRAIN_LEAST = 0.3
"""The least fraction of the head's area."""
HALF_BONE_MM = 3.0
"""The line runs through the middle of the bone; the brain ends this much before it."""
SPIKES_MM = 5.0
"""Parts of the found brain thinner than twice this (orbits, vessels, leaks through the bone) are dropped, and nothing
so thin (nerves, muscles) leads from slice to slice."""
COARSE_MM = 2.0
"""Brains of volumes are looked for in voxels of at most this size, joined from finer ones."""
SKULL_SLICES = 0.45
"""The least share of a volume's slices that show a skull, or the wall of an abdomen; fewer do by chance."""
BRIGHTNESS = (0.65, 1.6)
"""Grey and white matter are so much darker or brighter than the brain around them in any sequence; fat is not."""
BRAIN_ALIKE = 0.76
"""So much of a brain's clearest slice is in that range: more than of any abdomen (0.73 at most)."""
AROUND_MM = 12.0
"""How far around a place (a standard deviation) brain tells its brightness: over folds, within a coil's falling off."""
EXPECTED = (0.5, 2.0)
"""Large tumors count in that brightness, but within these multiples of the clearest slice's."""
STEP_MM, FAR_MM = 4.0, 10.0
"""What leads to the next slice lies at most so far from the brain before; what lies farther than that is outside."""
SURE_MM = 2.5
"""Brain-like tissue is surely inside this deep under its edge."""
SKULL_KEPT = 0.8
"""Scalp and bone are nowhere thinner than this fraction of their thickness in the clearest slice."""
LAST_SLICE = 0.08
"""The brain ends where less than this fraction of its clearest slice's area is left."""


def body_of(scan: np.ndarray, window: Window, spacing_mm: Sequence[float]) -> np.ndarray:
    """The body in a scan (X, Y[, Z]), holes filled slice by slice; everything where nothing stands out.

    Large parts with enough that is thick are kept, and close to them all that is thin comes back (ears, skin folds).

    Args:
        scan: in the window's unit; a CT in HU is looked at in a window made for it.

    Returns:
        bool, the scan's shape; never empty.
    """
    image = (CT_WINDOW if window.unit == "HU" else window).normalize(scan)
    volume = np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1)
    in_plane = tuple(spacing_mm[:2])

    def completed(part: np.ndarray, solid: np.ndarray) -> np.ndarray:
        """A slice of the kept parts with its gaps closed, its holes filled, and the thin parts on its surface."""
        closed = grow(grow(part, GAPS_MM, in_plane), -GAPS_MM, in_plane)
        return ndimage.binary_fill_holes(closed | (grow(part, THIN_MM, in_plane) & solid))

    opened = partial(_opened, radius_mm=THIN_MM, spacing_mm=in_plane)
    solid = find_foreground(volume)
    thick = by_plane(opened, volume > _background_threshold(volume))
    numbers, sizes = labelled_parts(by_plane(opened, solid))
    amounts = np.bincount(numbers.reshape(-1), weights=thick.reshape(-1))
    kept = (amounts > THICK_LEAST * sizes) & (amounts >= PART_LEAST * amounts[1:].max(initial=0))
    kept[0] = False
    parts = kept[numbers]
    if not parts.any():
        return solid.reshape(image.shape)
    return by_plane(completed, parts, solid).reshape(image.shape)


def find_foreground(image: np.ndarray) -> np.ndarray:
    """All that stands out from the background of an image (X, Y[, Z]), with its holes; everything where nothing does.

    Returns:
        bool, the image's shape; never empty.
    """

    def filled(plane: np.ndarray) -> np.ndarray:
        """Gaps closed, holes filled, specks removed."""
        closed = ndimage.binary_closing(np.pad(plane, 3), iterations=2)
        return ndimage.binary_opening(ndimage.binary_fill_holes(closed)[3:-3, 3:-3])

    volume = np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1)
    bright = volume > _background_threshold(volume)
    if not bright.any():
        return np.ones(image.shape, dtype=bool)
    foreground, near = np.zeros_like(bright), box_around_mask(bright)
    foreground[near] = by_plane(filled, bright[near])
    return (foreground if foreground.any() else bright).reshape(image.shape)


def find_organ(image: np.ndarray, spacing_mm: Sequence[float], *, margin_mm: float) -> np.ndarray:
    """Head, body or brain in an image (X, Y[, Z]) in [-1, 1], deeper than `margin_mm` (in-plane) under the surface.

    Inside a skull the organ is the brain as far as it lies that deep; in a volume slices above and below the brain have
    none. A margin that leaves nothing is halved.

    Returns:
        bool, the image's shape; never empty.
    """

    def depth(foreground: np.ndarray) -> np.ndarray:
        """Distance in mm to the nearest voxel outside; the image's edge is no surface."""
        if foreground.all() or not foreground.any():
            return np.where(foreground, np.inf, 0.0)
        near, depth_mm = box_around_mask(foreground, 1), np.zeros(foreground.shape)
        depth_mm[near] = ndimage.distance_transform_edt(foreground[near], sampling=in_plane)
        return depth_mm

    volume = np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1)
    in_plane = tuple(spacing_mm[:2])
    foreground = largest_component(find_foreground(volume))
    depth_mm = by_plane(depth, foreground)
    joined = [max(1, int(COARSE_MM / s)) if image.ndim == 3 else 1 for s in (*spacing_mm, 1.0)[:3]]
    coarse_mm = tuple(s * n for s, n in zip(in_plane, joined, strict=False))
    brain = _brains(_coarser(volume, joined), _coarser(depth_mm, joined), coarse_mm)
    allowed = foreground
    if brain is not None:
        fine = brain.repeat(joined[0], 0).repeat(joined[1], 1).repeat(joined[2], 2)
        allowed = foreground & fine[tuple(map(slice, volume.shape))]
    for fraction in FALLBACKS:
        organ = allowed & (depth_mm > margin_mm * fraction)
        if organ.any():
            return organ.reshape(image.shape)
    return foreground.reshape(image.shape)


def by_plane(function: Callable[..., np.ndarray], *volumes: np.ndarray) -> np.ndarray:
    """What a function makes of the slices of volumes (X, Y, Z), joined again."""
    return np.stack([function(*(v[..., z] for v in volumes)) for z in range(volumes[0].shape[-1])], axis=-1)


def _background_threshold(volume: np.ndarray) -> float:
    """A level between background and tissue: well below Otsu's, which splits dark from bright tissue.

    Where most of what Otsu calls dark is tissue (muscle below bright fat, in a scan cropped around a limb), background
    is the darker part of that, split off once more.
    """
    if volume.min() == volume.max():
        return float(volume.min())
    high = float(threshold_otsu(volume.reshape(-1)))
    dark = volume[volume <= high]
    low, darkest = float(np.median(dark)), float(np.percentile(dark, 1))
    if low - darkest > 0.35 * (high - darkest):
        high = float(threshold_otsu(dark))
        low = float(np.median(dark[dark <= high]))
    return low + 0.35 * (high - low)


def _coarser(volume: np.ndarray, joined: Sequence[int]) -> np.ndarray:
    """The means of blocks of so many voxels an axis; the last blocks repeat the volume's edge."""
    padded = np.pad(volume, [(0, -n % count) for n, count in zip(volume.shape, joined, strict=True)], mode="edge")
    blocks = [size for n, count in zip(padded.shape, joined, strict=True) for size in (n // count, count)]
    return padded.reshape(blocks).mean(axis=(1, 3, 5))


def _brains(volume: np.ndarray, depth_mm: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray | None:
    """What skulls or, by the nearest slice, walls enclose in a volume of one slice or more; None where few show any."""
    slices = [_brain(volume[..., z], depth_mm[..., z], spacing_mm) for z in range(volume.shape[-1])]
    found = np.array([z for z, brain in enumerate(slices) if brain is not None])
    if found.size < SKULL_SLICES * (depth_mm > 0).any(axis=(0, 1)).sum():
        return None
    brain = _followed(volume, depth_mm, {z: slices[z] for z in found}, spacing_mm) if len(slices) > 1 else None
    if brain is not None:
        return brain
    return np.stack([slices[found[np.abs(found - z).argmin()]] for z in range(len(slices))], axis=-1)


def _followed(
    volume: np.ndarray, depth_mm: np.ndarray, slices: dict[int, np.ndarray], spacing_mm: tuple[float, ...]
) -> np.ndarray | None:
    """The brain of a head from what skulls seem to enclose, by slice; None where no slice is as uniform as a brain."""
    tissue = volume - np.float32(np.median(volume[depth_mm <= 0]))
    clearest, most, level = -1, 0, 0.0
    for z, brain in slices.items():
        typical = float(np.median(tissue[..., z][brain]))
        alike = brain & _alike(tissue[..., z], typical)
        together = 2 * int(_opened(alike, SPIKES_MM, spacing_mm).sum()) - int(brain.sum())  # a face falls apart
        if together > most and alike.sum() >= BRAIN_ALIKE * brain.sum():
            clearest, most, level = z, together, typical
    if clearest < 0:
        return None
    first = slices[clearest]
    skull_mm = SKULL_KEPT * float(np.percentile(depth_mm[..., clearest][first & ~ndimage.binary_erosion(first)], 25))
    found = np.zeros(volume.shape, dtype=bool)
    found[..., clearest] = first
    for step in (1, -1):
        z = clearest + step
        while 0 <= z < volume.shape[-1]:
            before = tissue[..., z - step], found[..., z - step]
            piece = _next_slice(tissue[..., z], depth_mm[..., z], *before, level, skull_mm, spacing_mm)
            if piece.sum() < LAST_SLICE * first.sum():
                break
            found[..., z], z = piece, z + step
    return found


def _next_slice(
    tissue: np.ndarray,
    depth_mm: np.ndarray,
    tissue_before: np.ndarray,
    brain_before: np.ndarray,
    level: float,
    skull_mm: float,
    spacing_mm: tuple[float, ...],
) -> np.ndarray:
    """The brain in a slice, from the brain in the slice beside it; brightness is above the background."""
    # how bright the brain is around each place: a mean over the brain of the slice before, weighted by distance
    sigmas = [AROUND_MM / s for s in spacing_mm]
    weight = ndimage.gaussian_filter(brain_before.astype(np.float32), sigmas)
    around = ndimage.gaussian_filter(np.where(brain_before, tissue_before, np.float32(0)), sigmas)
    expected = np.where(weight > 0.01, around / np.maximum(weight, np.float32(0.01)), level)
    expected = np.clip(expected, EXPECTED[0] * level, EXPECTED[1] * level)
    away_mm = ndimage.distance_transform_edt(~brain_before, sampling=spacing_mm)
    near = away_mm <= max(STEP_MM, 1.01 * max(spacing_mm))
    likely = _opened(_alike(tissue, expected) & (depth_mm > 0) & near, SPIKES_MM, spacing_mm)
    likely = ndimage.binary_fill_holes(_parts_in(likely, brain_before, 0.5))
    # as in one slice, the border is the dark line that floods from inside and from outside meet on
    sure = grow(likely, -SURE_MM, spacing_mm)
    outside = (depth_mm <= max(2.0, 1.5 * max(spacing_mm), skull_mm)) | (away_mm > FAR_MM)
    inside = _flooded(tissue, sure if sure.any() else likely, outside)
    brain = grow(grow(inside, -HALF_BONE_MM - SPIKES_MM, spacing_mm), SPIKES_MM, spacing_mm)
    return ndimage.binary_fill_holes(_parts_in(brain, likely, 0.3)) & (depth_mm > 0)


def _alike(tissue: np.ndarray, expected: np.ndarray | float) -> np.ndarray:
    """What is about as bright as expected."""
    return (tissue > BRIGHTNESS[0] * expected) & (tissue < BRIGHTNESS[1] * expected)


def _opened(mask: np.ndarray, radius_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """A mask without what is thinner than twice the radius."""
    return grow(grow(mask, -radius_mm, spacing_mm), radius_mm, spacing_mm) & mask


def _parts_in(mask: np.ndarray, region: np.ndarray, share: float) -> np.ndarray:
    """The connected parts of a mask of which more than this share lies in a region."""
    numbers, sizes = labelled_parts(mask)
    kept = np.bincount(numbers[region], minlength=len(sizes)) > share * sizes
    kept[0] = False
    return kept[numbers]


def _flooded(image: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """All that a watershed reaches from inside before it does from outside, bright before dark."""
    return watershed(-ndimage.gaussian_filter(image, 0.5), np.where(inside, 2, np.where(outside, 1, 0))) == 2


def _brain(image: np.ndarray, depth_mm: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray | None:
    """What the skull encloses in one slice; None where there is no skull to see.

    The skull is a dark line between two bright regions: a watershed (Meyer and Beucher 1990) from the depth of the head
    and from its rim meets on it. It is a skull only if it is dark, lies deep enough, and has bright scalp outside.
    """
    body = depth_mm > 0
    if not body.any() or body.all():
        return None
    deep = depth_mm > min(DEEP_MM, 0.5 * depth_mm.max())
    rim = depth_mm <= max(2.0, 1.5 * max(spacing_mm))
    inside = _flooded(image, deep, rim)
    edge, outside = inside & ndimage.binary_dilation(~inside), body & ~inside
    if not edge.any() or not outside.any() or inside.sum() < BRAIN_LEAST * body.sum():
        return None
    background = float(np.median(image[~body]))
    brain = float(np.median(image[deep])) - background
    line = float(np.median(ndimage.grey_erosion(image, size=(3, 3))[edge])) - background
    scalp = float(np.percentile(image[outside], 75)) - background
    dark_between_bright = brain > 0 and line <= SKULL_DARKEST * brain and scalp >= SCALP_BRIGHTEST * brain
    if not dark_between_bright or float(np.percentile(depth_mm[edge], 25)) < SKULL_DEPTH_MM:
        return None
    parts = components(grow(grow(inside, -HALF_BONE_MM - SPIKES_MM, spacing_mm), SPIKES_MM, spacing_mm))
    return ndimage.binary_fill_holes(parts[0]) & body if parts else None
