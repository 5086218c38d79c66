"""From the cells of a benchmark to its results.

Reads: `labelled-*/evaluation/cells` (with folds `labelled-*/fold-*/...`). Writes `results/`: `cells.csv`, a row a
scored patient of a cell, and `summary.json`: {"task", "metrics", "groups"}. A group is one number of labelled patients
and one synthetic ratio: the summary of its arms (see `downstream.summary`) with "labelled" and "ratio"; arms without
synthetic samples have the same cells in every ratio. Folds are pooled: every patient is scored once in a cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medaug.benchmarks.jobs import source_of
from medaug.benchmarks.plan import Block, Job, blocks_of, jobs_of, ratios_of
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json, write_json, write_text
from medaug.data.tables import csv_text
from medaug.errors import RunError
from medaug.experiment.cells import is_kept
from medaug.experiment.downstream import Downstream
from medaug.experiment.held_out import held_out_patients
from medaug.experiment.summary import summarized
from medaug.runs.folder import RunDir
from medaug.runs.markers import essential, run_stage
from medaug.splits import Split
from medaug.stages.pool import task_of, united
from medaug.volumes import length_unit


def write_results(config: PipelineConfig, root: RunDir) -> bool:
    """Writes the results, unless those of the same cells are there; says whether it did.

    Raises:
        RunError: if a cell is missing, or was made of something else.
    """
    cells = [job for job in jobs_of(config, root) if job.kind == "cell"]
    sources = {job.name: source_of(job) for job in cells}
    missing = [job.name for job in cells if not is_kept(job.path, sources[job.name] or "")]
    if missing:
        raise RunError(f"{root.root}: missing cells: {', '.join(missing)}. Run the same command again.")
    inputs = [config.benchmark.labelled, ratios_of(config), essential(config.evaluation), sources]
    return run_stage(root, "results", inputs, [root.results], lambda: _write(config, root, cells))


def _write(config: PipelineConfig, root: RunDir, jobs: list[Job]) -> None:
    task, cells = task_of(config, root.root), {job.name: read_json(job.path) for job in jobs}
    groups = [
        _group(config, root, task, [(job, cells[job.name]) for job in jobs], labelled, ratio)
        for labelled in config.benchmark.labelled
        for ratio in ratios_of(config)
    ]
    counts = {block.name: len(_split(block).train) for block in blocks_of(config, root)}
    write_text(root.results / "cells.csv", _csv([(job, cells[job.name], counts[job.block.name]) for job in jobs], task))
    summary = {"task": task.name, "metrics": groups[0]["metrics"], "groups": groups}
    write_json(root.results / "summary.json", summary)


def _group(
    config: PipelineConfig,
    root: RunDir,
    task: Downstream,
    cells: list[tuple[Job, dict[str, Any]]],
    labelled: int | str,
    ratio: float,
) -> dict[str, Any]:
    """The summary of one number of labelled patients and one ratio."""
    blocks = [block for block in blocks_of(config, root) if block.labelled == labelled]
    patients = sorted(p for block in blocks for p in held_out_patients(config.evaluation, _split(block)))

    def pooled(arm: str, seed: int) -> dict[str, Any]:
        parts = [
            cell
            for job, cell in cells
            if (job.block.labelled, job.arm, job.seed) == (labelled, arm, seed) and job.ratio in (None, ratio)
        ]
        return united(parts)

    by_arm = {arm: [pooled(arm, seed) for seed in config.evaluation.seeds] for arm in config.evaluation.arms}
    count = min(len(_split(block).train) for block in blocks)  # all of a fold may be one more in another
    return summarized(by_arm, patients, task) | {"labelled": count, "ratio": ratio}


def _csv(cells: list[tuple[Job, dict[str, Any], int]], task: Downstream) -> str:
    rows, unit = [], length_unit(*(cell for _, cell, _ in cells))
    said = {} if unit == "mm" else {"length_unit": unit}
    for job, cell, labelled in cells:
        facts = [labelled, _blank(job.ratio), job.arm, job.seed, _blank(job.block.fold)]
        rows += [[*facts, patient, *scores, *said.values()] for patient, scores in _scores(cell, task)]
    return csv_text(["labelled", "ratio", "arm", "seed", "fold", "patient", *task.metrics, *said], rows)


def _scores(cell: dict[str, Any], task: Downstream) -> Iterator[tuple[str, list[Any]]]:
    """Blank where a metric is not defined for a patient alone."""
    for patient, scores in sorted(cell["scores"].items()):
        yield patient, ["" if scores[metric] is None else round(scores[metric], 5) for metric in task.metrics]


def _blank(value: Any) -> Any:
    return "" if value is None else value


def _split(block: Block) -> Split:
    return block.run.read_split()
