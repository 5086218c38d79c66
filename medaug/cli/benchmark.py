"""The command that compares arms over seeds, folds, labelled patients and synthetic ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import app
from medaug.cli.runs import Out, Set


@app.command()
def benchmark(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline YAML, or the name of one that comes with medaug.")],
    out: Out = None,
    set_: Set = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that work on it.")] = 1,
    executor: Annotated[str | None, typer.Option(help="Start them by submitit: `slurm` or `local`.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and how long is left, and stop.")] = False,
) -> None:
    """Compare arms over seeds, folds, labelled patients and synthetic ratios; the same command goes on where it was.

    Example: `medaug benchmark pipelines/benchmark_phantom.yaml --out out/benchmark --jobs 2`
    """
    from medaug.stages.benchmark.launch import run_benchmark
    from medaug.stages.benchmark.tables import plan_text, results_text
    from medaug.stages.config.files import load_config

    config, folder = load_config(pipeline, set_ or []), out or Path("out") / pipeline.stem
    if dry_run:
        typer.echo(plan_text(config, folder, jobs))
        return
    run = run_benchmark(config, folder, jobs=jobs, executor=executor)
    typer.echo(f"{results_text(run)}\n{run.report}")
