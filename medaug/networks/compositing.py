"""Soft-edged compositing: how a translated crop is joined with the untouched image.

Outside the support of the soft mask the result is the input, bit for bit; where it is 1 nothing of the input is left.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

GROWTH_VOXELS = 1
SOFTENING_VOXELS = 1


def soft_mask(mask: Tensor, grow: int = GROWTH_VOXELS, soften: int = SOFTENING_VOXELS) -> Tensor:
    """Grows a binary mask (B, 1, *S) by `grow` voxels and softens its edge over `soften` more on each side.

    Values are 1 well inside and exactly 0 farther than `grow + soften` voxels from the mask.
    """
    pool = (functional.max_pool2d, functional.avg_pool2d) if mask.ndim == 4 else (
        functional.max_pool3d, functional.avg_pool3d,
    )  # fmt: skip
    grown = pool[0](mask, 2 * grow + 1, stride=1, padding=grow) if grow else mask
    if not soften:
        return grown
    return pool[1](grown, 2 * soften + 1, stride=1, padding=soften, count_include_pad=False)


def composite(background: Tensor, foreground: Tensor, weight: Tensor) -> Tensor:
    """`background` where `weight` is 0 and `foreground` where it is 1 (both bit-identical), a linear blend between."""
    blend = torch.where(weight < 1, background + weight * (foreground - background), foreground)
    return torch.where(weight > 0, blend, background)
