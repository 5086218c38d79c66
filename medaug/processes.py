"""Work on large scans in other processes, which start within two seconds where they import neither torch nor MONAI."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from traceback import format_exception
from typing import Any, TypeVar

from medaug.errors import MedaugError, RunError

T = TypeVar("T")
LARGE_VOXELS = 2**20
"""Scans of so many voxels or more are worth a process; smaller ones are done before it has started."""
IDLE_S = 60
"""Seconds after which a process that waits for work ends."""


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worked_out(tasks: Iterable[Callable[[], T]], workers: int, *, setting: str) -> Iterator[T]:
    """The results of all tasks, in order, which so many processes work on while the next task is made here.

    Args:
        workers: 0 does them in this process, one after the other.
        setting: what `workers` is called in a pipeline.

    Raises:
        RunError: if a process was ended from outside.
    """
    if not workers:
        for task in tasks:
            yield task()
        return
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    pool = _pool(workers)
    waiting: deque[Future[T]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > 2 * workers:  # what the tasks hold stays in memory until then
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except TerminatedWorkerError as error:
        _pool.cache_clear()  # it takes no more work
        raise RunError(
            f"{setting}: one of {workers} processes was ended from outside (out of memory?): {error}. Set {setting}=0, "
            "which works in this process alone, and run the command again."
        ) from None


@contextmanager
def told_where_loaders_end(setting: str, remedy: str) -> Iterator[None]:
    """Says in words that a process of a DataLoader was ended from outside: before, or while it handed over its batch.

    Args:
        setting: what the number of these processes is called in a pipeline.
        remedy: a sentence about what is kept and how to go on.

    Raises:
        RunError: if one was ended so.
    """
    try:
        yield
    except MedaugError:
        raise
    except Exception as error:
        told = "DataLoader worker (pid" in str(error)
        if not told and "rebuild_storage_fd" not in "".join(format_exception(error)):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(
            f"found a process that prepares samples ended from outside ({said}); expected it to the end. If memory was "
            f"short, lower {setting}. {remedy}"
        ) from None


@cache
def _pool(workers: int) -> Any:
    """Kept for the next work; not the one that joblib keeps for its own."""
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(workers, timeout=IDLE_S)
