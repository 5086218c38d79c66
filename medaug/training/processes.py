"""The processes of a training, by Lightning Fabric: one, several that it starts, or those of torchrun or srun.

Those are there from the start of the command, and their environment variables say which is which: all of them train,
and the first does everything else.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from medaug.training.config import TrainingConfig

A_DAY = timedelta(days=1)
"""How long processes wait for each other: the first reads all scans before the others have anything to do."""


def make_fabric(config: TrainingConfig, *, alone: bool = False) -> Fabric:
    """Fabric for this config: plain on one device, DDP on several (spawned here, or as torchrun / SLURM laid out).

    Args:
        alone: for one process by itself, whatever others there are.
    """
    strategy: Any = "auto"
    if alone:
        return Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    launched = is_launched(config)
    if launched or config.devices > 1:
        start_method: Any = "popen" if launched else "spawn"
        strategy = DDPStrategy(start_method=start_method, find_unused_parameters=True, timeout=A_DAY)
    return Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=nodes() if launched else 1,
        strategy=strategy,
        precision=config.precision,
    )


def wait_for_all(config: TrainingConfig) -> None:
    """Waits until every process that torchrun or srun started is here; there are no others to wait for."""
    if is_launched(config):
        fabric = make_fabric(config)
        fabric.launch()
        fabric.barrier()


def is_launched(config: TrainingConfig) -> bool:
    """Whether torchrun or srun started this process as one of several."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1")) > 1
    return "SLURM_PROCID" in os.environ and config.devices * nodes() > 1


def nodes() -> int:
    """On how many machines they are."""
    name = "GROUP_WORLD_SIZE" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_STEP_NUM_NODES"
    return int(os.environ.get(name, "1"))


def is_helper(config: TrainingConfig) -> bool:
    """Whether another process is the first, so that this one only trains."""
    rank = os.environ.get("RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_PROCID", "0")
    return is_launched(config) and int(rank) > 0
