"""Does a segmentation network see what was inserted? Dice of its answer and the mask, around the inserted lesions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from medaug.evaluation.frozen import FrozenSegmenter
from medaug.evaluation.metrics import dice
from medaug.evaluation.segmentation import predict
from medaug.lesions.geometry import component_boxes


def agreement(
    segmenter: FrozenSegmenter,
    image: np.ndarray,
    label: np.ndarray,
    inserted: np.ndarray,
    patch_size: tuple[int, ...] | None = None,
) -> float:
    """Dice in [0, 1] inside `around(inserted)`, real tumors left out; 0 where nothing is inserted.

    What the network makes of these, and of the rest of the scan, says nothing of the insertion.

    Args:
        image: (*S) in [-1, 1]; a volume goes through a 2-D network slice by slice.
        label: (*S), all tumors; `inserted` (bool, *S) the new ones.
        patch_size: 3-D: of the windows that the network goes through the volume in; None is all at once.
    """
    if not inserted.any():
        return 0.0
    seen = _segmented(segmenter, torch.from_numpy(image), patch_size)
    region = around(inserted) & ~((label > 0) & ~inserted)
    return dice([(seen & region, inserted)])


def around(inserted: np.ndarray) -> np.ndarray:
    """The boxes (bool, *S) twice as long as each inserted lesion, with it in the middle."""
    region = np.zeros(inserted.shape, dtype=bool)
    for box in component_boxes(inserted):
        margins = [-(-(axis.stop - axis.start) // 2) for axis in box]
        region[tuple(slice(max(0, a.start - m), a.stop + m) for a, m in zip(box, margins, strict=True))] = True
    return region


def _segmented(segmenter: FrozenSegmenter, image: torch.Tensor, patch_size: tuple[int, ...] | None) -> np.ndarray:
    """What the network sees in an image (*S), bool."""
    dims = segmenter.config.spatial_dims
    config = replace(segmenter.config, patch_size=patch_size if dims == 3 else None)
    if image.ndim == dims:
        return predict(segmenter.network, image[None], config)[0].numpy() > 0
    stack = image.movedim(-1, 0)[:, None]  # (Z, 1, X, Y)
    return predict(segmenter.network, stack, config)[:, 0].movedim(0, -1).numpy() > 0
