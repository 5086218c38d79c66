"""Commands on folders that runs have finished: the page again, results to pass on, side by side, the run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import CHECK_FAILED, app
from medaug.cli.output import Json, print_json, say, say_stage

RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished `medaug run` or `medaug benchmark`.")]


@app.command()
def report(folder: RunFolder) -> None:
    """Draw the page of a run or a benchmark again, from what its folder holds; nothing is trained.

    Example: medaug report out/lgg
    """
    from medaug import api

    say(api.report(folder))


@app.command("export-results")
def export_results(
    folder: RunFolder, out: Annotated[Path, typer.Argument(help="New folder, or a zip where the name ends in .zip.")]
) -> None:
    """Write results for a paper's supplement: settings, splits, scores, environment, plots; no images, no paths.

    Example: medaug export-results out/lgg supplement.zip
    """
    from medaug import api

    say(api.export_results(folder, out))


@app.command("compare-runs")
def compare_runs(
    reference: RunFolder,
    others: Annotated[list[Path], typer.Argument(help="Other finished runs, scored on the same patients and seeds.")],
    arm: Annotated[
        list[str] | None, typer.Option(help="Only this arm; may be given several times. [default: all they share]")
    ] = None,
    json: Json = False,
) -> None:
    """Did a setting help? Compare the arms of runs with those of a first one, with intervals over patients and seeds.

    Example: medaug compare-runs out/lgg out/lgg-large-crops out/lgg-munit --arm standard+gan
    """
    from medaug import api

    found = api.compare_runs(reference, others, arm=arm)
    if json:
        print_json(found)
    else:
        say(found.text(), lines=True)


@app.command()
def reproduce(
    folder: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; left out: `<folder>-again`.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Of a benchmark: processes that work on it.")] = 1,
    json: Json = False,
) -> None:
    """Run a finished run or benchmark again, and say what differs; ends with 0 if all scores are identical, else 8.

    Example: medaug reproduce out/lgg --out out/lgg-again
    """
    from medaug import api

    found = api.reproduce(folder, out=out, jobs=jobs, on_stage=say_stage)
    if json:
        print_json({"identical": found.identical, "found": found})
    else:
        say(found.text(), lines=True)
    raise typer.Exit(0 if found.identical else CHECK_FAILED)
