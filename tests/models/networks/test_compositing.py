"""Where the weight is 0 a composite is its background, bit for bit, and its foreground where it is 1."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from medaug.models.insertion.base import EDGE_SHARE, REACH_VOXELS, composite, insertion_weight, removal_weight


@st.composite
def masks(draw):
    """Any binary mask, 2-D or 3-D, sparse or full, touching borders or not: (B, 1, *S)."""
    size = draw(st.sampled_from([(9, 12), (7, 6, 8)]))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.01, 0.05, 0.3, 0.9, 1.0]))
    return torch.from_numpy((rng.random_sample((2, 1, *size)) < share).astype(np.float32))


def grown(mask: torch.Tensor, voxels: int) -> torch.Tensor:
    """The mask and everything within `voxels` of it along any axis or diagonal, by scipy."""
    if voxels == 0:
        return mask > 0
    structure = np.ones([1, 1] + [2 * voxels + 1] * (mask.ndim - 2), dtype=bool)
    return torch.from_numpy(binary_dilation(mask.numpy() > 0, structure))


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous().view(torch.int32)


@settings(max_examples=60, deadline=None)
@given(mask=masks())
def test_a_removal_takes_the_whole_mask_and_nothing_beyond_its_reach(mask):
    weight, reached = removal_weight(mask), grown(mask, REACH_VOXELS)
    assert weight.shape == mask.shape and weight.min() >= 0 and weight.max() <= 1
    assert (weight[~reached] == 0).all() and (weight[reached] > 0).all()
    assert (weight[mask > 0] == 1).all()


@settings(max_examples=60, deadline=None)
@given(mask=masks())
def test_an_insertion_stays_inside_the_mask_and_is_seen_in_all_of_it(mask):
    weight, core = insertion_weight(mask), ~grown(1 - mask, 1)
    assert weight.shape == mask.shape and (weight[mask == 0] == 0).all()
    assert (weight[mask > 0] >= EDGE_SHARE).all() and (weight[core] == 1).all() and weight.max() <= 1


@settings(max_examples=60, deadline=None)
@given(mask=masks(), seed=st.integers(0, 2**31))
def test_composite_is_bit_identical_outside_and_the_foreground_inside(mask, seed):
    rng = torch.Generator().manual_seed(seed)
    background, foreground = (torch.randn(mask.shape, generator=rng) for _ in range(2))
    background[..., 0] = -0.0
    soft = removal_weight(mask)
    foreground[soft == 0] = torch.nan
    joined = composite(background, foreground, soft)
    assert torch.equal(bits(joined)[soft == 0], bits(background)[soft == 0])
    assert torch.equal(bits(joined)[soft == 1], bits(foreground)[soft == 1])
    low, high = torch.minimum(background, foreground), torch.maximum(background, foreground)
    edge = (soft > 0) & (soft < 1)
    assert ((joined >= low - 1e-6) & (joined <= high + 1e-6))[edge].all()


def test_composite_works_on_several_channels():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 3:5, 3:5] = 1
    joined = composite(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), removal_weight(mask))
    assert torch.equal(joined, removal_weight(mask).expand(1, 3, 8, 8))
