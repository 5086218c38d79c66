"""What is laid out for a CPU says what torch's own layers say, forwards and backwards, in 2-D and 3-D."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from medaug.models.networks.generators import AdaINDecoder, ResNetGenerator, UNetGenerator
from medaug.models.networks.layers import (
    CONVOLUTION,
    Merge,
    ResizeConv,
    doubled_conv,
    instance_norm,
    laid_out,
    pad_reflect,
    padded_conv,
)

SIZES = st.lists(st.integers(1, 7), min_size=2, max_size=3)


def drawn(*shape: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_()


def padded(x: torch.Tensor, width: int) -> torch.Tensor:
    mode = "reflect" if min(x.shape[2:]) > width else "replicate"
    return functional.pad(x, [width] * 2 * (x.ndim - 2), mode=mode)


def ordinary(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return CONVOLUTION[x.ndim - 2](padded(x, weight.shape[-1] // 2), weight, bias)


def assert_same(result, expected, inputs):
    torch.testing.assert_close(result, expected)
    pull = torch.sin(torch.arange(expected.numel(), dtype=torch.float64)).view(expected.shape)
    for found, wanted in zip(
        torch.autograd.grad(result, inputs, pull), torch.autograd.grad(expected, inputs, pull), strict=True
    ):
        torch.testing.assert_close(found, wanted)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 4), st.integers(0, 99))
def test_padding_is_the_ordinary_one(size, width, seed):
    x = drawn(2, 3, *size, seed=seed)
    assert_same(pad_reflect(x, width), padded(x, width), (x,))


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_doubling_and_convolving_is_one_convolution(size, channels, out, seed):
    x, weight = drawn(2, channels, *size, seed=seed), drawn(out, channels, *[3] * len(size), seed=seed + 1)
    bias = drawn(out, seed=seed + 2)
    enlarged = functional.interpolate(x, scale_factor=2, mode="nearest")
    assert_same(doubled_conv(x, weight, bias), ordinary(enlarged, weight, bias), (x, weight, bias))


@settings(max_examples=25, deadline=None)
@given(SIZES, st.sampled_from([1, 3, 5, 7]), st.integers(1, 2), st.integers(0, 99))
def test_a_convolution_to_few_channels_is_the_ordinary_one(size, kernel, out, seed):
    x, weight = drawn(2, 3, *size, seed=seed), drawn(out, 3, *[kernel] * len(size), seed=seed + 1)
    bias = drawn(out, seed=seed + 2)
    assert_same(padded_conv(x, weight, bias), ordinary(x, weight, bias), (x, weight, bias))


@pytest.mark.parametrize("dims", [2, 3])
def test_blocks_are_what_they_stand_for(dims):
    x, fine = drawn(2, 4, *[3] * dims, seed=0).float(), drawn(2, 4, *[6] * dims, seed=1).float()
    enlarged = functional.interpolate(x, scale_factor=2, mode="nearest")
    resize, merge = ResizeConv(dims, 4, 5), Merge(dims, 4)
    torch.testing.assert_close(resize(x), resize.block(enlarged))
    ordinary_merge = merge.norm(merge.conv(pad_reflect(torch.cat([enlarged, fine], dim=1), 1)))
    torch.testing.assert_close(merge(x, fine), functional.relu(ordinary_merge))


@pytest.mark.parametrize("dims", [2, 3])
def test_results_keep_the_precision_that_is_asked_for(dims):
    x, weight = drawn(2, 3, *[4] * dims, seed=0).float(), drawn(1, 3, *[3] * dims, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        for function, expected in (
            (doubled_conv, ordinary(functional.interpolate(x, scale_factor=2), weight, None)),
            (padded_conv, ordinary(x, weight, None)),
        ):
            result = function(x, weight, None)
            assert result.dtype == torch.bfloat16
            torch.testing.assert_close(result, expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("dims", [2, 3])
def test_networks_give_the_same_laid_out_for_a_cpu_as_for_other_devices(dims):
    """In double precision: outputs and the gradients of the input and of every weight."""
    image, code, style = drawn(2, 1, *[8] * dims, seed=0), drawn(2, 4, *[4] * dims, seed=1), drawn(2, 3, seed=2)
    networks = (
        (UNetGenerator(dims, 1, 1, width=2, depth=2), (image,)),
        (ResNetGenerator(dims, 1, 1, width=2, depth=1), (image,)),
        (AdaINDecoder(dims, 1, 3, width=2, depth=2, blocks=1), (code, style)),
    )
    for network, inputs in networks:
        found = {}
        for layout in ("cpu", "torch"):
            with laid_out(layout):
                output = network.double()(*inputs)
                pull = torch.sin(torch.arange(output.numel(), dtype=torch.float64)).view(output.shape)
                found[layout] = (output, *torch.autograd.grad(output, (*inputs, *network.parameters()), pull))
        for one, other in zip(*found.values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_norm_of_one_voxel_gives_its_offset_in_either_layout():
    x, offset = drawn(2, 3, 1, 1, seed=0), drawn(3, seed=1)
    for layout in ("cpu", "torch"):
        with laid_out(layout):
            torch.testing.assert_close(instance_norm(x, None, offset)[0, :, 0, 0], offset)
