"""A share of a run's synthetic cases, so that several processes make them, on one machine or on several that see the
run folder.

Case k belongs to share k mod n. A case depends on its seed alone, and is written whole or not at all, so shares need no
word with each other: who finds every case there writes the datalist, by the stage itself, and `synthetic/` is the same,
bit for bit, as of one process. A share that was killed goes on where it was; one that somebody else holds is refused.
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medaug.config import PipelineConfig
from medaug.errors import ConfigError, RunError
from medaug.runs.claims import claimed, claims_held
from medaug.runs.folder import RunDir
from medaug.runs.markers import add_seconds, begin_stage, holds, is_begun
from medaug.stages.synthesize import STAGE, SynthesisJobs, finish, inputs_of, records_of, refuse_at_work, synthesis_jobs


@dataclass(frozen=True)
class Shard:
    """Share `number` (from 1) of `total`."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "1/4".

        Raises:
            ConfigError: if it is no share.
        """
        found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text.strip())
        if found is None or int(found[1]) > int(found[2]):
            raise ConfigError(f"--shard: found {text}; expected i/n with i from 1 to n, for example 1/4")
        return cls(int(found[1]), int(found[2]))

    @property
    def claim(self) -> str:
        return f"{STAGE}-{self.number}-of-{self.total}"


@dataclass(frozen=True)
class ShardResult:
    """How many of the run's cases are there, and the datalist, once it is whole."""

    written: int
    total: int
    datalist: Path | None

    def __str__(self) -> str:
        """The datalist's path, or how far the run is."""
        return str(self.datalist) if self.datalist else f"{self.written} of {self.total} cases are there"


def synthesize_shard(config: PipelineConfig, run: RunDir, shard: Shard) -> ShardResult:
    """Makes the cases of one share of a run that has trained; who comes last writes the datalist of all.

    Raises:
        RunError: if another process makes this share, or shares of other settings are being made.
        ConfigError: if the run translates between two kinds of image.
        LeakageError: if the weights were trained on validation or test patients of this run.
    """
    if config.domain != "tumor":
        raise ConfigError(
            f"{run.root}: found a run between two kinds of image (domain: {config.domain}); expected one that inserts "
            "tumors. `medaug run` writes its translations."
        )
    jobs = synthesis_jobs(config, run)
    with ExitStack() as held:
        if _begin(run, shard, inputs_of(config, run), held):
            _make(config, jobs, range(shard.number - 1, len(jobs), shard.total))
    return _finish(config, run, jobs)


def _begin(run: RunDir, shard: Shard, inputs: list[Any], held: ExitStack) -> bool:
    """Takes the claim to the share, unless all is done; cases of other settings are removed, if nobody writes them.

    Claims to shares are taken and looked at by the holder of the claim to the stage alone.
    """
    with claimed(run, STAGE, wait=True):
        if holds(run, STAGE, inputs, [run.synthetic]):
            return False
        if not is_begun(run, STAGE, inputs):
            refuse_at_work(run)
        if not held.enter_context(claimed(run, shard.claim)):
            raise RunError(
                f"{run.root}: found another process that makes share {shard.number}/{shard.total}; expected none. "
                "Wait for it, or make another share."
            )
        begin_stage(run, STAGE, inputs, [run.synthetic])
        run.synthetic.mkdir(exist_ok=True)
        return True


def _make(config: PipelineConfig, jobs: SynthesisJobs, numbers: range) -> None:
    """Makes these cases, and adds the time that took to that of the stage."""
    started = time.monotonic()
    try:
        records_of(config, jobs, numbers)
    finally:
        with claimed(jobs.run, STAGE, wait=True):
            add_seconds(jobs.run, STAGE, time.monotonic() - started)


def _finish(config: PipelineConfig, run: RunDir, jobs: SynthesisJobs) -> ShardResult:
    """Whoever finds nobody at work and every case there writes the datalist."""
    with claimed(run, STAGE, wait=True):
        written = sum(map(jobs.is_there, range(len(jobs))))
        whole = written == len(jobs) and not claims_held(run, f"{STAGE}-")
        if whole:
            finish(config, run)
    return ShardResult(written, len(jobs), run.synthetic / "datalist.json" if whole else None)
