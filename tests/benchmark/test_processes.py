"""Processes that share a benchmark's folder, and processes that are killed.

`MEDAUG_KILLS=10` kills as often as the acceptance test does; the suite kills three times.
"""

import json
import os
import signal
import time
from collections import Counter
from itertools import count

import numpy as np
import pytest
import torch

from medaug.benchmarks.work import run_benchmark
from medaug.runs.folder import RunDir
from medaug.runs.markers import claimed

from ..killing import killed_after
from .conftest import cells, identity, made_of, same_results

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes it kills")
KILLS = int(os.environ.get("MEDAUG_KILLS", "3"))


def trained(run):
    """How often each cell was trained, and by how many processes."""
    rows = [json.loads(line) for line in (run.root / "jobs.jsonl").read_text().splitlines()]
    of_cells = [row for row in rows if "-seed" in row["job"]]
    return Counter(row["job"] for row in of_cells), {row["pid"] for row in of_cells}


@pytest.mark.timeout(900)
def test_a_benchmark_killed_again_and_again_loses_no_finished_cell(tmp_path, benchmarked, benchmark_config, started):
    rng, config, kills = np.random.RandomState(KILLS), benchmark_config(), 0
    for number in count():
        run, kept = RunDir(tmp_path / f"run-{number}"), {}
        while kills < KILLS and not (run.results / "summary.json").exists():
            kills += killed_after(started(config, run.root), rng.uniform(0.2, 3.0))
            there = identity(cells(run))
            assert {path: there.get(path) for path in kept} == kept, "a finished cell was lost or trained again"
            kept = there
        run_benchmark(config, run.root)
        assert identity(list(kept)) == kept
        assert same_results(run, benchmarked) and made_of(run) == made_of(benchmarked)
        assert not list(run.root.rglob("evaluation/cells/.tmp-*"))
        if kills == KILLS:
            return


def test_killed_while_it_trains_cells_it_goes_on_with_the_next(prepared, benchmarked, benchmark_config, started):
    process = started(benchmark_config("evaluation.workers=1"), prepared.root)
    limit = time.monotonic() + 120
    while len(cells(prepared)) < 3 and process.is_alive() and time.monotonic() < limit:
        time.sleep(0.01)
    assert killed_after(process, 0)
    kept = identity(cells(prepared))
    assert 3 <= len(kept) < 8
    run_benchmark(benchmark_config("evaluation.workers=0"), prepared.root)
    assert identity(list(kept)) == kept and same_results(prepared, benchmarked)


def test_two_processes_on_one_folder_train_every_cell_once(prepared, benchmarked, benchmark_config, started):
    processes = [started(benchmark_config(), prepared.root) for _ in range(2)]
    for process in processes:
        process.join(200)
        assert process.exitcode == 0
    counts, workers = trained(prepared)
    assert len(counts) == 8 and set(counts.values()) == {1} and len(workers) == 2
    assert same_results(prepared, benchmarked)


def test_two_workers_of_submitit_train_every_cell_once(prepared, benchmarked, benchmark_config):
    pytest.importorskip("submitit", reason="the extra cluster is not installed")
    run_benchmark(benchmark_config(), prepared.root, jobs=2, executor="local")
    counts, _ = trained(prepared)
    assert len(counts) == 8 and set(counts.values()) == {1}
    assert same_results(prepared, benchmarked)
    assert len(list((prepared.root / "submitit").glob("*_result.pkl"))) == 2


def test_processes_of_joblib_train_every_cell_once_and_see_a_device_each(
    prepared, benchmarked, benchmark_config, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # as far as this process can see
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    run_benchmark(benchmark_config("evaluation.workers=1"), prepared.root, jobs=2)
    counts, _ = trained(prepared)
    assert len(counts) == 8 and set(counts.values()) == {1}
    assert same_results(prepared, benchmarked)
    for number, name in enumerate(["GPU-a", "GPU-b"]):
        assert f"CUDA device {name}\n" in (prepared.root / "logs" / f"worker-{number}.log").read_text()


def test_a_claim_is_one_process_s_and_free_when_it_dies(tmp_path, started):
    root = RunDir(tmp_path)
    with claimed(root, "labelled-2/gan") as ours, claimed(root, "labelled-2/gan") as again:
        assert ours and not again
    if (child := os.fork()) == 0:
        with claimed(root, "labelled-2/gan"):
            (tmp_path / "held").touch()
            time.sleep(60)
        os._exit(1)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with claimed(root, "labelled-2/gan") as ours:
        assert not ours
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with claimed(root, "labelled-2/gan") as ours:
        assert ours
