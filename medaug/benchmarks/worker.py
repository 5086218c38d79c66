"""One process at work on a benchmark's folder; any number may, on one machine or several that share the folder.

A job is claimed by a lock on `claims/<job>.lock`, which the system frees when its holder dies, however it does. What
is done is found in the files: a job that another process finished is not done again. A job that fails is noted in
`failed/` and left alone by everyone until the next command; the others go on.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path

from medaug.benchmarks.plan import Block, Job, jobs_of
from medaug.benchmarks.results import write_results
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json, write_json
from medaug.data.synthetic import synthetic_cases
from medaug.errors import ConfigError, Interrupted, MedaugError, RunError, visible
from medaug.experiment.cells import is_kept, keep_cell
from medaug.experiment.downstream import Downstream
from medaug.experiment.held_out import synthetic_source
from medaug.runs.folder import RunDir, open_run
from medaug.runs.markers import claim_key, claimed
from medaug.stages.prepare import prepare
from medaug.stages.synthesize import synthesize
from medaug.stages.tasks import task_of
from medaug.stages.tasks.insertion import downstream_of, evaluated_cell
from medaug.stages.train import train

logger = logging.getLogger(__name__)

POLL_S = 0.5


def work(config: PipelineConfig, root: RunDir, say: Callable[[str], None] | None = None) -> None:
    """Does jobs until none is left; then writes the results, unless a job failed.

    Args:
        root: of the benchmark, opened.
        say: is told each job that this process has done; by default stderr.
    """
    aloud = say or (lambda line: print(visible(line), file=sys.stderr, flush=True))
    worker = Worker(root, jobs_of(config, root), aloud)
    worker.work()
    if not failures(root):
        with claimed(root, "results", wait=True):
            write_results(config, root)


def failures(root: RunDir) -> list[Path]:
    """A file a job that failed: {"job", "error"}."""
    return sorted((root.root / "failed").glob("[!.]*.json"))


class Networks:
    """What the cells of one block train and score: its views are made once for all cells with the same samples."""

    def __init__(self) -> None:
        self._block, self._by_ratio = "", dict[float | None, Downstream]()

    def of(self, job: Job) -> Downstream:
        """The networks of a cell's block, with the cell's synthetic ratio."""
        if job.block.name != self._block:
            self._block, self._by_ratio = job.block.name, {}
        if job.ratio not in self._by_ratio:
            made = downstream_of(job.config, job.block.run, with_synthetic=job.ratio is not None)
            self._by_ratio[job.ratio] = made
        return self._by_ratio[job.ratio]


def do(job: Job, root: RunDir, networks: Networks) -> bool:
    """Does a job whose needs are met; says whether there was anything to do.

    Preparing and training a GAN are stages, which know by themselves whether they have anything left to do.

    Raises:
        MedaugError: whatever a stage refuses.
    """
    if job.kind == "prepare":
        return prepare_block(job.block, root)
    block = job.block
    if job.kind == "gan":  # and decodes the synthetic cases, which every cell would do again
        ran = [train(block.config, block.run), synthesize(block.config, block.run)]
        records = synthetic_cases(block.run.synthetic / "datalist.json")
        synthetic_source(records, block.run, block.config.data.spatial_dims)
        return any(ran)
    source, started = job.source(), time.monotonic()
    if source is None:
        raise RunError(f"{block.run.root}: what {job.name} is made of was removed. Run the same command again.")
    cell = evaluated_cell(networks.of(job), job.arm, job.seed, job.path)
    cell = replace(cell, ratio=job.ratio, seconds=round(time.monotonic() - started, 2))
    for half_written in job.path.parent.glob(f".tmp-*-{escape(job.path.name)}"):  # by somebody who was killed
        half_written.unlink(missing_ok=True)
    keep_cell(job.path, source, cell)
    return True


class Worker:
    """Takes the next job that is ready and nobody's, until all are done or lost with one that failed."""

    def __init__(self, root: RunDir, jobs: Sequence[Job], say: Callable[[str], None]):
        self.root, self.jobs, self.say = root, jobs, say
        self.done: set[str] = set()
        self._sources: dict[str, str | None] = {}
        self._networks = Networks()

    def work(self) -> None:
        """Sees to all jobs, its own and those that others hold."""
        while left := [job for job in self.jobs if not (self.is_done(job) or self.is_lost(job))]:
            ready = (job for job in left if self.done.issuperset(job.needs))
            if not any(self._try(job) for job in ready):
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
        return any(_failed(self.root, name).exists() for name in (job.name, *job.needs))

    def _try(self, job: Job) -> bool:
        """Whether that brought us on: it was done, by us or by somebody since we looked, or failed."""
        with claimed(self.root, job.name) as ours:
            if ours and not self.is_done(job) and not self.is_lost(job):
                self._do(job)
        return ours

    def _do(self, job: Job) -> None:
        started = time.monotonic()
        try:
            ran = do(job, self.root, self._networks)
        except Interrupted:
            raise
        except Exception as error:
            if not isinstance(error, MedaugError):
                logger.exception("%s", job.name)
            write_json(_failed(self.root, job.name), {"job": job.name, "error": f"{type(error).__name__}: {error}"})
            self.say(f"{job.name}: failed: {error}")
            return
        self.done.add(job.name)
        if ran:
            seconds = round(time.monotonic() - started, 1)
            with open(self.root.root / "jobs.jsonl", "a") as file:  # who did what; all processes append to it
                row = {"job": job.name, "seconds": seconds, "pid": os.getpid(), "machine": platform.node()}
                file.write(json.dumps(row) + "\n")
            cells = [job for job in self.jobs if job.kind == "cell"]
            self.say(f"{job.name}: {seconds:.1f} s ({sum(map(self.is_done, cells))} of {len(cells)} cells done)")


def prepare_block(block: Block, root: RunDir) -> bool:
    """Prepares a block's data; says whether there was anything to do."""
    run = open_run(block.run.root, block.config, read_json(root.environment)["command"])
    ran = prepare(block.config, run)
    task_of(block.config).check_prepared(run)
    split = read_json(run.split)
    if block.labelled != "all" and "all" in block.config.benchmark.labelled and not split["unused"]:
        raise ConfigError(
            f"benchmark.labelled: found {block.labelled} and all, which is the same: {len(split['train'])} patients "
            "train. Leave one of them out."
        )
    return ran


def _failed(root: RunDir, name: str) -> Path:
    return root.root / "failed" / f"{claim_key(name)}.json"
