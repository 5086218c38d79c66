"""Building blocks shared by the generators, in 2-D and 3-D.

Up-sampling is resize-convolution (Odena 2016, "Deconvolution and Checkerboard Artifacts"): a transposed convolution
paints a checkerboard. Norms are per instance.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from medaug.models.networks.convolutions import doubled_conv, pad_reflect, padded_conv

CONV = {2: nn.Conv2d, 3: nn.Conv3d}


def instance_norm(channels: int, *, affine: bool = True) -> nn.GroupNorm:
    """Put as a group norm with a group a channel: the same, and with the same weights, in half of the time on a CPU.

    And it is right there: torch 2.13's instance norm computes wrong gradients of channels-last images at batch size 1.
    """
    return nn.GroupNorm(channels, channels, affine=affine)


class ConvNormAct(nn.Module):
    """Reflect-padded convolution, instance norm, ReLU: (B, C, *S) → (B, out_channels, *S / stride)."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.padding = kernel // 2
        self.conv = CONV[spatial_dims](in_channels, out_channels, kernel, stride)
        self.norm = instance_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(pad_reflect(x, self.padding))), inplace=True)


class ResidualBlock(nn.Module):
    """Two 3-wide convolutions with a skip (He 2016), as in the generator of Johnson 2016."""

    def __init__(self, spatial_dims: int, channels: int):
        super().__init__()
        self.first = ConvNormAct(spatial_dims, channels, channels)
        self.conv = CONV[spatial_dims](channels, channels, 3)
        self.norm = instance_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(pad_reflect(self.first(x), 1)))


class ResizeConv(nn.Module):
    """Nearest-neighbour doubling followed by a convolution block: (B, C, *S) → (B, out_channels, *2S)."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        super().__init__()
        self.block = ConvNormAct(spatial_dims, in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.block.conv, self.block.norm
        return functional.relu(norm(doubled_conv(x, conv.weight, conv.bias)), inplace=True)


class Merge(nn.Module):
    """Doubles the coarse (B, C, *S), puts the fine (B, C, *2S) beside it, and convolves both: (B, C, *2S)."""

    def __init__(self, spatial_dims: int, channels: int):
        super().__init__()
        self.conv = CONV[spatial_dims](2 * channels, channels, 3)
        self.norm = instance_norm(channels)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        of_coarse, of_fine = self.conv.weight.chunk(2, dim=1)
        y = doubled_conv(coarse, of_coarse, self.conv.bias) + padded_conv(fine, of_fine, None)
        return functional.relu(self.norm(y), inplace=True)


class Head(nn.Module):
    """The last convolution, to image channels, without norm or activation."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3):
        super().__init__()
        self.conv = CONV[spatial_dims](in_channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return padded_conv(x, self.conv.weight, self.conv.bias)
