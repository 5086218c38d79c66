"""What `fit` can be told, and the processes that train by it: one, several that it starts, or torchrun's or srun's.

Those are there from the start of the command, and their environment variables say which is which: all of them train,
and the first does everything else. Defaults are CycleGAN's (Zhu 2017, section 7.1) where a CPU allows it.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field

from medaug.devices import Compute, fabric_on
from medaug.settings import Count, Samples, Section, Seed, Workers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

A_DAY = timedelta(days=1)
"""How long processes wait for each other: the first reads all scans before the others have anything to do."""


class TrainingSection(Section):
    """The section `training` of a pipeline file: settings of one GAN training, whatever it runs on.

    Attributes:
        steps: optimizer steps (one of the generators and one of the discriminators each).
        batch_size: samples a step and device.
        decay_from: fraction of the steps after which the learning rate falls linearly to zero.
        pool_size: fakes kept by domain for the discriminators (Shrivastava 2017); 0 turns the pool off.
        ema_decay: of the generators' exponential moving average, which is what is kept for use; 0 turns it off.
        devices: processes, each with one device.
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


class TrainingConfig(TrainingSection, Compute):
    """All that `fit` can be told: the settings of a training, and what it runs on."""


def make_fabric(config: TrainingConfig) -> Fabric:
    """Fabric for this config: plain on one device, DDP on several (spawned here, or as torchrun / SLURM laid out).

    Raises:
        ConfigError: as `devices.fabric_on`.
    """
    from lightning_fabric.strategies import DDPStrategy  # a second, which a look at the settings need not wait

    strategy: Any = "auto"
    launched = is_launched(config)
    if launched or config.devices > 1:
        start_method: Any = "popen" if launched else "spawn"
        strategy = DDPStrategy(start_method=start_method, find_unused_parameters=True, timeout=A_DAY)
    num_nodes = nodes() if launched else 1
    return fabric_on(config.accelerator, config.precision, config.devices, num_nodes=num_nodes, strategy=strategy)


def wait_for_all(config: TrainingConfig) -> None:
    """Waits until every process that torchrun or srun started is here; there are no others to wait for."""
    if is_launched(config):
        fabric = make_fabric(config)
        fabric.launch()
        fabric.barrier()


def is_launched(config: TrainingSection) -> bool:
    """Whether torchrun or srun started this process as one of several."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1")) > 1
    return "SLURM_PROCID" in os.environ and config.devices * nodes() > 1


def nodes() -> int:
    """On how many machines they are."""
    name = "GROUP_WORLD_SIZE" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_STEP_NUM_NODES"
    return int(os.environ.get(name, "1"))


def is_helper(config: TrainingSection) -> bool:
    """Whether another process is the first, so that this one only trains."""
    rank = os.environ.get("RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_PROCID", "0")
    return is_launched(config) and int(rank) > 0
