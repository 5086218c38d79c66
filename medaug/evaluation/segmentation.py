"""The downstream network: one small MONAI network (see `networks`), trained the same way in every arm of a benchmark.

Only the samples differ between arms: the initial weights come from the seed alone, and every arm gets the same updates
(see `updates`). The loss is Dice + cross-entropy.
Images are (1, *S) in [-1, 1], labels (1, *S) of class numbers (0 none; one class: the tumor), S = (X, Y) or (X, Y, Z).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType

import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.utils import convert_to_tensor
from torch import Tensor, nn
from torch.nn import functional as F

from medaug.errors import ConfigError, DataError
from medaug.evaluation.networks import NETWORKS, build_network
from medaug.evaluation.updates import NetworkConfig, autocast


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(NetworkConfig):
    """The network and its training.

    Attributes:
        classes: how many; one is told by a sigmoid, several (and none of them) by a softmax.
        network: a name in `NETWORKS`.
        channels: width of each level; the network halves the image `len(channels) - 1` times.
        num_res_units: of `unet` alone: convolutions in each level's residual unit, 0 for none.
        patch_size: size of the inference window in 3-D (the samples' size), None = the whole volume at once.
        overlap: fraction by which neighbouring 3-D windows overlap.

    Raises:
        ConfigError: if a value does not fit.
    """

    classes: int = 1
    network: str = "unet"
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    num_res_units: int = 0
    patch_size: tuple[int, ...] | None = None
    overlap: float = 0.5

    task = "segmentation"

    def __post_init__(self) -> None:
        super().__post_init__()
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
    def outputs(self) -> int:
        """Channels of the network's logits."""
        return 1 if self.classes == 1 else self.classes + 1

    @property
    def stride(self) -> int:
        """Image sizes must be multiples of this, in voxels."""
        return 2 ** (len(self.channels) - 1)

    def build(self, seed: int) -> nn.Module:
        """A network of 1 → `outputs` channels."""
        options = {"num_res_units": self.num_res_units} if self.network == "unet" else {}
        generator = torch.Generator().manual_seed(seed)
        return build_network(self.network, self.spatial_dims, self.outputs, self.channels, generator, **options)

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Dice + cross-entropy; labels (B, 1, *S) of class numbers, padded as images are by their edge values."""
        several = self.classes > 1
        dice_and_entropy = DiceCELoss(
            batch=True,  # a slice without tumor does not swamp the Dice term
            sigmoid=not several,
            softmax=several,
            to_onehot_y=several,
            include_background=not several,
        )
        return dice_and_entropy(model(padded(images, self)).float(), padded(labels, self))


def probability(network: nn.Module, image: Tensor, config: SegmentationConfig) -> Tensor:
    """Tumor probability of every voxel, float32 in [0, 1], in the image's shape and on its device; see `logits`."""
    return torch.sigmoid(logits(network, image, config))


def predict(network: nn.Module, image: Tensor, config: SegmentationConfig, threshold: float = 0.5) -> Tensor:
    """The segmentation in the image's shape: bool (`probability` above `threshold`); of several classes, uint8 numbers.

    Several classes go by the largest logit, whatever the threshold.
    """
    if config.classes == 1:
        return probability(network, image, config) > threshold
    channels = -config.spatial_dims - 1
    return logits(network, image, config).argmax(dim=channels, keepdim=True).to(torch.uint8)


@torch.inference_mode()
def logits(network: nn.Module, image: Tensor, config: SegmentationConfig) -> Tensor:
    """The network's output for images of any size, float32 on the image's device; channels in place of the image's one.

    Args:
        image: 2-D: a slice (1, X, Y) or a stack (N, 1, X, Y); 3-D: a volume (1, X, Y, Z). Any size: it is padded
            by its edge values to what the network takes, and cropped back.

    Raises:
        DataError: if the shape does not fit `config.spatial_dims`.
    """
    dims = config.spatial_dims
    stack = dims == 2 and image.ndim == 4
    if not stack and image.ndim != dims + 1 or image.shape[1 if stack else 0] != 1:
        expected = "(1, X, Y) or (N, 1, X, Y)" if dims == 2 else "(1, X, Y, Z)"
        raise DataError(f"image: found shape {tuple(image.shape)}; expected {expected}. Add or move the channel axis.")
    device = next(network.parameters()).device
    forward = autocast(network, config.precision, device)
    images = convert_to_tensor(image if stack else image[None], track_meta=False, dtype=torch.float32)  # (N, 1, *S)
    size = tuple(images.shape[2:])
    if dims == 2 or config.patch_size is None:
        parts = [forward(padded(part.to(device), config)) for part in images.split(config.batch_size)]
        result = torch.cat(parts)
    else:
        large = padded(images.to(device), config, config.patch_size)
        joined = sliding_window_inference(
            large, config.patch_size, config.batch_size, forward, overlap=config.overlap, mode="gaussian"
        )
        assert isinstance(joined, Tensor)  # as `forward` gives one
        result = joined
    own: tuple[EllipsisType | slice, ...] = (..., *(slice(n) for n in size))
    result = result[own].float().to(image.device)
    return result if stack else result[0]


def padded(images: Tensor, config: SegmentationConfig, least: Sequence[int] | None = None) -> Tensor:
    """(N, 1, *S) with edge values added at the far ends, to what the network takes, or to at least `least`."""
    size, stride = images.shape[2:], config.stride
    if least is None:
        target = [max(math.ceil(n / stride), 2) * stride for n in size]
    else:
        target = [max(n, m) for n, m in zip(size, least, strict=True)]
    pads = [p for n, m in zip(reversed(size), reversed(target), strict=True) for p in (0, m - n)]
    return F.pad(images, pads, mode="replicate") if any(pads) else images
