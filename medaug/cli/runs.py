"""Commands on runs: train, run a pipeline, and what a run's weights or the phantoms write as data sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import app

Data = Annotated[Path | None, typer.Option("--data", help="Folder or datalist JSON; left out: built-in phantoms.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; left out: `out/<name>`.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="`key=value` over the pipeline file; repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings and stop.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="List unreadable files and go on without.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Pipeline YAML to start from.")]
MaxSteps = Annotated[int | None, typer.Option(help="Training steps.")]
Seed = Annotated[int | None, typer.Option(help="Of initial weights and samples.")]
Sequence = Annotated[str | None, typer.Option(help="Sequence or channel, by name or number.")]


@app.command("train-cycle")
def train_cycle(
    domain: Annotated[
        str | None, typer.Option(help="`tumor` (insert and remove; the default) or `ct` (two kinds of image).")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Method, for example `cyclegan`; a wrong name lists them.")] = None,
    data: Data = None,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    devices: Annotated[int | None, typer.Option(help="Processes, one device each.")] = None,
    precision: Annotated[str | None, typer.Option(help="`32-true`, `bf16-mixed` or `16-mixed`.")] = None,
    max_steps: MaxSteps = None,
    seed: Seed = None,
    sequence: Sequence = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Train a translator (CycleGAN, or --model) and leave its weights in OUT/train/weights; the same command resumes.

    Example: `medaug train-cycle --domain tumor --data BraTS/ --sequence flair --out out/brats --max-steps 2000`
    """
    chosen = {
        "domain": domain, "translator.type": model, "data.root": data, "data.sequence": sequence,
        "training.devices": devices, "training.precision": precision, "training.steps": max_steps,
        "training.seed": seed, "data.skip_unreadable": skip_unreadable or None,
    }  # fmt: skip
    name = f"train-{domain or (config.stem if config else 'tumor')}"
    run = _run(config, chosen, set_, out, name, until="train", dry_run=dry_run)
    if run is not None:
        typer.echo(run.weights)


@app.command("train-gan")
def train_gan(
    data: Data = None,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    max_steps: MaxSteps = None,
    seed: Seed = None,
    sequence: Sequence = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Train a GAN that makes healthy and tumor crops from noise; weights in OUT/train-gan/weights; it resumes.

    Example: `medaug train-gan --data LGG/ --sequence flair --out out/gan --max-steps 3000 --set crop.size=[32,32]`
    """
    chosen = {
        "data.root": data, "data.sequence": sequence, "training.steps": max_steps, "training.seed": seed,
        "data.skip_unreadable": skip_unreadable or None,
    }  # fmt: skip
    finished = _run(config, chosen, set_, out, "train-gan", until="train_gan", dry_run=dry_run)
    if finished is not None:
        typer.echo(finished.gan_weights)


@app.command()
def sample(
    weights: Annotated[Path, typer.Argument(help="Weights folder, for example `out/x/train-gan/weights`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the crops and their datalist.json.")],
    label: Annotated[str, typer.Option(help="`healthy`, `tumor`, or `both`: as many of each.")] = "both",
    count: Annotated[int, typer.Option(min=1, help="How many crops of each class.")] = 100,
    seed: Annotated[int, typer.Option(help="Same seed, same crops.")] = 0,
) -> None:
    """Write synthetic crops of a class, to balance a classifier's data set; the datalist says where they come from.

    Example: `medaug sample out/gan/train-gan/weights --label tumor --count 200 --out synthetic-tumors --seed 1`
    """
    from medaug.stages.sample import write_samples

    typer.echo(write_samples(weights, out, label=label, count=count, seed=seed))


@app.command()
def run(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline YAML, for example pipelines/quickstart.yaml.")],
    out: Out = None,
    set_: Set = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Run a whole pipeline: split, train, synthesize, audit, evaluate, report; the same command resumes.

    Example: `medaug run pipelines/lgg_tumor.yaml --set data.root=data/lgg --out out/lgg`
    """
    chosen = {"data.skip_unreadable": skip_unreadable or None}
    finished = _run(pipeline, chosen, set_, out, pipeline.stem, until="report", dry_run=dry_run)
    if finished is not None:
        typer.echo(finished.report)


@app.command()
def synthesize(
    folder: Annotated[Path, typer.Argument(help="Run folder with trained weights; its settings count.")],
    shard: Annotated[
        str, typer.Option(help="Make share i of n, for example 1/4; each by a process of its own.")
    ] = "1/1",
) -> None:
    """Write a run's synthetic cases, or one share of them; the last share to end writes their datalist.

    Example: `medaug synthesize out/lgg --shard 1/2`
    """
    from medaug.pipeline import synthesize_share

    typer.echo(synthesize_share(folder, shard).text())


@app.command()
def phantoms(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    layout: Annotated[str, typer.Option(help="brats, kaggle-lgg, msd, datalist or images-labels.")] = "brats",
    patients: Annotated[int, typer.Option(min=1, help="How many.")] = 12,
    anatomy: Annotated[str, typer.Option(help="`head` (MR) or `abdomen` (CT).")] = "head",
    seed: Annotated[int, typer.Option(help="Which family of patients.")] = 0,
) -> None:
    """Write procedural patients (image and label) to disk, in a layout that medaug reads.

    Example: `medaug phantoms data/phantoms --layout brats --patients 12`
    """
    from medaug.stages.phantoms import write_phantoms

    typer.echo(f"{write_phantoms(out, layout, patients=patients, anatomy=anatomy, seed=seed)} scans in {out}")


def _run(
    file: Path | None, chosen: dict[str, object], set_: list[str] | None, out: Path | None, name: str, *, until: str,
    dry_run: bool,
):  # fmt: skip
    from medaug.stages.config.files import dump_config, load_config

    config = load_config(file, set_ or [], {key: value for key, value in chosen.items() if value is not None})
    if dry_run:
        typer.echo(dump_config(config), nl=False)
        return None
    from medaug.pipeline import run_pipeline

    def say(result) -> None:
        sys.stderr.write(f"{result.name}: {'done' if result.ran else 'unchanged, not run again'}\n")

    return run_pipeline(config, out or Path("out") / name, until=until, on_stage=say)
