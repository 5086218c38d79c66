"""Commands that make runs: train, run a pipeline, share its synthesis, benchmark it, and sample crops from noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

import typer

from medaug.cli.command import (
    Accelerator,
    AnyPath,
    OnStage,
    Out,
    PatientRegex,
    PipelineFile,
    Precision,
    RunAccelerator,
    SequenceName,
    Set,
    SkipUnreadable,
    check_seed,
    command,
    path_of,
    quoted,
    run_there,
    say,
    say_text,
    weights_there,
)
from medaug.cli.complete import domains, models, pipelines
from medaug.errors import ConfigError

if TYPE_CHECKING:
    from medaug.benchmarks.plan import Plan
    from medaug.benchmarks.results import BenchmarkResults
    from medaug.config import PipelineConfig
    from medaug.runs.folder import RunDir
    from medaug.stages.synthesize import ShardResult

Data = Annotated[AnyPath | None, typer.Option("--data", help="Folder or datalist JSON; left out: built-in phantoms.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings and stop.")]
Config = Annotated[
    AnyPath | None, typer.Option("--config", "-c", autocompletion=pipelines, help="Pipeline YAML to start from.")
]
MaxSteps = Annotated[int | None, typer.Option(help="Training steps; left out: the pipeline's, or 1500.")]
Extend = Annotated[
    int | None, typer.Option(help="Steps more, which a finished training takes from its last checkpoint on.")
]
Seed = Annotated[int | None, typer.Option(help="Of initial weights and samples; left out: the pipeline's, or 0.")]


def _tell_run(found: Union[Path, "PipelineConfig"]) -> None:
    """Prints a path, or the settings of a dry run as a pipeline file."""
    if isinstance(found, Path):
        say(found)
    else:
        from medaug.config.files import dump_config

        say(dump_config(found).rstrip("\n"), lines=True)


def _tell_whole_run(found: Union[Path, "PipelineConfig"]) -> None:
    """A dry run also says whether there will be a verdict."""
    _tell_run(found)
    if not isinstance(found, Path):
        from medaug.stages.outlook import expected_patients, say_outlook

        say_outlook(found, expected_patients(found))


@command(_tell_whole_run)
def run(
    pipeline: PipelineFile,
    *,
    out: Out = None,
    set_: Set = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
    on_stage: OnStage | None = None,
) -> Union[Path, "PipelineConfig"]:
    """Run a whole pipeline: split, train, synthesize, audit, evaluate, report; the same command resumes.

    Example: medaug run pipelines/lgg_tumor.yaml --set data.root=data/lgg --out out/lgg

    Returns:
        The path of the report; with `dry_run` the resolved settings.
    """
    chosen = {"accelerator": accelerator, "precision": precision, "data.skip_unreadable": skip_unreadable or None}
    settings = _settings(pipeline, set_, chosen)
    return settings if dry_run else _run(settings, out, Path(pipeline).stem, "report", on_stage).report


@command(_tell_run)
def prepare(
    pipeline: PipelineFile,
    *,
    out: Out = None,
    set_: Set = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
    on_stage: OnStage | None = None,
) -> Union[Path, "PipelineConfig"]:
    """Decode a pipeline's scans, find their organs, draw the split, and stop; `run` or `benchmark` goes on from there.

    Example: medaug prepare pipelines/lgg_tumor.yaml --set data.root=data/lgg --out out/lgg

    Returns:
        The folder of the prepared scans, which all folds and blocks share; with `dry_run` the resolved settings.
    """
    settings = _settings(pipeline, set_, {"data.skip_unreadable": skip_unreadable or None})
    return settings if dry_run else _run(settings, out, Path(pipeline).stem, "prepare", on_stage).prepared


def _use_them(found: Union[Path, "PipelineConfig"], given: Mapping[str, Any]) -> str:
    """What to do with new weights; nothing after a dry run, nor of nnU-Net, whose trainer finds them."""
    if not isinstance(found, Path) or given["nnunet"] is not None:
        return ""
    from medaug.data.atomic import read_json

    edit = "insert" if read_json(found / "model.json")["domain"] == "tumor" else "synth-ct"
    whole = f"medaug run {quoted(found.parents[1] / 'config.yaml')} --out {quoted(found.parents[1])}"
    return f"medaug {edit} SCAN --weights {quoted(found)} --out edited, or measure whether it helps: {whole}"


@command(_tell_run, hint=_use_them)
def train_cycle(
    *,
    domain: Annotated[
        str | None,
        typer.Option(
            autocompletion=domains, help="`tumor` (insert and remove; the default) or `ct` (two kinds of image)."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            autocompletion=models, help="Method; left out: the pipeline's, or `cyclegan`. A wrong one lists them."
        ),
    ] = None,
    data: Data = None,
    nnunet: Annotated[
        str | None, typer.Option(help="An nnU-Net data set instead, by number or name, for nnUNetTrainerMedaug.")
    ] = None,
    fold: Annotated[str | None, typer.Option(help="With --nnunet: whose training cases; a number, or `all`.")] = None,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    devices: Annotated[int | None, typer.Option(help="Processes, one device each; left out: one.")] = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    max_steps: MaxSteps = None,
    extend: Extend = None,
    seed: Seed = None,
    sequence: SequenceName = None,
    patient_regex: PatientRegex = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
    on_stage: OnStage | None = None,
) -> Union[Path, "PipelineConfig"]:
    """Train a translator (CycleGAN, or --model) and leave its weights in OUT/train/weights; the same command resumes.

    Example: medaug train-cycle --domain tumor --data BraTS/ --sequence flair --out out/brats --max-steps 2000

    With `nnunet` it learns from the training cases of one fold of nnU-Net's, on the grid of its plans, and OUT is where
    `nnUNetTrainerMedaug` looks for it.

    Args:
        set_: `key=value` over the pipeline file.
        on_stage: called after each stage.

    Returns:
        The weights folder; with `dry_run` the resolved settings.
    """
    chosen = {
        "domain": domain,
        "translator.type": model,
        "data.root": data,
        "data.sequence": sequence,
        "data.patient_regex": patient_regex,
        "training.devices": devices,
        "accelerator": accelerator,
        "precision": precision,
        "training.steps": max_steps,
        "training.extend": extend,
        "training.seed": seed,
        "data.skip_unreadable": skip_unreadable or None,
    }
    settings = _settings(config, set_, chosen)
    name = f"train-{domain or (Path(config).stem if config else 'tumor')}"
    if nnunet is None and fold is not None:
        raise ConfigError(f"--fold: found {fold} without --nnunet; expected both, or split.fold (--set)")
    if nnunet is not None:
        if data is not None or sequence is not None or domain not in (None, "tumor"):
            raise ConfigError("--nnunet: found --data, --sequence or --domain ct beside it; expected none of them")
        from medaug.nnunet.datasets import find_dataset, settings_for, write_split

        dataset, number = find_dataset(nnunet), fold or "0"
        out = Path(out or dataset.run(number))
        settings = _settings(config, set_, chosen | settings_for(dataset, number, settings, out))
        if not dry_run:
            write_split(dataset.fold(number), out)
    return settings if dry_run else _run(settings, out, name, "train", on_stage).weights


@command(_tell_run)
def train_gan(
    *,
    data: Data = None,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    max_steps: MaxSteps = None,
    extend: Extend = None,
    seed: Seed = None,
    sequence: SequenceName = None,
    patient_regex: PatientRegex = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
    on_stage: OnStage | None = None,
) -> Union[Path, "PipelineConfig"]:
    """Train a GAN that makes healthy and tumor crops from noise; weights in OUT/train-gan/weights; it resumes.

    Example: medaug train-gan --data LGG/ --sequence flair --out out/gan --max-steps 3000 --set crop.size=[32,32]

    Arguments, result and errors are as in `train_cycle`.
    """
    chosen = {
        "accelerator": accelerator,
        "precision": precision,
        "data.root": data,
        "data.sequence": sequence,
        "data.patient_regex": patient_regex,
        "training.steps": max_steps,
        "training.extend": extend,
        "training.seed": seed,
        "data.skip_unreadable": skip_unreadable or None,
    }
    settings = _settings(config, set_, chosen)
    return settings if dry_run else _run(settings, out, "train-gan", "train_gan", on_stage).gan_weights


@command()
def sample(
    weights: Annotated[
        AnyPath, typer.Argument(callback=weights_there, help="Weights folder, for example `out/x/train-gan/weights`.")
    ],
    *,
    out: Annotated[AnyPath, typer.Option("--out", "-o", help="New folder for the crops and their datalist.json.")],
    label: Annotated[str, typer.Option(help="`healthy`, `tumor`, or `both`: as many of each.")] = "both",
    count: Annotated[int, typer.Option(min=1, help="How many crops of each class.")] = 100,
    seed: Annotated[int, typer.Option(help="Same seed, same crops.")] = 0,
    accelerator: Accelerator = None,
) -> Path:
    """Write synthetic crops of a class, to balance a classifier's data set; the datalist says where they come from.

    Example: medaug sample out/gan/train-gan/weights --label tumor --count 200 --out synthetic-tumors --seed 1

    Returns:
        The path of the datalist.
    """
    check_seed(seed)
    from medaug.scans.sample import write_samples

    return write_samples(Path(weights), Path(out), label=label, count=count, seed=seed, accelerator=accelerator)


@command()
def synthesize(
    run: Annotated[
        AnyPath, typer.Argument(callback=run_there, help="Run folder with trained weights; its settings count.")
    ],
    *,
    shard: Annotated[
        str, typer.Option(help="Make share i of n, for example 1/4; each by a process of its own.")
    ] = "1/1",
    accelerator: RunAccelerator = None,
) -> "ShardResult":
    """Write a run's synthetic cases, or one share of them; the last share to end writes their datalist.

    Example: medaug synthesize out/lgg --shard 1/2

    Returns:
        How many cases are there, and the path of their datalist once all are.

    Raises:
        ConfigError: if `shard` is not like "1/4".
        RunError: if it has no trained weights, or another process makes this share.
        LeakageError: if the weights were trained on validation or test patients of this run.
    """
    from medaug.config.files import load_config
    from medaug.runs.finished import trained_run
    from medaug.stages.synthesize import Shard, synthesize_shard

    share, trained = Shard.parse(shard), trained_run(Path(run), "synthesis")
    given = {} if accelerator is None else {"accelerator": accelerator}
    return synthesize_shard(load_config(trained.config, [], given), trained, share)


@command(say_text, json=True)
def benchmark(
    pipeline: PipelineFile,
    *,
    out: Out = None,
    set_: Set = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that work on it.")] = 1,
    executor: Annotated[str | None, typer.Option(help="Start them by submitit: `slurm` or `local`.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and how long is left, and stop.")] = False,
) -> Union["BenchmarkResults", "Plan"]:
    """Compare arms over seeds, folds, labelled patients and synthetic ratios; the same command goes on where it was.

    Example: medaug benchmark pipelines/benchmark_phantom.yaml --out out/benchmark --jobs 2

    Returns:
        The results of every group and the path of the page; with `dry_run` the cells and how long is left.
    """
    settings = _settings(pipeline, set_, {"accelerator": accelerator, "precision": precision})
    folder = Path(out or Path("out") / Path(pipeline).stem)
    if not dry_run:
        _check_roots(settings)
    from medaug.benchmarks.plan import plan_of
    from medaug.benchmarks.results import read_results
    from medaug.benchmarks.work import run_benchmark

    if dry_run:
        return plan_of(settings, folder, jobs)
    return read_results(run_benchmark(settings, folder, jobs=jobs, executor=executor))


def _settings(file: AnyPath | None, set_: Sequence[str] | None, chosen: Mapping[str, Any]) -> "PipelineConfig":
    from medaug.config.files import load_config

    given = {key: value for key, value in chosen.items() if value is not None}
    return load_config(path_of(file), list(set_ or []), given)


def _run(settings: "PipelineConfig", out: AnyPath | None, name: str, until: str, on_stage: OnStage | None) -> "RunDir":
    _check_roots(settings)
    from medaug.stages.pipeline import run_pipeline

    folder = Path(out or Path("out") / name)
    return run_pipeline(settings, folder, until=until, on_stage=on_stage or (lambda result: None))


def _check_roots(settings: "PipelineConfig") -> None:
    """Tells a mistyped path at once, not after the seconds that importing torch and MONAI takes."""
    from medaug.data.layouts import check_root

    for section in (settings.data, settings.target):
        if section is not None and section.root is not None:
            check_root(section.root)
