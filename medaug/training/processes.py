"""Processes that torchrun or srun started side by side: all of them train, and the first does everything else.

What several processes are is said by the environment variables that those set; see `loop.make_fabric`.
"""

from __future__ import annotations

import os

from medaug.training.config import TrainingConfig


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
