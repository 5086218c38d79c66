"""An image that the engine edits in place: which of its voxels may change, to which values, and how an edit is put in.

A scan finer than the weights' grid keeps its own detail, up to what is noise there. Padding keeps its bits, and nothing
that is written leaves the range of the scan's own values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medaug.lesions.anatomy import find_foreground
from medaug.lesions.geometry import CropBox, extract
from medaug.resampling import resized
from medaug.volumes import Window, measured_in

NOISE = 2.0
"""Detail that the weights' grid cannot hold is kept up to so many standard deviations of what there is around."""
NORMAL_QUARTER = 0.3186
"""A quarter of normal noise is smaller than this part of its standard deviation; the largest are edges, not noise."""
PLATEAU = 0.01
"""A lowest value that so many of a scan's voxels have is padding."""
LEAST_SHARE = 1e-3

Limits = tuple[float, float]
"""The least and the largest value that may be written to a channel."""


@dataclass(frozen=True)
class Canvas:
    """An image (C, *S) that is edited in place, and what bounds that: the windows and limits of its channels."""

    image: np.ndarray
    windows: Sequence[Window]
    limits: Sequence[Limits] = ()

    def crop(self, box: CropBox, size: Sequence[int]) -> np.ndarray:
        """What is in the box, on a grid of this size: (C, *size) in [-1, 1], float32."""
        seen = [
            resized(window.normalize(extract(channel, box, window.low)), size)
            for window, channel in zip(self.windows, self.image, strict=True)
        ]
        return np.stack(seen).astype(np.float32)

    def editable(self, marked: np.ndarray, box: CropBox, *, beyond: bool = False) -> np.ndarray:
        """Tells where an edit of the voxels `marked` may change each channel (bool, (C, *box)): never in its padding.

        Padding is what lies below the channel's limits, but for holes that the body encloses in a slice: a sequence
        that covers less of the head than the others keeps its empty slices.

        Args:
            beyond: also around what is marked, in the body.
        """
        shape = self.image.shape[1:]
        inside, part = box.overlap(shape)
        planes, here = ((...,), inside) if len(shape) == 2 else ((..., inside[2]), (*inside[:2], slice(None)))
        allowed = np.zeros((len(self.image), *box.size), dtype=bool)
        in_plane = np.reshape(ndimage.generate_binary_structure(2, 1), (3, 3, 1)[: len(shape)])
        for number, (window, (floor, _)) in enumerate(zip(self.windows, self.limits, strict=True)):
            channel = self.image[number][planes]
            body, within = channel >= floor, marked[part]
            if (within & ~body[here]).any():
                within = within & (body | ndimage.binary_fill_holes(body, in_plane))[here]
            if beyond:
                within = within | (find_foreground(window.normalize(channel))[here] & body[here] & ~marked[part])
            allowed[number][part] = within
        return allowed

    def put(self, crop: np.ndarray, edited: np.ndarray, weight: np.ndarray, soft: np.ndarray, box: CropBox) -> None:
        """Puts an edited crop into the image.

        Between the grids goes what the translator wants, free of the crop's own soft edge, `weight` (*crop): so nothing
        of the coarser grid's edge is seen on the finer. Where it wants no change the image keeps its bits.

        Args:
            crop, edited: (C, *crop) in [-1, 1].
            soft: (C, *box) how much of each voxel of the image is replaced, 0 to 1.
        """
        inside, part = box.overlap(self.image.shape[1:])
        softs = soft[:, *part]
        share = resized(weight, box.size)[part]
        known, nearest = share > LEAST_SHARE, None
        if (~known & (softs > 0).any(axis=0)).any():  # parts of the lesion that are thinner than a voxel of the weights
            nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        for channel, (window, limits, soft) in enumerate(zip(self.windows, self.limits, softs, strict=True)):
            if not soft.any():
                continue
            scan = self.image[channel][inside]
            change = resized(edited[channel] - crop[channel], box.size)[part] / np.where(known, share, 1)
            if nearest is not None:
                change = change[tuple(nearest)]
            seen = resized(crop[channel], box.size)[part]
            around = (soft == 0) & (scan > limits[0])
            detail = scan - window.denormalize(seen)
            noise = NOISE * float(np.percentile(np.abs(detail[around]), 25)) / NORMAL_QUARTER if around.any() else 0.0
            detail = np.clip(detail - detail[soft > 0].mean(), -noise, noise)
            target = np.clip(window.denormalize(seen + change) + detail, *limits)
            blended = np.clip(scan + soft * (target - scan), *limits)  # rounding apart, they are within the limits
            scan[...] = np.where((soft > 0) & (change != 0), blended, scan)


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
