"""Commands on runs: train, run a pipeline, and what the weights of a GAN from noise write as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medaug.cli.app import app
from medaug.cli.complete import models, pipelines, settings
from medaug.cli.output import say, say_stage

Data = Annotated[Path | None, typer.Option("--data", help="Folder or datalist JSON; left out: built-in phantoms.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; left out: `out/<name>`.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", autocompletion=settings, help="`key=value` over the pipeline file; repeatable."),
]
PipelineFile = Annotated[
    Path, typer.Argument(autocompletion=pipelines, help="Pipeline YAML, or the name of one that comes with medaug.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings and stop.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="List unreadable files and go on without.")]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", autocompletion=pipelines, help="Pipeline YAML to start from.")
]
MaxSteps = Annotated[int | None, typer.Option(help="Training steps.")]
Seed = Annotated[int | None, typer.Option(help="Of initial weights and samples.")]
Sequence = Annotated[str | None, typer.Option(help="Sequence or channel, by name or number.")]
PatientRegex = Annotated[
    str | None, typer.Option(help="Whose scan it is: one group, found in the name; left out: visits known by name.")
]


@app.command("train-cycle")
def train_cycle(
    domain: Annotated[
        str | None, typer.Option(help="`tumor` (insert and remove; the default) or `ct` (two kinds of image).")
    ] = None,
    model: Annotated[
        str | None, typer.Option(autocompletion=models, help="Method, for example `cyclegan`; a wrong name lists them.")
    ] = None,
    data: Data = None,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    devices: Annotated[int | None, typer.Option(help="Processes, one device each.")] = None,
    precision: Annotated[str | None, typer.Option(help="`32-true`, `bf16-mixed` or `16-mixed`.")] = None,
    max_steps: MaxSteps = None,
    seed: Seed = None,
    sequence: Sequence = None,
    patient_regex: PatientRegex = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Train a translator (CycleGAN, or --model) and leave its weights in OUT/train/weights; the same command resumes.

    Example: medaug train-cycle --domain tumor --data BraTS/ --sequence flair --out out/brats --max-steps 2000
    """
    from medaug import api

    _print_result(
        api.train_cycle(
            domain=domain,
            model=model,
            data=data,
            out=out,
            config=config,
            set_=set_,
            devices=devices,
            precision=precision,
            max_steps=max_steps,
            seed=seed,
            sequence=sequence,
            patient_regex=patient_regex,
            skip_unreadable=skip_unreadable,
            dry_run=dry_run,
            on_stage=say_stage,
        )
    )


@app.command("train-gan")
def train_gan(
    data: Data = None,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    max_steps: MaxSteps = None,
    seed: Seed = None,
    sequence: Sequence = None,
    patient_regex: PatientRegex = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Train a GAN that makes healthy and tumor crops from noise; weights in OUT/train-gan/weights; it resumes.

    Example: medaug train-gan --data LGG/ --sequence flair --out out/gan --max-steps 3000 --set crop.size=[32,32]
    """
    from medaug import api

    _print_result(
        api.train_gan(
            data=data,
            out=out,
            config=config,
            set_=set_,
            max_steps=max_steps,
            seed=seed,
            sequence=sequence,
            patient_regex=patient_regex,
            skip_unreadable=skip_unreadable,
            dry_run=dry_run,
            on_stage=say_stage,
        )
    )


@app.command()
def sample(
    weights: Annotated[Path, typer.Argument(help="Weights folder, for example `out/x/train-gan/weights`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the crops and their datalist.json.")],
    label: Annotated[str, typer.Option(help="`healthy`, `tumor`, or `both`: as many of each.")] = "both",
    count: Annotated[int, typer.Option(min=1, help="How many crops of each class.")] = 100,
    seed: Annotated[int, typer.Option(help="Same seed, same crops.")] = 0,
) -> None:
    """Write synthetic crops of a class, to balance a classifier's data set; the datalist says where they come from.

    Example: medaug sample out/gan/train-gan/weights --label tumor --count 200 --out synthetic-tumors --seed 1
    """
    from medaug import api

    say(api.sample(weights, out=out, label=label, count=count, seed=seed))


@app.command()
def run(
    pipeline: PipelineFile,
    out: Out = None,
    set_: Set = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Run a whole pipeline: split, train, synthesize, audit, evaluate, report; the same command resumes.

    Example: medaug run pipelines/lgg_tumor.yaml --set data.root=data/lgg --out out/lgg
    """
    from medaug import api

    found = api.run(pipeline, out=out, set_=set_, skip_unreadable=skip_unreadable, dry_run=dry_run, on_stage=say_stage)
    _print_result(found)
    if not isinstance(found, Path):
        from medaug.stages.outlook import expected_patients, say_outlook

        say_outlook(found, expected_patients(found))


@app.command()
def synthesize(
    run: Annotated[Path, typer.Argument(help="Run folder with trained weights; its settings count.")],
    shard: Annotated[
        str, typer.Option(help="Make share i of n, for example 1/4; each by a process of its own.")
    ] = "1/1",
) -> None:
    """Write a run's synthetic cases, or one share of them; the last share to end writes their datalist.

    Example: medaug synthesize out/lgg --shard 1/2
    """
    from medaug import api

    say(api.synthesize(run, shard=shard).text())


def _print_result(found: Any) -> None:
    """A path, or the settings of a dry run as a pipeline file."""
    if isinstance(found, Path):
        say(found)
        return
    from medaug.config.files import dump_config

    say(dump_config(found).rstrip("\n"), lines=True)
