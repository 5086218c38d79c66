"""What is done in a run folder, so that nothing is done twice, and who is at work there now.

A stage is done, or begun (with the seconds spent on it so far), or neither. Its inputs are whatever decides its
outputs, the version of medaug included. Its marker holds their fingerprint and the seals of the files that the stage
left (`data.fingerprints`): what was cut, changed or removed since is told, and made again. Claims to a piece of work,
and the hold on a whole folder, are locks on files, which the system frees when their holder dies, however it does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import medaug
from medaug.data.atomic import read_json, write_error, write_json
from medaug.data.fingerprints import Seal, renewed, seal
from medaug.errors import DataError, RunError
from medaug.runs.folder import INCIDENTAL, RunDir

logger = logging.getLogger(__name__)

TIMED = ("prepare", "train", "synthesize", "audit", "evaluate")
"""Stages that a page gives the seconds of, in order."""
UNSEALED = {"checkpoints", "previews", "tensorboard"}
"""Folders in a stage's that nothing after it needs, and that may be removed to save space."""
PLACES = ("image", "label", "arrays", "voxels")
"""What a datalist says of where a case's files lie; `content` says what is in them."""


def run_stage(
    run: RunDir,
    stage: str,
    inputs: Any,
    outputs: list[Path],
    work: Callable[[], None],
    *,
    keep: bool = False,
    helper: bool = False,
    sealed: Callable[[], Mapping[Path, Seal]] | None = None,
    remade: Callable[[Path], bool] = lambda path: True,
) -> bool:
    """Runs `work` unless this stage is done with the same `inputs`; says whether it ran.

    A stage that was done with other inputs starts afresh: its `outputs` are removed first. An unfinished one goes on
    where it was if its inputs are the same. One whose outputs somebody removed runs again. With `keep` outputs stay
    whatever the inputs: of work that knows by itself what of them still holds. A `helper` takes part in the work of
    another process, which sees to outputs and markers.

    Args:
        sealed: files that are looked at when the stage is done, with their seals; by default those in its `outputs`.
        remade: whether the work makes such a file again from what else there is.

    Raises:
        RunError: if a file was changed that is not, naming it and the folder to delete.
    """
    marker, begun = run.done(stage), run.begun(stage)
    if holds(run, stage, inputs, outputs, remade=remade, helper=helper):
        return False
    if helper:
        work()
        return True
    spent = begin_stage(run, stage, inputs, outputs, keep=keep)
    print_of = read_json(begun)["fingerprint"]
    started = time.monotonic()
    _clear_half_written(outputs)
    try:
        work()
    except BaseException:
        _clear_half_written(outputs)
        raise
    finally:
        seconds = spent + time.monotonic() - started
        if begun.parent.is_dir():
            write_json(begun, {"fingerprint": print_of, "seconds": round(seconds, 1)})
    seals = {path: seal(path) for path in _files(outputs)} if sealed is None else sealed()
    files = {os.path.relpath(path, run.root): found for path, found in seals.items()}
    write_json(marker, {"fingerprint": print_of, "seconds": round(seconds, 1), "files": files})
    begun.unlink(missing_ok=True)
    return True


def holds(
    run: RunDir,
    stage: str,
    inputs: Any,
    outputs: list[Path],
    *,
    remade: Callable[[Path], bool] = lambda path: True,
    helper: bool = False,
) -> bool:
    """Whether the stage is done with these inputs, and all that it left is as it was.

    Of what is not, the rest is removed and the stage begun anew: its work then makes what is missing.

    Raises:
        RunError: if something was changed that cannot be made again by itself.
    """
    if not bears(run.done(stage), stage, inputs):
        return False
    marker = read_json(run.done(stage))
    files = marker.get("files", {})
    now = {name: renewed(run.root / name, sealed) for name, sealed in files.items()}
    broken = [Path(os.path.normpath(run.root / name)) for name, sealed in now.items() if sealed is None]
    gone = [path for path in outputs if not path.exists()]
    if not broken and not gone:
        if now != files:
            write_json(run.done(stage), marker | {"files": now})
        return True
    if helper:
        return False
    first = (gone or broken)[0]
    what = "changed since it was written" if first.exists() else "missing"
    lost = [] if gone else [path for path in broken if not remade(path)]
    if lost:
        raise RunError(
            f"{lost[0]}: found it {what}; expected what the stage {stage} left there. It cannot be made again by "
            f"itself: restore it, or delete {outputs[0]} and run the same command again, which repeats the stage."
        )
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    logger.warning("%s%s: %s; the stage %s makes it again", first, more, what, stage)
    if not gone:
        write_json(run.begun(stage), {"fingerprint": marker["fingerprint"], "seconds": marker.get("seconds", 0.0)})
    for path in broken:
        path.unlink(missing_ok=True)
    run.done(stage).unlink()
    return False


def _files(places: Sequence[Path]) -> Iterator[Path]:
    """All files at or below these places, in a fixed order."""
    for place in places:
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(name for name in folders if name not in UNSEALED)
            yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
        if place.is_file():
            yield place


def begin_stage(run: RunDir, stage: str, inputs: Any, outputs: list[Path], *, keep: bool = False) -> float:
    """Makes ready for the work of `run_stage`, and returns the seconds spent on it before, by whom it may have been."""
    begun = run.begun(stage)
    run.done(stage).unlink(missing_ok=True)
    if not is_begun(run, stage, inputs):
        begun.unlink(missing_ok=True)  # a kill from here on must not leave a marker beside half of the outputs
        for path in [] if keep else outputs:
            shutil.rmtree(path, ignore_errors=True)
    spent = read_json(begun).get("seconds", 0.0) if begun.exists() and outputs and outputs[0].exists() else 0.0
    write_json(begun, {"fingerprint": _fingerprint_of(stage, inputs), "seconds": spent})
    return spent


def add_seconds(run: RunDir, stage: str, seconds: float) -> None:
    """Adds work of another process to the time of a stage that is begun."""
    values = read_json(run.begun(stage))
    write_json(run.begun(stage), values | {"seconds": round(values["seconds"] + seconds, 1)})


def _clear_half_written(outputs: list[Path]) -> None:
    """Temporary files of writers that were stopped (see `data.atomic`)."""
    for folder in outputs:
        for path in folder.rglob(".tmp-*"):
            path.unlink(missing_ok=True)


def is_begun(run: RunDir, stage: str, inputs: Any) -> bool:
    """Whether the stage was begun with these inputs and not finished."""
    return bears(run.begun(stage), stage, inputs)


def bears(marker: Path, stage: str, inputs: Any) -> bool:
    """Whether a marker is there that says that the stage was done, or begun, with these inputs."""
    if not marker.exists():
        return False
    try:
        return bool(read_json(marker).get("fingerprint") == _fingerprint_of(stage, inputs))
    except DataError as error:
        logger.warning("%s; the stage %s runs again", error, stage)
        marker.unlink()
        return False


def _fingerprint_of(stage: str, inputs: Any) -> str:
    return fingerprint([stage, medaug.__version__, inputs])


def seconds_by_stage(run: RunDir) -> dict[str, float]:
    """How long each finished stage took."""
    return {stage: read_json(run.done(stage))["seconds"] for stage in TIMED if run.done(stage).exists()}


def data_prints(run: RunDir) -> list[str]:
    """The fingerprint of each prepared data set: of all that its datalist says, but for where the files lie."""
    datalists = [read_json(path)["cases"] for path in (run.datalist, run.datalist_b) if path.exists()]
    for case in (case for cases in datalists for case in cases):
        case["kinds"] = [*case["arrays"]]
        for place in PLACES:
            case.pop(place, None)
    return [fingerprint(cases) for cases in datalists]


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def essential(section: Any) -> dict[str, Any]:
    """A config section without the keys that do not change results."""
    return {key: value for key, value in section.model_dump(mode="json").items() if key not in INCIDENTAL}


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
    found = []
    for name in sorted(path.stem for path in run.claims.glob(f"{escape(claim_key(prefix))}*.lock")):
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
