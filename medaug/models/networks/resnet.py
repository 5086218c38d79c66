"""The ResNet generator of CycleGAN (Zhu 2017, arXiv 1703.10593, appendix 7.2; after Johnson 2016).

(B, C, *S) → (B, out_channels, *S) without the final tanh: the translator decides how the output is bounded. Sizes
must be multiples of `stride`.

Departs from the paper: resize-convolutions instead of transposed ones; works in 2-D and 3-D.
"""

from __future__ import annotations

from torch import Tensor, nn

from medaug.models.networks.blocks import ConvNormAct, Head, ResidualBlock, ResizeConv


class ResNetGenerator(nn.Module):
    """c7s1-w, d2w, d4w, `depth` residual blocks at 4w, u2w, uw, c7s1-out (w = `width`, 64 in the paper)."""

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
