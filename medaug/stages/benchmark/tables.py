"""A benchmark as text for the terminal: what there is to do and how long it may take, and what came out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from medaug.io.atomic import read_json
from medaug.stages.benchmark.jobs import source_of
from medaug.stages.benchmark.plan import Job, check_benchmark, jobs_of
from medaug.stages.config import PipelineConfig
from medaug.stages.downstream.cells import is_kept
from medaug.stages.runs import RunDir, seconds_by_stage
from medaug.stages.sections import interval_text, main_metric

WIDTH = 140
COLUMNS = ["Arm", "Score", "Difference to standard", "Verdict", "Against the best arm without a GAN", "Verdict there"]


def plan_text(config: PipelineConfig, out: Path, jobs: int) -> str:
    """Every cell and whether it is done, and how long the others may take; nothing is written.

    Raises:
        ConfigError: if the config asks for what cannot be run.
    """
    check_benchmark(config)
    root = RunDir(out)
    every = jobs_of(config, root)
    done = {job.name for job in every if _is_done(job)}
    table = Table("labelled", "fold", "arm", "seed", "ratio", "state")
    cells = [job for job in every if job.kind == "cell"]
    for job in cells:
        facts = (job.block.labelled, job.block.fold, job.arm, job.seed, job.ratio)
        table.add_row(*("" if fact is None else str(fact) for fact in facts), _state(job.name in done))
    finished = sum(job.name in done for job in cells)
    lines = [_text(table), f"{finished} of {len(cells)} cells done", _eta(every, done, jobs)]
    return "\n".join(lines)


def results_text(run: RunDir) -> str:
    """Every group's arms with their verdicts."""
    parts = []
    for group in read_json(run.results / "summary.json")["groups"]:
        main = group["metrics"][main_metric(group)]
        score = f"{main['title']} ({main['unit']})" if main["unit"] else main["title"]
        table = Table(*(score if column == "Score" else column for column in COLUMNS))
        for row in rows_of(group):
            table.add_row(*row)
        parts += [heading(group), _text(table)]
    return "\n".join(parts)


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
    to_rival = {c["arm"]: c for c in group["rivals"]}

    def compared(comparison: dict[str, Any] | None, *, named: bool) -> list[str]:
        if comparison is None:
            return ["–", "–"]
        difference = interval_text(comparison["difference"], signed=True)
        return [f"{comparison['reference']}: {difference}" if named else difference, comparison["verdict"]]

    return [
        [arm, interval_text(scores[main]), *compared(to_standard.get(arm), named=False),
         *compared(to_rival.get(arm), named=True)]
        for arm, scores in group["arms"].items()
    ]  # fmt: skip


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


def _state(done: bool) -> str:
    return "done" if done else "missing"


def _text(table: Table) -> str:
    stream = StringIO()
    Console(file=stream, width=WIDTH, color_system=None, highlight=False).print(table)
    return stream.getvalue().rstrip()
