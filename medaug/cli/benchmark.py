"""The command that compares arms over seeds, folds, labelled patients and synthetic ratios."""

from __future__ import annotations

from typing import Annotated

import typer

from medaug.cli.app import app
from medaug.cli.output import Json, print_json, say
from medaug.cli.runs import Out, PipelineFile, Set


@app.command()
def benchmark(
    pipeline: PipelineFile,
    out: Out = None,
    set_: Set = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that work on it.")] = 1,
    executor: Annotated[str | None, typer.Option(help="Start them by submitit: `slurm` or `local`.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and how long is left, and stop.")] = False,
    json: Json = False,
) -> None:
    """Compare arms over seeds, folds, labelled patients and synthetic ratios; the same command goes on where it was.

    Example: medaug benchmark pipelines/benchmark_phantom.yaml --out out/benchmark --jobs 2
    """
    from medaug import api

    found = api.benchmark(pipeline, out=out, set_=set_, jobs=jobs, executor=executor, dry_run=dry_run)
    if json:
        print_json(found)
    else:
        say(found.text(), lines=True)
