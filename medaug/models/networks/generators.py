"""Generators from image to image, by name: the ResNet of CycleGAN and a small U-Net.

(B, C, *S) → (B, out_channels, *S) without a final activation: the translator decides how the output is bounded. Sizes
must be multiples of `stride`. Both depart from their papers: resize-convolutions instead of transposed ones, instance
norm, 2-D and 3-D.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticKnownError
from torch import Tensor, nn

from medaug.errors import ConfigError
from medaug.models.networks.layers import ConvNormAct, Head, Merge, ResidualBlock, ResizeConv


class ResNetGenerator(nn.Module):
    """CycleGAN's ResNet (Zhu 2017, arXiv 1703.10593, appendix 7.2; after Johnson 2016).

    c7s1-w, d2w, d4w, `depth` residual blocks at 4w, u2w, uw, c7s1-out (w = `width`, 64 in the paper).
    """

    stride = 4

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, width: int = 64, depth: int = 9):
        super().__init__()
        self.layers = nn.Sequential(
            ConvNormAct(spatial_dims, in_channels, width, kernel=7),
            ConvNormAct(spatial_dims, width, 2 * width, stride=2),
            ConvNormAct(spatial_dims, 2 * width, 4 * width, stride=2),
            *[ResidualBlock(spatial_dims, 4 * width) for _ in range(depth)],
            ResizeConv(spatial_dims, 4 * width, 2 * width),
            ResizeConv(spatial_dims, 2 * width, width),
            Head(spatial_dims, width, out_channels, kernel=7),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class UNetGenerator(nn.Module):
    """A small U-Net (Ronneberger 2015, arXiv 1505.04597), the default for lesion crops on a CPU.

    `depth` resolution levels of width w, 2w, 4w, ...; `stride` is 2^(depth − 1). It goes down by strided
    convolutions and has a residual block at the coarsest level.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, width: int = 24, depth: int = 3):
        super().__init__()
        dims, widths = spatial_dims, [width * 2**level for level in range(depth)]
        steps = list(zip(widths, widths[1:], strict=False))
        self.stride = 2 ** (depth - 1)
        self.stem = ConvNormAct(dims, in_channels, width)
        self.down = nn.ModuleList(
            nn.Sequential(ConvNormAct(dims, fine, coarse, stride=2), ConvNormAct(dims, coarse, coarse))
            for fine, coarse in steps
        )
        self.middle = ResidualBlock(dims, widths[-1])
        self.narrow = nn.ModuleList(ConvNormAct(dims, coarse, fine) for fine, coarse in steps)
        self.merge = nn.ModuleList(Merge(dims, fine) for fine, _ in steps)
        self.head = Head(dims, width, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.stem(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = self.middle(skips.pop())
        for narrow, merge in zip(reversed(self.narrow), reversed(self.merge), strict=True):
            x = merge(narrow(x), skips.pop())
        return self.head(x)


GENERATORS: dict[str, Callable[..., nn.Module]] = {"resnet": ResNetGenerator, "unet": UNetGenerator}


def _known(name: str) -> str:
    if name not in GENERATORS:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, GENERATORS))})
    return name


GeneratorName = Annotated[str, AfterValidator(_known)]
"""As a setting: refused before anything is read."""


def build_generator(
    name: str, *, spatial_dims: int, in_channels: int, out_channels: int, width: int, depth: int
) -> nn.Module:
    """A generator by name; `depth` counts residual blocks (resnet) or resolution levels (unet).

    Raises:
        ConfigError: for an unknown name, listing the known ones.
    """
    if name not in GENERATORS:
        raise ConfigError(f"unknown generator '{name}'; choose one of: {', '.join(GENERATORS)}")
    return GENERATORS[name](spatial_dims, in_channels, out_channels, width=width, depth=depth)
