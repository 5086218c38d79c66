"""Runs that are killed, and what they leave."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medaug.io.seals import seal
from medaug.stages.runs import RunDir

DERIVED = {"synthesize": "synthetic", "audit": "audit", "evaluate": "evaluation", "train": "train"}


@pytest.fixture(scope="session")
def forget() -> Callable[..., None]:
    """`forget(run, "evaluate")`: as if that stage had never begun."""

    def forget(run: RunDir, *stages: str) -> None:
        for stage in stages:
            shutil.rmtree(run.root / DERIVED[stage])
            run.done(stage).unlink()

    return forget


@pytest.fixture(scope="session")
def killed_at() -> Callable[[int, Callable[[], object]], None]:
    """`killed_at(n, work)`: does `work` in a process that SIGKILL ends just before its n-th file gets its name."""
    context = multiprocessing.get_context("fork")

    def killed_at(moment: int, work: Callable[[], object]) -> None:
        renames = context.Value("i", 0)

        def child() -> None:
            os.setpgid(0, 0)  # a data loader's workers die too
            torch.set_num_threads(1)
            replace = os.replace

            def counted(source, target) -> None:
                with renames.get_lock():
                    renames.value += 1
                    last = renames.value == moment
                if last:
                    os.killpg(0, signal.SIGKILL)
                replace(source, target)

            os.replace = counted
            work()

        process = context.Process(target=child)
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, f"not killed: {renames.value} files only"

    return killed_at


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, but for what a killed process was about to write."""

    def contents(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return contents


@pytest.fixture(scope="session")
def sealed() -> Callable[[RunDir, str, Path], None]:
    """`sealed(run, "train", path)`: as if that stage had written the file as it is now."""

    def sealed(run: RunDir, stage: str, path: Path) -> None:
        marker = json.loads(run.done(stage).read_text())
        marker["files"][str(path.relative_to(run.root))] = seal(path)
        run.done(stage).write_text(json.dumps(marker))

    return sealed


@pytest.fixture(scope="session")
def edit_json() -> Callable[[Path, Callable[[dict], object]], None]:
    """Changes a JSON file in place."""

    def edit(path: Path, change: Callable[[dict], object]) -> None:
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))

    return edit
