"""Commands on a folder that a run or a benchmark has finished: its page again, its results to pass on, itself again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import CHECK_FAILED, app

RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished `medaug run` or `medaug benchmark`.")]


@app.command()
def report(folder: RunFolder) -> None:
    """Draw the page of a run or a benchmark again, from what its folder holds; nothing is trained.

    Example: `medaug report out/lgg`
    """
    from medaug.pipeline import draw_page

    typer.echo(draw_page(folder))


@app.command("export-results")
def export(
    folder: RunFolder,
    out: Annotated[Path, typer.Argument(help="New folder, or a zip where the name ends in .zip.")],
) -> None:
    """Write results for a paper's supplement: settings, splits, scores, environment, plots; no images, no paths.

    Example: `medaug export-results out/lgg supplement.zip`
    """
    from medaug.stages.benchmark.supplement import export_results

    typer.echo(export_results(folder, out))


@app.command()
def reproduce(
    folder: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; left out: `<folder>-again`.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Of a benchmark: processes that work on it.")] = 1,
) -> None:
    """Run a finished run or benchmark again, and say what differs; ends with 0 if all scores are identical, else 8.

    Example: `medaug reproduce out/lgg --out out/lgg-again`
    """
    from medaug.pipeline import reproduce

    found = reproduce(folder, out, jobs=jobs, on_stage=lambda result: sys.stderr.write(f"{result.name}: done\n"))
    typer.echo(found.text())
    raise typer.Exit(0 if found.identical else CHECK_FAILED)
