"""What a training asks of the machine: quick kernels, compiled losses, and too little memory told in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from medaug.errors import ConfigError, TrainingError
from medaug.models.base import Batch

OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
"""How torch says so: on GPUs, and on a CPU."""
Result = TypeVar("Result")


@contextmanager
def quick_kernels(device: torch.device) -> Iterator[None]:
    """Inside, CUDA multiplies in TF32 (10 bits of mantissa) and takes whichever convolution is quickest.

    Which one that is, is tried at the first of each size: for work that has few sizes, such as crops.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def compiled(losses: Callable[..., Result], device: torch.device) -> Callable[..., Result]:
    """The same losses as one graph of fused kernels (`torch.compile`); the first step makes them.

    Raises:
        ConfigError: if there is nothing to compile with.
    """
    try:
        torch.compile(torch.ones_like)(torch.zeros(8, device=device))
    except Exception as error:  # torch tells of a compiler that is missing by many kinds
        raise ConfigError(
            f"training.compile: found no compiler that torch can use for {device.type} "
            f"({str(error).strip().splitlines()[0]}); expected a C++ compiler such as g++, and Triton for a GPU. "
            "Install it, or set training.compile=false."
        ) from None
    return torch.compile(losses)


@contextmanager
def memory_told(batch: Batch, device: torch.device, *, stride: int, checkpointing: bool) -> Iterator[None]:
    """Inside, memory that does not suffice for a step on this batch is told in words.

    Args:
        stride: the multiple that sizes have to be.
        checkpointing: whether the step computes again what it could keep.

    Raises:
        TrainingError: with the batch and the crop, and settings that take less.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        reason = str(error).partition(". GPU")[0].rpartition("] ")[2].splitlines()[0]
    else:
        return
    images = max(batch.values(), key=lambda tensor: tensor.ndim)
    count, size = len(images), images.shape[2:]
    smaller = [max(stride, int(n * 2 / 3) // stride * stride) for n in size]
    ways = [f"crop.size=[{','.join(map(str, smaller))}] ({math.prod(smaller) / math.prod(size):.0%} of the voxels)"]
    if count > 1:
        ways.insert(0, f"training.batch_size={count // 2} ({count // 2 / count:.0%} of the crops)")
    again = "" if checkpointing else "training.checkpointing=true, which goes on from it with less than half, or "
    raise TrainingError(
        f"{device}: found too little memory for a step on {count} crop(s) of {' × '.join(map(str, size))} voxels "
        f"({reason}); expected a step to fit. The last checkpoint is kept. Set {again}what starts anew: "
        f"{', '.join(ways)}, or --precision bf16-mixed."
    )
