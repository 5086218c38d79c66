"""One page of everything a run found: reads the run's files, writes `report.html`."""

from __future__ import annotations

from collections.abc import Sequence

from medaug.config import PipelineConfig
from medaug.report.page import render
from medaug.report.run_page import folds_page, run_page
from medaug.report.translation_sections import audit_sections
from medaug.runs.folder import RunDir
from medaug.stages.tasks import task_of


def report(config: PipelineConfig, run: RunDir) -> bool:
    """Writes the page from what is in the run folder; always runs, it takes a second or two."""
    task = task_of(config)
    render(run_page(config, run, task.results(run), task.findings(run)), run.report)
    return True


def report_folds(config: PipelineConfig, run: RunDir, folds: Sequence[RunDir]) -> None:
    """Writes the page of a run with folds, from what is in its folder and in theirs."""
    results = task_of(config).results(run)
    render(folds_page(config, run, folds, results, audit_sections(run)), run.report)
