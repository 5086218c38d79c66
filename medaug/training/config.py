"""What `fit` can be told. Defaults are CycleGAN's (Zhu 2017, section 7.1) where a CPU allows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one GAN training.

    Attributes:
        steps: optimizer steps (one of the generators and one of the discriminators each).
        batch_size: samples a step and device.
        decay_from: fraction of the steps after which the learning rate falls linearly to zero.
        pool_size: fakes kept by domain for the discriminators (Shrivastava 2017); 0 turns the pool off.
        ema_decay: of the generators' exponential moving average, which is what is kept for use; 0 turns it off.
        precision: as Lightning Fabric names it; `bf16-mixed` halves the time on hardware that has it.
        devices: processes, each with one device; `accelerator` as Fabric names it.
        workers: processes that prepare samples, by device.
    """

    steps: int = 1500
    batch_size: int = 8
    learning_rate: float = 3e-4
    beta1: float = 0.5
    beta2: float = 0.99
    decay_from: float = 0.5
    pool_size: int = 50
    ema_decay: float = 0.99
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    workers: int = 0
    checkpoint_every: int = 250
    log_every: int = 20
    preview_every: int = 500
    seed: int = 0

    def learning_rate_at(self, step: int) -> float:
        """Constant, then linear to zero (section 7.1)."""
        start = self.decay_from * self.steps
        if step < start:
            return self.learning_rate
        return self.learning_rate * (self.steps - step) / max(self.steps - start, 1.0)
