"""Networks of a class-conditional GAN from noise: a generator from a code, and a projection discriminator.

The generator is DCGAN's pyramid (Radford 2016, arXiv 1511.06434, section 3): a projected code, doubled level by level.
Departs from the paper: resize-convolutions (no checkerboard); in place of batch norm, instance norm whose gain and
offset come from the code (Huang and Belongie 2017, arXiv 1703.06868), so that a crop does not depend on the batch it is
in, and one label sets the style of all levels; codes lie on a sphere (Karras 2018, arXiv 1710.10196, section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from medaug.models.networks.layers import CONV, Head, instance_norm, pad_reflect

SLOPE = 0.2
CLASS_SCALE = 0.3
"""Scale of the generator's class embedding beside a code of scale 1: else all crops of a class begin alike."""


class NoiseGenerator(nn.Module):
    """Codes (B, latent_dim) and classes (B,) → (B, channels, *size), without a final activation.

    `width` channels at full resolution, twice as many at each of the `levels` below it.
    """

    def __init__(self, size: Sequence[int], channels: int, *, latent_dim: int, classes: int, width: int, levels: int):
        super().__init__()
        dims, self.base = len(size), tuple(s // 2**levels for s in size)
        widths = [width * 2**level for level in range(levels, -1, -1)]
        self.classes = nn.Embedding(classes, latent_dim)
        nn.init.normal_(self.classes.weight, std=CLASS_SCALE)
        self.stem = nn.Linear(2 * latent_dim, widths[0] * math.prod(self.base))
        self.first = _StyledConv(dims, widths[0], widths[0], 2 * latent_dim)
        self.up = nn.ModuleList(
            _StyledConv(dims, coarse, fine, 2 * latent_dim) for coarse, fine in zip(widths, widths[1:], strict=False)
        )
        self.head = Head(dims, width, channels)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        code = torch.cat([on_sphere(z), self.classes(label)], dim=1)
        x = self.first(functional.relu(self.stem(code).view(len(z), -1, *self.base)), code)
        for block in self.up:
            x = block(functional.interpolate(x, scale_factor=2, mode="nearest"), code)
        return self.head(x)


class ProjectionDiscriminator(nn.Module):
    """(B, channels, *S) and classes (B,) → one score (B,), conditioned by projection.

    Projection: Miyato and Koyama 2018, arXiv 1802.05637, equation 3; spectral norm on every layer: Miyato 2018, arXiv
    1802.05957. There is no other norm, so that brightness and contrast are judged. Features are summed over the crop:
    the mean of features that each layer's norm bounds would leave scores too small for the hinge.
    """

    def __init__(self, spatial_dims: int, channels: int, *, classes: int, width: int, levels: int):
        super().__init__()
        conv, widths = CONV[spatial_dims], [width * 2**level for level in range(levels + 1)]
        layers = [conv(channels, width, 3, padding=1), nn.LeakyReLU(SLOPE)]
        for fine, coarse in zip(widths, widths[1:], strict=False):
            layers += [conv(fine, coarse, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        layers += [conv(widths[-1], widths[-1], 3, padding=1), nn.LeakyReLU(SLOPE)]
        self.features = nn.Sequential(*layers)
        self.score, self.classes = nn.Linear(widths[-1], 1), nn.Embedding(classes, widths[-1])
        for module in [*self.features, self.score, self.classes]:
            if not isinstance(module, nn.LeakyReLU):
                spectral_norm(module)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        features = self.features(x).flatten(2).sum(dim=2)
        return self.score(features)[:, 0] + (self.classes(label) * features).sum(dim=1)


def on_sphere(z: Tensor) -> Tensor:
    """Codes (B, D) scaled to the norm √D, about which normal ones lie anyway."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


class _StyledConv(nn.Module):
    """Reflect-padded 3-wide convolution, instance norm, gain and offset from the code, ReLU."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, code_dim: int):
        super().__init__()
        self.conv = CONV[spatial_dims](in_channels, out_channels, 3)
        self.norm = instance_norm(out_channels, affine=False)
        self.style = nn.Linear(code_dim, 2 * out_channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain, offset = self.style(code).view(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        return functional.relu(self.norm(self.conv(pad_reflect(x, 1))) * (1 + gain) + offset)
