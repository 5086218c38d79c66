"""The command that audits a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medaug.cli.app import CHECK_FAILED, app
from medaug.cli.output import Json, print_json
from medaug.errors import visible

COLOURS = {"pass": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(help="Run folder with trained weights.")],
    only: Annotated[list[str] | None, typer.Option(help="An audit's name; repeatable. A wrong one lists them.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="`audit.key=value`; repeatable.")] = None,
    json: Json = False,
) -> None:
    """Ask what can be wrong with a run's generator, on patients it never saw; exit code 8 if an audit fails.

    Example: medaug audit out/brats --only lost --only gained --set audit.limits.lost.fail=0.3
    """
    from medaug import api

    findings = api.audit(run, only=only, set_=set_)
    if json:
        print_json(findings)
    else:
        _print_table(findings)
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(CHECK_FAILED)


def _print_table(findings: list[Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    from medaug.report.audits_section import limit_text, value_text
    from medaug.report.terminal import Table

    table, console = Table("audit", "figure (95 % interval)", "limits", "verdict"), Console(highlight=False)
    for f in findings:
        table.add_row(f.name, value_text(f), limit_text(f), Text(f.verdict, COLOURS[f.verdict]))
    console.print(table)
    for f in findings:
        if f.verdict != "pass":
            console.print(Text(f.name, COLOURS[f.verdict]) + Text(visible(f": {f.question} {f.sentence}")))
