"""The plain (unmasked) translators in use: the whole image is translated, and the label is where that changed it.

Volumes are looked at in windows or slices (see `windows`); the label is found in the joined result.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from medaug.models.base import Direction
from medaug.models.weights import Weights
from medaug.transforms.editing import Edit, Limits
from medaug.transforms.windows import change_of
from medaug.volumes import Window

LEAST_CHANGE = 0.15
"""In window units [-1, 1]: smaller changes are taken for style, not for a tumor."""
LEAST_VOXELS = 8
SMOOTHING_VOXELS = 1.0


@torch.inference_mode()
def translate_whole(
    image: np.ndarray, window: Window, weights: Weights, direction: Direction, limits: Limits, *, seed: int = 0
) -> Edit:
    """Translates an image (*S) in the scan's unit; the mask is where it changed clearly. `seed` is of the style.

    Padding, which lies below the limits, keeps its bits, and nothing is written that lies outside them.

    Raises:
        DataError: for a single slice where the weights read several.
    """
    before = torch.from_numpy(window.normalize(image).astype(np.float32))
    change = change_of(before, weights, direction, seed=seed).numpy()
    change[image < limits[0]] = 0
    edited = np.clip(image + change * np.float32((window.high - window.low) / 2), *limits)
    return Edit(np.where(change != 0, edited, image), changed_region(change))


def changed_region(change: np.ndarray) -> np.ndarray:
    """The connected regions (bool) where a change in [-1, 1] units is clear, without specks."""
    clear = np.abs(ndimage.gaussian_filter(change, SMOOTHING_VOXELS)) > LEAST_CHANGE
    labels, _ = ndimage.label(clear, structure=np.ones((3,) * change.ndim))
    large = np.bincount(labels.reshape(-1)) >= LEAST_VOXELS
    large[0] = False
    return large[labels]
