"""The results of a benchmark: from its cells to `results/`, and back from there for a page, a table, a supplement.

`results/cells.csv` has a row a scored patient of a cell, and `summary.json` is {"task", "metrics", "groups"}. A group
is one setting, a number of labelled patients and a synthetic ratio: the `Summary` of its arms with both. Arms without
synthetic samples have the same cells in every ratio. Folds are pooled: every patient is scored once in a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from medaug.benchmarks.plan import Block, Job, blocks_of, jobs_of, ratios_of
from medaug.config import PipelineConfig
from medaug.data.atomic import csv_text, read_csv, read_json, write_json, write_text
from medaug.errors import RunError
from medaug.evaluation.statistics import lacking
from medaug.experiment.cells import is_kept, read_cell
from medaug.experiment.held_out import held_out_patients
from medaug.experiment.records import Cell, MetricFacts, Scores, Summary
from medaug.experiment.summary import judged, rounded_scores, scoring_of, summarized
from medaug.report.terminal import Table, table_text
from medaug.report.verdicts import interval_text, verdict_of
from medaug.runs.folder import RunDir
from medaug.runs.markers import essential, run_stage
from medaug.splits import Split
from medaug.volumes import length_unit


@dataclass(frozen=True)
class BenchmarkResults:
    """What a benchmark found.

    Attributes:
        groups: the settings of `results/summary.json`.
        report: the path of its page.
        rows: of `results/cells.csv`, a dict a scored patient of a cell; numbers as text.
    """

    groups: list[Summary]
    report: Path
    rows: list[dict[str, str]] = field(default_factory=list, repr=False)

    @property
    def main(self) -> MetricFacts:
        """The metric that decides."""
        return next(iter(self.metrics.values()))

    @property
    def metrics(self) -> dict[str, MetricFacts]:
        """The metrics of every setting, the main one first."""
        return self.groups[0].metrics

    @cached_property
    def gan_arms(self) -> frozenset[str]:
        """Arms with synthetic samples: those whose cells have a ratio."""
        return frozenset(row["arm"] for row in self.rows if row["ratio"])

    @property
    def labelled(self) -> list[int]:
        """The numbers of labelled patients; a group of folds is named by its least."""
        return sorted({group.labelled or 0 for group in self.groups})

    @property
    def ratios(self) -> list[float]:
        """The synthetic ratios."""
        return sorted({group.ratio or 0.0 for group in self.groups})

    def group(self, labelled: int | None, ratio: float | None) -> Summary:
        """The results of one setting."""
        return next(g for g in self.groups if (g.labelled, g.ratio) == (labelled, ratio))

    def headline(self, ratio: float) -> Summary:
        """The setting that the page's answer is of, fixed before anything is measured.

        All labelled patients, and the synthetic part of a single run, if that is among those tried (else the least).
        """
        return self.group(self.labelled[-1], ratio if ratio in self.ratios else self.ratios[0])

    def cells(self, group: Summary) -> list[Cell]:
        """The networks of a setting, each with the scores of the patients of all folds."""
        found: dict[tuple[str, int], Scores] = {}
        for row in self.rows:
            counted = int(row["labelled"])  # all patients of one fold may be one more than of another
            labelled = max((n for n in self.labelled if n <= counted), default=counted)
            if labelled == group.labelled and (not row["ratio"] or float(row["ratio"]) == group.ratio):
                scores = {metric: float(row[metric]) if row[metric] else None for metric in self.metrics}
                found.setdefault((row["arm"], int(row["seed"])), {})[row["patient"]] = scores
        return [Cell(arm=arm, seed=seed, scores=scores) for (arm, seed), scores in found.items()]

    def to_json(self) -> dict[str, object]:
        """What `medaug benchmark --json` prints."""
        return {"groups": [group.to_json() for group in self.groups], "report": self.report}

    def text(self) -> str:
        """For the terminal: every group's answer and its arms with their verdicts, and the path."""
        parts = []
        for group in self.groups:
            against = "Against the best arm without a GAN"
            score = group.metrics[group.main].heading
            table = Table("Arm", score, "Difference to standard", "Verdict", against, "Verdict there")
            to_standard = {c.arm: c for c in group.main_comparisons}
            to_rival = {c.arm: c for c in group.best_rivals}
            for arm, scores in group.arms.items():
                row = [arm, interval_text(scores[group.main]), "–", "–", "–", "–"]
                if first := to_standard.get(arm):
                    row[2:4] = interval_text(first.difference, signed=True), first.verdict
                if second := to_rival.get(arm):
                    row[4:] = f"{second.reference}: {interval_text(second.difference, signed=True)}", second.verdict
                table.add_row(*row)
            heading = (
                f"{group.labelled} labelled patient{'s' * (group.labelled != 1)}, synthetic ratio {group.ratio:g}; "
                f"{len(group.patients)} patients scored, seeds {', '.join(map(str, group.seeds))}"
            )
            parts += [heading, verdict_of(group).headline, table_text(table), *lacking_of(group)]
        return "\n".join([*parts, str(self.report)])


class CellFile(NamedTuple):
    """A trained cell that the results are of; `labelled` is the number of patients, also where that is "all"."""

    path: Path
    labelled: int
    fold: int | None
    cell: Cell


def write_results(config: PipelineConfig, root: RunDir) -> bool:
    """Writes the results, unless those of the same cells are there; says whether it did.

    Raises:
        RunError: if a cell is missing, or was made of something else.
    """
    cells = [job for job in jobs_of(config, root) if job.kind == "cell"]
    sources = {job.name: job.source() for job in cells}
    missing = [job.name for job in cells if not is_kept(job.path, sources[job.name] or "")]
    if missing:
        raise RunError(f"{root.root}: missing cells: {', '.join(missing)}. Run the same command again.")
    inputs = [config.benchmark.labelled, ratios_of(config), essential(config.evaluation), sources]
    return run_stage(root, "results", inputs, [root.results], lambda: _write(config, root, cells))


def read_results(run: RunDir) -> BenchmarkResults:
    """The results of a finished benchmark.

    Raises:
        RunError: naming what is missing.
    """
    summary, table = run.results / "summary.json", run.results / "cells.csv"
    missing = [str(path.relative_to(run.root)) for path in (summary, table) if not path.exists()]
    if missing:
        raise RunError(
            f"{run.root}: an unfinished benchmark: found no {' and no '.join(missing)}. Run the same `medaug "
            "benchmark` command again to finish it."
        )
    groups = [Summary.from_json(group) for group in read_json(summary)["groups"]]
    return BenchmarkResults(groups, run.report, read_csv(table))


def cell_files(blocks: Sequence[Block], results: BenchmarkResults) -> list[CellFile]:
    """The cells that the results are of, in the order of the settings; others lie there from earlier settings."""
    wanted = {(group.labelled, arm, seed) for group in results.groups for arm in group.arms for seed in group.seeds}
    found = []
    for block in blocks:
        labelled = results.labelled[-1] if block.labelled == "all" else block.labelled
        for path in sorted((block.run.evaluation / "cells").glob("[!.]*.json")):
            cell = read_cell(path)
            if (labelled, cell.arm, cell.seed) in wanted and cell.ratio in (None, *results.ratios):
                found.append(CellFile(path, labelled, block.fold, cell))
    return found


def lacking_of(group: Summary) -> list[str]:
    """What keeps every comparison of a setting from a verdict; nothing where one is possible."""
    asked = [c.n_comparisons for c in [*group.comparisons, *group.rivals]]
    return lacking(len(group.patients), len(group.seeds), max(asked)) if asked else []


def _write(config: PipelineConfig, root: RunDir, jobs: Sequence[Job]) -> None:
    scoring, cells, blocks = scoring_of(config), [(job, read_cell(job.path)) for job in jobs], blocks_of(config, root)
    splits = {block.name: block.run.read_split() for block in blocks}
    groups = [
        _group(config, {block.name: splits[block.name] for block in blocks if block.labelled == labelled}, cells, ratio)
        for labelled in config.benchmark.labelled
        for ratio in ratios_of(config)
    ]
    groups = judged(
        groups, groups.index(BenchmarkResults(groups, root.report).headline(config.evaluation.synthetic_ratio))
    )
    unit = length_unit(*(vars(cell) for _, cell in cells))
    said = {} if unit == "mm" else {"length_unit": unit}
    rows = []
    for job, cell in cells:
        ratio, fold = ("" if value is None else value for value in (job.ratio, job.block.fold))
        setting = [len(splits[job.block.name].train), ratio, job.arm, job.seed, fold]
        for patient in sorted(cell.scores):
            rows.append([*setting, patient, *rounded_scores(cell, patient, scoring), *said.values()])
    columns = ["labelled", "ratio", "arm", "seed", "fold", "patient", *scoring.metrics, *said]
    write_text(root.results / "cells.csv", csv_text(columns, rows))
    found = [group.to_json() for group in groups]
    summary = {"task": scoring.name, "metrics": found[0]["metrics"], "groups": found}
    write_json(root.results / "summary.json", summary)


def _group(
    config: PipelineConfig, splits: dict[str, Split], cells: Sequence[tuple[Job, Cell]], ratio: float
) -> Summary:
    """The summary of one number of labelled patients, whose blocks' splits these are, and one ratio."""
    settings = config.evaluation
    found = [(job, cell) for job, cell in cells if job.block.name in splits and job.ratio in (None, ratio)]
    by_arm = {
        arm: [Cell.of_folds([cell for job, cell in found if (job.arm, job.seed) == (arm, k)]) for k in settings.seeds]
        for arm in settings.arms
    }
    patients = sorted(patient for split in splits.values() for patient in held_out_patients(settings, split))
    count = min(len(split.train) for split in splits.values())  # all of a fold may be one more in another
    return replace(summarized(by_arm, patients, scoring_of(config)), labelled=count, ratio=ratio)
