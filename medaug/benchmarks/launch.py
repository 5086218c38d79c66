"""Starts the processes of a benchmark, here or on a cluster (submitit); the same command goes on where it was."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from contextlib import redirect_stderr
from pathlib import Path

from medaug.benchmarks.page import page, training_warnings
from medaug.benchmarks.plan import check_benchmark
from medaug.benchmarks.worker import failures, work
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.errors import ConfigError, RunError, visible
from medaug.progress import say
from medaug.runs.folder import RunDir, open_run
from medaug.stages.outlook import expected_patients, say_outlook

A_DAY_MIN = 24 * 60
EXECUTORS = ("slurm", "local")


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
    root = open_run(out, config)
    say_outlook(config, expected_patients(config))
    shutil.rmtree(root.root / "failed", ignore_errors=True)  # another try
    if executor is not None:
        _submit(config, root, jobs, executor)
    elif jobs > 1:
        _start_here(config, root, jobs)
    else:
        work(config, root)
    _refuse_failures(root)
    for warning in training_warnings(root) if jobs > 1 or executor else []:  # which went to the logs of the processes
        say(f"warning: {warning}")
    page(config, root)
    return root


def _start_here(config: PipelineConfig, root: RunDir, jobs: int) -> None:
    """joblib's loky: new processes, each with its share of the cores."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        Parallel(n_jobs=jobs, backend="loky")(delayed(_work_quietly)(config, root, n) for n in range(jobs))
    except TerminatedWorkerError as error:
        raise RunError(
            f"{root.root}: a process was ended from outside (out of memory?): {error}. The same command goes on where "
            "it was; lower --jobs if memory was short."
        ) from None


def _work_quietly(config: PipelineConfig, root: RunDir, number: int) -> None:
    """Progress of one of several goes to a log of its own; what is done is said aloud."""
    multiprocessing.set_start_method(None, force=True)  # loky sets its own, which data loaders cannot start with
    terminal, log = sys.stderr, root.root / "logs" / f"worker-{number}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("a") as file, redirect_stderr(file):
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
    ended = [f"{log}: {str(error).strip().splitlines()[-1]}" for log, error in problems if error is not None]
    if ended:
        raise RunError(
            f"{root.root}: {len(ended)} of {jobs} workers ended early: {'; '.join(ended)}. "
            "The same command goes on where it was."
        )


def _refuse_failures(root: RunDir) -> None:
    failed = [read_json(path) for path in failures(root)]
    if failed:
        listed = "; ".join(f"{found['job']} ({found['error']})" for found in failed)
        raise RunError(
            f"{root.root}: {len(failed)} job(s) failed, the others are done: {listed}. Mend that, and run the same "
            "command again: only what is missing is done."
        )
