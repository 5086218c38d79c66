"""What `fit` can be told, and the processes that train by it: one, several that it starts, or torchrun's or srun's.

Those are there from the start of the command, and their environment variables say which is which: all of them train,
and the first does everything else. Defaults are CycleGAN's (Zhu 2017, section 7.1) where a CPU allows it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field

from medaug.devices import Compute, fabric_on
from medaug.errors import ConfigError, DataError, MedaugError, RunError, TrainingError
from medaug.processes import cores, told_where_loaders_end
from medaug.settings import Count, Samples, Section, Seed, Workers

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy
    from torch.distributed import ProcessGroup

HALF_AN_HOUR = timedelta(minutes=30)
"""How long processes that train wait for each other."""
PREPARING = timedelta(days=7)
"""How long the others wait while the first reads all scans. If it dies meanwhile they learn that at once."""
PEER_GONE = (
    "Connection closed by peer",
    "Connection reset by peer",
    "communicator was aborted",
    "remote process exited",
)
"""What torch's collectives say in a process whose peer has ended."""
Made = TypeVar("Made")
MOST_WORKERS = 8
"""More are not started by themselves: each holds samples in memory."""


class TrainingSection(Section):
    """The section `training` of a pipeline file: settings of one GAN training, whatever it runs on.

    Attributes:
        steps: optimizer steps (one of the generators and one of the discriminators each).
        extend: further steps, with the learning rate of a training of so many: a finished training goes on from its
            last checkpoint, and ends with the weights of one that was asked for both at once.
        batch_size: samples a step and device.
        decay_from: fraction of the steps after which the learning rate falls linearly to zero.
        pool_size: fakes kept by domain for the discriminators (Shrivastava 2017); 0 turns the pool off.
        ema_decay: of the generators' exponential moving average, which is what is kept for use; 0 turns it off.
        devices: processes, each with one device.
        workers: processes that prepare samples, by device; none: a core each beside the training's own, 8 at most.
        checkpointing: whether the inside of the generators' blocks is computed again for the gradient instead of kept
            (Chen 2016, arXiv 1604.06174): large 3-D crops then fit, at a third more time. Weights are the same.
        compile: whether each side's losses are compiled as one graph (torch.compile), which takes a minute or more at
            the start and pays on GPUs.
    """

    steps: Count = 1500
    extend: Count | None = None
    batch_size: Samples = 8
    learning_rate: float = Field(3e-4, gt=0, le=10)
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    decay_from: float = Field(0.5, ge=0, le=1)
    pool_size: int = Field(50, ge=0, le=10**5)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    devices: int = Field(1, ge=1, le=1024)
    workers: Workers | None = None
    checkpointing: bool = False
    compile: bool = False
    checkpoint_every: Count = 250
    log_every: Count = 20
    preview_every: Count = 500
    seed: Seed = 0

    @property
    def sample_workers(self) -> int:
        """`workers`, or as many as this machine's cores allow; what they prepare does not depend on it."""
        if self.workers is not None:
            return self.workers
        return max(1, min(MOST_WORKERS, cores() // self.devices - 1))

    @property
    def total_steps(self) -> int:
        return self.steps + (self.extend or 0)

    def learning_rate_at(self, step: int) -> float:
        """Constant, then linear to zero (section 7.1), and so once more in `extend`."""
        steps = self.steps
        if step >= steps and self.extend:
            steps, step = self.extend, step - steps
        start = self.decay_from * steps
        if step < start:
            return self.learning_rate
        return self.learning_rate * (steps - step) / max(steps - start, 1.0)


def beyond(folder: Path, steps: int, settings: TrainingSection) -> RunError:
    """The error of a training that has more steps than are asked for."""
    asked = f"{settings.total_steps} (training.steps, training.extend)"
    remedy = f"Set training.extend={steps - settings.steps}, or choose another folder"
    return RunError(f"{folder}: found a training of {steps} steps; expected at most {asked}. {remedy}.")


class TrainingConfig(TrainingSection, Compute):
    """All that `fit` can be told: the settings of a training, and what it runs on."""


def make_fabric(config: TrainingConfig) -> Fabric:
    """Fabric for this config: plain on one device, DDP on several (spawned here, or as torchrun / SLURM laid out).

    Raises:
        ConfigError: as `devices.fabric_on`.
    """
    strategy: Any = "auto"
    launched = is_launched(config)
    if launched or config.devices > 1:
        strategy = data_parallel("popen" if launched else "spawn")
    num_nodes = nodes() if launched else 1
    return fabric_on(config.accelerator, config.precision, config.devices, num_nodes=num_nodes, strategy=strategy)


def data_parallel(start_method: Literal["popen", "spawn"]) -> DDPStrategy:
    """DDP: every process takes its own samples, and gradients are averaged, once a step and parameter.

    Args:
        start_method: of the processes; "popen" where they are there already.
    """
    from lightning_fabric.strategies import DDPStrategy  # a second, which a look at the settings need not wait

    return DDPStrategy(start_method=start_method, timeout=HALF_AN_HOUR, gradient_as_bucket_view=True)


@contextmanager
def told_where_processes_end(folder: Path) -> Iterator[None]:
    """Says in words that one of several processes ended, or one of a loader's workers.

    Args:
        folder: of the training.

    Raises:
        MedaugError: what a process that was started here said itself.
        RunError: if it was ended from outside.
    """
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    resume = f"{folder}: the last checkpoint is kept, and the same command goes on from it."
    try:
        with told_where_loaders_end("training.workers or training.batch_size", resume):
            yield
    except MedaugError:
        raise
    except (ProcessExitedException, ProcessRaisedException, RuntimeError) as error:
        said = str(error).strip()
        for kind in (ConfigError, DataError, RunError, TrainingError):
            if own := re.search(rf"^medaug\.errors\.{kind.__name__}: (.+)", said, flags=re.M):
                raise kind(own[1]) from None
        if isinstance(error, ProcessExitedException):
            raise RunError(
                f"found a process that trains ended from outside ({said.splitlines()[0]}); expected it to the end. If "
                f"memory was short, lower training.workers or training.batch_size. {resume}"
            ) from None
        if any(sign in said for sign in PEER_GONE):
            raise RunError(
                "found another of the processes that train together gone; expected all of them to the end. Its own "
                f"messages say why. {resume}"
            ) from None
        raise


@cache
def join_processes(config: TrainingConfig) -> ProcessGroup | None:
    """All processes that torchrun or srun started, for what they wait for as long as the data need; None without.

    Each has to come here within half an hour: before the first has anything long to do by itself.
    """
    if not is_launched(config):
        return None
    import torch

    make_fabric(config).launch()
    return torch.distributed.new_group(backend="gloo", timeout=PREPARING)


def made_once(config: TrainingConfig, make: Callable[[], Made]) -> Made:
    """What the first process makes, in every process that torchrun or srun started; the others wait for it.

    Raises:
        RunError: in the others, if the first process ended instead.
    """
    group = join_processes(config)
    if group is None:
        return make()
    import torch

    made = [None if is_helper(config) else make()]
    try:
        torch.distributed.broadcast_object_list(made, src=0, group=group)
    except RuntimeError as error:
        raise RunError(
            f"another of the processes that train together ended ({str(error).splitlines()[0]}); expected all of them. "
            "Its own messages say why; the same command goes on where it was."
        ) from None
    return made[0]  # type: ignore[return-value]  # the first's


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
