"""The one GAN loop, for every translator and the GAN from noise: Lightning Fabric for devices, processes and precision.

Step t trains on samples t·B … t·B + B − 1 and draws its noise from (seed, t), so nothing depends on how far a process
lived: a run killed at any step and resumed ends with the weights of the run that was not killed, bit for bit on a CPU.
`fit` on a folder that holds checkpoints resumes; on a finished one it returns what is there.

A step is only queued on the device: the loop neither reads a value of it nor sends it anything but the batch, so that
host and device never wait for each other between two rows of the log (`tests/training/test_syncs.py` counts).
"""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, default_collate

from medaug.errors import Interrupted
from medaug.models.base import AdversarialModel, Batch, Fakes, Losses, with_noise
from medaug.models.networks.layers import checkpoint_blocks
from medaug.progress import track
from medaug.seeds import seed_of
from medaug.training.checkpoint import CHECKPOINTS, last_step, load_checkpoint, save_checkpoint
from medaug.training.config import TrainingConfig, beyond, make_fabric, told_where_processes_end
from medaug.training.hardware import compiled, memory_told, quick_kernels
from medaug.training.monitors import FiniteWatch, MetricsLog, measure, read_figures

Model = TypeVar("Model", bound=AdversarialModel)
FUSED = ("cpu", "cuda", "mps")
"""Kinds of device that have an optimizer's step as one kernel."""
Preview = Callable[[Any, int], None]
"""Draws what the model does at a step; must be picklable for training on several processes."""


def fit(
    translator: Model, samples: Dataset, config: TrainingConfig, folder: Path, *, preview: Preview | None = None
) -> Model:
    """Trains `translator` and leaves it with the (averaged) weights for use, in eval mode on the CPU.

    Args:
        samples: `samples[i]` is the i-th training sample, a dict of tensors without batch axis, the same for the same
            i whoever asks; i goes up to `config.total_steps × batch_size × devices`.
        folder: receives `checkpoints/`, `metrics.jsonl` and TensorBoard logs.

    Raises:
        TrainingError: when a loss is not finite, or a step does not fit into memory.
        Interrupted: after Ctrl-C, with the state saved.
        RunError: when the folder cannot be written, holds more steps than are asked for, or a process that trains or
            prepares samples was ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (done := last_step(folder)) > config.total_steps:
        raise beyond(folder, done, config)
    fabric = make_fabric(config)
    # Fabric gives each process its own copy of modules that are arguments, and cannot walk frozen dataclasses.
    with told_where_processes_end(folder):
        work = partial(_train, samples=samples, config=config, folder=folder, preview=preview)
        stopped = fabric.launch(work, translator)
    state = load_checkpoint(folder / CHECKPOINTS)
    assert state is not None  # the last step was saved
    if stopped:
        raise Interrupted(f"stopped after step {state['step']} of {config.total_steps}; the same command resumes")
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
    if state.step >= config.total_steps:
        return False
    loader = _loader(state, samples)
    silent, stride = not fabric.is_global_zero, getattr(translator, "stride", 8)
    with (
        _stop_request() as stop,
        quick_kernels(fabric.device),
        nullcontext() if silent else closing(MetricsLog(folder, state.step)) as log,
        track(f"train {translator.name}", config.total_steps, done=state.step, silent=silent) as tracker,
    ):
        for batch in loader:
            state.translator.check_batch(batch)
            with memory_told(batch, fabric.device, stride=stride, checkpointing=config.checkpointing):
                figures = _step(fabric, state, fabric.to_device(batch), config)
            if state.step % config.log_every == 0 or state.step == config.total_steps:
                state.watch.check()
                if log:
                    log.write(state.step, figures())
            tracker.advance()
            stopping = bool(stop)
            if fabric.world_size > 1:  # a signal may have reached one process alone
                flags = fabric.all_reduce(torch.tensor(float(stopping), device=fabric.device), reduce_op="sum")
                stopping = bool(torch.as_tensor(flags) > 0)
            if stopping or state.step % config.checkpoint_every == 0 or state.step == config.total_steps:
                state.save()
            if preview and not silent and (state.step % config.preview_every == 0 or state.step == config.total_steps):
                state.watch.check()
                preview(state.for_use(), state.step)
            if stopping:
                return True
    return False


class ImagePool:
    """Up to `size` fakes of one domain: its discriminator sees a history (Shrivastava 2017, arXiv 1612.07828)."""

    def __init__(self, size: int):
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, fakes: Tensor, generator: torch.Generator) -> Tensor:
        """Stores `fakes` (B, C, *S) and returns as many, each new or, with probability ½, one from the pool."""
        if self.size == 0:
            return fakes
        out = []
        for fake in fakes:
            if len(self.images) < self.size:
                self.images.append(fake.clone())
                out.append(fake)
            elif torch.rand((), generator=generator) < 0.5:
                slot = int(torch.randint(self.size, (), generator=generator))
                out.append(self.images[slot])
                self.images[slot] = fake.clone()
            else:
                out.append(fake)
        return torch.stack(out)

    def state_dict(self) -> dict[str, Tensor]:
        return {"images": torch.stack(self.images).cpu()} if self.images else {}

    def load_state_dict(self, state: dict[str, Tensor], device: torch.device) -> None:
        self.images = list(state["images"].to(device)) if state else []


class _Losses(nn.Module):
    """The losses of one group of networks: what DDP wraps, so that a step reduces each group's gradients once."""

    def __init__(self, networks: nn.Module, losses: Callable[..., Any]):
        super().__init__()
        self.networks, self.losses = networks, losses

    def forward(self, *batches: Batch) -> Any:
        return self.losses(*batches)


class _State:
    """Everything a step changes: networks, optimizers, average, pools, and the step count."""

    def __init__(self, fabric: Fabric, translator: AdversarialModel, config: TrainingConfig, folder: Path):
        self.fabric, self.config, self.folder = fabric, config, folder
        self.translator = translator.train().to(fabric.device)
        betas = (config.beta1, config.beta2)
        # By the strategy rather than by fabric.setup, which would round a batch to the mixed precision on several
        # devices and not on one.
        wrapped, parts = fabric.strategy.setup_module, (translator.generators, translator.discriminators)
        losses: tuple[Callable[..., Any], ...] = (translator.generator_losses, translator.discriminator_losses)
        if config.compile:
            losses = tuple(compiled(function, fabric.device) for function in losses)
        # A regression has no discriminators: nothing to wrap, and no second optimizer.
        groups = [(part, function) for part, function in zip(parts, losses, strict=True) if len(part)]
        self.losses = [wrapped(_Losses(part, function)) for part, function in groups]
        self.optimizers = [
            torch.optim.Adam(part.parameters(), config.learning_rate, betas, fused=fabric.device.type in FUSED)
            for part, _ in groups
        ]
        if config.checkpointing:
            checkpoint_blocks(translator.generators)
        self.ema = copy.deepcopy(translator.generators).requires_grad_(False)
        self.watch = FiniteWatch()
        self.pools = {domain: ImagePool(config.pool_size) for domain in translator.discriminators}
        self.step = 0
        state = load_checkpoint(folder, rank=fabric.global_rank, processes=fabric.world_size)
        if state is None:
            return
        self.step = state["step"]
        self.translator.load_state_dict(state["translator"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        fabric.strategy.precision.load_state_dict(state.get("precision", {}))
        for domain, pool in self.pools.items():
            pool.load_state_dict(state["pools"][domain], fabric.device)

    def save(self) -> None:
        """Writes a checkpoint, unless losses or weights are not finite: that would take the place of a good one."""
        self.watch.check()
        parts = {"generators": self.translator.generators, "discriminators": self.translator.discriminators}
        sums = {
            f"weights of {name}": torch.stack([p.sum() for p in part.parameters()]).sum()
            for name, part in parts.items()
            if len(part)
        }
        self.watch.add(sums, self.step)
        self.watch.check()
        state: dict[str, Any] = {"step": self.step, "pools": {k: pool.state_dict() for k, pool in self.pools.items()}}
        state["translator"] = self.translator.state_dict()
        state["ema"] = self.ema.state_dict()
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        state["precision"] = self.fabric.strategy.precision.state_dict()
        save_checkpoint(self.folder, self.step, state, rank=self.fabric.global_rank, barrier=self.fabric.barrier)

    def for_use(self) -> AdversarialModel:
        """The translator with the averaged generators in place of the raw ones (a copy)."""
        twin = copy.deepcopy(self.translator).eval()
        if self.config.ema_decay:
            twin.generators.load_state_dict(self.ema.state_dict())
        return twin

    def average(self) -> None:
        """Moves the running mean of the generators' weights by a step; it starts as the weights after the first."""
        means, weights = list(self.ema.parameters()), list(self.translator.generators.parameters())
        if self.step:
            get_ema_multi_avg_fn(self.config.ema_decay)(means, weights, None)
        else:
            self.ema.load_state_dict(self.translator.generators.state_dict())


def _step(fabric: Fabric, state: _State, batch: Batch, config: TrainingConfig) -> Callable[[], dict[str, float]]:
    """One update of the generators and one of the discriminators, if any; returns what computes the log's figures."""
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(state.step)
    generators = state.optimizers[0]

    state.translator.discriminators.requires_grad_(False)
    with fabric.autocast():
        losses, fakes = state.losses[0](batch)
    generators.zero_grad()
    fabric.backward(sum(losses.values()))
    fabric.strategy.optimizer_step(generators)  # which knows the loss scale of float16

    judged = _judge(fabric, state, batch, fakes) if len(state.optimizers) > 1 else {}
    state.average()
    state.watch.add(losses | judged, state.step)
    state.step += 1

    def figures() -> dict[str, float]:
        measured = measure(batch, fakes, state.translator.starts(batch)) | state.translator.figures(batch)
        return read_figures(losses | judged | measured)

    return figures


def _judge(fabric: Fabric, state: _State, batch: Batch, fakes: Fakes) -> Losses:
    """One update of the discriminators; returns their losses."""
    state.translator.discriminators.requires_grad_(True)
    chance = torch.Generator().manual_seed(seed_of(state.config.seed, state.step) * 4096 + fabric.global_rank)
    pooled = {domain: state.pools[domain].exchange(fake, chance) for domain, fake in fakes.items()}
    with fabric.autocast():
        judged = state.losses[1](batch, pooled)
    discriminators = state.optimizers[1]
    discriminators.zero_grad()
    fabric.backward(sum(judged.values()))
    fabric.strategy.optimizer_step(discriminators)
    losses: Losses = judged
    return losses


def _loader(state: _State, samples: Dataset) -> DataLoader:
    """The batches of this rank from the state's step on, on the host, with the noise of their steps.

    There is one pass through it, so its workers live as long as the training.
    """
    config, fabric = state.config, state.fabric
    size, ranks = config.batch_size, fabric.world_size
    firsts = range((state.step * ranks + fabric.global_rank) * size, config.total_steps * ranks * size, ranks * size)
    shapes = state.translator.noise_shapes(default_collate([samples[firsts[0]]]))
    return DataLoader(
        samples,
        batch_sampler=(list(range(first, first + size)) for first in firsts),
        collate_fn=partial(_with_noise, shapes=shapes),
        num_workers=config.sample_workers,
        pin_memory=fabric.device.type == "cuda",
        # one of its own, for the loader would take its workers' seeds from the global one
        generator=torch.Generator().manual_seed(config.seed),
        worker_init_fn=_leave_signals_to_parent,
    )


def _with_noise(samples: list[Batch], shapes: dict[int, tuple[int, ...]]) -> Batch:
    return with_noise(default_collate(samples), shapes)


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and schedulers signal every process; the step in flight still needs its samples."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _stop_request() -> Iterator[list[bool]]:
    """Turns the first SIGINT or SIGTERM into a request to stop after the step; the second acts at once."""
    requested: list[bool] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        if requested:
            raise KeyboardInterrupt
        requested.append(True)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
