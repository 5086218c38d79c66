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

NOTES = {
    "segmentation": "",
    "classification": "Slices (or patches) of all test patients are pooled; the intervals resample patients.",
    "translation": "Compared with the real images of the same patients, inside the body.",
}
MARKS = {"pass": "✓ pass", "warn": "! warn", "fail": "✕ fail", "skipped": "– skipped"}
AUDITS_NOTE = (
    "Asked on patients that the generator never saw. A limit itself still passes; the floor is what real images reach."
)


def kept_picture(path: Path, title: str, caption: str, alt: str) -> list[Figure]:
    """A picture that a run keeps; none where it kept none."""
    return [Figure(title, read_png(path), caption, alt)] if path.exists() else []


def downstream_section(summary: Summary, cells: Sequence[Cell], heading: str, *, losses: bool = False) -> Section:
    """Scores by arm, differences, and the figures of both.

    Args:
        cells: those that the summary is of.
        losses: whether to draw their losses, where they hold any.
    """
    main, title = summary.main, summary.title
    shown = {  # what fits a page: of several classes the means, and the main metric of each
        name: metric
        for name, metric in summary.metrics.items()
        if CLASS_SEPARATOR not in name or name.startswith(f"{main}{CLASS_SEPARATOR}")
    }
    compared = [c for c in [*summary.comparisons, *summary.rivals] if c.metric in shown]
    texts = [interval_text(c.difference, signed=True) for c in compared]
    asked = max((c.n_comparisons for c in summary.comparisons), default=1)
    corrected = f", after Holm's correction for all {asked} of it" if asked > 1 else ""
    by_main = {arm: interval_text(scores[main]) for arm, scores in summary.arms.items()}
    heading_main = summary.metrics[main].heading
    pairs = [
        [c.reference, by_main[c.reference], c.arm, by_main[c.arm], interval_text(c.difference, signed=True), c.verdict]
        for c in summary.with_and_without
    ]
    tables = [
        Table(
            "Each rival, without and with the GAN",
            ["Rival", f"{heading_main} without", "Arm with it", f"{heading_main} with", "Difference", "Verdict"],
            pairs,
            "The best rival first, if it has such an arm. The two differ in nothing but what the GAN made.",
        )
    ] * bool(pairs)
    tables += [
        Table(
            "Scores by arm",
            ["Arm", *(metric.heading for metric in shown.values())],
            [[arm, *(interval_text(scores[metric]) for metric in shown)] for arm, scores in summary.arms.items()],
            "With a 95 % interval over patients and seeds.",
        ),
        Table(
            "Differences",
            ["Arm", "against", "Metric", "Difference", "Wilcoxon p", "Verdict"],
            [
                [c.arm, c.reference, shown[c.metric].title, text, f"{c.p_value:.3g}", c.verdict]
                for c, text in zip(compared, texts, strict=True)
            ],
            f"Paired by patient and seed; the interval is for new ones of both. Verdicts are on {title} alone"
            f"{corrected}; what is not judged is shown with its interval.",
        ),
    ]
    figures = []
    if summary.main_comparisons:
        caption = f"{'Right' if summary.metrics[main].higher_is_better else 'Left'} of zero is better."
        drawn = forest_plot(summary, summary.main_comparisons)
        figures.append(Figure(f"Difference in {title}", drawn, caption, "Differences with intervals"))
    caption, alt = "Each dot is a test patient alone, averaged over seeds.", f"{title} of every test patient by arm"
    figures.append(Figure(f"{title} by patient", patient_plot(summary, cells), caption, alt))
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
    for kind, found in summary.detection.items():
        tables += _detection_tables(found, f"{CLASS_SEPARATOR}{kind}" if len(summary.detection) > 1 else "")
    return Section(heading, NOTES[summary.task], tables, figures)


def forest_plot(summary: Summary, compared: Sequence[Comparison], encode: Encode = to_png) -> bytes:
    """The differences of some comparisons that share a reference and a metric."""
    label = f"difference in {summary.metrics[compared[0].metric].title} to {compared[0].reference}"
    rows = [(c.arm, c.difference.mean, c.difference.low, c.difference.high, c.verdict) for c in compared]
    return difference_forest(rows, xlabel=label, encode=encode)


def patient_plot(summary: Summary, cells: Sequence[Cell], encode: Encode = to_png) -> bytes:
    """The main metric of every patient in every arm, averaged over seeds; none for one who has no score alone."""
    scores = {(cell.arm, cell.seed): cell.scores for cell in cells}
    by_arm = {}
    for arm in summary.arms:
        by_seed = [[scores[arm, seed][patient][summary.main] for patient in summary.patients] for seed in summary.seeds]
        by_arm[arm] = np.mean(np.array(by_seed, dtype=float), axis=0).tolist()
    return score_by_patient(by_arm, ylabel=summary.title, encode=encode)


def audits_section(run: RunDir) -> list[Section]:
    """A table of all answers, and a picture each; nothing where no audit was asked (`medaug audit`)."""
    findings = kept_findings(run)
    if not findings:
        return []
    rows, figures = [], []
    for f in findings:
        floor = "" if f.floor is None else f"{f.floor:.3g}"
        rows.append([f.name, f.question, value_text(f), floor, limit_text(f), MARKS[f.verdict]])
        title, alt = f"{f.name}: {f.verdict}", f"Pictures of the audit {f.name}"
        figures += kept_picture(run.audit / f"{f.name}.png", title, f.sentence, alt)
    table = Table("Audits", ["Audit", "Question", "Figure", "Floor", "Limits", "Verdict"], rows, AUDITS_NOTE)
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in MARKS}
    text = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    reasons = [f"{f.name} was skipped: {f.sentence}." for f in findings if f.verdict == "skipped"]
    return [Section("Audits", "\n\n".join([f"{text}.", *reasons]), [table], figures)]


def value_text(finding: Finding) -> str:
    """The figure of an audit with its interval, and those of every sequence (or part, or pair of sequences)."""
    if finding.value is None:
        return MISSING
    interval = "" if finding.low is None else f" ({finding.low:.3g} to {finding.high:.3g})"
    each = ", ".join(f"{name} {value:.3g}" for name, value in finding.each.items())
    figure = f"{finding.value:.3g}{interval}{' ' if finding.unit else ''}{finding.unit}"
    return f"{figure}; {each}" if each else figure


def limit_text(finding: Finding) -> str:
    """The figures at which an audit warns and fails."""
    if finding.warn is None or finding.fail is None:
        return MISSING
    sign = ">" if finding.higher_is_worse else "<"
    if finding.warn == finding.fail:
        return f"fail {sign} {finding.fail:.3g}"
    return f"warn {sign} {finding.warn:.3g}, fail {sign} {finding.fail:.3g}"


def data_facts(config: PipelineConfig) -> list[tuple[str, str]]:
    """The place of the images and, where there are several, what their sequences, parts and regions are called."""
    data, regions = config.data, config.evaluation.regions or {}
    facts = [("Data", str(data.root or f"built-in {data.phantoms.anatomy} phantoms"))]
    if data.channels > 1:
        facts.append(("Sequences", f"{', '.join(data.sequence_names)}: all at once, by one generator and one network"))
    if len(data.tumor or ()) > 1:
        parts = (f"{name} ({', '.join(map(str, values))})" for name, values in (data.tumor or {}).items())
        facts.append(("Parts of tumors", f"{', '.join(parts)}: names, and their values in labels"))
    if regions:
        named = "; ".join(f"{region} = {' + '.join(classes)}" for region, classes in regions.items())
        facts.append(("Regions scored", named))
    return facts


def commands_of(run: RunDir) -> list[str]:
    """What made this run, and what makes it again."""
    made = command_text(read_json(run.environment)["command"])
    return [made, "medaug run <this folder>/config.yaml --out <new folder>"]


def command_text(words: list[str]) -> str:
    """A command as it was typed, but for the program's folder."""
    return " ".join(f"'{word}'" if " " in word else word for word in [Path(words[0]).name, *words[1:]])


def _detection_tables(found: Detection, suffix: str) -> list[Table]:
    """What was found of the lesions, by size, and what was found where there is none; by arm.

    `suffix` says of what they are, where there are several.
    """

    def table(title: str, names: list[str], note: str) -> Table:
        columns = ["Arm", *(f"{found.rates[name].short} (n = {found.rates[name].count})" for name in names)]
        rates = {arm: [by_rate[name] for name in names] for arm, by_rate in found.arms.items()}
        rows = [[arm, *(MISSING if rate is None else interval_text(rate) for rate in of)] for arm, of in rates.items()]
        return Table(title, columns, rows, note)

    by_size = [name for name, rate in found.rates.items() if rate.of == "lesions"]
    others = [name for name in found.rates if name not in by_size]
    parts = "connected in 3-D" if found.dimensions == [3] else "connected in each slice, and counted in each"
    missing = [rate.of for rate in found.rates.values() if rate.of != "lesions" and not rate.count]
    none = f" These data have no {' and no '.join(dict.fromkeys(missing))}." if missing else ""
    return [
        table(
            f"Lesions found{suffix}",
            by_size,
            f"Share of lesions ({parts}) that the predicted parts touching them cover with an IoU of at least "
            f"{LEAST_IOU:g}, by their equivalent diameter; n are the lesions.",
        ),
        table(
            f"False positives{suffix}",
            others,
            f"Predicted parts ({parts}) of {LEAST_VOXELS} voxels or more that find no lesion; in tumor-free slices "
            f"the parts and voxels seen in each slice alone. n are the scans or slices.{none}",
        ),
    ]
