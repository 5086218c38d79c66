"""The segmentation networks of the downstream test, by name, from MONAI; 2-D and 3-D, one input channel.

`channels` is the width of each level, the finest first; every network halves the image `len(channels) - 1` times.

| name      | network                                                               | `channels`                |
|-----------|-----------------------------------------------------------------------|---------------------------|
| unet      | U-Net (Ronneberger 2015, 1505.04597)                                  | any                       |
| segresnet | SegResNet without its VAE (Myronenko 2018, 1810.11654)                | each twice the one before |
| dynunet   | nnU-Net's plain U-Net (Isensee 2018, 1809.10486), no deep supervision | three levels or more      |

A new network is one function and one line in `NETWORKS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.GroupNorm, nn.InstanceNorm2d, nn.InstanceNorm3d)

NORM_GROUPS = 8
"""SegResNet's group norm has so many groups, or their largest common divisor with the first width."""


@dataclass(frozen=True)
class Network:
    """One architecture.

    Attributes:
        build: (spatial_dims, outputs, channels, and options of its own) → the network of one input channel.
        draw: (weight, bias or None, generator): the initial weights of one convolution.
        fits: what `channels` must be besides two levels or more, and how that is said.
    """

    build: Callable[..., nn.Module]
    draw: Callable[[Tensor, Tensor | None, torch.Generator], None]
    fits: Callable[[Sequence[int]], bool] = lambda channels: True
    expected: str = "at least 2 levels"


def build_network(
    name: str, spatial_dims: int, outputs: int, channels: Sequence[int], generator: torch.Generator, **options: Any
) -> nn.Module:
    """The network on the CPU, its weights drawn from `generator` alone; logits (B, outputs, *S) of (B, 1, *S).

    S must be multiples of `2 ** (len(channels) - 1)`, each at least twice that: its instance norms need two voxels.
    """
    kind = NETWORKS[name]
    with torch.device("meta"):  # no draw from the global generator
        network = kind.build(spatial_dims, outputs, channels, **options)
    network = network.to_empty(device="cpu")
    for place, module in network.named_modules():
        if isinstance(module, CONVOLUTIONS):
            kind.draw(module.weight, module.bias, generator)
        elif isinstance(module, nn.PReLU):
            nn.init.constant_(module.weight, 0.25)
        elif isinstance(module, NORMS) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif list(module.parameters(recurse=False)) or list(module.buffers(recurse=False)):
            raise NotImplementedError(f"{place}: no initial weights defined for {type(module).__name__}")
    return network


def _unet(spatial_dims: int, outputs: int, channels: Sequence[int], num_res_units: int = 0) -> nn.Module:
    strides = (2,) * (len(channels) - 1)
    return UNet(spatial_dims, 1, outputs, channels=channels, strides=strides, num_res_units=num_res_units)


def _segresnet(spatial_dims: int, outputs: int, channels: Sequence[int]) -> nn.Module:
    """Residual blocks by level as in the paper: 1, 2, ..., 2, 4 on the way down and one each on the way up."""
    levels, width = len(channels), channels[0]
    return SegResNet(
        spatial_dims,
        width,
        1,
        outputs,
        norm=("GROUP", {"num_groups": math.gcd(NORM_GROUPS, width)}),
        blocks_down=(1, *(2,) * (levels - 2), 4),
        blocks_up=(1,) * (levels - 1),
    )


def _dynunet(spatial_dims: int, outputs: int, channels: Sequence[int]) -> nn.Module:
    """Kernels of 3, strides of 2 after the first level, instance norm, leaky ReLU, transposed convolutions."""
    halvings = (2,) * (len(channels) - 1)
    return DynUNet(
        spatial_dims,
        1,
        outputs,
        kernel_size=(3,) * len(channels),
        strides=(1, *halvings),
        upsample_kernel_size=halvings,
        filters=tuple(channels),
    )


def _uniform(weight: Tensor, bias: Tensor | None, generator: torch.Generator) -> None:
    """PyTorch's default scheme."""
    bound = 1 / math.sqrt(weight[0].numel())  # 1 / sqrt(fan-in)
    nn.init.uniform_(weight, -bound, bound, generator=generator)
    if bias is not None:
        nn.init.uniform_(bias, -bound, bound, generator=generator)


def _kaiming(weight: Tensor, bias: Tensor | None, generator: torch.Generator) -> None:
    """That of nnU-Net, for its leaky ReLU."""
    nn.init.kaiming_normal_(weight, a=0.01, generator=generator)
    if bias is not None:
        nn.init.zeros_(bias)


def _doubles(channels: Sequence[int]) -> bool:
    return all(wide == 2 * narrow for narrow, wide in zip(channels, channels[1:], strict=False))


NETWORKS: dict[str, Network] = {
    "unet": Network(_unet, _uniform),
    "segresnet": Network(_segresnet, _uniform, _doubles, "each level twice as wide as the one before"),
    "dynunet": Network(_dynunet, _kaiming, lambda channels: len(channels) > 2, "at least 3 levels"),
}
