"""Which stages of a run are done: a marker each, with the fingerprint of its inputs, so that none runs twice.

A stage is done, or begun (with the seconds spent on it so far), or neither. Its inputs are whatever decides its
outputs, the version of medaug included.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import medaug
from medaug.io.atomic import read_json, write_json
from medaug.stages.runs import INCIDENTAL, RunDir

TIMED = (
    "prepare", "train", "synthesize", "translate", "audit", "audit_domains", "evaluate", "evaluate_domains",
    "score_translation",
)  # fmt: skip
"""Stages that a page gives the seconds of, in order."""


def run_stage(
    run: RunDir, stage: str, inputs: Any, outputs: list[Path], work: Callable[[], None], *, keep: bool = False,
    helper: bool = False,
) -> bool:  # fmt: skip
    """Runs `work` unless this stage is done with the same `inputs`; says whether it ran.

    A stage that was done with other inputs starts afresh: its `outputs` are removed first. An unfinished one goes on
    where it was if its inputs are the same. One whose outputs somebody removed runs again. With `keep` outputs stay
    whatever the inputs: of work that knows by itself what of them still holds. A `helper` takes part in the work of
    another process, which sees to outputs and markers.
    """
    marker, begun = run.done(stage), run.begun(stage)
    if is_done(run, stage, inputs) and all(path.exists() for path in outputs):
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
    write_json(marker, {"fingerprint": print_of, "seconds": round(seconds, 1)})
    begun.unlink(missing_ok=True)
    return True


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
    """Temporary files of writers that were stopped (see `io.atomic`)."""
    for folder in outputs:
        for path in folder.rglob(".tmp-*"):
            path.unlink(missing_ok=True)


def is_done(run: RunDir, stage: str, inputs: Any) -> bool:
    """Whether the stage is finished with these inputs."""
    return _bears(run.done(stage), stage, inputs)


def is_begun(run: RunDir, stage: str, inputs: Any) -> bool:
    """Whether the stage was begun with these inputs and not finished."""
    return _bears(run.begun(stage), stage, inputs)


def _bears(marker: Path, stage: str, inputs: Any) -> bool:
    return marker.exists() and read_json(marker).get("fingerprint") == _fingerprint_of(stage, inputs)


def _fingerprint_of(stage: str, inputs: Any) -> str:
    return fingerprint([stage, medaug.__version__, inputs])


def seconds_by_stage(run: RunDir) -> dict[str, float]:
    """How long each finished stage took."""
    return {stage: read_json(run.done(stage))["seconds"] for stage in TIMED if run.done(stage).exists()}


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def essential(section: Any) -> dict[str, Any]:
    """A config section without the keys that do not change results."""
    return {key: value for key, value in section.model_dump(mode="json").items() if key not in INCIDENTAL}
