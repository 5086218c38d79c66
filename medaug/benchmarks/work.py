"""The processes that work on a benchmark's folder: any number may, on one machine or several that share the folder.

A job is claimed by a lock on `claims/<job>.lock`, which the system frees when its holder dies, however it does. What
is done is found in the files: a job that another process finished is not done again. A job that fails is noted in
`failed/` and left alone by everyone until the next command; the others go on.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from glob import escape
from pathlib import Path

from medaug.benchmarks.page import page, training_warnings
from medaug.benchmarks.plan import Block, Job, check_benchmark, groups_of, jobs_of
from medaug.benchmarks.results import write_results
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json, write_json
from medaug.data.synthetic import synthetic_cases
from medaug.devices import AUTO, device_of
from medaug.errors import ConfigError, Interrupted, MedaugError, RunError, visible
from medaug.experiment.cells import is_kept, keep_cell
from medaug.experiment.downstream import Downstream
from medaug.experiment.held_out import synthetic_source
from medaug.progress import say
from medaug.runs.folder import RunDir, open_run
from medaug.runs.markers import claim_key, claimed
from medaug.stages.outlook import expected_patients, say_outlook
from medaug.stages.prepare import prepare
from medaug.stages.synthesize import synthesize
from medaug.stages.tasks import task_of
from medaug.stages.tasks.insertion import downstream_of, evaluated_cell
from medaug.stages.train import train, train_seeds

logger = logging.getLogger(__name__)

A_DAY_MIN = 24 * 60
EXECUTORS = ("slurm", "local")
POLL_S = 0.5


def run_benchmark(config: PipelineConfig, out: Path, *, jobs: int = 1, executor: str | None = None) -> RunDir:
    """Runs what is missing of a benchmark in the folder `out`, and writes its results and page.

    Args:
        jobs: processes that work on it.
        executor: "slurm" or "local", to start them through submitit; None starts them here.

    Raises:
        ConfigError: if the config asks for what cannot be run.
        RunError: if jobs failed, naming each; the others are done.
    """
    check_benchmark(config)
    if executor not in (None, *EXECUTORS):
        raise ConfigError(f"--executor: found {executor}; expected one of: {', '.join(EXECUTORS)}")
    if executor is None:
        device_of(config.accelerator, config.precision)
    root = open_run(out, config)
    say_outlook(config, expected_patients(config), groups_of(config))
    shutil.rmtree(root.root / "failed", ignore_errors=True)  # another try
    if executor is not None:
        _submit(config, root, jobs, executor)
    elif jobs > 1:
        _start_here(config, root, jobs)
    else:
        work(config, root)
    if failed := [read_json(path) for path in _failures(root)]:
        listed = "; ".join(f"{found['job']} ({found['error']})" for found in failed)
        raise RunError(
            f"{root.root}: {len(failed)} job(s) failed, the others are done: {listed}. Mend that, and run the same "
            "command again: only what is missing is done."
        )
    for warning in (
        training_warnings(config, root) if jobs > 1 or executor else []
    ):  # which went to the logs of the processes
        say(f"warning: {warning}")
    page(config, root)
    return root


def _start_here(config: PipelineConfig, root: RunDir, jobs: int) -> None:
    """joblib's loky: new processes, each with its share of the cores, and in turn one of the CUDA devices at hand."""
    import torch
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        any_gpu = config.accelerator in (AUTO, "cuda")
        devices = list(map(str, range(torch.cuda.device_count()))) if any_gpu else []
        if devices and (visible := os.environ.get("CUDA_VISIBLE_DEVICES")):
            devices = visible.split(",")[: len(devices)]  # the names that the user or the cluster gave
        of_each = [devices[number % len(devices)] if devices else None for number in range(jobs)]
        work = (delayed(_work_quietly)(config, root, *each) for each in enumerate(of_each))
        Parallel(n_jobs=jobs, backend="loky")(work)
    except TerminatedWorkerError as error:
        raise RunError(
            f"{root.root}: a process was ended from outside (out of memory?): {error}. The same command goes on where "
            "it was; lower --jobs if memory was short."
        ) from None


def _work_quietly(config: PipelineConfig, root: RunDir, number: int, device: str | None) -> None:
    """Progress of one of several goes to a log of its own; what is done is said aloud."""
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # read when CUDA starts, which it has not yet here
    multiprocessing.set_start_method(None, force=True)  # loky sets its own, which data loaders cannot start with
    terminal, log = sys.stderr, root.root / "logs" / f"worker-{number}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("a") as file, redirect_stderr(file):
        if device is not None:
            say(f"process {number}: CUDA device {device}")
        work(config, root, lambda line: print(visible(line), file=terminal, flush=True))


def _submit(config: PipelineConfig, root: RunDir, jobs: int, cluster: str) -> None:
    """Waits for all of them; what each says is in `submitit/`."""
    try:
        import submitit
    except ImportError:
        raise ConfigError('--executor needs submitit; install it with: pip install "medaug[cluster]"') from None
    try:
        executor = submitit.AutoExecutor(folder=root.root / "submitit", cluster=cluster)
        executor.update_parameters(**{"name": "medaug", "timeout_min": A_DAY_MIN} | config.benchmark.cluster)
    except (NameError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--executor {cluster}, benchmark.cluster {config.benchmark.cluster}: {error}") from None
    started = [executor.submit(work, config, root) for _ in range(jobs)]
    problems = [(job.paths.stderr, job.exception()) for job in started]
    if ended := [f"{log}: {str(error).strip().splitlines()[-1]}" for log, error in problems if error is not None]:
        raise RunError(
            f"{root.root}: {len(ended)} of {jobs} workers ended early: {'; '.join(ended)}. "
            "The same command goes on where it was."
        )


def work(config: PipelineConfig, root: RunDir, tell: Callable[[str], None] | None = None) -> None:
    """Does jobs until none is left; then writes the results, unless a job failed.

    Args:
        root: of the benchmark, opened.
        tell: is told each job that this process has done; by default stderr.
    """
    Worker(config, root, tell or (lambda line: print(visible(line), file=sys.stderr, flush=True))).work()
    if not _failures(root):
        with claimed(root, "results", wait=True):
            write_results(config, root)


class Worker:
    """Takes the next job that is ready and nobody's, until all are done or lost with one that failed."""

    def __init__(self, config: PipelineConfig, root: RunDir, tell: Callable[[str], None]):
        self.root, self.jobs, self.tell = root, jobs_of(config, root), tell
        self.done: set[str] = set()
        self._sources: dict[str, str | None] = {}
        self._block, self._networks = "", dict[float | None, Downstream]()

    def work(self) -> None:
        """Sees to all jobs, its own and those that others hold."""
        while left := [job for job in self.jobs if not (self.is_done(job) or self.is_lost(job))]:
            for job in left:
                if not self.done.issuperset(job.needs):
                    continue
                with claimed(self.root, job.name) as ours:
                    if ours and not self.is_done(job) and not self.is_lost(job):  # by somebody since we looked
                        self._do(job)
                if ours:
                    break
            else:
                time.sleep(POLL_S)  # others hold what is ready

    def is_done(self, job: Job) -> bool:
        """Whether this process has seen to a stage, or there is a cell that was made of the same."""
        if job.name not in self.done and job.kind == "cell" and self.done.issuperset(job.needs):
            if job.name not in self._sources:
                self._sources[job.name] = job.source()
            source = self._sources[job.name]
            if source is not None and is_kept(job.path, source):
                self.done.add(job.name)
        return job.name in self.done

    def is_lost(self, job: Job) -> bool:
        """Whether it failed, or waits for one that did."""
        return any(_failure(self.root, name).exists() for name in (job.name, *job.needs))

    def _do(self, job: Job) -> None:
        """Does a job and tells of it; a stage knows by itself whether it has anything left to do."""
        started = time.monotonic()
        try:
            if job.kind == "prepare":
                ran = prepare_block(job.block, self.root)
            elif job.kind == "gan":
                ran = _make_cases(job.block)
            else:
                self._make_cell(job)
                ran = True
        except Interrupted:
            raise
        except Exception as error:
            if not isinstance(error, MedaugError):
                logger.exception("%s", job.name)
            write_json(_failure(self.root, job.name), {"job": job.name, "error": f"{type(error).__name__}: {error}"})
            self.tell(f"{job.name}: failed: {error}")
            return
        self.done.add(job.name)
        if ran:
            seconds = round(time.monotonic() - started, 1)
            with open(self.root.root / "jobs.jsonl", "a") as file:  # who did what; all processes append to it
                row = {"job": job.name, "seconds": seconds, "pid": os.getpid(), "machine": platform.node()}
                file.write(json.dumps(row) + "\n")
            cells = [job for job in self.jobs if job.kind == "cell"]
            self.tell(f"{job.name}: {seconds:.1f} s ({sum(map(self.is_done, cells))} of {len(cells)} cells done)")

    def _make_cell(self, job: Job) -> None:
        """Trains and scores one network; the views of a block are made once for all cells with the same samples."""
        source, started, run = job.source(), time.monotonic(), job.block.run
        if source is None:
            raise RunError(f"{run.root}: what {job.name} is made of was removed. Run the same command again.")
        if job.block.name != self._block:
            self._block, self._networks = job.block.name, {}
        if job.ratio not in self._networks:
            self._networks[job.ratio] = downstream_of(job.config, run, with_synthetic=job.ratio is not None)
        cell = evaluated_cell(self._networks[job.ratio], job.arm, job.seed, job.path)
        cell = replace(cell, ratio=job.ratio, seconds=round(time.monotonic() - started, 2))
        for half_written in job.path.parent.glob(f".tmp-*-{escape(job.path.name)}"):  # by somebody who was killed
            half_written.unlink(missing_ok=True)
        keep_cell(job.path, source, cell)


def prepare_block(block: Block, root: RunDir) -> bool:
    """Prepares a block's data; says whether there was anything to do."""
    run = open_run(block.run.root, block.config, read_json(root.environment)["command"], root.root)
    ran = prepare(block.config, run)
    task_of(block.config).check_prepared(run)
    split = read_json(run.split)
    if block.labelled != "all" and "all" in block.config.benchmark.labelled and not split["unused"]:
        raise ConfigError(
            f"benchmark.labelled: found {block.labelled} and all, which is the same: {len(split['train'])} patients "
            "train. Leave one of them out."
        )
    return ran


def _make_cases(block: Block) -> bool:
    """Trains a block's GAN and synthesizes; decodes the synthetic cases, too, which every cell would do again."""
    ran = [stage(block.config, block.run) for stage in (train, train_seeds, synthesize)]
    records = synthetic_cases(block.run.synthetic / "datalist.json")
    synthetic_source(records, block.run, block.config.data)
    return any(ran)


def _failures(root: RunDir) -> list[Path]:
    """A file a job that failed: {"job", "error"}."""
    return sorted((root.root / "failed").glob("[!.]*.json"))


def _failure(root: RunDir, name: str) -> Path:
    return root.root / "failed" / f"{claim_key(name)}.json"
