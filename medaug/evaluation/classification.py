"""The downstream network for tumor / no tumor: one small MONAI ResNet, trained the same way in every arm.

As in `segmentation`, only the samples differ between arms. ResNet: He 2015 (1512.03385), four stages of one block,
with group normalization (Wu 2018, 1803.08494): statistics of a batch would mix real and synthetic samples. Loss:
binary cross-entropy. Images are (1, *S) in [-1, 1], labels (1,) of 0 and 1, S = (X, Y) or (X, Y, Z).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.nets import ResNet
from torch import Tensor, nn
from torch.nn import functional

from medaug.errors import ConfigError
from medaug.evaluation.updates import NetworkConfig, autocast
from medaug.models.networks.layers import isolated_rng

GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(NetworkConfig):
    """The network and its training.

    Attributes:
        width: channels of the first stage; each of the four has twice as many as the one before.

    Raises:
        ConfigError: if a value does not fit.
    """

    width: int = 16

    task = "classification"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < GROUPS or self.width % GROUPS:
            raise ConfigError(f"found width {self.width}; expected a width that is a multiple of {GROUPS}")

    def build(self, seed: int) -> nn.Module:
        """A ResNet of 1 channel → 1 logit, in MONAI's own scheme of weights."""
        with isolated_rng(seed):
            return ResNet(
                "basic",
                [1, 1, 1, 1],
                [self.width * 2**i for i in range(4)],
                self.spatial_dims,
                n_input_channels=1,
                num_classes=1,
                conv1_t_size=5,
                conv1_t_stride=2,
                no_max_pool=True,
                norm=("group", {"num_groups": GROUPS}),
            )

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy; labels (B, 1) of 0 and 1."""
        return functional.binary_cross_entropy_with_logits(model(images).float(), labels)


@torch.inference_mode()
def tumor_probability(network: nn.Module, images: Tensor, config: ClassificationConfig) -> Tensor:
    """The probability that there is a tumor, (N,) float32 on the CPU, of images (N, 1, *S)."""
    device = next(network.parameters()).device
    forward = autocast(network, config.precision, device)
    parts = [forward(part.to(device)) for part in images.split(config.batch_size)]
    return torch.sigmoid(torch.cat(parts))[:, 0].cpu()
