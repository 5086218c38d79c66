"""Commands on folders of finished runs: audits, the page again, runs side by side, the run again, a supplement."""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medaug.cli.command import AnyPath, OnStage, RunAccelerator, RunFolder, command, path_of, run_there, say_text
from medaug.cli.complete import audits
from medaug.errors import RunError, visible

if TYPE_CHECKING:
    from medaug.audits.measures.finding import Finding
    from medaug.benchmarks.compare_runs import RunComparison
    from medaug.benchmarks.reproduce import Reproduction

COLOURS = {"pass": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def _tell_findings(findings: list["Finding"]) -> None:
    from rich.console import Console
    from rich.text import Text

    from medaug.report.sections import limit_text, value_text
    from medaug.report.terminal import Table

    table, console = Table("audit", "figure (95 % interval)", "limits", "verdict"), Console(highlight=False)
    for f in findings:
        table.add_row(f.name, value_text(f), limit_text(f), Text(f.verdict, COLOURS[f.verdict]))
    console.print(table)
    for f in findings:
        if f.verdict != "pass":
            console.print(Text(f.name, COLOURS[f.verdict]) + Text(visible(f": {f.question} {f.sentence}")))


@command(_tell_findings, json=True, holds=lambda findings: all(finding.verdict != "fail" for finding in findings))
def audit(
    run: Annotated[AnyPath, typer.Argument(callback=run_there, help="Run folder with trained weights.")],
    *,
    only: Annotated[
        Sequence[str] | None, typer.Option(autocompletion=audits, help="An audit's name; repeatable; left out: all.")
    ] = None,
    set_: Annotated[Sequence[str] | None, typer.Option("--set", help="`audit.key=value`; repeatable.")] = None,
    accelerator: RunAccelerator = None,
) -> list["Finding"]:
    """Ask what can be wrong with a run's generator, on patients it never saw; exit code 8 if an audit fails.

    Example: medaug audit out/brats --only lost --only gained --set audit.limits.lost.fail=0.3

    The findings are shown on the run's page, if it has one; what is known is not asked again.

    Raises:
        RunError: if the run has no trained weights.
        MedaugError: whatever the audits refuse.
    """
    from medaug.audits.findings import asked_audits
    from medaug.config.files import load_config
    from medaug.runs.finished import trained_run
    from medaug.runs.markers import held
    from medaug.stages.report import report as draw
    from medaug.stages.tasks import task_of

    trained = trained_run(Path(run), "an audit")
    config = load_config(trained.config, list(set_ or []), {} if accelerator is None else {"accelerator": accelerator})
    with held(trained):
        found = asked_audits(*task_of(config).audits(trained), list(only or []))
        if trained.report.exists():
            draw(config, trained)
    return found


@command()
def report(folder: RunFolder) -> Path:
    """Draw the page of a run or a benchmark again, from what its folder holds; nothing is trained.

    Example: medaug report out/lgg

    Returns:
        The path of the page.

    Raises:
        RunError: if there is nothing to draw it from, naming what is missing.
    """
    from medaug.benchmarks.page import page
    from medaug.config.files import load_config
    from medaug.runs.finished import is_benchmark
    from medaug.runs.folder import RunDir
    from medaug.stages.pipeline import stages_of
    from medaug.stages.report import report as draw
    from medaug.stages.report import report_folds

    run = RunDir(Path(folder))
    if not run.config.exists():
        raise RunError(f"{folder}: found no config.yaml; expected the folder of a medaug run. Check the path.")
    config = load_config(run.config, [])
    if is_benchmark(run):
        return page(config, run)
    pooled = config.split.folds is not None and config.split.fold is None
    parts = [run.fold(fold) for fold in range(config.split.folds or 0)] if pooled else [run]
    needed = stages_of(config, "report")[:-1]
    if missing := [f"{part.root.name}: {name}" for part in parts for name in needed if not part.done(name).exists()]:
        raise RunError(f"{folder}: an unfinished run; missing: {', '.join(missing)}. Run the same command again first.")
    if pooled:
        report_folds(config, run, parts)
    else:
        draw(config, run)
    return run.report


@command(say_text, json=True)
def compare_runs(
    reference: RunFolder,
    others: Annotated[
        Sequence[AnyPath], typer.Argument(help="Other finished runs, scored on the same patients and seeds.")
    ],
    *,
    arm: Annotated[
        Sequence[str] | None, typer.Option(help="Only this arm; may be given several times. [default: all they share]")
    ] = None,
) -> "RunComparison":
    """Did a setting help? Compare the arms of runs with those of a first one, with intervals over patients and seeds.

    Example: medaug compare-runs out/lgg out/lgg-large-crops out/lgg-munit --arm standard+gan

    Raises:
        MedaugError: if a run is unfinished, or they cannot be paired.
    """
    from medaug.benchmarks.compare_runs import compared_runs

    return compared_runs([Path(reference), *map(Path, others)], list(arm or []))


@command(say_text, json=True, holds=attrgetter("identical"))
def reproduce(
    folder: RunFolder,
    *,
    out: Annotated[AnyPath | None, typer.Option("--out", "-o", help="Folder; left out: `<folder>-again`.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Of a benchmark: processes that work on it.")] = 1,
    accelerator: RunAccelerator = None,
    on_stage: OnStage | None = None,
) -> "Reproduction":
    """Run a finished run or benchmark again, and say what differs; ends with 0 if all scores are identical, else 8.

    Example: medaug reproduce out/lgg --out out/lgg-again

    Raises:
        MedaugError: if the run is unfinished, or the data have changed.
    """
    from medaug.benchmarks.reproduce import reproduce

    told = {} if on_stage is None else {"on_stage": on_stage}
    return reproduce(Path(folder), path_of(out), jobs=jobs, accelerator=accelerator, **told)


@command()
def export_results(
    folder: RunFolder, out: Annotated[AnyPath, typer.Argument(help="New folder, or a zip where the name ends in .zip.")]
) -> Path:
    """Write results for a paper's supplement: settings, splits, scores, environment, plots; no images, no paths.

    Example: medaug export-results out/lgg supplement.zip

    Returns:
        The path written.

    Raises:
        RunError: if the run is unfinished, or `out` is there.
    """
    from medaug.benchmarks.supplement import export_results

    return export_results(Path(folder), Path(out))
