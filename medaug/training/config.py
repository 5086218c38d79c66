"""What `fit` can be told. Defaults are CycleGAN's (Zhu 2017, section 7.1) where a CPU allows it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medaug.settings import Count, Samples, Section, Seed, Workers


class TrainingConfig(Section):
    """Settings of one GAN training; also the section `training` of a pipeline file.

    Attributes:
        steps: optimizer steps (one of the generators and one of the discriminators each).
        batch_size: samples a step and device.
        decay_from: fraction of the steps after which the learning rate falls linearly to zero.
        pool_size: fakes kept by domain for the discriminators (Shrivastava 2017); 0 turns the pool off.
        ema_decay: of the generators' exponential moving average, which is what is kept for use; 0 turns it off.
        precision: as Lightning Fabric names it; `bf16-mixed` pays only on hardware that has bfloat16.
        devices: processes, each with one device; `accelerator` as Fabric names it.
        workers: processes that prepare samples, by device.
    """

    steps: Count = 1500
    batch_size: Samples = 8
    learning_rate: float = Field(3e-4, gt=0, le=10)
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    decay_from: float = Field(0.5, ge=0, le=1)
    pool_size: int = Field(50, ge=0, le=10**5)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(1, ge=1, le=1024)
    workers: Workers = 1
    checkpoint_every: Count = 250
    log_every: Count = 20
    preview_every: Count = 500
    seed: Seed = 0

    def learning_rate_at(self, step: int) -> float:
        """Constant, then linear to zero (section 7.1)."""
        start = self.decay_from * self.steps
        if step < start:
            return self.learning_rate
        return self.learning_rate * (self.steps - step) / max(self.steps - start, 1.0)
