"""Both generators: shapes, no checkerboard, and right gradients at batch size 1."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from medaug.errors import ConfigError
from medaug.models.base import Translator
from medaug.models.networks.generators import GENERATORS
from medaug.models.networks.layers import ResizeConv

SIZES = [(16, 24), (8, 16, 8)]
BOTH = pytest.mark.parametrize("name", GENERATORS)


def generator_of(name: str, dims: int, in_channels: int = 3, seed: int = 0, std: float = 0.2) -> nn.Module:
    """A small generator whose every weight, norms included, is drawn from `seed`."""
    module = GENERATORS[name](dims, in_channels, 2, width=4, depth=2)
    rng = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = std * torch.randn(parameter.shape, generator=rng)
    return module


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def period_two_share(image: torch.Tensor) -> float:
    """Amplitude of what alternates from voxel to voxel along an axis, away from borders, over the mean magnitude."""
    inner = image.detach()[..., 8:-8, 8:-8]
    rows = (inner[..., 1::2, :].mean() - inner[..., ::2, :].mean()).abs()
    columns = (inner[..., 1::2].mean() - inner[..., ::2].mean()).abs()
    return float(torch.maximum(rows, columns) / inner.abs().mean())


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_output_has_the_input_size_and_the_asked_channels(name, size):
    assert generator_of(name, len(size))(uniform(2, 3, *size)).shape == (2, 2, *size)


@BOTH
@pytest.mark.parametrize("dims", [2, 3])
def test_smallest_useful_size_is_four_strides(name, dims):
    module = generator_of(name, dims)
    assert torch.isfinite(module(uniform(1, 3, *[4 * module.stride] * dims))).all()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_unet_stride_follows_its_depth(depth):
    module = GENERATORS["unet"](2, 1, 1, width=2, depth=depth)
    assert module.stride == 2 ** (depth - 1)
    assert module(uniform(1, 1, 32, 32)).shape == (1, 1, 32, 32)


def test_unknown_generator_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="transformer.*resnet, unet"):
        Translator.generator(SimpleNamespace(config=SimpleNamespace(generator="transformer")), 1, 1)


def without_norms(module: nn.Module) -> nn.Module:
    """The same convolutions, so that a constant stays far above the rounding that instance norms would blow up."""
    for child in module.modules():
        if hasattr(child, "norm"):
            child.norm = nn.Identity()
    return module.double()


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_constant_image_gives_no_checkerboard_whatever_the_weights(name, seed):
    module = without_norms(generator_of(name, 2, seed=seed))
    assert period_two_share(module(torch.full((1, 3, 64, 64), 0.4, dtype=torch.float64))) < 1e-9


def test_transposed_convolution_would_have_given_a_checkerboard():
    module = generator_of("resnet", 2)
    for index, layer in enumerate(module.layers):
        if isinstance(layer, ResizeConv):
            conv = layer.block.conv
            module.layers[index] = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 3, 2, 1, output_padding=1)
            module.layers[index].weight.data = conv.weight.data.transpose(0, 1)
            module.layers[index].bias.data = conv.bias.data
    module = without_norms(module)
    assert period_two_share(module(torch.full((1, 3, 64, 64), 0.4, dtype=torch.float64))) > 1e-2


@BOTH
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
def test_gradient_at_batch_size_one_is_that_of_float64(name, size, layout):
    module, x, target = generator_of(name, len(size)), uniform(1, 3, *size), uniform(1, 2, *size, seed=1)
    if layout == "channels-last":
        x = x.to(memory_format=torch.channels_last if len(size) == 2 else torch.channels_last_3d)

    def gradient(dtype):
        module.zero_grad()
        (module.to(dtype)(x.to(dtype)) - target.to(dtype)).square().mean().backward()
        return torch.cat([p.grad.flatten() for p in module.parameters()]).double()

    single, double = gradient(torch.float32), gradient(torch.float64)
    assert float((single - double).norm() / double.norm()) < 1e-4


@BOTH
def test_a_sample_is_translated_the_same_alone_and_in_a_batch(name):
    module, x = generator_of(name, 2), uniform(3, 3, 16, 16)
    torch.testing.assert_close(module(x)[1:2], module(x[1:2]), rtol=1e-5, atol=1e-5)
