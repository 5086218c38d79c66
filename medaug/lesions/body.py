"""The whole body in an image: head or trunk with skin, skull, lungs and bowel, arms beside it, but not the couch.

What stands out of the background is thick in the body and thin in couches (hollow as they may be), tubes and blankets:
large parts with enough that is thick are kept, and close to them everything thin comes back (ears, skin folds).
Everything is in-plane and in mm; axis 2 of a volume only joins slices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from medaug.lesions.geometry import grow
from medaug.volumes import Window

THIN_MM = 4.0
"""Half the thickness of what is no body by itself."""
GAPS_MM = 6.0
"""Half the width of gaps that belong to the body (air under the skin, a collar of artefacts)."""
PART_LEAST = 0.03
"""Of what is thick in the largest part: parts with less are no arms or legs."""
THICK_LEAST = 0.2
"""Of a part's voxels; lungs and bowel leave more than that of a trunk, the shell of a couch nothing."""
CT_WINDOW = Window(-600.0, 200.0, "HU")
"""Fat is far above its lower end, couch foam and blankets are below it."""


def body_of(scan: np.ndarray, window: Window, spacing_mm: Sequence[float]) -> np.ndarray:
    """`find_body` of a scan (X, Y[, Z]) in its own unit; a CT in HU is looked at in a window made for it."""
    return find_body((CT_WINDOW if window.unit == "HU" else window).normalize(scan), spacing_mm)


def find_body(image: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The body in an image (X, Y[, Z]) in [-1, 1], holes filled slice by slice; everything where nothing stands out.

    Returns:
        bool, the image's shape; never empty.
    """
    volume = np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1)
    in_plane = tuple(spacing_mm[:2])
    bright = volume > _background_threshold(volume)
    solid = find_foreground(volume)
    thick, core = (by_plane(lambda plane: _opened(plane, in_plane), mask) for mask in (bright, solid))
    parts = _large_parts(core, thick)
    if not parts.any():
        return solid.reshape(image.shape)
    levels = range(volume.shape[-1])
    body = np.stack([_completed(parts[..., z], solid[..., z], in_plane) for z in levels], axis=-1)
    return body.reshape(image.shape)


def find_foreground(image: np.ndarray) -> np.ndarray:
    """All that stands out from the background of an image (X, Y[, Z]), with its holes; everything where nothing does.

    Returns:
        bool, the image's shape; never empty.
    """
    volume = np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1)
    bright = volume > _background_threshold(volume)
    for body in (by_plane(_filled, bright), bright):
        if body.any():
            return body.reshape(image.shape)
    return np.ones(image.shape, dtype=bool)


def by_plane(function: Callable[[np.ndarray], np.ndarray], volume: np.ndarray) -> np.ndarray:
    return np.stack([function(volume[..., z]) for z in range(volume.shape[-1])], axis=-1)


def _background_threshold(volume: np.ndarray) -> float:
    """Between background and tissue: well below Otsu's, which splits dark from bright tissue."""
    if volume.min() == volume.max():
        return float(volume.min())
    high = float(threshold_otsu(volume.reshape(-1)))
    low = float(np.median(volume[volume <= high]))
    return low + 0.35 * (high - low)


def _filled(plane: np.ndarray) -> np.ndarray:
    """Gaps closed, holes filled, specks removed."""
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(plane, 3), iterations=2))[3:-3, 3:-3]
    return ndimage.binary_opening(filled)


def _opened(plane: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return grow(grow(plane, -THIN_MM, spacing_mm), THIN_MM, spacing_mm) & plane


def _large_parts(mask: np.ndarray, thick: np.ndarray) -> np.ndarray:
    """The connected part (diagonals connect) with most that is thick, and those that have not much less."""
    labels, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(labels.reshape(-1))
    amounts = np.bincount(labels.reshape(-1), weights=thick.reshape(-1))
    kept = (amounts > THICK_LEAST * sizes) & (amounts >= PART_LEAST * amounts[1:].max(initial=0))
    kept[0] = False
    return kept[labels]


def _completed(part: np.ndarray, solid: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """A slice of the kept parts with its gaps closed, its holes filled, and the thin parts on its surface."""
    closed = grow(grow(part, GAPS_MM, spacing_mm), -GAPS_MM, spacing_mm)
    return ndimage.binary_fill_holes(closed | (grow(part, THIN_MM, spacing_mm) & solid))
