"""Sections of `gpu_check` that ask whether a GPU computes the right thing: against the CPU, in every precision, after a
stop, in DDP, and without waiting for the host."""

from __future__ import annotations

import copy
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor

from medaug.models.base import AdversarialModel, Batch
from medaug.models.methods import TRANSLATORS, build_translator
from medaug.training import fit
from medaug.training.checkpoint import CHECKPOINTS, load_checkpoint
from medaug.training.config import data_parallel
from medaug.training.monitors import read_metrics

from ..models.conformance import make_batch
from ..models.noise.toy import batch_of, tiny_gan
from ..training.tiny import Crops, tiny_translator
from .gpu_bench import DOMAIN, Bench, Row, exact

SMALL = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}
LIMITS = {torch.float64: (1e-6, 1e-6), torch.float32: (1e-4, 1e-3)}
"""By arithmetic: the largest relative difference of losses, and of gradients."""


def agreement(bench: Bench) -> Iterator[Row]:
    """Losses and gradients of every method on the CPU and on the device."""
    cases: list[tuple[str, int]] = [(method, dims) for method in TRANSLATORS for dims in (2, 3)]
    for method, dims in [*cases, ("dcgan", 2), ("dcgan", 3)]:
        for dtype, limits in LIMITS.items():
            if method == "dcgan":
                model: AdversarialModel = tiny_gan((16,) * dims)
                batch = batch_of(0, 2, (16,) * dims)
            else:
                model, batch = build_translator(method, SMALL, DOMAIN, DOMAIN, dims), make_batch(dims, 2)
            model.eval()  # spectral norm would go on at every pass
            with exact():
                (losses, gradients), (theirs, other) = (
                    _losses_and_gradients(copy.deepcopy(model), batch, dtype, torch.device(device))
                    for device in ("cpu", bench.device)
                )
            loss = max(abs(theirs[name] - value) / max(abs(value), 1e-3) for name, value in losses.items())
            gradient = float((gradients - other).norm() / gradients.norm())
            kind = str(dtype).removeprefix("torch.")
            yield Row(
                f"{method} {dims}-D, {kind}: losses, gradients",
                f"{loss:.0e}, {gradient:.0e} apart",
                loss <= limits[0] and gradient <= limits[1],
                gradient,
            )


def _losses_and_gradients(
    model: AdversarialModel, batch: Batch, dtype: torch.dtype, device: torch.device
) -> tuple[dict[str, float], Tensor]:
    model = model.to(device, dtype)
    there = {key: value.to(device, dtype if value.is_floating_point() else None) for key, value in batch.items()}
    losses, fakes = model.generator_losses(there)
    sum(losses.values()).backward()
    model.discriminators.zero_grad()
    judged = model.discriminator_losses(there, fakes)
    sum(judged.values()).backward()
    gradients = torch.cat([p.grad.flatten().double().cpu() for p in model.parameters() if p.grad is not None])
    return {name: float(value.detach()) for name, value in (losses | judged).items()}, gradients


def syncs(bench: Bench) -> Iterator[Row]:
    """How often a step makes the host wait for the device."""
    for method in TRANSLATORS:
        step = bench.stepping(build_translator(method, SMALL, DOMAIN, DOMAIN, 2), make_batch(2, 2), "32-true")
        for _ in range(2):
            step()
        if not bench.gpu:
            yield Row(f"{method}: syncs a step", "asked of CUDA only")
            continue
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        count = sum("synchroniz" in str(warning.message) for warning in seen)
        yield Row(f"{method}: syncs a step", str(count), count <= 1, count)


def precisions(bench: Bench) -> Iterator[Row]:
    """The cycle loss after some hundred steps in every precision."""
    steps, found = (4 if bench.tiny else 300), {}
    for precision in ("32-true", "bf16-mixed", "16-mixed"):
        if precision == "16-mixed" and not bench.gpu:
            continue
        folder = bench.folder / f"in-{precision}"
        config = bench.training("precision", steps=steps, batch_size=4, log_every=1, precision=precision)
        fit(tiny_translator(width=4 if bench.tiny else 16, depth=2), Crops(), config, folder)
        rows = read_metrics(folder / "metrics.jsonl")[-max(1, steps // 5) :]
        found[precision] = sum(row["cycle_a"] + row["cycle_b"] for row in rows) / len(rows)
        off = abs(found[precision] / found["32-true"] - 1)
        yield Row(f"{precision}: cycle loss after {steps} steps", f"{found[precision]:.4f}", off <= 0.1, off)


def resuming(bench: Bench) -> Iterator[Row]:
    """A training that stopped half-way and went on, against one that did not stop."""

    def stop(index: int) -> None:
        if index == 2 * 7:
            raise MemoryError

    config = bench.training("resume", steps=12, batch_size=2, checkpoint_every=3, pool_size=5)
    whole, stopped = bench.folder / "whole", bench.folder / "stopped"
    with exact():
        fit(tiny_translator(), Crops(), config, whole)
        with suppress(MemoryError):
            fit(tiny_translator(), Crops(stop), config, stopped)
        fit(tiny_translator(), Crops(), config, stopped)
    states = [load_checkpoint(folder / CHECKPOINTS) for folder in (whole, stopped)]
    first, second = (state["translator"] for state in states if state is not None)
    off = max(float((first[name] - second[name]).abs().max()) for name in first)
    yield Row("weights of a resumed training", f"{off:.0e} apart", off <= (1e-3 if bench.gpu else 0), off)


def one_rank(bench: Bench) -> Iterator[Row]:
    """DDP of one rank (NCCL on a GPU) takes the steps that training without it takes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    batch, losses = make_batch(2, 2), []
    fabric = Fabric(accelerator=bench.device.type, devices=1, strategy=data_parallel("popen"))
    fabric.launch()
    try:
        backend = torch.distributed.get_backend()
        for given in (None, fabric):
            with exact():
                step = bench.stepping(tiny_translator(), batch, "32-true", given)
                losses.append([step() for _ in range(2)][-1]())
    finally:
        torch.distributed.destroy_process_group()
    off = max(abs(losses[0][name] - losses[1][name]) for name in losses[0])
    yield Row(f"DDP of one rank over {backend}: losses", f"{off:.0e} apart", off <= 1e-4, off)


def ceilings(bench: Bench) -> Iterator[Row]:
    """What the device can do at best: products, convolutions, copies."""
    size, voxels = (128, 16) if bench.tiny else (8192, 96)
    for kind, dtype, context in (
        ("float32", torch.float32, exact),
        ("TF32", torch.float32, _as_trained),
        ("bfloat16", torch.bfloat16, nullcontext),
    ):
        with context():
            x = bench.drawn(size, size).to(dtype)
            rate = 2 * size**3 / bench.seconds(lambda x=x: x @ x) / 1e12
            yield Row(f"product of {size}², {kind}", f"{rate:.3g} TFLOP/s", None, rate)
            image, weight = bench.drawn(1, 32, *[voxels] * 3).to(dtype), bench.drawn(32, 32, 3, 3, 3).to(dtype)
            call = partial(torch.nn.functional.conv3d, image, weight, padding=1)
            rate = 2 * 27 * 32 * 32 * voxels**3 / bench.seconds(call) / 1e12
            yield Row(f"convolution of 32 channels at {voxels}³, {kind}", f"{rate:.3g} TFLOP/s", None, rate)
    numbers = torch.zeros(2**20 if bench.tiny else 2**28, device=bench.device)
    rate = 2 * numbers.nbytes / bench.seconds(numbers.clone) / 1e9
    yield Row("copy", f"{rate:.0f} GB/s", None, rate)


@contextmanager
def _as_trained() -> Iterator[None]:
    """TF32 where the device has it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
