"""Sections of a run's page that every kind of run has: the downstream figures, the training, the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.data.opening import read_png
from medaug.evaluation.detection import LEAST_IOU, LEAST_VOXELS
from medaug.experiment.cells import cell_path
from medaug.experiment.downstream import CLASS_SEPARATOR
from medaug.figures.charts import Encode, difference_forest, learning_curves, score_by_patient, to_png
from medaug.report.page import MISSING, Figure, Section, Table
from medaug.runs.folder import RunDir
from medaug.runs.markers import seconds_by_stage
from medaug.training.log import read_metrics

NOTES = {
    "segmentation": "",
    "classification": "Slices (or patches) of all test patients are pooled; the intervals resample patients.",
    "translation": "Compared with the real images of the same patients, inside the body.",
}


def main_metric(summary: dict[str, Any]) -> str:
    return next(iter(summary["metrics"]))


def downstream_section(
    summary: dict[str, Any], cells: dict[str, Any], heading: str, losses: dict[str, Any] | None = None
) -> Section:
    """Scores by arm, differences, and the figures of both.

    Args:
        cells: by `<arm>-seed<k>`, with "scores".
        losses: by the same names; None draws none.
    """
    arms, main = summary["arms"], main_metric(summary)
    shown = _shown(summary)
    titles = [f"{m['title']} ({m['unit']})" if m["unit"] else m["title"] for m in shown.values()]
    rows = [[arm, *(interval_text(arms[arm][metric]) for metric in shown)] for arm in arms]
    by_arm = Table("Scores by arm", ["Arm", *titles], rows, "With a 95 % interval over patients and seeds.")
    differences = Table(
        "Differences",
        ["Arm", "against", "Metric", "Difference", "Wilcoxon p", "Verdict"],
        [
            [
                c["arm"],
                c["reference"],
                shown[c["metric"]]["title"],
                interval_text(c["difference"], signed=True),
                f"{c['p_value']:.3g}",
                c["verdict"],
            ]
            for c in [*summary["comparisons"], *summary["rivals"]]
            if c["metric"] in shown
        ],
        f"Paired by patient and seed; the interval resamples both. {verdict_note(summary)}",
    )
    label = summary["metrics"][main]["title"]
    figures = [
        Figure(
            f"{label} by patient",
            patient_plot(cells, summary),
            "Each dot is a test patient alone, averaged over seeds.",
            f"{label} of every test patient by arm",
        )
    ]
    if losses is not None:
        curves = {
            name: ([update for update, _ in points], [loss for _, loss in points]) for name, points in losses.items()
        }
        name = f"{summary['task'].capitalize()} loss"
        drawn = learning_curves(curves, title=name, xlabel="update", ylabel="loss")
        figures.append(
            Figure(
                name,
                drawn,
                "Every arm gets the same number of updates.",
                f"Training loss of each {summary['task']} network",
            )
        )
    compared = main_comparisons(summary)
    if compared:
        better = "Right" if summary["metrics"][main]["higher_is_better"] else "Left"
        figures.insert(
            0,
            Figure(
                f"Difference in {label}",
                forest_plot(summary, compared),
                f"{better} of zero is better.",
                "Differences with intervals",
            ),
        )
    return Section(heading, NOTES[summary["task"]], [by_arm, differences, *_detection_tables(summary)], figures)


def verdict_note(summary: dict[str, Any]) -> str:
    """What the verdicts of a summary are corrected for, and what gets none."""
    title = summary["metrics"][main_metric(summary)]["title"]
    asked = max((c.get("n_comparisons", 1) for c in summary["comparisons"]), default=1)
    corrected = f", after Holm's correction for all {asked} of it" if asked > 1 else ""
    return f"Verdicts are on {title} alone{corrected}; what is not judged is shown with its interval."


def main_comparisons(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the main metric."""
    return [c for c in summary["comparisons"] if c["metric"] == main_metric(summary)]


def forest_plot(summary: dict[str, Any], compared: list[dict[str, Any]], encode: Encode = to_png) -> bytes:
    """The differences of some comparisons that share a reference and a metric."""
    first = compared[0]
    label = summary["metrics"][first["metric"]]["title"]
    rows = [
        (c["arm"], c["difference"]["mean"], c["difference"]["low"], c["difference"]["high"], c["verdict"])
        for c in compared
    ]
    return difference_forest(rows, xlabel=f"difference in {label} to {first['reference']}", encode=encode)


def patient_plot(cells: dict[str, Any], summary: dict[str, Any], encode: Encode = to_png) -> bytes:
    """The main metric of every patient in every arm; cells as for `downstream_section`."""
    label = summary["metrics"][main_metric(summary)]["title"]
    return score_by_patient(_main_by_arm(cells, summary), ylabel=label, encode=encode)


def cells_by_name(run: RunDir, summary: dict[str, Any]) -> dict[str, Any]:
    """The cells that a summary is of, by `<arm>-seed<k>`."""
    return {
        path.stem: read_json(path)
        for arm in summary["arms"]
        for seed in summary["seeds"]
        for path in [cell_path(run, arm, seed)]
    }


def losses_of(cells: dict[str, Any]) -> dict[str, Any]:
    return {name: cell["losses"] for name, cell in cells.items() if cell["losses"]}


def training_section(run: RunDir) -> Section:
    rows = read_metrics(run.train / "metrics.jsonl")
    names = [name for name in (rows[-1] if rows else {}) if name != "step" and not name.startswith(("strength", "var"))]
    curves = {name: ([r["step"] for r in rows], [r[name] for r in rows]) for name in names}
    figures = [
        Figure(
            "GAN losses",
            learning_curves(curves, title="GAN losses", ylabel="weighted loss"),
            "",
            "Losses of generators and discriminators over the steps",
        )
    ]
    previews = sorted(run.previews.glob("step-*.png"))
    if previews:
        figures.append(
            Figure(
                "Training crops at the end",
                read_png(previews[-1]),
                "",
                "Crops of training patients through both generators",
            )
        )
    return Section("GAN training", figures=figures)


def time_section(run: RunDir) -> Section:
    rows: list[list[str | float]] = [[stage, round(seconds)] for stage, seconds in seconds_by_stage(run).items()]
    return Section("Time", tables=[Table("Seconds by stage", ["Stage", "Seconds"], rows)])


def interval_text(values: dict[str, float], *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{values['mean']:{sign}.3f} ({values['low']:{sign}.3f} to {values['high']:{sign}.3f})"


def change_text(comparison: dict[str, Any], summary: dict[str, Any]) -> str:
    """A mean difference, in the unit of the metric (or of the images, where it has theirs), or in hundredths."""
    mean = comparison["difference"]["mean"]
    unit = summary["metrics"][comparison["metric"]]["unit"]
    unit = summary.get("unit", "") if unit is None else unit
    return f"{mean:+.2f} {unit}" if unit else f"{100 * mean:+.1f} points"


def data_text(config: PipelineConfig) -> str:
    """Where the images come from."""
    return str(config.data.root or f"built-in {config.data.phantoms.anatomy} phantoms")


def commands_of(run: RunDir) -> list[str]:
    """What made this run, and what makes it again."""
    made = command_text(read_json(run.environment)["command"])
    return [made, "medaug run <this folder>/config.yaml --out <new folder>"]


def command_text(words: list[str]) -> str:
    """A command as it was typed, but for the program's folder."""
    return " ".join(f"'{word}'" if " " in word else word for word in [Path(words[0]).name, *words[1:]])


def _detection_tables(summary: dict[str, Any]) -> list[Table]:
    """What was found of the lesions, by size, and what was found where there is none; by arm."""
    found = summary.get("detection")
    if not found:
        return []
    by_size = [name for name, rate in found["rates"].items() if rate["of"] == "lesions"]
    others = [name for name in found["rates"] if name not in by_size]
    parts = "connected in 3-D" if found["dimensions"] == [3] else "connected in each slice, and counted in each"
    missing = [rate["of"] for rate in found["rates"].values() if rate["of"] != "lesions" and not rate["count"]]
    none = f" These data have no {' and no '.join(dict.fromkeys(missing))}." if missing else ""
    return [
        Table(
            "Lesions found",
            *_rates(found, by_size),
            f"Share of lesions ({parts}) that the predicted parts touching them cover with an IoU of at least "
            f"{LEAST_IOU:g}, by their equivalent diameter; n are the lesions.",
        ),
        Table(
            "False positives",
            *_rates(found, others),
            f"Predicted parts ({parts}) of {LEAST_VOXELS} voxels or more that find no lesion; in tumor-free slices "
            f"the parts and voxels seen in each slice alone. n are the scans or slices.{none}",
        ),
    ]


def _rates(found: dict[str, Any], names: list[str]) -> tuple[list[str], list[list[str | float]]]:
    """Columns, with how much there is of what, and rows."""
    heads = [f"{rate['short']} (n = {rate['count']})" for name in names for rate in [found["rates"][name]]]
    rows: list[list[str | float]] = [
        [arm, *(MISSING if by_rate[name] is None else interval_text(by_rate[name]) for name in names)]
        for arm, by_rate in found["arms"].items()
    ]
    return ["Arm", *heads], rows


def _shown(summary: dict[str, Any]) -> dict[str, Any]:
    """The metrics that fit a page: of several classes the means, and the main metric of each."""
    main = main_metric(summary)
    return {
        name: metric
        for name, metric in summary["metrics"].items()
        if CLASS_SEPARATOR not in name or name.startswith(f"{main}{CLASS_SEPARATOR}")
    }


def _main_by_arm(cells: dict[str, Any], summary: dict[str, Any]) -> dict[str, list[float]]:
    """NaN for a patient who has no score alone."""
    metric = main_metric(summary)

    def score(arm: str, patient: str) -> float:
        scores = [cells[f"{arm}-seed{seed}"]["scores"][patient][metric] for seed in summary["seeds"]]
        return float(np.mean(scores)) if None not in scores else float("nan")

    return {arm: [score(arm, patient) for patient in summary["patients"]] for arm in summary["arms"]}
