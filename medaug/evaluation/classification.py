"""The downstream network for tumor / no tumor: one small MONAI ResNet, trained the same way in every arm.

As in `segmentation`, only the samples differ between arms. ResNet: He 2015 (1512.03385), four stages of one block,
with group normalization (Wu 2018, 1803.08494): statistics of a batch would mix real and synthetic samples. Loss:
binary cross-entropy. Images are (1, *S) in [-1, 1], labels (1,) of 0 and 1, S = (X, Y) or (X, Y, Z).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from monai.networks.nets import ResNet
from torch import Tensor, nn
from torch.nn import functional

from medaug.errors import ConfigError
from medaug.evaluation.updates import OnUpdate, Samples, UpdatesConfig, autocast, run_updates
from medaug.models.networks.layers import isolated_rng

GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(UpdatesConfig):
    """The network and its training.

    Attributes:
        width: channels of the first stage; each of the four has twice as many as the one before.

    Raises:
        ConfigError: if a value does not fit.
    """

    width: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < GROUPS or self.width % GROUPS:
            raise ConfigError(f"found width {self.width}; expected a width that is a multiple of {GROUPS}")


def build_classifier(config: ClassificationConfig, seed: int) -> nn.Module:
    """A ResNet of 1 channel → 1 logit on the CPU, its weights drawn from `seed` alone (MONAI's own scheme)."""
    with isolated_rng(seed):
        return ResNet(
            "basic",
            [1, 1, 1, 1],
            [config.width * 2**i for i in range(4)],
            config.spatial_dims,
            n_input_channels=1,
            num_classes=1,
            conv1_t_size=5,
            conv1_t_stride=2,
            no_max_pool=True,
            norm=("group", {"num_groups": GROUPS}),
        )


def train_classifier(
    samples: Samples,
    config: ClassificationConfig,
    *,
    seed: int,
    fabric: Fabric | None = None,
    workers: int = 0,
    on_update: OnUpdate | None = None,
) -> nn.Module:
    """Trains one network on samples 0 … updates × batch_size − 1, in that order; bit for bit repeatable on CPU.

    Args:
        samples: `samples[i]` → {"image": (1, *S) float in [-1, 1], "label": (1,) of 0/1}, all of one size.
        seed: of the initial weights.
        fabric, workers, on_update: as in `run_updates`.

    Returns:
        The network in evaluation mode.

    Raises:
        DataError, ConfigError, TrainingError: as `run_updates`.
    """

    def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(model(images).float(), labels)  # (B, 1)

    return run_updates(
        build_classifier(config, seed),
        loss_of,
        samples,
        config,
        task="classification",
        seed=seed,
        fabric=fabric,
        workers=workers,
        on_update=on_update,
    )


@torch.inference_mode()
def tumor_probability(network: nn.Module, images: Tensor, config: ClassificationConfig) -> Tensor:
    """The probability that there is a tumor, (N,) float32 on the CPU, of images (N, 1, *S)."""
    device = next(network.parameters()).device
    forward = autocast(network, config.precision, device)
    parts = [forward(part.to(device)) for part in images.split(config.batch_size)]
    return torch.sigmoid(torch.cat(parts))[:, 0].cpu()
