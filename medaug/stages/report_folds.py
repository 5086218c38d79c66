"""The page of a run with folds: the pooled figures, and where the folds' own pages are."""

from __future__ import annotations

from collections.abc import Sequence

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.experiment.cells import cells_behind
from medaug.experiment.records import Evaluation
from medaug.report.page import ReportPage, Section, Table, render
from medaug.report.scrubbing import page_without_paths
from medaug.report.sections import commands_of, data_text, downstream_section
from medaug.report.verdicts import rival_notes, verdict_of
from medaug.report.viewing import look_section, part_cases
from medaug.runs.folder import RunDir
from medaug.runs.markers import seconds_by_stage
from medaug.stages.domains.audit_sections import audit_sections
from medaug.stages.domains.report_domains import NO_EVALUATION, domain_notes, domain_verdict, result_sections
from medaug.training.monitors import warnings_in


def report_folds(config: PipelineConfig, run: RunDir, folds: Sequence[RunDir]) -> None:
    """Writes the page from what is in the run folder and its folds."""
    splits = [read_json(fold.split) for fold in folds]
    tested = sum(len(split["test"]) for split in splits)
    evaluated = (run.evaluation / "summary.json").exists()
    if not evaluated:
        verdict, sections, notes = NO_EVALUATION, [], []
    elif config.domain == "ct":
        verdict, sections, notes = domain_verdict(run), result_sections(run), domain_notes(run)
    else:
        found = Evaluation.of_run(run)
        assert found is not None
        summary = found.tests[""]
        verdict, notes = verdict_of(summary), rival_notes(summary)
        sections = [downstream_section(summary, cells_behind(summary, run), summary.task.capitalize())]
    page = ReportPage(
        title=f"medaug: {config.name}",
        subtitle=f"{len(folds)} folds, pooled: every patient is tested once, by networks that never saw that patient",
        verdict=verdict,
        facts=[
            ("Data", data_text(config)),
            (
                "Patients",
                f"{tested} tested; {len(splits[0]['train'])} train and {len(splits[0]['validation'])} "
                "validate in the first fold",
            ),
            ("Made with", f"medaug {read_json(run.environment)['medaug']}, {read_json(run.environment)['machine']}"),
        ],
        sections=[*sections, *audit_sections(run), *_look(folds), _folds(folds)],
        warnings=[*(f"{fold.root.name}: {note}" for fold in folds for note in warnings_in(fold.train)), *notes],
        commands=commands_of(run),
    )
    render(page_without_paths(page, config, run), run.report)


def _look(folds: Sequence[RunDir]) -> list[Section]:
    return look_section(part_cases({fold.root.name: fold for fold in folds}), "More of each fold is on its own page.")


def _folds(folds: Sequence[RunDir]) -> Section:
    rows: list[list[str | float]] = [
        [
            fold.root.name,
            ", ".join(read_json(fold.split)["test"]),
            round(sum(seconds_by_stage(fold).values())),
            f"{fold.root.name}/{fold.report.name}",
        ]
        for fold in folds
    ]
    table = Table("Folds", ["Fold", "Tested", "Seconds", "Its page"], rows)
    return Section("Folds", "Each fold trained a translator and networks of its own.", [table])
