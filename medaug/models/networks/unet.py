"""A small U-Net generator (Ronneberger 2015, arXiv 1505.04597), the default for lesion crops on a CPU.

(B, C, *S) → (B, out_channels, *S) without a final activation. `depth` resolution levels of width w, 2w, 4w, ...;
sizes must be multiples of `stride` = 2^(depth − 1).

Departs from the paper: instance norm, strided convolutions down, resize-convolutions up, a residual block at the
coarsest level.
"""

from __future__ import annotations

from torch import Tensor, nn

from medaug.models.networks.blocks import ConvNormAct, Head, Merge, ResidualBlock


class UNetGenerator(nn.Module):
    """Encoder and decoder with skip connections; `width` channels at full resolution."""

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
