"""The plain (unmasked) translators in use: the whole image is translated, and the label is where that changed it."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from medaug.errors import DataError
from medaug.lesions import components
from medaug.transforms.editing import Edit
from medaug.translators import Direction
from medaug.translators.weights import Weights
from medaug.volumes import Window

LEAST_CHANGE = 0.15
"""In window units [-1, 1]: smaller changes are taken for style, not for a tumor."""
LEAST_VOXELS = 8
SMOOTHING_VOXELS = 1.0


@torch.inference_mode()
def translate_whole(image: np.ndarray, window: Window, weights: Weights, direction: Direction) -> Edit:
    """Translates an image (*S) in the scan's unit; the mask is where it changed clearly.

    Raises:
        DataError: for a volume with 2-D weights.
    """
    translator = weights.translator
    if translator.spatial_dims != image.ndim:
        raise DataError(f"plain {translator.spatial_dims}-D weights translate single slices; found {image.ndim} axes")
    before = torch.from_numpy(window.normalize(image).astype(np.float32))[None, None]
    pads = [p for size in reversed(image.shape) for p in (0, -size % translator.stride)]
    after = translator.translate(functional.pad(before, pads, mode="replicate"), direction)
    change = (after[(..., *(slice(size) for size in image.shape))] - before)[0, 0].cpu().numpy()
    return Edit(image + change * np.float32((window.high - window.low) / 2), changed_region(change))


def changed_region(change: np.ndarray) -> np.ndarray:
    """The connected regions (bool) where a change in [-1, 1] units is clear, without specks."""
    clear = np.abs(ndimage.gaussian_filter(change, SMOOTHING_VOXELS)) > LEAST_CHANGE
    mask = np.zeros(change.shape, dtype=bool)
    for part in components(clear):
        if part.sum() >= LEAST_VOXELS:
            mask |= part
    return mask
