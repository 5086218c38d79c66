"""Styles speak through adaptive norms, as arguments: no module remembers one."""

import pytest
import torch
from torch import nn

from medaug.models.networks.generators import (
    AdaINBlock,
    AdaINDecoder,
    Decoder,
    Encoder,
    StyleEncoder,
    adaptive_instance_norm,
    pooled_mask,
)
from medaug.models.networks.layers import initialize_normal, isolated_rng

SIZES = pytest.mark.parametrize("size", [(16, 24), (8, 16, 8)], ids=["2d", "3d"])


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def decoder(dims: int) -> AdaINDecoder:
    with isolated_rng(0):
        return AdaINDecoder(dims, 2, 5, width=4, depth=3, blocks=2)


@SIZES
def test_adain_is_instance_norm_and_an_affine_map_by_sample_and_channel(size):
    x, gain, shift = normal(3, 4, *size) * 5 + 2, normal(3, 4, seed=1), normal(3, 4, seed=2)
    output = adaptive_instance_norm(x, gain, shift)
    for sample in range(3):
        for channel in range(4):
            values = x[sample, channel]
            normalised = (values - values.mean()) / torch.sqrt(values.var(correction=0) + 1e-5)
            expected = gain[sample, channel] * normalised + shift[sample, channel]
            torch.testing.assert_close(output[sample, channel], expected, rtol=1e-4, atol=1e-5)


def test_adain_decoder_keeps_nothing_of_a_style():
    module, code = decoder(2), normal(2, 16, 4, 4)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    attributes = {name: set(vars(child)) for name, child in module.named_modules()}
    first = module(code, normal(2, 5, seed=1))
    module(code, normal(2, 5, seed=2))
    assert torch.equal(module(code, normal(2, 5, seed=1)), first)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert {name: set(vars(child)) for name, child in module.named_modules()} == attributes


@SIZES
def test_each_sample_is_decoded_in_its_own_style(size):
    module, code = decoder(len(size)), normal(1, 16, *[s // 4 for s in size]).expand(2, *[-1] * (len(size) + 1))
    styles = normal(2, 5, seed=1)
    both, swapped = module(code, styles), module(code, styles.flip(0))
    assert both.shape == (2, 2, *size) and not torch.allclose(both[0], both[1])
    torch.testing.assert_close(both, swapped.flip(0))


def test_adain_block_without_a_style_is_a_plain_residual_block():
    with isolated_rng(0):
        block = AdaINBlock(2, 3)
    x = normal(2, 3, 8, 8)
    plain = nn.Sequential(
        nn.ReflectionPad2d(1), block.first, nn.InstanceNorm2d(3), nn.ReLU(), nn.ReflectionPad2d(1), block.second,
        nn.InstanceNorm2d(3),
    )  # fmt: skip
    torch.testing.assert_close(block(x, torch.zeros(2, 4, 3)), x + plain(x))


@SIZES
def test_style_is_read_where_the_mask_is(size):
    with isolated_rng(0):
        encoder = StyleEncoder(len(size), 1, 5, width=4, depth=2)
    x, mask = normal(2, 1, *size), torch.zeros(2, 1, *size)
    mask[..., :4, :4] = 1
    elsewhere = x.clone()
    elsewhere[..., -2:] += 3
    assert encoder(x, mask).shape == (2, 5)
    assert torch.equal(encoder(elsewhere, mask), encoder(x, mask)) and not torch.allclose(
        encoder(elsewhere), encoder(x)
    )
    assert torch.isfinite(encoder(x, torch.zeros_like(mask))).all()
    torch.testing.assert_close(encoder(x, torch.ones_like(mask)), encoder(x))


def test_style_tells_of_brightness_from_the_start():
    with isolated_rng(0):
        encoder = StyleEncoder(2, 1, 8, width=16, depth=3)
        initialize_normal(encoder)
    x = normal(1, 1, 16, 16) * 0.3
    assert float((encoder(x + 0.5) - encoder(x)).abs().mean()) > 0.2


@SIZES
def test_encoder_and_decoder_meet_in_the_code(size):
    with isolated_rng(0):
        encoder = Encoder(len(size), 3, width=4, depth=3, blocks=1)
        back = Decoder(len(size), 2, width=4, depth=3, blocks=1)
    code = encoder(normal(2, 3, *size))
    assert code.shape == (2, 16, *[s // 4 for s in size]) and back(code).shape == (2, 2, *size)


def test_pooled_mask_is_the_covered_share():
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :3] = 1
    assert pooled_mask(mask, torch.Size([2, 2])).tolist() == [[[[1.0, 0.5], [0.0, 0.0]]]]
