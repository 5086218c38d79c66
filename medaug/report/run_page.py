"""The page of a run, and that of its folds together: what is the same for insertion and translation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.figures.charts import learning_curves
from medaug.report.page import Figure, ReportPage, Section, Table, Verdict
from medaug.report.scrubbing import page_without_paths
from medaug.report.sections import commands_of, data_facts, kept_picture
from medaug.report.viewing import look_section, part_cases
from medaug.runs.folder import RunDir
from medaug.runs.markers import seconds_by_stage
from medaug.training.monitors import read_metrics, warnings_in


@dataclass
class Results:
    """What a page says of an evaluation: its answer, the sections that hold it, and what must not be overlooked."""

    verdict: Verdict
    sections: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Findings(NamedTuple):
    """What the page of one run says beside its results.

    Attributes:
        question: the line below the title.
        facts: how the run was made, after its data and patients.
        sections: those between the results and the training.
        notes: what must not be overlooked.
    """

    question: str
    facts: list[tuple[str, str]]
    sections: list[Section]
    notes: Sequence[str] = ()


def run_page(config: PipelineConfig, run: RunDir, results: Results, findings: Findings) -> ReportPage:
    """The page of one run, from what is in its folder."""
    split, weights = read_json(run.split), read_json(run.weights / "model.json")
    datalists = [read_json(path) for path in (run.datalist, run.datalist_b) if path.exists()]
    parts = [
        f"{len(split[part])} to {aim}"
        for part, aim in (("train", "train"), ("validation", "validate"), ("test", "test"))
    ]
    seconds: list[list[str | float]] = [[stage, round(seconds)] for stage, seconds in seconds_by_stage(run).items()]
    page = ReportPage(
        title=f"medaug: {config.name}",
        subtitle=findings.question,
        verdict=results.verdict,
        facts=[
            *data_facts(config),
            ("Patients", ", ".join(parts)),
            *findings.facts,
            ("Weights", weights["sha256"][:16]),
            ("Split", split["hash"][:16]),
            ("Made with", f"medaug {weights['medaug']}, {read_json(run.environment)['machine']}"),
        ],
        sections=[
            *results.sections,
            *findings.sections,
            _training(run),
            Section("Time", tables=[Table("Seconds by stage", ["Stage", "Seconds"], seconds)]),
        ],
        warnings=[*warnings_in(run.train), *results.notes, *findings.notes],
        left_out=[(item["path"], item["reason"]) for datalist in datalists for item in datalist["unreadable"]],
        commands=commands_of(run),
    )
    return page_without_paths(page, config, run)


def folds_page(
    config: PipelineConfig, run: RunDir, folds: Sequence[RunDir], results: Results, audit: Sequence[Section]
) -> ReportPage:
    """The page of a run with folds: the pooled figures, and where the folds' own pages are.

    Args:
        audit: sections of what the audits of all folds found.
    """
    splits, environment = [read_json(fold.split) for fold in folds], read_json(run.environment)
    tested = sum(len(split["test"]) for split in splits)
    rows: list[list[str | float]] = []
    for fold, split in zip(folds, splits, strict=True):
        name, seconds = fold.root.name, round(sum(seconds_by_stage(fold).values()))
        rows.append([name, ", ".join(split["test"]), seconds, f"{name}/{fold.report.name}"])
    table = Table("Folds", ["Fold", "Tested", "Seconds", "Its page"], rows)
    cases = part_cases({fold.root.name: fold for fold in folds})
    first = f"{len(splits[0]['train'])} train and {len(splits[0]['validation'])} validate in the first fold"
    page = ReportPage(
        title=f"medaug: {config.name}",
        subtitle=f"{len(folds)} folds, pooled: every patient is tested once, by networks that never saw that patient",
        verdict=results.verdict,
        facts=[
            *data_facts(config),
            ("Patients", f"{tested} tested; {first}"),
            ("Made with", f"medaug {environment['medaug']}, {environment['machine']}"),
        ],
        sections=[
            *results.sections,
            *audit,
            *look_section(cases, "More of each fold is on its own page."),
            Section("Folds", "Each fold trained a translator and networks of its own.", [table]),
        ],
        warnings=[*(f"{fold.root.name}: {note}" for fold in folds for note in warnings_in(fold.train)), *results.notes],
        commands=commands_of(run),
    )
    return page_without_paths(page, config, run)


def _training(run: RunDir) -> Section:
    """The losses of the GAN, and its last preview."""
    rows = read_metrics(run.train / "metrics.jsonl")
    names = [name for name in (rows[-1] if rows else {}) if name != "step" and not name.startswith(("strength", "var"))]
    curves = {name: ([r["step"] for r in rows], [r[name] for r in rows]) for name in names}
    drawn = learning_curves(curves, title="GAN losses", ylabel="weighted loss")
    figures = [Figure("GAN losses", drawn, "", "Losses of generators and discriminators over the steps")]
    for preview in sorted(run.previews.glob("step-*.png"))[-1:]:
        alt = "Crops of training patients through both generators"
        figures += kept_picture(preview, "Training crops at the end", "", alt)
    return Section("GAN training", figures=figures)
