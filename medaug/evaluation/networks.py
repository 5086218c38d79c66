"""The downstream networks: segmentation networks by name and one that tells tumor / no tumor, 2-D and 3-D, from MONAI.

`channels` is the width of each level, the finest first; every network halves the image `len(channels) - 1` times.

| name      | network                                                               | `channels`                |
|-----------|-----------------------------------------------------------------------|---------------------------|
| unet      | U-Net (Ronneberger 2015, 1505.04597)                                  | any                       |
| segresnet | SegResNet without its VAE (Myronenko 2018, 1810.11654)                | each twice the one before |
| dynunet   | nnU-Net's plain U-Net (Isensee 2018, 1809.10486), no deep supervision | three levels or more      |

A new segmentation network is one function and one line in `NETWORKS`. Images are (C, *S) in [-1, 1], S = (X, Y) or
(X, Y, Z). Only the samples differ between the arms of a benchmark: initial weights come from the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from monai.losses import DiceCELoss, DiceLoss
from monai.networks.nets import DynUNet, ResNet, SegResNet, UNet
from torch import Tensor, nn
from torch.nn import functional as F

from medaug.errors import ConfigError
from medaug.evaluation.regions import class_of_each
from medaug.evaluation.updates import NetworkConfig
from medaug.models.networks.layers import isolated_rng

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.GroupNorm, nn.InstanceNorm2d, nn.InstanceNorm3d)
NORM_GROUPS = 8
"""SegResNet's group norm has so many groups, or their largest common divisor with the first width."""
RESNET_GROUPS = 4


@dataclass(frozen=True)
class Network:
    """One architecture.

    Attributes:
        build: (spatial_dims, inputs, outputs, channels, and options of its own) → the network.
        draw: (weight, bias or None, generator): the initial weights of one convolution.
        fits: what `channels` must be besides two levels or more, and how that is said.
    """

    build: Callable[..., nn.Module]
    draw: Callable[[Tensor, Tensor | None, torch.Generator], None]
    fits: Callable[[Sequence[int]], bool] = lambda channels: True
    expected: str = "at least 2 levels"


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(NetworkConfig):
    """A segmentation network and its training by Dice + cross-entropy.

    Attributes:
        classes: how many; one is told by a sigmoid, several (and none of them) by a softmax.
        regions: the class numbers of each of several regions, which may overlap, the largest first (whole tumor, core,
            enhancing): told by a sigmoid each, instead of the classes.
        network: a name in `NETWORKS`.
        channels: width of each level; the network halves the image `len(channels) - 1` times.
        num_res_units: of `unet` alone: convolutions in each level's residual unit, 0 for none.
        patch_size: size of the inference window in 3-D (the samples' size), None = the whole volume at once.
        overlap: fraction by which neighbouring 3-D windows overlap.

    Raises:
        ConfigError: if a value does not fit.
    """

    classes: int = 1
    regions: tuple[tuple[int, ...], ...] = ()
    network: str = "unet"
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    num_res_units: int = 0
    patch_size: tuple[int, ...] | None = None
    overlap: float = 0.5

    task = "segmentation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.regions:
            class_of_each(self.regions, range(1, self.classes + 1))
        if len(self.channels) < 2:
            raise ConfigError(f"found {len(self.channels)} channels; expected at least 2 levels of channels")
        if self.network not in NETWORKS:
            raise ConfigError(f"network: found {self.network!r}; expected one of {', '.join(NETWORKS)}")
        kind = NETWORKS[self.network]
        if not kind.fits(self.channels):
            raise ConfigError(
                f"channels: found {', '.join(map(str, self.channels))} with network {self.network}; expected "
                f"{kind.expected}, for example 16, 32, 64. Choose other `channels`, or the network unet."
            )
        if self.num_res_units and self.network != "unet":
            raise ConfigError(f"num_res_units: found {self.num_res_units} with network {self.network}; leave it out")
        size, least = self.patch_size, 2 * self.stride
        if size is not None and (len(size) != self.spatial_dims or any(n % self.stride or n < least for n in size)):
            raise ConfigError(
                f"patch_size: found {tuple(size)}; expected {self.spatial_dims} multiples of {self.stride}, each at "
                f"least {least}. Choose another size, or fewer `channels`."
            )

    @property
    def sigmoids(self) -> tuple[tuple[int, ...], ...]:
        """The class numbers of what is told by a sigmoid each: the regions, or a single class; none: a softmax."""
        return self.regions or (((1,),) if self.classes == 1 else ())

    @property
    def outputs(self) -> int:
        """Channels of the network's logits."""
        return len(self.sigmoids) or self.classes + 1

    @property
    def stride(self) -> int:
        """Image sizes must be multiples of this, in voxels, and at least twice it: instance norms need two voxels."""
        return 2 ** (len(self.channels) - 1)

    def build(self, seed: int) -> nn.Module:
        """A network of `sequences` → `outputs` channels."""
        kind, generator = NETWORKS[self.network], torch.Generator().manual_seed(seed)
        options = {"num_res_units": self.num_res_units} if self.network == "unet" else {}
        with torch.device("meta"):  # no draw from the global generator
            network = kind.build(self.spatial_dims, self.sequences, self.outputs, self.channels, **options)
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

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Dice + cross-entropy; labels (B, 1, *S) of class numbers, padded as images are by their edge values."""
        logits, labels = model(padded(images, self)).float(), padded(labels, self)
        # batch: a slice without tumor does not swamp the Dice term
        if not self.sigmoids:
            softmax = DiceCELoss(batch=True, softmax=True, to_onehot_y=True, include_background=False)
            return softmax(logits, labels)
        masks = torch.cat([torch.isin(labels, labels.new_tensor(region)) for region in self.sigmoids], dim=1).float()
        dice = DiceLoss(batch=True, sigmoid=True)(logits, masks)
        return dice + F.binary_cross_entropy_with_logits(logits, masks)


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(NetworkConfig):
    """One small ResNet (He 2015, 1512.03385): four stages of one block, trained by binary cross-entropy.

    Its normalization is by groups (Wu 2018, 1803.08494): statistics of a batch would mix real and synthetic samples.

    Attributes:
        width: channels of the first stage; each of the four has twice as many as the one before.

    Raises:
        ConfigError: if a value does not fit.
    """

    width: int = 16

    task = "classification"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < RESNET_GROUPS or self.width % RESNET_GROUPS:
            raise ConfigError(f"found width {self.width}; expected a width that is a multiple of {RESNET_GROUPS}")

    def build(self, seed: int) -> nn.Module:
        """A ResNet of `sequences` channels → 1 logit, in MONAI's own scheme of weights."""
        with isolated_rng(seed):
            return ResNet(
                "basic",
                [1, 1, 1, 1],
                [self.width * 2**i for i in range(4)],
                self.spatial_dims,
                n_input_channels=self.sequences,
                num_classes=1,
                conv1_t_size=5,
                conv1_t_stride=2,
                no_max_pool=True,
                norm=("group", {"num_groups": RESNET_GROUPS}),
            )

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy; labels (B, 1) of 0 and 1."""
        return F.binary_cross_entropy_with_logits(model(images).float(), labels)


def padded(images: Tensor, config: SegmentationConfig, least: Sequence[int] | None = None) -> Tensor:
    """(N, C, *S) with edge values added at the far ends, to what the network takes, or to at least `least`."""
    size, stride = images.shape[2:], config.stride
    if least is None:
        target = [max(math.ceil(n / stride), 2) * stride for n in size]
    else:
        target = [max(n, m) for n, m in zip(size, least, strict=True)]
    pads = [p for n, m in zip(reversed(size), reversed(target), strict=True) for p in (0, m - n)]
    return F.pad(images, pads, mode="replicate") if any(pads) else images


def _unet(spatial_dims: int, inputs: int, outputs: int, channels: Sequence[int], num_res_units: int = 0) -> nn.Module:
    strides = (2,) * (len(channels) - 1)
    return UNet(spatial_dims, inputs, outputs, channels=channels, strides=strides, num_res_units=num_res_units)


def _segresnet(spatial_dims: int, inputs: int, outputs: int, channels: Sequence[int]) -> nn.Module:
    """Residual blocks by level as in the paper: 1, 2, ..., 2, 4 on the way down and one each on the way up."""
    levels, width = len(channels), channels[0]
    norm = ("GROUP", {"num_groups": math.gcd(NORM_GROUPS, width)})
    down, up = (1, *(2,) * (levels - 2), 4), (1,) * (levels - 1)
    return SegResNet(spatial_dims, width, inputs, outputs, norm=norm, blocks_down=down, blocks_up=up)


def _dynunet(spatial_dims: int, inputs: int, outputs: int, channels: Sequence[int]) -> nn.Module:
    """Kernels of 3, strides of 2 after the first level, instance norm, leaky ReLU, transposed convolutions."""
    halvings = (2,) * (len(channels) - 1)
    kernels = (3,) * len(channels)
    return DynUNet(spatial_dims, inputs, outputs, kernels, (1, *halvings), halvings, filters=tuple(channels))


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
