"""A finished tiny benchmark, made once; copies of it; and processes that work on one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medaug.benchmarks.work import run_benchmark
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.runs.folder import RunDir

TINY = ("benchmark.labelled=[2,all]", "evaluation.seeds=[0,1]", "training.preview_every=3")


@pytest.fixture(scope="session")
def benchmark_config(tiny_config) -> Callable[..., PipelineConfig]:
    """`benchmark_config("evaluation.seeds=[0]")`: 2 arms × 2 seeds × 2 numbers of labelled patients, and changes."""
    return lambda *more: tiny_config(*TINY, *more)


@pytest.fixture(scope="session")
def benchmarked(tmp_path_factory, benchmark_config) -> RunDir:
    """Finished, not to be changed."""
    return run_benchmark(benchmark_config(), tmp_path_factory.mktemp("benchmark") / "run")


@pytest.fixture
def copied(benchmarked, tmp_path) -> RunDir:
    """A copy of the finished one, to be changed."""
    shutil.copytree(benchmarked.root, tmp_path / "copy")
    return RunDir(tmp_path / "copy")


@pytest.fixture
def prepared(copied) -> RunDir:
    """The same with the GANs and without a cell."""
    for path in cells(copied):
        path.unlink()
    shutil.rmtree(copied.results)
    (copied.root / "jobs.jsonl").unlink()
    return copied


@pytest.fixture(scope="session")
def started() -> Callable[..., multiprocessing.Process]:
    """`started(config, root)`: a process, and leader of a group, that runs the benchmark there."""
    context = multiprocessing.get_context("fork")

    def child(config: PipelineConfig, root: Path) -> None:
        os.setpgid(0, 0)  # a data loader's workers die with it
        torch.set_num_threads(1)
        run_benchmark(config, root)

    def start(config: PipelineConfig, root: Path) -> multiprocessing.Process:
        process = context.Process(target=child, args=(config, root))
        process.start()
        return process

    return start


def cells(run: RunDir) -> list[Path]:
    """Every cell's file, without those being written."""
    return sorted(run.root.rglob("evaluation/cells/[!.]*.json"))


def same_results(run: RunDir, other: RunDir) -> bool:
    """Whether tables and verdicts are identical."""
    names = ("cells.csv", "summary.json")
    return all((run.results / name).read_bytes() == (other.results / name).read_bytes() for name in names)


def identity(paths: list[Path]) -> dict[Path, tuple[int, int]]:
    """What changes when a file is written again."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def made_of(run: RunDir) -> dict[str, str]:
    return {str(path.relative_to(run.root)): read_json(path)["made_of"] for path in cells(run)}
