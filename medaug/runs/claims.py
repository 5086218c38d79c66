"""Who works on what: claims to a piece of work in a run folder that several processes share, on one machine or several;
and the hold on a whole folder, for a run that shares it with nobody.

Both are locks on files, which the system frees when their holder dies, however it does; claims are in `claims/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from medaug.data.atomic import write_error
from medaug.errors import RunError
from medaug.runs.folder import RunDir


@contextmanager
def held(run: RunDir) -> Iterator[None]:
    """Keeps other processes out of a run folder while the block runs.

    Raises:
        RunError: if another process is at work there.
    """
    with ExitStack() as stack:
        try:
            ours = stack.enter_context(_locked(run.lock))
        except OSError as error:
            raise write_error(run.root, error) from None
        if not ours:
            raise RunError(
                f"{run.root}: another process is at work in this folder; expected to be alone. Wait until it has "
                "ended, or choose another --out."
            )
        yield


@contextmanager
def claimed(run: RunDir, name: str, *, wait: bool = False) -> Iterator[bool]:
    """Holds a claim while the block runs; whether it is ours: another process may have it."""
    with _locked(run.claims / f"{claim_key(name)}.lock", wait=wait) as ours:
        yield ours


def claims_held(run: RunDir, prefix: str) -> list[str]:
    """The claims to work whose name begins so that some process holds now."""
    names = sorted(path.stem for path in run.claims.glob("*.lock") if path.stem.startswith(claim_key(prefix)))
    found = []
    for name in names:
        with claimed(run, name) as ours:
            if not ours:
                found.append(name)
    return found


def claim_key(name: str) -> str:
    """A name of work as part of a file's name."""
    return name.replace("/", ".")


@contextmanager
def _locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
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
