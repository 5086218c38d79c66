"""One process at a time in a run folder; a benchmark's, which many share, has claims (`benchmark.worker`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from medaug.errors import RunError
from medaug.io.atomic import write_error
from medaug.stages.runs import RunDir


@contextmanager
def held(run: RunDir) -> Iterator[None]:
    """Keeps other processes out of a run folder while the block runs; the system frees it if this one dies.

    Raises:
        RunError: if another process is at work there.
    """
    lock = FileLock(run.lock, timeout=0)
    try:
        run.lock.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RunError(
            f"{run.root}: another process is at work in this folder; expected to be alone. Wait until it has ended, or "
            "choose another --out."
        ) from None
    except OSError as error:
        raise write_error(run.root, error) from None
    try:
        yield
    finally:
        lock.release()
