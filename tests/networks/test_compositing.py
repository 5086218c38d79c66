"""Outside the soft mask a composite is its background, bit for bit; inside the mask it is its foreground."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from medaug.networks.compositing import composite, soft_mask


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
@given(mask=masks(), grow=st.integers(0, 3), soften=st.integers(0, 2))
def test_soft_mask_is_one_inside_and_zero_beyond_its_reach(mask, grow, soften):
    soft = soft_mask(mask, grow, soften)
    assert soft.shape == mask.shape and soft.min() >= 0 and soft.max() <= 1
    assert (soft[~grown(mask, grow + soften)] == 0).all()
    assert (soft[grown(mask, grow + soften)] > 0).all()
    if soften <= grow:
        assert (soft[mask > 0] == 1).all()


@settings(max_examples=60, deadline=None)
@given(mask=masks(), seed=st.integers(0, 2**31))
def test_composite_is_bit_identical_outside_and_the_foreground_inside(mask, seed):
    rng = torch.Generator().manual_seed(seed)
    background, foreground = (torch.randn(mask.shape, generator=rng) for _ in range(2))
    background[..., 0] = -0.0
    soft = soft_mask(mask)
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
    joined = composite(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), soft_mask(mask))
    assert torch.equal(joined, soft_mask(mask).expand(1, 3, 8, 8))
