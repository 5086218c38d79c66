"""Sections of a page that runs and benchmarks share: the downstream figures, the audits, the training, the time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medaug.audits.findings import kept_findings
from medaug.audits.measures.finding import Finding
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.data.opening import read_png
from medaug.evaluation.detection import LEAST_IOU, LEAST_VOXELS
from medaug.evaluation.statistics import Comparison
from medaug.experiment.records import Cell, Detection, Summary
from medaug.experiment.summary import CLASS_SEPARATOR
from medaug.figures.charts import Encode, difference_forest, learning_curves, score_by_patient, to_png
from medaug.report.page import MISSING, Figure, Section, Table
from medaug.report.verdicts import interval_text
from medaug.runs.folder import RunDir
from medaug.runs.markers import seconds_by_stage
from medaug.training.log import read_metrics

NOTES = {
    "segmentation": "",
    "classification": "Slices (or patches) of all test patients are pooled; the intervals resample patients.",
    "translation": "Compared with the real images of the same patients, inside the body.",
}
MARKS = {"pass": "✓ pass", "warn": "! warn", "fail": "✕ fail", "skipped": "– skipped"}
AUDITS_NOTE = (
    "Asked on patients that the generator never saw. A limit itself still passes; the floor is what real images reach."
)


def downstream_section(summary: Summary, cells: Sequence[Cell], heading: str, *, losses: bool = False) -> Section:
    """Scores by arm, differences, and the figures of both.

    Args:
        cells: those that the summary is of.
        losses: whether to draw their losses, where they hold any.
    """
    main = summary.main
    shown = {  # what fits a page: of several classes the means, and the main metric of each
        name: metric
        for name, metric in summary.metrics.items()
        if CLASS_SEPARATOR not in name or name.startswith(f"{main}{CLASS_SEPARATOR}")
    }
    by_arm = Table(
        "Scores by arm",
        ["Arm", *(metric.heading for metric in shown.values())],
        [[arm, *(interval_text(scores[metric]) for metric in shown)] for arm, scores in summary.arms.items()],
        "With a 95 % interval over patients and seeds.",
    )
    differences = Table(
        "Differences",
        ["Arm", "against", "Metric", "Difference", "Wilcoxon p", "Verdict"],
        [
            [
                c.arm,
                c.reference,
                shown[c.metric].title,
                interval_text(c.difference, signed=True),
                f"{c.p_value:.3g}",
                c.verdict,
            ]
            for c in [*summary.comparisons, *summary.rivals]
            if c.metric in shown
        ],
        f"Paired by patient and seed; the interval resamples both. {verdict_note(summary)}",
    )
    title, figures = summary.title, []
    if compared := summary.main_comparisons:
        better = "Right" if summary.metrics[main].higher_is_better else "Left"
        drawn = forest_plot(summary, compared)
        caption = f"{better} of zero is better."
        figures.append(Figure(f"Difference in {title}", drawn, caption, "Differences with intervals"))
    figures.append(
        Figure(
            f"{title} by patient",
            patient_plot(summary, cells),
            "Each dot is a test patient alone, averaged over seeds.",
            f"{title} of every test patient by arm",
        )
    )
    curves = {
        f"{cell.arm}-seed{cell.seed}": ([update for update, _ in cell.losses], [loss for _, loss in cell.losses])
        for cell in cells
        if cell.losses
    }
    if losses and curves:
        name = f"{summary.task.capitalize()} loss"
        drawn = learning_curves(curves, title=name, xlabel="update", ylabel="loss")
        alt = f"Training loss of each {summary.task} network"
        figures.append(Figure(name, drawn, "Every arm gets the same number of updates.", alt))
    found = [] if summary.detection is None else _detection_tables(summary.detection)
    return Section(heading, NOTES[summary.task], [by_arm, differences, *found], figures)


def verdict_note(summary: Summary) -> str:
    """What the verdicts of a summary are corrected for, and what gets none."""
    asked = max((c.n_comparisons for c in summary.comparisons), default=1)
    corrected = f", after Holm's correction for all {asked} of it" if asked > 1 else ""
    return f"Verdicts are on {summary.title} alone{corrected}; what is not judged is shown with its interval."


def forest_plot(summary: Summary, compared: Sequence[Comparison], encode: Encode = to_png) -> bytes:
    """The differences of some comparisons that share a reference and a metric."""
    label = f"difference in {summary.metrics[compared[0].metric].title} to {compared[0].reference}"
    rows = [(c.arm, c.difference.mean, c.difference.low, c.difference.high, c.verdict) for c in compared]
    return difference_forest(rows, xlabel=label, encode=encode)


def patient_plot(summary: Summary, cells: Sequence[Cell], encode: Encode = to_png) -> bytes:
    """The main metric of every patient in every arm, averaged over seeds; none for one who has no score alone."""
    scores = {(cell.arm, cell.seed): cell.scores for cell in cells}

    def mean(arm: str, patient: str) -> float:
        found = [scores[arm, seed][patient][summary.main] for seed in summary.seeds]
        return float(np.mean([float("nan") if score is None else score for score in found]))

    by_arm = {arm: [mean(arm, patient) for patient in summary.patients] for arm in summary.arms}
    return score_by_patient(by_arm, ylabel=summary.title, encode=encode)


def audits_section(run: RunDir) -> list[Section]:
    """A table of all answers, and a picture each; nothing where no audit was asked (`medaug audit`)."""
    findings = kept_findings(run)
    if not findings:
        return []
    rows = [
        [
            f.name,
            f.question,
            value_text(f),
            "" if f.floor is None else f"{f.floor:.3g}",
            limit_text(f),
            MARKS[f.verdict],
        ]
        for f in findings
    ]
    table = Table("Audits", ["Audit", "Question", "Figure", "Floor", "Limits", "Verdict"], rows, AUDITS_NOTE)
    figures = [
        Figure(f"{f.name}: {f.verdict}", read_png(path), f.sentence, f"Pictures of the audit {f.name}")
        for f in findings
        if (path := run.audit / f"{f.name}.png").exists()
    ]
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in MARKS}
    text = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    reasons = [f"{f.name} was skipped: {f.sentence}." for f in findings if f.verdict == "skipped"]
    return [Section("Audits", "\n\n".join([f"{text}.", *reasons]), [table], figures)]


def value_text(finding: Finding) -> str:
    """The figure of an audit with its interval."""
    if finding.value is None:
        return MISSING
    interval = "" if finding.low is None else f" ({finding.low:.3g} to {finding.high:.3g})"
    return f"{finding.value:.3g}{interval}{' ' if finding.unit else ''}{finding.unit}"


def limit_text(finding: Finding) -> str:
    """The figures at which an audit warns and fails."""
    if finding.warn is None or finding.fail is None:
        return MISSING
    sign = ">" if finding.higher_is_worse else "<"
    if finding.warn == finding.fail:
        return f"fail {sign} {finding.fail:.3g}"
    return f"warn {sign} {finding.warn:.3g}, fail {sign} {finding.fail:.3g}"


def training_section(run: RunDir) -> Section:
    """The losses of the GAN, and its last preview."""
    rows = read_metrics(run.train / "metrics.jsonl")
    names = [name for name in (rows[-1] if rows else {}) if name != "step" and not name.startswith(("strength", "var"))]
    curves = {name: ([r["step"] for r in rows], [r[name] for r in rows]) for name in names}
    drawn = learning_curves(curves, title="GAN losses", ylabel="weighted loss")
    figures = [Figure("GAN losses", drawn, "", "Losses of generators and discriminators over the steps")]
    if previews := sorted(run.previews.glob("step-*.png")):
        alt = "Crops of training patients through both generators"
        figures.append(Figure("Training crops at the end", read_png(previews[-1]), "", alt))
    return Section("GAN training", figures=figures)


def time_section(run: RunDir) -> Section:
    """How long each stage took."""
    rows: list[list[str | float]] = [[stage, round(seconds)] for stage, seconds in seconds_by_stage(run).items()]
    return Section("Time", tables=[Table("Seconds by stage", ["Stage", "Seconds"], rows)])


def data_text(config: PipelineConfig) -> str:
    """The place that the images come from."""
    return str(config.data.root or f"built-in {config.data.phantoms.anatomy} phantoms")


def commands_of(run: RunDir) -> list[str]:
    """What made this run, and what makes it again."""
    made = command_text(read_json(run.environment)["command"])
    return [made, "medaug run <this folder>/config.yaml --out <new folder>"]


def command_text(words: list[str]) -> str:
    """A command as it was typed, but for the program's folder."""
    return " ".join(f"'{word}'" if " " in word else word for word in [Path(words[0]).name, *words[1:]])


def _detection_tables(found: Detection) -> list[Table]:
    """What was found of the lesions, by size, and what was found where there is none; by arm."""

    def table(title: str, names: list[str], note: str) -> Table:
        rates = [found.rates[name] for name in names]
        rows = [
            [arm, *(MISSING if (rate := by_rate[name]) is None else interval_text(rate) for name in names)]
            for arm, by_rate in found.arms.items()
        ]
        return Table(title, ["Arm", *(f"{rate.short} (n = {rate.count})" for rate in rates)], rows, note)

    by_size = [name for name, rate in found.rates.items() if rate.of == "lesions"]
    others = [name for name in found.rates if name not in by_size]
    parts = "connected in 3-D" if found.dimensions == [3] else "connected in each slice, and counted in each"
    missing = [rate.of for rate in found.rates.values() if rate.of != "lesions" and not rate.count]
    none = f" These data have no {' and no '.join(dict.fromkeys(missing))}." if missing else ""
    return [
        table(
            "Lesions found",
            by_size,
            f"Share of lesions ({parts}) that the predicted parts touching them cover with an IoU of at least "
            f"{LEAST_IOU:g}, by their equivalent diameter; n are the lesions.",
        ),
        table(
            "False positives",
            others,
            f"Predicted parts ({parts}) of {LEAST_VOXELS} voxels or more that find no lesion; in tumor-free slices "
            f"the parts and voxels seen in each slice alone. n are the scans or slices.{none}",
        ),
    ]
