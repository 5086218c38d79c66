"""Claims to a piece of work in a run folder that several processes share, on one machine or several.

A claim is a lock on a file in `claims/`, which the system frees when its holder dies, however it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from medaug.stages.runs import RunDir


@contextmanager
def claimed(run: RunDir, name: str, *, wait: bool = False) -> Iterator[bool]:
    """Holds a claim while the block runs; whether it is ours: another process may have it."""
    path = _folder(run) / f"{claim_key(name)}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def claims_held(run: RunDir, prefix: str) -> list[str]:
    """The claims to work whose name begins so that some process holds now."""
    names = sorted(path.stem for path in _folder(run).glob("*.lock") if path.stem.startswith(claim_key(prefix)))
    return [name for name in names if _is_held(run, name)]


def claim_key(name: str) -> str:
    """A name of work as part of a file's name."""
    return name.replace("/", ".")


def _is_held(run: RunDir, name: str) -> bool:
    with claimed(run, name) as ours:
        return not ours


def _folder(run: RunDir) -> Path:
    return run.root / "claims"
