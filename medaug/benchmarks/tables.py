"""A benchmark as text for the terminal: what there is to do and how long it may take, and what came out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import mean
from typing import Any

from medaug.benchmarks.answer import lacking_of
from medaug.benchmarks.jobs import source_of
from medaug.benchmarks.plan import Job, check_benchmark, jobs_of
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.experiment.cells import is_kept
from medaug.experiment.summary import best_rivals
from medaug.report.sections import interval_text, main_metric
from medaug.report.terminal import Table, table_text
from medaug.runs.folder import RunDir
from medaug.runs.markers import seconds_by_stage
from medaug.stages.outlook import expected_patients, outlook

COLUMNS = ["Arm", "Score", "Difference to standard", "Verdict", "Against the best arm without a GAN", "Verdict there"]


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a benchmark; a field is None where the benchmark does not vary it."""

    labelled: int | str
    fold: int | None
    arm: str
    seed: int
    ratio: float | None
    done: bool


@dataclass(frozen=True)
class Plan:
    """Every cell of a benchmark and whether it is done, and in words how long the others may take.

    `outlook` says why no verdict will be possible; None where one is, as far as it is known.
    """

    cells: list[PlannedCell]
    eta: str
    outlook: str | None = None

    def text(self) -> str:
        """For the terminal."""
        table = Table("labelled", "fold", "arm", "seed", "ratio", "state")
        for cell in self.cells:
            facts = (cell.labelled, cell.fold, cell.arm, cell.seed, cell.ratio)
            table.add_row(*("" if fact is None else str(fact) for fact in facts), "done" if cell.done else "missing")
        finished = sum(cell.done for cell in self.cells)
        lines = [table_text(table), f"{finished} of {len(self.cells)} cells done", self.eta]
        return "\n".join([*lines, *([self.outlook] if self.outlook else [])])


@dataclass(frozen=True)
class BenchmarkResults:
    """What a benchmark found: the groups of its `results/summary.json`, and the path of its page."""

    groups: list[dict[str, Any]]
    report: Path

    def text(self) -> str:
        """For the terminal: every group's arms with their verdicts, and the path."""
        parts = []
        for group in self.groups:
            main = group["metrics"][main_metric(group)]
            score = f"{main['title']} ({main['unit']})" if main["unit"] else main["title"]
            table = Table(*(score if column == "Score" else column for column in COLUMNS))
            for row in rows_of(group):
                table.add_row(*row)
            parts += [heading(group), table_text(table), *lacking_of(group)]
        return "\n".join([*parts, str(self.report)])


def plan_of(config: PipelineConfig, out: Path, jobs: int) -> Plan:
    """What there is to do of a benchmark in the folder `out`; nothing is written.

    Raises:
        ConfigError: if the config asks for what cannot be run.
    """
    check_benchmark(config)
    every = jobs_of(config, RunDir(out))
    done = {job.name for job in every if _is_done(job)}
    cells = [
        PlannedCell(job.block.labelled, job.block.fold, job.arm, job.seed, job.ratio, job.name in done)
        for job in every
        if job.kind == "cell"
    ]
    return Plan(cells, _eta(every, done, jobs), outlook(config, expected_patients(config)))


def results_of(run: RunDir) -> BenchmarkResults:
    """Of a finished benchmark."""
    return BenchmarkResults(read_json(run.results / "summary.json")["groups"], run.report)


def heading(group: dict[str, Any]) -> str:
    """What a group is, in words."""
    return (
        f"{group['labelled']} labelled patient{'s' * (group['labelled'] != 1)}, synthetic ratio {group['ratio']:g}; "
        f"{len(group['patients'])} patients scored, seeds {', '.join(map(str, group['seeds']))}"
    )


def rows_of(group: dict[str, Any]) -> list[list[str]]:
    """A row an arm, by the main metric; `COLUMNS` says of what."""
    main = main_metric(group)
    to_standard = {c["arm"]: c for c in group["comparisons"] if c["metric"] == main}
    to_rival = {c["arm"]: c for c in best_rivals(group)}

    def compared(comparison: dict[str, Any] | None, *, named: bool) -> list[str]:
        if comparison is None:
            return ["–", "–"]
        difference = interval_text(comparison["difference"], signed=True)
        return [f"{comparison['reference']}: {difference}" if named else difference, comparison["verdict"]]

    return [
        [
            arm,
            interval_text(scores[main]),
            *compared(to_standard.get(arm), named=False),
            *compared(to_rival.get(arm), named=True),
        ]
        for arm, scores in group["arms"].items()
    ]


def _is_done(job: Job) -> bool:
    """As far as the files say; preparing takes no time worth a figure."""
    if job.kind == "gan":
        return job.block.run.done("synthesize").exists()
    source = source_of(job) if job.kind == "cell" else None
    return source is not None and is_kept(job.path, source)


def _eta(every: Iterable[Job], done: set[str], jobs: int) -> str:
    """From what the jobs of the same arm took (a GAN: of the same benchmark), shared by `jobs` processes."""
    took: dict[str, list[float]] = defaultdict(list)
    left: Counter[str] = Counter()
    for job in every:
        if job.kind == "prepare":
            continue
        kind = job.arm or "training the GAN"
        if job.name in done:
            took[kind].append(_seconds(job))
        else:
            left[kind] += 1
    if not left:
        return "ETA: nothing left to do"
    seconds = sum(count * mean(took[kind]) for kind, count in left.items() if kind in took)
    unknown = [f"{kind} ({count})" for kind, count in left.items() if kind not in took]
    if len(unknown) == len(left):
        return "ETA: unknown, for nothing like what is left has been done yet"
    eta = f"ETA: {timedelta(seconds=round(seconds / jobs))} with {jobs} process{'es' * (jobs != 1)}"
    return eta + (f", and an unknown time for {', '.join(unknown)}" if unknown else "")


def _seconds(job: Job) -> float:
    if job.kind == "cell":
        return float(read_json(job.path)["seconds"])
    stages = seconds_by_stage(job.block.run)
    return stages["train"] + stages["synthesize"]
