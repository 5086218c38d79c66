"""Write synthetic training cases: edited scans of training patients, or their translations, with labels.

Reads: `prepared/`, `split.json`, `train/weights`. Writes `synthetic/`: the images, one record a case in `records/`, and
`datalist.json` with parent, seed, lesions and weights hash. What a case is says the task (see `tasks`).

Several processes, on one machine or on several that see the run folder, can make a share of the cases each: case k
belongs to share k mod n. A case depends on its number alone, and is written whole or not at all, so shares need no word
with each other: who finds every case there writes the datalist, by the stage itself, and `synthetic/` is the same, bit
for bit, as of one process. What was stopped goes on where it was; a share that somebody else holds is refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from medaug.config import PipelineConfig
from medaug.data.atomic import write_json
from medaug.data.synthetic import SyntheticCase
from medaug.errors import ConfigError, RunError
from medaug.experiment.edits import is_judged
from medaug.models.weights import read_facts
from medaug.processes import told_where_loaders_end
from medaug.progress import track
from medaug.runs.folder import RunDir
from medaug.runs.markers import (
    add_seconds,
    begin_stage,
    claimed,
    claims_held,
    data_prints,
    essential,
    holds,
    is_begun,
    run_stage,
)
from medaug.runs.provenance import refuse_known
from medaug.stages.tasks import task_of
from medaug.stages.tasks.task import Cases

STAGE = "synthesize"


def synthesize(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do. It waits for another process that does the same in this run.

    Raises:
        DataError: if there is no scan to make cases from.
        LeakageError: if the weights were trained on validation or test patients of this run.
        RunError: if shares of the cases are being made elsewhere.
    """
    with claimed(run, STAGE, wait=True):
        _refuse_at_work(run)
        return _finish(config, run)


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
        """The name of the claim to it."""
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
        LeakageError: if the weights were trained on validation or test patients of this run.
    """
    inputs, cases = _inputs(config, run), task_of(config).cases(run)
    with ExitStack() as held:
        if _begin(run, shard, inputs, held):
            started = time.monotonic()
            try:
                _records(cases, range(shard.number - 1, len(cases), shard.total))
            finally:
                with claimed(run, STAGE, wait=True):
                    add_seconds(run, STAGE, time.monotonic() - started)
    with claimed(run, STAGE, wait=True):  # whoever finds nobody at work and every case there writes the datalist
        written = sum(map(cases.is_there, range(len(cases))))
        whole = written == len(cases) and not claims_held(run, f"{STAGE}-")
        if whole:
            _finish(config, run)
    return ShardResult(written, len(cases), run.synthetic / "datalist.json" if whole else None)


def _begin(run: RunDir, shard: Shard, inputs: list[Any], held: ExitStack) -> bool:
    """Takes the claim to the share, unless all is done; cases of other settings are removed, if nobody writes them.

    Claims to shares are taken and looked at by the holder of the claim to the stage alone.
    """
    with claimed(run, STAGE, wait=True):
        if holds(run, STAGE, inputs, [run.synthetic]):
            return False
        if not is_begun(run, STAGE, inputs):
            _refuse_at_work(run)
        if not held.enter_context(claimed(run, shard.claim)):
            raise RunError(
                f"{run.root}: found another process that makes share {shard.number}/{shard.total}; expected none. "
                "Wait for it, or make another share."
            )
        begin_stage(run, STAGE, inputs, [run.synthetic])
        run.synthetic.mkdir(exist_ok=True)
        return True


def _refuse_at_work(run: RunDir) -> None:
    """Refuses while processes hold the claim to a share: what they are writing would be taken from them."""
    if held := claims_held(run, f"{STAGE}-"):
        shares = ", ".join(name.removeprefix(f"{STAGE}-").replace("-of-", "/") for name in held)
        raise RunError(
            f"{run.synthetic}: found processes that write shares of the cases (--shard {shares}); expected none. Wait "
            "for them, or end them: what they have written counts."
        )


def _finish(config: PipelineConfig, run: RunDir) -> bool:
    """Makes the cases that are not there, and writes the datalist of all; for whoever holds the claim to the stage."""

    def work() -> None:
        cases = task_of(config).cases(run)
        records = _records(cases, range(len(cases)))
        listed = {"training": [record.to_json() for record in records], **cases.figures(records)}
        write_json(run.synthetic / "datalist.json", listed)

    return run_stage(run, STAGE, _inputs(config, run), [run.synthetic], work)


def _inputs(config: PipelineConfig, run: RunDir) -> list[Any]:
    """What decides the cases; refuses weights that were trained on others than the training patients."""
    weights, split = read_facts(run.weights), run.read_split()
    refuse_known(weights, run, split, f"weights {run.weights}")
    judged = (
        [essential(config.segmenter), config.evaluation.budget, config.evaluation.patch_size]
        if is_judged(config)
        else []
    )
    return [essential(config.synthesis), weights.sha256, split.hash, *data_prints(run), *judged]


def _records(cases: Cases, numbers: Sequence[int]) -> list[SyntheticCase]:
    """The records of these cases, in order; those that are not there are made.

    An error is raised only after its traceback is gone, and with it the loader: its workers have then stopped writing.
    """
    if not all(cases.is_there(number) for number in numbers):
        cases.get_ready()
    loader = DataLoader(cases, batch_size=None, sampler=numbers, num_workers=cases.workers, collate_fn=_as_is)
    try:
        told = told_where_loaders_end("synthesis.workers", "Cases that are there are kept; the same command goes on.")
        with told, track(STAGE, len(numbers)) as tracker:
            records = []
            for record in loader:
                records.append(record)
                tracker.advance()
            return records
    except BaseException as error:
        failure = error.with_traceback(None)
    raise failure


def _as_is(record: Any) -> Any:
    return record
