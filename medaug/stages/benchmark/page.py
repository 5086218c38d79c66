"""The page of a benchmark: the arms of each group, compared."""

from __future__ import annotations

from pathlib import Path

from medaug.io.atomic import read_json
from medaug.report.page import ReportPage, Section, Table, render
from medaug.stages.benchmark.tables import COLUMNS, heading, rows_of
from medaug.stages.config import PipelineConfig
from medaug.stages.runs import RunDir
from medaug.stages.sections import commands_of, data_text, verdict_of


def page(config: PipelineConfig, run: RunDir) -> Path:
    """Writes `report.html` from what is in the folder of a finished benchmark."""
    groups = read_json(run.results / "summary.json")["groups"]
    content = ReportPage(
        title=f"medaug: {config.name}",
        subtitle="Benchmark: the same network by arm, on the same patients",
        verdict=verdict_of(groups[0]),
        facts=[("Data", data_text(config)), ("Made with", f"medaug {read_json(run.environment)['medaug']}")],
        sections=[Section(heading(group), tables=[Table("Arms", COLUMNS, rows_of(group))]) for group in groups],
        settings_yaml=run.config.read_text(),
        commands=commands_of(run),
    )
    render(content, run.report)
    return run.report
