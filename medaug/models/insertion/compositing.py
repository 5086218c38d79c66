"""Soft-edged compositing: how a translated crop is joined with the untouched image.

An insertion ends at its mask's edge and blends inward, so that the mask is where the tumor is seen. A removal reaches a
little beyond, because the tumor's own edge is blurred over the voxels around its mask. Training and use have these two
weights in common. Where a weight is 0 the result is the input, bit for bit; where it is 1 nothing of the input is left.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

EDGE_SHARE = 0.5
"""A voxel of an inserted tumor is at least this much tumor, however thin the tumor is there."""
REACH_VOXELS = 2
"""A removal reaches so far beyond its mask, along any axis or diagonal."""


def insertion_weight(mask: Tensor) -> Tensor:
    """The tumor's share of each voxel: 0 outside a binary mask (B, 1, *S), 1 where all neighbours are in it too.

    On the mask's edge it is `EDGE_SHARE` and more with every neighbour inside: 5/6 along a straight edge.
    """
    return mask * (EDGE_SHARE + (1 - EDGE_SHARE) * _mean_of_neighbours(mask))


def removal_weight(mask: Tensor) -> Tensor:
    """1 in a binary mask (B, 1, *S), falling to exactly 0 farther than `REACH_VOXELS` from it.

    The mask is grown by one voxel, then softened over one more on each side.
    """
    pool = functional.max_pool2d if mask.ndim == 4 else functional.max_pool3d
    return _mean_of_neighbours(pool(mask, 3, stride=1, padding=1))


def composite(background: Tensor, foreground: Tensor, weight: Tensor) -> Tensor:
    """`background` where `weight` is 0 and `foreground` where it is 1 (both bit-identical), a linear blend between."""
    blend = torch.where(weight < 1, background + weight * (foreground - background), foreground)
    return torch.where(weight > 0, blend, background)


def _mean_of_neighbours(mask: Tensor) -> Tensor:
    pool = functional.avg_pool2d if mask.ndim == 4 else functional.avg_pool3d
    return pool(mask, 3, stride=1, padding=1, count_include_pad=False)
