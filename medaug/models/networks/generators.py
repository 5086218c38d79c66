"""Generators by name, the ResNet of CycleGAN and a small U-Net; and the encoders and decoders of UNIT and MUNIT.

(B, C, *S) → (B, out_channels, *S) without a final activation: the translator decides how the output is bounded. Sizes
must be multiples of `stride`. All depart from their papers: resize-convolutions instead of transposed ones, instance
norm, 2-D and 3-D. A style is a vector (B, style_dim), spoken through adaptive instance norm (Huang 2018, arXiv
1804.04732, section 5.1); what it gives to norms are arguments of their blocks, and no module keeps any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import AfterValidator
from pydantic_core import PydanticKnownError
from torch import Tensor, nn
from torch.nn import functional

from medaug.models.networks.layers import (
    CONV,
    Block,
    ConvNormAct,
    Head,
    Merge,
    ResidualBlock,
    ResizeConv,
    doubled_conv,
    instance_norm,
    pad_reflect,
)

GAIN = 8.0
"""Gain of the style encoder: from the first step on styles of images differ by about the prior's deviation."""


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


class ResidualUNetGenerator(UNetGenerator):
    """The U-Net with a residual encoder (Isensee 2024, arXiv 2404.09556): a residual block after every step down."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, width: int = 32, depth: int = 4):
        super().__init__(spatial_dims, in_channels, out_channels, width=width, depth=depth)
        widths = [width * 2**level for level in range(depth)]
        self.down = nn.ModuleList(
            nn.Sequential(ConvNormAct(spatial_dims, fine, coarse, stride=2), ResidualBlock(spatial_dims, coarse))
            for fine, coarse in zip(widths, widths[1:], strict=False)
        )


GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "resnet": ResNetGenerator,
    "unet": UNetGenerator,
    "residual-unet": ResidualUNetGenerator,
}


def _known(name: str) -> str:
    if name not in GENERATORS:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, GENERATORS))})
    return name


GeneratorName = Annotated[str, AfterValidator(_known)]
"""As a setting: refused before anything is read."""


def code_channels(width: int, depth: int) -> int:
    """Channels of the code of encoders and decoders with `width` channels at full resolution and `depth` levels."""
    return width * 2 ** (depth - 1)


def residual_blocks(spatial_dims: int, channels: int, count: int) -> nn.Sequential:
    """`count` residual blocks: (B, channels, *S) → the same."""
    return nn.Sequential(*[ResidualBlock(spatial_dims, channels) for _ in range(count)])


class Encoder(nn.Module):
    """Stem, `depth` − 1 strided convolutions, `blocks` residual blocks: (B, C, *S) → (B, code, *S / stride)."""

    def __init__(self, spatial_dims: int, in_channels: int, *, width: int, depth: int, blocks: int, kernel: int = 3):
        super().__init__()
        self.layers = nn.Sequential(
            ConvNormAct(spatial_dims, in_channels, width, kernel=kernel),
            *[
                ConvNormAct(spatial_dims, width * 2**level, width * 2 ** (level + 1), stride=2)
                for level in range(depth - 1)
            ],
            residual_blocks(spatial_dims, code_channels(width, depth), blocks),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Decoder(nn.Module):
    """The encoder mirrored: (B, code, *S / stride) → (B, out_channels, *S), without a final activation."""

    def __init__(self, spatial_dims: int, out_channels: int, *, width: int, depth: int, blocks: int, kernel: int = 3):
        super().__init__()
        self.layers = nn.Sequential(
            residual_blocks(spatial_dims, code_channels(width, depth), blocks),
            *[
                ResizeConv(spatial_dims, width * 2 ** (level + 1), width * 2**level)
                for level in reversed(range(depth - 1))
            ],
            Head(spatial_dims, width, out_channels, kernel=kernel),
        )

    def forward(self, code: Tensor) -> Tensor:
        return self.layers(code)


class StyleEncoder(nn.Module):
    """Convolutions, a mean over all or over the masked voxels, a linear layer: (B, C, *S) → (B, style_dim).

    It has no norms, which would take away what a style is: brightness and contrast. Hence its own initial weights
    (He 2015), for N(0, 0.02²) would fade from layer to layer.
    """

    keeps_initial_weights = True

    def __init__(self, spatial_dims: int, in_channels: int, style_dim: int, *, width: int, depth: int):
        super().__init__()
        widths = [in_channels, *[width * 2**level for level in range(depth)]]
        convs = [
            CONV[spatial_dims](before, after, 3, stride=1 if level == 0 else 2)
            for level, (before, after) in enumerate(zip(widths, widths[1:], strict=False))
        ]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        self.convs = nn.ModuleList(convs)
        self.linear = nn.Linear(widths[-1], style_dim)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = functional.relu(conv(pad_reflect(x, 1)))
        if mask is None:
            return GAIN * self.linear(x.flatten(2).mean(dim=2))
        weight = pooled_mask(mask, x.shape[2:]).flatten(2)
        mean = (x.flatten(2) * weight).sum(dim=2) / weight.sum(dim=2).clamp(min=1e-6)
        return GAIN * self.linear(mean)


class AdaINDecoder(nn.Module):
    """Decoder whose residual blocks are normalised as a style says: code (B, C, *S / stride) → (B, out_channels, *S).

    The norms after up-sampling are layer norms: instance norms would undo the style (section 5.1).
    """

    def __init__(
        self,
        spatial_dims: int,
        out_channels: int,
        style_dim: int,
        *,
        width: int,
        depth: int,
        blocks: int,
        hidden: int = 64,
        kernel: int = 3,
    ):
        super().__init__()
        channels = code_channels(width, depth)
        self.shape = (blocks, 4, channels)
        self.to_norms = nn.Sequential(
            nn.Linear(style_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, blocks * 4 * channels),
        )
        self.blocks = nn.ModuleList(AdaINBlock(spatial_dims, channels) for _ in range(blocks))
        self.up = nn.ModuleList(
            _ResizeConvLayerNorm(spatial_dims, width * 2 ** (level + 1), width * 2**level)
            for level in reversed(range(depth - 1))
        )
        self.head = Head(spatial_dims, width, out_channels, kernel=kernel)

    def forward(self, code: Tensor, style: Tensor) -> Tensor:
        norms = self.to_norms(style).unflatten(1, self.shape)  # (B, blocks, 4, C)
        for index, block in enumerate(self.blocks):
            code = block(code, norms[:, index])
        for up in self.up:
            code = up(code)
        return self.head(code)


class AdaINBlock(Block):
    """Residual block with two adaptive instance norms; `norms` (B, 4, C): gain − 1, shift, gain − 1, shift."""

    def __init__(self, spatial_dims: int, channels: int):
        super().__init__()
        self.first = CONV[spatial_dims](channels, channels, 3)
        self.second = CONV[spatial_dims](channels, channels, 3)

    def forward(self, x: Tensor, norms: Tensor) -> Tensor:
        gain_1, shift_1, gain_2, shift_2 = norms.unbind(dim=1)
        inner = functional.relu(adaptive_instance_norm(self.first(pad_reflect(x, 1)), 1 + gain_1, shift_1))
        return x + adaptive_instance_norm(self.second(pad_reflect(inner, 1)), 1 + gain_2, shift_2)


def adaptive_instance_norm(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Equation 6: `x` (B, C, *S) normalised by channel and sample, times `gain` (B, C), plus `shift` (B, C)."""
    where = (..., *[None] * (x.ndim - 2))
    return gain[where] * instance_norm(x) + shift[where]


def pooled_mask(mask: Tensor, size: torch.Size) -> Tensor:
    """The share of each coarse voxel that the mask (B, P, *S) covers with all its parts: (B, 1, *size)."""
    return functional.interpolate(mask.amax(dim=1, keepdim=True), size=size, mode="area")


class _ResizeConvLayerNorm(Block):
    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = CONV[spatial_dims](in_channels, out_channels, 3)
        self.norm = nn.GroupNorm(1, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(doubled_conv(x, self.conv.weight, self.conv.bias)), inplace=True)
