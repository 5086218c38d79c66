"""The downstream networks: nnU-Net's U-Net, plain or residual, and a ResNet that tells tumor / no tumor, 2-D and 3-D.

The U-Net (Ronneberger 2015, 1505.04597; Isensee 2018, 1809.10486) is MONAI's `DynUNet`: features at full resolution,
instance norm, leaky ReLU, strided convolutions down and transposed ones up. While it trains, all levels but the two
coarsest give an answer of their own (deep supervision). `residual: true` puts a shortcut around each pair of
convolutions (He 2015, 1512.03385). Images are (C, *S) in [-1, 1], S = (X, Y) or (X, Y, Z). Only the samples differ
between the arms of a benchmark: initial weights come from the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.losses import DiceCELoss, DiceLoss
from monai.networks.nets import DynUNet, ResNet
from torch import Tensor, nn
from torch.nn import functional as F

from medaug.errors import ConfigError
from medaug.evaluation.regions import class_of_each
from medaug.evaluation.updates import NetworkConfig
from medaug.models.networks.layers import isolated_rng

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
RESNET_GROUPS = 4
LEAST_LEVELS = 3


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(NetworkConfig):
    """A U-Net and its training by Dice + cross-entropy.

    Attributes:
        classes: how many; one is told by a sigmoid, several (and none of them) by a softmax.
        regions: the class numbers of each of several regions, which may overlap, the largest first (whole tumor, core,
            enhancing): told by a sigmoid each, instead of the classes.
        channels: width of each level, the finest first, at full resolution.
        strides: by level but the first, by how much it is coarser than the one before, an axis; None: 2 on all.
        residual: whether each pair of convolutions has a shortcut.
        patch_size: size of the windows that an image goes through, None = the whole image at once.
        overlap: fraction by which neighbouring windows overlap.
        mirror_axes: a prediction is the mean over the image mirrored along every subset of these axes.

    Raises:
        ConfigError: if a value does not fit.
    """

    classes: int = 1
    regions: tuple[tuple[int, ...], ...] = ()
    channels: tuple[int, ...] = (16, 32, 64, 128, 128)
    strides: tuple[tuple[int, ...], ...] | None = None
    residual: bool = False
    patch_size: tuple[int, ...] | None = None
    overlap: float = 0.5
    mirror_axes: tuple[int, ...] = ()

    task = "segmentation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.regions:
            class_of_each(self.regions, range(1, self.classes + 1))
        levels, dims = len(self.channels), self.spatial_dims
        if levels < LEAST_LEVELS:
            raise ConfigError(f"channels: found {levels} levels; expected at least {LEAST_LEVELS}, such as 16, 32, 64")
        if self.strides is not None and [len(s) for s in self.strides] != [dims] * (levels - 1):
            raise ConfigError(f"strides: found {self.strides}; expected {levels - 1} of {dims} numbers each")
        size = self.patch_size
        if size is not None and (
            len(size) != dims or any(n % s or n < 2 * s for n, s in zip(size, self.stride, strict=True))
        ):
            raise ConfigError(
                f"patch_size: found {tuple(size)}; expected multiples of {self.stride}, each at least twice it. Choose "
                "another size, or fewer `channels`."
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
    def stride(self) -> tuple[int, ...]:
        """Image sizes must be multiples of this, in voxels, and at least twice it: instance norms need two voxels."""
        return tuple(math.prod(steps) for steps in zip(*self._steps, strict=True))

    @property
    def _steps(self) -> tuple[tuple[int, ...], ...]:
        return self.strides or ((2,) * self.spatial_dims,) * (len(self.channels) - 1)

    def build(self, seed: int) -> nn.Module:
        """A network of `sequences` → `outputs` channels; in training (B, heads, `outputs`, *S), the finest first."""
        generator = torch.Generator().manual_seed(seed)
        steps = ((1,) * self.spatial_dims, *self._steps)
        # an axis that is halved later than the others has thicker voxels: until then no kernel reaches along it
        kernels = [
            tuple(
                1
                if level + 1 < len(steps)
                and steps[level + 1][axis] == 1
                and any(s[axis] > 1 for s in steps[level + 2 :])
                else 3
                for axis in range(self.spatial_dims)
            )
            for level in range(len(steps))
        ]
        with torch.device("meta"):  # no draw from the global generator
            network = DynUNet(
                self.spatial_dims,
                self.sequences,
                self.outputs,
                kernels,
                steps,
                steps[1:],
                filters=self.channels,
                deep_supervision=True,
                deep_supr_num=len(steps) - 2,
                res_block=self.residual,
            )
        network = network.to_empty(device="cpu")
        for place, module in network.named_modules():
            if isinstance(module, CONVOLUTIONS):  # nnU-Net's scheme, for its leaky ReLU
                nn.init.kaiming_normal_(module.weight, a=0.01, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif list(module.parameters(recurse=False)) or list(module.buffers(recurse=False)):
                raise TypeError(f"{place}: no initial weights defined for {type(module).__name__}")
        return network

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Dice + cross-entropy of every head, each coarser one at half the weight of the one before.

        Labels (B, 1, *S) are class numbers, padded as images are, by their edge values.
        """
        answers, labels = model(padded(images, self)).float(), padded(labels, self)
        heads = answers.unbind(1) if answers.ndim > labels.ndim else (answers,)
        weights = [0.5**number for number in range(len(heads))]
        losses = [weight * self._head_loss(head, labels) for weight, head in zip(weights, heads, strict=True)]
        return torch.stack(losses).sum() / sum(weights)

    def _head_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
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
        target = [max(math.ceil(n / step), 2) * step for n, step in zip(size, stride, strict=True)]
    else:
        target = [max(n, m) for n, m in zip(size, least, strict=True)]
    pads = [p for n, m in zip(reversed(size), reversed(target), strict=True) for p in (0, m - n)]
    return F.pad(images, pads, mode="replicate") if any(pads) else images
