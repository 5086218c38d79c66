"""The page of a benchmark: the answer, then what it rests on. Reads `results/` and the cells, writes `report.html`.

Nothing is trained or scored here, so a page can be drawn again at any time, also of an older folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medaug.benchmarks.answer import Drawing, answer_of, curves, differences, headline_of, patients_text, size_bars
from medaug.benchmarks.plan import Block, blocks_of
from medaug.benchmarks.results import BenchmarkResults, CellFile, cell_files, read_results
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.experiment.cells import WORST, Failure, failures_path, read_failures
from medaug.experiment.records import Summary
from medaug.figures.charts import to_png
from medaug.figures.pictures import Picture, picture_grid
from medaug.report.page import MISSING, Figure, ReportPage, Section, Table, render
from medaug.report.scrubbing import page_without_paths
from medaug.report.sections import command_text, data_facts, downstream_section
from medaug.report.verdicts import interval_text
from medaug.report.viewing import SYNTHETIC_TEXT, look_section, part_cases
from medaug.runs.folder import RunDir
from medaug.runs.markers import seconds_by_stage
from medaug.training.monitors import warnings_in


def page(config: PipelineConfig, run: RunDir) -> Path:
    """Writes `report.html` from what is in the benchmark's folder.

    Raises:
        RunError: if there are no results yet.
    """
    results = read_results(run)
    blocks = [block for block in blocks_of(config, run) if block.run.split.exists()]
    cells, group = cell_files(blocks, results), results.headline(config.evaluation.synthetic_ratio)
    answer, made = answer_of(group), read_json(run.environment)
    looked_at = part_cases({block.name: block.run for block in blocks})
    notes = []
    if len(results.groups) > 1:
        notes.append(
            f"The answer above is of one of {len(results.groups)} settings, the one with all labelled patients; a "
            "verdict that holds in a single other setting may be chance."
        )
    contents = ReportPage(
        title=f"medaug benchmark: {config.name}",
        subtitle=f"Does GAN augmentation help {results.groups[0].task} here, and more than what is cheaper?",
        verdict=headline_of(results, group),
        facts=[
            *data_facts(config),
            ("Labelled patients", ", ".join(map(str, results.labelled))),
            ("Scored on", f"{len(group.patients)} {config.evaluation.patients} patients × {len(group.seeds)} seeds"),
            ("Arms", ", ".join(group.arms)),
            ("Synthetic part of GAN arms", ", ".join(f"{ratio:g}" for ratio in results.ratios)),
            ("Folds", str(config.split.folds or "none: one split")),
            ("Networks trained", str(len(cells))),
            ("Made with", f"medaug {made['medaug']}, {made['machine']}"),
        ],
        sections=[
            downstream_section(group, results.cells(group), f"Scores with {patients_text(group)}"),
            *_drawn("Against the best arm without a GAN", differences(group)[1:]),
            _all_settings(results),
            *_drawn(f"{results.main.title} by setting", curves(results, group)),
            *_drawn("Lesions by size", size_bars(group)),
            *(_failures(results, group, answer[0].comparison.arm, cells) if answer else []),
            *look_section(looked_at, f"Of every block's own translator: {SYNTHETIC_TEXT}"),
            _cells(results, cells),
            _time(blocks, cells),
        ],
        warnings=[*training_warnings(config, run), *notes],
        commands=[
            command_text(made["command"]),
            "medaug report <this folder>",
            "medaug reproduce <this folder> --out <new folder>",
        ],
    )
    return render(page_without_paths(contents, config, run), run.report)


def training_warnings(config: PipelineConfig, run: RunDir) -> list[str]:
    """The warnings of every block's translator, in front the block's name."""
    return [f"{block.name}: {note}" for block in blocks_of(config, run) for note in warnings_in(block.run.train)]


def _drawn(heading: str, drawings: list[Drawing]) -> list[Section]:
    """No section without something to draw."""
    return (
        [Section(heading, figures=[Figure(d.title, d.draw(to_png), d.caption, d.alt) for d in drawings])]
        if drawings
        else []
    )


def _all_settings(results: BenchmarkResults) -> Section:
    """Every arm in every setting, and the answer in each."""
    title, rows, answers = results.main.heading, [], []
    for group in results.groups:
        setting, compared = [str(group.labelled), f"{group.ratio:g}"], {c.arm: c for c in group.main_comparisons}
        for arm, scores in group.arms.items():
            c = compared.get(arm)
            judged = [MISSING, MISSING] if c is None else [interval_text(c.difference, signed=True), c.verdict]
            rows.append([*setting, arm, interval_text(scores[group.main]), *judged])
        for asked in answer_of(group):
            c = asked.comparison
            shows = "nothing" if c.smallest_detectable is None else f"{c.smallest_detectable:.3f}"
            judged = [interval_text(c.difference, signed=True), c.verdict, shows, asked.needs]
            answers.append([*setting, c.arm, c.reference, *judged])
    tables = [
        Table(
            "The answer in every setting",
            ["Labelled", "Synthetic", "Arm", "against", "Difference", "Verdict", "Shows", "Needs"],
            answers,
            "“Shows”: about the true difference that the test set would have shown in 80 % of repeats. “Needs”: "
            "about how many test patients would show a difference as large as the one seen.",
        ),
        Table(
            f"{title} of every arm in every setting",
            ["Labelled", "Synthetic", "Arm", title, "Difference to standard", "Verdict"],
            rows,
            "With 95 % intervals over patients and seeds; verdicts after Holm's correction over all comparisons of "
            "a setting, those of GAN arms with the others included. An arm without a GAN has the same cells in every "
            "synthetic part.",
        ),
    ]
    return Section("All settings", tables=[table for table in tables if table.rows])


def _failures(results: BenchmarkResults, group: Summary, arm: str, cells: Sequence[CellFile]) -> list[Section]:
    """The worst patients of the arm that the answer is of, where cells kept them."""
    kept = [
        (failure, cell.seed)
        for path, labelled, _, cell in cells
        if (cell.arm, labelled) == (arm, group.labelled) and cell.ratio in (None, group.ratio)
        for failure in read_failures(failures_path(path))
    ]
    worst: dict[str, tuple[Failure, int]] = {}
    sign = 1 if results.main.higher_is_better else -1
    for failure, seed in sorted(kept, key=lambda item: sign * item[0].score):
        worst.setdefault(failure.patient, (failure, seed))
    if not worst:
        return []
    shown = list(worst.values())[:WORST]
    rows = [
        [Picture(f.image, -1, 1, contour=contour) for contour in (None, f.truth > 0, f.prediction > 0)]
        for f, _ in shown
    ]
    named = [f"{f.patient}: {results.main.title} {f.score:.2f}, seed {seed}" for f, seed in shown]
    grid = picture_grid(rows, column_titles=["image", "truth outlined", "prediction outlined"], row_titles=named)
    alt = f"The test patients that {arm} did worst on, with truth and prediction outlined: {'; '.join(named)}"
    caption = "The slice of each with most voxels outlined wrongly."
    return [Section("Failures", figures=[Figure(f"Worst patients of {arm}", grid, caption, alt)])]


def _cells(results: BenchmarkResults, cells: Sequence[CellFile]) -> Section:
    main = next(iter(results.metrics))
    rows: list[list[str | float]] = []
    for _, labelled, fold, cell in cells:
        scores = [score for by_metric in cell.scores.values() if (score := by_metric[main]) is not None]
        mean = float(np.mean(scores)) if scores else float("nan")
        seconds = float("nan") if cell.seconds is None else round(cell.seconds)
        of_fold = MISSING if fold is None else f"fold-{fold}"
        ratio, count = MISSING if cell.ratio is None else f"{cell.ratio:g}", str(len(cell.scores))
        rows.append([cell.arm, str(labelled), of_fold, str(cell.seed), ratio, count, mean, seconds])
    columns = ["Arm", "Labelled", "Fold", "Seed", "Synthetic", "Patients", f"Mean {results.main.title}", "Seconds"]
    return Section("Cells", "A cell is one trained network.", [Table("", columns, rows)])


def _time(blocks: Sequence[Block], cells: Sequence[CellFile]) -> Section:
    by_arm: dict[str, list[float]] = {}
    for _, _, _, cell in cells:
        if cell.seconds is not None:
            by_arm.setdefault(cell.arm, []).append(cell.seconds)
    networks: list[list[str | float]] = [
        [arm, str(len(seconds)), round(sum(seconds) / len(seconds)), round(sum(seconds))]
        for arm, seconds in by_arm.items()
    ]
    before: list[list[str | float]] = [
        [block.name, stage, round(seconds)]
        for block in blocks
        for stage, seconds in seconds_by_stage(block.run).items()
    ]
    tables = [
        Table("Networks by arm", ["Arm", "Networks", "Seconds each", "Seconds in all"], networks),
        Table("Before them", ["Block", "Stage", "Seconds"], before),
    ]
    return Section("Time", tables=[table for table in tables if table.rows])
