"""The loop of every downstream network: the same number of updates of the same size, whatever the arm.

Never "epochs", which would give the arm with more data more training. AdamW with a cosine decay to zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medaug.errors import ConfigError, DataError, TrainingError

Stack = Callable[[Sequence[Mapping[str, Any]]], tuple[Tensor, Tensor]]
"""Samples → a batch of images and one of labels."""
OnUpdate = Callable[[int, float], None]


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""As Lightning Fabric names it."""


class Samples(Protocol):
    """Training samples by number: `samples[i]` is the same sample whenever it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


class Schedule(Protocol):
    """What the loop needs of a network's settings."""

    @property
    def updates(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def precision(self) -> Precision: ...


def run_updates(
    network: nn.Module,
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor],
    samples: Samples,
    stack: Stack,
    config: Schedule,
    *,
    task: str,
    seed: int,
    fabric: Fabric | None,
    workers: int,
    on_update: OnUpdate | None,
) -> nn.Module:
    """Trains on samples 0 … updates × batch_size − 1, in that order; bit for bit repeatable on CPU.

    Args:
        loss_of: (model, images, labels) → the loss.
        task: for messages.
        seed: of the loader.
        fabric: device and precision; by default one device and `config.precision`. A given one keeps its precision.
        workers: DataLoader processes.
        on_update: called with (updates done, loss) after each update.

    Returns:
        The network in evaluation mode, on Fabric's device.

    Raises:
        DataError: if there are too few samples.
        ConfigError: if Fabric runs several processes.
        TrainingError: if the loss becomes NaN or infinite.
    """
    needed = config.updates * config.batch_size
    if len(samples) < needed:
        raise DataError(
            f"samples: found {len(samples)}; expected {config.updates} updates × {config.batch_size} = {needed}. "
            "Let `samples[i]` repeat the cases with new augmentation, or lower `updates`."
        )
    fabric = fabric or Fabric(devices=1, precision=config.precision)
    if fabric.world_size != 1:
        raise ConfigError(
            f"the downstream network trains in one process; found {fabric.world_size}. Run several cells of the "
            "benchmark side by side instead."
        )
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.updates)
    model, optimizer = fabric.setup(network, optimizer)
    model.train()
    for update, batch in enumerate(_loader(samples, stack, config, seed, workers), start=1):
        images, labels = fabric.to_device(batch)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model, images, labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"{task}, update {update}: found loss {value}; expected a finite one. Check the images for NaN, "
                'lower `learning_rate`, or use `precision: "32-true"`.'
            )
        fabric.backward(loss)
        optimizer.step()
        schedule.step()
        if on_update is not None:
            on_update(update, value)
    return network.eval()


def autocast(network: nn.Module, precision: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The network's forward pass in this precision, float32 out."""
    kind = torch.float16 if precision.startswith("16") else torch.bfloat16

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(device.type, kind, enabled=precision.endswith("mixed")):
            return network(x).float()

    return forward


def _loader(samples: Samples, stack: Stack, config: Schedule, seed: int, workers: int) -> DataLoader:
    numbers = range(config.updates * config.batch_size)
    generator = torch.Generator().manual_seed(seed)  # without it, the loader draws from the global generator
    return DataLoader(
        samples,  # type: ignore[arg-type]  # it needs no more than `Samples` has, and does not say so
        config.batch_size,
        sampler=numbers,
        num_workers=workers,
        generator=generator,
        collate_fn=stack,
        pin_memory=torch.cuda.is_available(),
    )
