"""How every downstream network is trained: the same number of updates of the same size, whatever the arm.

Never "epochs", which would give the arm with more data more training. AdamW, a short linear warm-up, and nnU-Net's
polynomial decay (Isensee 2021, doi 10.1038/s41592-020-01008-z). What is returned is a running mean of the weights
(Polyak 1992): where there are validation samples, the mean that does best on them.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from lightning_fabric import Fabric
from monai.utils import convert_to_tensor
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medaug.devices import AUTO, Precision, autocast, fabric_on
from medaug.errors import ConfigError, DataError, TrainingError

WARM_UP = 20
"""Updates in which the learning rate rises, at most a tenth of all."""
DECAY_POWER = 0.9
MEAN_DECAY = 0.99
"""Of the running mean of the weights, which begins faster."""
CHOICES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""When, as parts of the training, the running mean is tried on the validation samples."""
OnUpdate = Callable[[int, float], None]


class Samples(Protocol):
    """Training samples by number: `samples[i]` is the same sample whenever it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(ABC):
    """A downstream network and its training; what it tells is in the classes below it.

    Attributes:
        sequences: how many channels an image has.
        accelerator, precision: what it is trained and used on, and how (see `devices`).

    Raises:
        ConfigError: if a value does not fit.
    """

    spatial_dims: int = 2
    sequences: int = 1
    updates: int = 800
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-5
    accelerator: str = AUTO
    precision: Precision = "32-true"

    task: ClassVar[str]
    """What it does, for messages."""

    def __post_init__(self) -> None:
        if self.spatial_dims not in (2, 3):
            raise ConfigError(f"spatial_dims: found {self.spatial_dims}; expected 2 or 3")
        if self.updates < 1 or self.batch_size < 1:
            raise ConfigError(
                f"found {self.updates} updates, batch_size {self.batch_size}; expected at least 1 update and "
                "batch_size 1"
            )

    @abstractmethod
    def build(self, seed: int) -> nn.Module:
        """The network of `sequences` input channels on the CPU, its weights drawn from `seed` alone."""

    @abstractmethod
    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch of images (B, C, *S) in [-1, 1] and labels."""


def train_network(
    samples: Samples,
    config: NetworkConfig,
    *,
    seed: int,
    fabric: Fabric | None = None,
    workers: int = 0,
    on_update: OnUpdate | None = None,
    validation: Samples | None = None,
) -> nn.Module:
    """Trains one network on samples 0 … updates × batch_size − 1, in that order; bit for bit repeatable on CPU.

    Args:
        samples: `samples[i]` → {"image": (C, *S) float in [-1, 1], "label": what the network tells}, all of one size;
            other keys are ignored.
        seed: of the initial weights.
        fabric: one with a device and precision of its own, instead of those of `config`.
        workers: DataLoader processes.
        on_update: called with (updates done, loss) after each update.
        validation: samples like `samples`; the running mean of the weights that has the least loss on them, of
            `CHOICES` in the second half of the training, is what is returned. None: the last.

    Returns:
        The network in evaluation mode, on Fabric's device; its weights are a running mean over updates.

    Raises:
        DataError: if there are too few samples, or they differ in shape or in their number of dimensions from `config`.
        ConfigError: if Fabric runs several processes.
        TrainingError: if the loss becomes NaN or infinite.
    """
    needed = config.updates * config.batch_size
    if len(samples) < needed:
        raise DataError(
            f"samples: found {len(samples)}; expected {config.updates} updates × {config.batch_size} = {needed}. "
            "Let `samples[i]` repeat the cases with new augmentation, or lower `updates`."
        )
    fabric = fabric or fabric_on(config.accelerator, config.precision)
    if fabric.world_size != 1:
        raise ConfigError(
            f"the downstream network trains in one process; found {fabric.world_size}. Run several cells of the "
            "benchmark side by side instead."
        )
    network = config.build(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, updates=config.updates))
    model, optimizer = fabric.setup(network, optimizer)
    model.train()
    mean = copy.deepcopy(network).requires_grad_(False)
    averaged: list[Tensor] = list(mean.parameters())
    trained = [parameter.detach() for parameter in network.parameters()]
    chosen, least = mean, math.inf
    choices = {math.ceil(config.updates * part) for part in CHOICES} if validation is not None else set()
    stacked = partial(_stacked, channels=config.sequences, spatial_dims=config.spatial_dims)
    loader: DataLoader = DataLoader(
        samples,  # type: ignore[arg-type]  # it needs no more than `Samples` has, and does not say so
        config.batch_size,
        sampler=range(needed),
        num_workers=workers,
        generator=torch.Generator().manual_seed(seed),  # without it, the loader draws from the global generator
        collate_fn=stacked,
        pin_memory=fabric.device.type == "cuda",
    )
    for update, batch in enumerate(loader, start=1):
        images, labels = fabric.to_device(batch)
        optimizer.zero_grad(set_to_none=True)
        loss = config.loss(model, images, labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"{config.task}, update {update}: found loss {value}; expected a finite one. Check the images for NaN, "
                'lower `learning_rate`, or use `precision: "32-true"`.'
            )
        fabric.backward(loss)
        optimizer.step()
        schedule.step()
        weight = 1 - min(MEAN_DECAY, (1 + update) / (10 + update))
        torch._foreach_lerp_(averaged, trained, weight)
        if update in choices:
            assert validation is not None
            found = _validation_loss(mean.eval(), config, fabric, validation, stacked)
            if found <= least:
                chosen, least = copy.deepcopy(mean), found
        if on_update is not None:
            on_update(update, value)
    return chosen.eval()


@torch.no_grad()
def _validation_loss(
    network: nn.Module, config: NetworkConfig, fabric: Fabric, samples: Samples, stacked: Callable[..., Any]
) -> float:
    """The mean over all of the samples."""
    losses = []
    for first in range(0, len(samples), config.batch_size):
        numbers = range(first, min(first + config.batch_size, len(samples)))
        images, labels = fabric.to_device(stacked([samples[number] for number in numbers]))
        losses.append(float(config.loss(network, images, labels)) * len(numbers))
    return sum(losses) / len(samples)


def _rate(update: int, updates: int) -> float:
    """The learning rate over its highest: a linear rise, then (1 − part done) to the power of 0.9."""
    rise = min(1.0, (update + 1) / max(1, min(WARM_UP, updates // 10)))
    return rise * (1 - update / updates) ** DECAY_POWER


def in_precision(network: nn.Module, precision: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The network's forward pass in this precision, float32 out."""

    def forward(x: Tensor) -> Tensor:
        with autocast(device, precision):
            return network(x).float()

    return forward


def _stacked(samples: Sequence[Mapping[str, Any]], channels: int, spatial_dims: int) -> tuple[Tensor, Tensor]:
    """Images (B, C, *S) and labels (B, 1, *S) or (B, 1), float32, without metadata."""
    images, labels = (
        [convert_to_tensor(sample[key], dtype=torch.float32, track_meta=False) for sample in samples]
        for key in ("image", "label")
    )
    maps = [label for label in labels if label.ndim > 1]  # of a segmentation; a classification has one number each
    shapes, grids = {tuple(x.shape) for x in (*images, *maps)}, {tuple(x.shape[1:]) for x in (*images, *maps)}
    fits = all(image.shape[0] == channels for image in images) and all(label.shape[0] == 1 for label in maps)
    if len(grids) > 1 or images[0].ndim != spatial_dims + 1 or not fits:
        axes = "X, Y" if spatial_dims == 2 else "X, Y, Z"
        raise DataError(
            f"samples: found shapes {', '.join(map(str, sorted(shapes)))} in one batch; expected images "
            f"({channels}, {axes}) and labels (1, {axes}), one size for all. Set data.resample_mm or "
            "evaluation.patch_size. Crop or pad samples of your own to one size."
        )
    return torch.stack(images), torch.stack(labels)
