"""What of a patient an image shows, where nobody drew it: the foreground, the body, and where a lesion may lie.

The foreground is all that stands out of the background. The body is head or trunk with skin, skull, lungs and bowel,
arms beside it, but not the couch: what stands out is thick in the body and thin in couches (hollow as they may be),
tubes and blankets. A lesion may lie in the brain where the image shows a skull, else in the body; a skull-stripped
brain keeps its whole body, and an abdomen may be bounded by its wall. Everything is in-plane and in mm; axis 2 of a
volume only joins slices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from medaug.lesions.geometry import components, grow, labelled_parts
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
"""Parts of the found brain thinner than twice this (orbits, vessels, leaks through the bone) are dropped."""


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

    def opened(plane: np.ndarray) -> np.ndarray:
        return grow(grow(plane, -THIN_MM, in_plane), THIN_MM, in_plane) & plane

    def completed(part: np.ndarray, solid: np.ndarray) -> np.ndarray:
        """A slice of the kept parts with its gaps closed, its holes filled, and the thin parts on its surface."""
        closed = grow(grow(part, GAPS_MM, in_plane), -GAPS_MM, in_plane)
        return ndimage.binary_fill_holes(closed | (grow(part, THIN_MM, in_plane) & solid))

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
    for foreground in (by_plane(filled, bright), bright):
        if foreground.any():
            return foreground.reshape(image.shape)
    return np.ones(image.shape, dtype=bool)


def find_organ(image: np.ndarray, spacing_mm: Sequence[float], *, margin_mm: float) -> np.ndarray:
    """Head, body or brain in an image (X, Y[, Z]) in [-1, 1], deeper than `margin_mm` (in-plane) under the surface.

    Inside a skull the organ is the brain as far as it lies that deep. A margin that leaves nothing is halved.

    Returns:
        bool, the image's shape; never empty.
    """

    def depth(foreground: np.ndarray) -> np.ndarray:
        """Distance in mm to the nearest voxel outside; the image's edge is no surface."""
        if foreground.all():
            return np.full(foreground.shape, np.inf)
        return ndimage.distance_transform_edt(foreground, sampling=in_plane)

    volume = np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1)
    in_plane = tuple(spacing_mm[:2])
    foreground = components(find_foreground(volume))[0]
    depth_mm = by_plane(depth, foreground)
    brains = [_brain(volume[..., z], depth_mm[..., z], in_plane) for z in range(volume.shape[-1])]
    allowed, found = foreground, np.array([z for z, brain in enumerate(brains) if brain is not None])
    if found.size:  # a slice that shows no skull is bounded by the nearest that does
        nearest = [brains[found[np.abs(found - z).argmin()]] for z in range(len(brains))]
        allowed = foreground & np.stack(nearest, axis=-1)
    for fraction in FALLBACKS:
        organ = allowed & (depth_mm > margin_mm * fraction)
        if organ.any():
            return organ.reshape(image.shape)
    return foreground.reshape(image.shape)


def by_plane(function: Callable[..., np.ndarray], *volumes: np.ndarray) -> np.ndarray:
    """What a function makes of the slices of volumes (X, Y, Z), joined again."""
    return np.stack([function(*(v[..., z] for v in volumes)) for z in range(volumes[0].shape[-1])], axis=-1)


def _background_threshold(volume: np.ndarray) -> float:
    """A level between background and tissue: well below Otsu's, which splits dark from bright tissue."""
    if volume.min() == volume.max():
        return float(volume.min())
    high = float(threshold_otsu(volume.reshape(-1)))
    low = float(np.median(volume[volume <= high]))
    return low + 0.35 * (high - low)


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
    inside = watershed(-ndimage.gaussian_filter(image, 0.5), np.where(deep, 2, np.where(rim, 1, 0))) == 2
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
