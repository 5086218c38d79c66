"""Encoders and decoders around a spatial code, for UNIT (arXiv 1703.00848) and MUNIT (arXiv 1804.04732).

(B, C, *S) ⇄ a code (B, width·2^(depth − 1), *S / stride) with stride = 2^(depth − 1), in 2-D and 3-D. There are no skip
connections: all that is known of the image passes through the code.
"""

from __future__ import annotations

from torch import Tensor, nn

from medaug.models.networks.blocks import ConvNormAct, Head, ResidualBlock, ResizeConv


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
