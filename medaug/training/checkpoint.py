"""Checkpoints that are either whole or not there.

A checkpoint is a folder `step-<n>` with one file a rank. It is written under a temporary name, flushed to the disk and
renamed, so a process killed at any moment leaves the last whole one. Read with `weights_only=True`: tensors, numbers
and strings only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from medaug.data.opening import check_regular
from medaug.errors import RunError

KEPT = 2
CHECKPOINTS = "checkpoints"


def save_checkpoint(
    folder: Path, step: int, state: dict[str, Any], *, rank: int = 0, barrier: Callable[[], None] = lambda: None
) -> None:
    """Writes this rank's part; the first rank makes the folder and, when all parts are there, gives it its name.

    Raises:
        RunError: if the disk is full or the folder cannot be written.
    """
    partial, final = folder / f".partial-{step:08d}", folder / f"step-{step:08d}"
    try:
        if rank == 0:
            for left in folder.glob(".partial-*"):
                shutil.rmtree(left, ignore_errors=True)
            partial.mkdir(parents=True)
        barrier()
        with open(partial / f"rank-{rank}.pt", "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        barrier()
        if rank == 0:
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            for old in _steps(folder)[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        barrier()
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "file" not in str(error).lower():
            raise
        shutil.rmtree(partial, ignore_errors=True)
        # torch's own errors bring a trace of its C++ along
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise RunError(
            f"{folder}: the checkpoint of step {step} could not be written ({reason}). "
            "Free some space or check the permissions; the same command then resumes."
        ) from error


def load_checkpoint(folder: Path, *, rank: int = 0, processes: int | None = None) -> dict[str, Any] | None:
    """This rank's part of the newest whole checkpoint, on the CPU, or None where there is none.

    Raises:
        RunError: if the checkpoint is damaged, or was written by another number of processes than `processes`.
    """
    steps = _steps(folder)
    if not steps:
        return None
    written = len(list(steps[-1].glob("rank-*.pt")))
    if processes is not None and processes != written:
        raise RunError(
            f"{steps[-1]}: written by {written} process(es); found {processes}. Resume with --devices {written}."
        )
    path = steps[-1] / f"rank-{rank}.pt"
    try:
        state = torch.load(check_regular(path), map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"a {type(state).__name__}")
        return state
    except Exception as error:  # torch meets damaged bytes with every kind of exception
        raise RunError(
            f"{path}: found a damaged or foreign checkpoint ({str(error).partition('.')[0]}); expected tensors, "
            f"numbers and texts. Remove {steps[-1].name} to resume from the checkpoint before it."
        ) from error


def last_step(folder: Path) -> int:
    """The step of the last checkpoint in a training's folder, to go on from; 0 without one."""
    steps = _steps(folder / CHECKPOINTS)
    return int(steps[-1].name.removeprefix("step-")) if steps else 0


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []
