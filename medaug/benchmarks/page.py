"""The page of a benchmark: the answer, then what it rests on. Reads `results/` and the cells, writes `report.html`.

Nothing is trained or scored here, so a page can be drawn again at any time, also of an older folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medaug.benchmarks.answer import MOST_PATIENTS, answer_of, lost_to_holm, patients_text, verdict_of
from medaug.benchmarks.drawings import Drawing, cells_of_group, curves, differences, size_bars
from medaug.benchmarks.reading import CellFile, Group, Results, blocks, cell_files, read_results
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.experiment.failures import WORST, Failure, failures_path, read_failures
from medaug.figures.pictures import Picture, picture_grid
from medaug.report.page import Figure, ReportPage, Section, Table, render
from medaug.report.scrubbing import page_without_paths
from medaug.report.sections import command_text, data_text, downstream_section, interval_text
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
    cells, group = cell_files(run, results), results.headline(config.evaluation.synthetic_ratio)
    made = read_json(run.environment)
    title = results.metrics[results.main]["title"]
    sections = [
        downstream_section(group, cells_of_group(results, group), f"Scores with {patients_text(group['labelled'])}"),
        *_drawn("Against the best arm without a GAN", differences(group)[1:]),
        _all_settings(results),
        *_drawn(f"{title} by setting", curves(results, group)),
        *_drawn("Lesions by size", size_bars(group)),
        *_failures(results, group, cells),
        *_look(run),
        _cells(results, cells),
        _time(run, cells),
    ]
    contents = ReportPage(
        title=f"medaug benchmark: {config.name}",
        subtitle=f"Does GAN augmentation help {results.task} here, and more than what is cheaper?",
        verdict=verdict_of(results, group),
        facts=_facts(config, results, cells, made),
        sections=sections,
        warnings=[*training_warnings(run), *_warnings(results, group)],
        commands=[
            command_text(made["command"]),
            "medaug report <this folder>",
            "medaug reproduce <this folder> --out <new folder>",
        ],
    )
    return render(page_without_paths(contents, config, run), run.report)


def training_warnings(run: RunDir) -> list[str]:
    """Of every block's translator, in front the block's name."""
    named = {_block(folder, fold): folder for folder, _, fold in blocks(run)}
    return [f"{name}: {note}" for name, folder in named.items() for note in warnings_in(RunDir(folder).train)]


def _drawn(heading: str, drawings: list[Drawing]) -> list[Section]:
    """No section without something to draw."""
    return [Section(heading, figures=[drawing.figure() for drawing in drawings])] if drawings else []


def _facts(
    config: PipelineConfig, results: Results, cells: list[CellFile], made: dict[str, Any]
) -> list[tuple[str, str]]:
    group = results.groups[0]
    return [
        ("Data", data_text(config)),
        ("Labelled patients", ", ".join(map(str, results.labelled))),
        ("Scored on", f"{len(group['patients'])} {config.evaluation.patients} patients × {len(group['seeds'])} seeds"),
        ("Arms", ", ".join(group["arms"])),
        ("Synthetic part of GAN arms", ", ".join(f"{ratio:g}" for ratio in results.ratios)),
        ("Folds", str(config.split.folds or "none: one split")),
        ("Networks trained", str(len(cells))),
        ("Made with", f"medaug {made['medaug']}, {made['machine']}"),
    ]


def _all_settings(results: Results) -> Section:
    """Every arm in every setting, and the best GAN arm's answer in each."""
    metric = results.metrics[results.main]
    title = f"{metric['title']} ({metric['unit']})" if metric["unit"] else metric["title"]
    rows: list[list[str | float]] = []
    answers: list[list[str | float]] = []
    for group in results.groups:
        compared = {c["arm"]: c for c in group["comparisons"] if c["metric"] == results.main}
        for arm, scores in group["arms"].items():
            c = compared.get(arm)
            rows.append(
                [
                    str(group["labelled"]),
                    f"{group['ratio']:g}",
                    arm,
                    interval_text(scores[results.main]),
                    interval_text(c["difference"], signed=True) if c else "–",
                    c["verdict"] if c else "–",
                ]
            )
        answers += _answers(results, group)
    tables = [
        Table(
            "The best GAN arm in every setting",
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


def _answers(results: Results, group: Group) -> list[list[str | float]]:
    answer = answer_of(results, group)
    if answer is None:
        return []
    return [
        [
            str(group["labelled"]),
            f"{group['ratio']:g}",
            answer.arm,
            c["reference"],
            interval_text(c["difference"], signed=True),
            c["verdict"],
            "nothing" if c["smallest_detectable"] is None else f"{c['smallest_detectable']:.3f}",
            _needs(c, needed),
        ]
        for c, needed in zip(answer.comparisons, answer.needed, strict=True)
    ]


def _needs(comparison: dict[str, Any], needed: int | None) -> str:
    if comparison["verdict"] == "too few seeds":
        return "more seeds"
    if comparison["verdict"] != "inconclusive":
        return "–"
    if lost_to_holm(comparison):
        return "fewer arms"
    if needed is None:
        return "more seeds"
    return f"> {MOST_PATIENTS:,}" if needed > MOST_PATIENTS else f"{needed:,}"


def _failures(results: Results, group: Group, cells: list[CellFile]) -> list[Section]:
    """The worst patients of the best GAN arm, where cells kept them."""
    answer = answer_of(results, group)
    kept: list[tuple[Failure, int]] = []
    for cell in cells:
        if (
            answer is not None
            and (cell.arm, cell.labelled) == (answer.arm, group["labelled"])
            and (cell.ratio in (None, group["ratio"]))
        ):
            kept += [(failure, cell.seed) for failure in read_failures(failures_path(cell.path))]
    worst: dict[str, tuple[Failure, int]] = {}
    sign = 1 if results.metrics[results.main]["higher_is_better"] else -1
    for failure, seed in sorted(kept, key=lambda item: sign * item[0].score):
        worst.setdefault(failure.patient, (failure, seed))
    if answer is None or not worst:
        return []
    shown, title = list(worst.values())[:WORST], results.metrics[results.main]["title"]
    rows = [
        [
            Picture(f.image, -1, 1),
            Picture(f.image, -1, 1, contour=f.truth > 0),
            Picture(f.image, -1, 1, contour=f.prediction > 0),
        ]
        for f, _ in shown
    ]
    named = [f"{f.patient}: {title} {f.score:.2f}, seed {seed}" for f, seed in shown]
    grid = picture_grid(rows, column_titles=["image", "truth outlined", "prediction outlined"], row_titles=named)
    figure = Figure(
        f"Worst patients of {answer.arm}",
        grid,
        "The slice of each with most voxels outlined wrongly.",
        f"The test patients that {answer.arm} did worst on, with truth and prediction outlined: {'; '.join(named)}",
    )
    return [Section("Failures", figures=[figure])]


def _look(run: RunDir) -> list[Section]:
    blocks_of_run = {_block(folder, fold): RunDir(folder) for folder, _, fold in blocks(run)}
    return look_section(part_cases(blocks_of_run), f"Of every block's own translator: {SYNTHETIC_TEXT}")


def _cells(results: Results, cells: list[CellFile]) -> Section:
    title = results.metrics[results.main]["title"]
    rows: list[list[str | float]] = [
        [
            cell.arm,
            str(cell.labelled),
            cell.fold or "–",
            str(cell.seed),
            "–" if cell.ratio is None else f"{cell.ratio:g}",
            str(cell.patients),
            cell.score,
            float("nan") if cell.seconds is None else round(cell.seconds),
        ]
        for cell in cells
    ]
    columns = ["Arm", "Labelled", "Fold", "Seed", "Synthetic", "Patients", f"Mean {title}", "Seconds"]
    return Section("Cells", "A cell is one trained network.", [Table("", columns, rows)])


def _time(run: RunDir, cells: list[CellFile]) -> Section:
    by_arm: dict[str, list[float]] = {}
    for cell in cells:
        if cell.seconds is not None:
            by_arm.setdefault(cell.arm, []).append(cell.seconds)
    trained: list[list[str | float]] = [
        [arm, str(len(seconds)), round(sum(seconds) / len(seconds)), round(sum(seconds))]
        for arm, seconds in by_arm.items()
    ]
    stages: list[list[str | float]] = [
        [_block(folder, fold), stage, round(seconds)]
        for folder, _, fold in blocks(run)
        for stage, seconds in seconds_by_stage(RunDir(folder)).items()
    ]
    tables = [
        Table("Networks by arm", ["Arm", "Networks", "Seconds each", "Seconds in all"], trained),
        Table("Before them", ["Block", "Stage", "Seconds"], stages),
    ]
    return Section("Time", tables=[table for table in tables if table.rows])


def _block(folder: Path, fold: str) -> str:
    return f"{folder.parent.name}/{folder.name}" if fold else folder.name


def _warnings(results: Results, group: Group) -> list[str]:
    gan, notes = results.gan_arms, []
    if len(gan) > 1:
        notes.append(
            f"The best of {len(gan)} GAN arms was chosen on the patients it is judged on, which flatters its scores "
            "and intervals. Its verdicts are corrected for it (Holm, over all arms and rivals)."
        )
    if len(results.groups) > 1:
        notes.append(
            f"The answer above is of one of {len(results.groups)} settings, the one with all labelled patients; a "
            "verdict that holds in a single other setting may be chance."
        )
    return notes
