"""The one GAN loop, for every translator and the GAN from noise: Lightning Fabric for devices, processes and precision.

Step t trains on samples t·B … t·B + B − 1 and draws its noise from (seed, t), so nothing depends on how far a process
lived: a run killed at any step and resumed ends with the weights of the run that was not killed, bit for bit on a CPU.
`fit` on a folder that holds checkpoints resumes; on a finished one it returns what is there.
"""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Sampler

from medaug.errors import Interrupted
from medaug.models.base import AdversarialModel, Batch
from medaug.progress import track
from medaug.seeds import seed_of
from medaug.training.checkpoint import CHECKPOINTS, load_checkpoint, save_checkpoint
from medaug.training.config import TrainingConfig
from medaug.training.log import MetricsLog
from medaug.training.monitors import check_finite, measure
from medaug.training.pool import ImagePool
from medaug.training.processes import make_fabric

Model = TypeVar("Model", bound=AdversarialModel)
Preview = Callable[[Any, int], None]
"""Draws what the model does at a step; must be picklable for training on several processes."""


def fit(
    translator: Model, samples: Dataset, config: TrainingConfig, folder: Path, *, preview: Preview | None = None
) -> Model:
    """Trains `translator` and leaves it with the (averaged) weights for use, in eval mode on the CPU.

    Args:
        samples: `samples[i]` is the i-th training sample, a dict of tensors without batch axis, the same for the same
            i whoever asks; at least `config.steps × batch_size × devices` long.
        folder: receives `checkpoints/`, `metrics.jsonl` and TensorBoard logs.

    Raises:
        TrainingError: when a loss is not finite.
        Interrupted: after Ctrl-C, with the state saved.
        RunError: when the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fabric = make_fabric(config)
    # Fabric gives each process its own copy of modules that are arguments, and cannot walk frozen dataclasses.
    stopped = fabric.launch(partial(_train, samples=samples, config=config, folder=folder, preview=preview), translator)
    state = load_checkpoint(folder / CHECKPOINTS)
    assert state is not None  # the last step was saved
    if stopped:
        raise Interrupted(f"stopped after step {state['step']} of {config.steps}; the same command resumes")
    translator.to("cpu").load_state_dict(state["translator"])
    if config.ema_decay:
        translator.generators.load_state_dict(state["ema"])
    return translator.eval()


def _train(
    fabric: Fabric,
    translator: AdversarialModel,
    *,
    samples: Dataset,
    config: TrainingConfig,
    folder: Path,
    preview: Preview | None,
) -> bool:
    """Runs in every process; returns whether a signal stopped it (what is raised in a spawned one loses its type)."""
    fabric.barrier()  # the first may have had something to clear away before
    state = _State(fabric, translator, config, folder / CHECKPOINTS)
    if state.step >= config.steps:
        return False
    loader = _loader(fabric, samples, config, state.step)
    silent = not fabric.is_global_zero
    with (
        _StopRequest() as stop,
        nullcontext() if silent else closing(MetricsLog(folder, state.step)) as log,
        track(f"train {translator.name}", config.steps, done=state.step, silent=silent) as tracker,
    ):
        for batch in loader:
            figures = _step(fabric, state, batch, config)
            if log and (state.step % config.log_every == 0 or state.step == config.steps):
                log.write(state.step, figures())
            tracker.advance()
            stopping = _any_rank(fabric, stop.requested)
            if stopping or state.step % config.checkpoint_every == 0 or state.step == config.steps:
                state.save()
            if preview and not silent and (state.step % config.preview_every == 0 or state.step == config.steps):
                preview(state.for_use(), state.step)
            if stopping:
                return True
    return False


class _State:
    """Everything a step changes: networks, optimizers, average, pools, and the step count."""

    def __init__(self, fabric: Fabric, translator: AdversarialModel, config: TrainingConfig, folder: Path):
        self.fabric, self.config, self.folder = fabric, config, folder
        self.translator = translator.train()
        betas = (config.beta1, config.beta2)
        groups = translator.generator_parameters(), translator.discriminator_parameters()
        generators, discriminators = (torch.optim.Adam(g, config.learning_rate, betas, fused=True) for g in groups)
        self.module, *self.optimizers = fabric.setup(translator, generators, discriminators)
        for method in ("generator_losses", "discriminator_losses"):
            self.module.mark_forward_method(method)
        self.ema = AveragedModel(translator.generators, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        self.pools = {domain: ImagePool(config.pool_size) for domain in translator.discriminators}
        self.step = 0
        self._restore(load_checkpoint(folder, rank=fabric.global_rank, processes=fabric.world_size))

    def save(self) -> None:
        """Writes a checkpoint, unless a gradient spoiled the weights: that would take the place of a good one."""
        parts = {"generators": self.translator.generators, "discriminators": self.translator.discriminators}
        sums = {f"weights of {k}": torch.stack([p.sum() for p in v.parameters()]).sum() for k, v in parts.items()}
        check_finite(sums, self.step)
        state: dict[str, Any] = {"step": self.step, "pools": {k: pool.state_dict() for k, pool in self.pools.items()}}
        state["translator"] = self.translator.state_dict()
        state["ema"] = self.ema.module.state_dict()
        state["averaged"] = self.ema.n_averaged
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        state["precision"] = self.fabric.strategy.precision.state_dict()
        save_checkpoint(self.folder, self.step, state, rank=self.fabric.global_rank, barrier=self.fabric.barrier)

    def for_use(self) -> AdversarialModel:
        """The translator with the averaged generators in place of the raw ones (a copy)."""
        twin = copy.deepcopy(self.translator).eval()
        if self.config.ema_decay:
            twin.generators.load_state_dict(self.ema.module.state_dict())
        return twin

    def _restore(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        self.step = state["step"]
        self.translator.load_state_dict(state["translator"])
        self.ema.module.load_state_dict(state["ema"])
        self.ema.n_averaged.copy_(state["averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.fabric.strategy.precision.load_state_dict(state.get("precision", {}))
        for domain, pool in self.pools.items():
            pool.load_state_dict(state["pools"][domain], self.fabric.device)


def _step(fabric: Fabric, state: _State, batch: Batch, config: TrainingConfig) -> Callable[[], dict[str, float]]:
    """One update of the generators and one of the discriminators; returns what computes the log's figures."""
    generators, discriminators = state.optimizers
    _set_learning_rate(state.optimizers, config.learning_rate_at(state.step))

    _require_grad(state.translator.discriminator_parameters(), False)
    with fabric.autocast():  # on one device Fabric leaves it to the caller, for nothing goes through `forward`
        losses, fakes = state.module.generator_losses(batch)
    check_finite(losses, state.step)
    generators.zero_grad()
    fabric.backward(sum(losses.values()))
    generators.step()

    _require_grad(state.translator.discriminator_parameters(), True)
    chance = torch.Generator().manual_seed(seed_of(config.seed, state.step) * 4096 + fabric.global_rank)
    pooled = {domain: state.pools[domain].exchange(fake, chance) for domain, fake in fakes.items()}
    with fabric.autocast():
        judged = state.module.discriminator_losses(batch, pooled)
    check_finite(judged, state.step)
    discriminators.zero_grad()
    fabric.backward(sum(judged.values()))
    discriminators.step()

    state.ema.update_parameters(state.translator.generators)
    state.step += 1

    def figures() -> dict[str, float]:
        values = {name: float(v.detach()) for name, v in (losses | judged).items()}
        return values | measure(batch, fakes, state.translator.starts(batch)) | state.translator.figures(batch)

    return figures


class _StepBatches(Sampler[list[int]]):
    """The sample numbers of each step from `start` on, for one rank."""

    def __init__(self, start: int, stop: int, batch_size: int, rank: int, world_size: int):
        self.steps, self.batch_size, self.rank, self.world_size = range(start, stop), batch_size, rank, world_size

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            first = (step * self.world_size + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))


def _loader(fabric: Fabric, samples: Dataset, config: TrainingConfig, start: int) -> DataLoader:
    batches = _StepBatches(start, config.steps, config.batch_size, fabric.global_rank, fabric.world_size)
    # A generator of its own, for the loader would take its workers' seeds from the global one.
    own = torch.Generator().manual_seed(config.seed)
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=config.workers,
        generator=own,
        worker_init_fn=_leave_signals_to_parent,
    )
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False)  # type: ignore[return-value]  # one, as given


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and schedulers signal every process; the step in flight still needs its samples."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _set_learning_rate(optimizers: list[Any], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def _require_grad(parameters: Iterator[torch.nn.Parameter], required: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(required)


def _any_rank(fabric: Fabric, flag: bool) -> bool:
    if fabric.world_size == 1:
        return flag
    flags = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return bool(torch.as_tensor(flags) > 0)


class _StopRequest:
    """Turns the first SIGINT or SIGTERM into a request to stop after the step; the second acts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
