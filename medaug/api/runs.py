"""Training, whole pipelines, benchmarks, and crops from trained weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medaug.api.paths import AnyPath, check_seed, path_of

if TYPE_CHECKING:
    from medaug.benchmarks.tables import BenchmarkResults, Plan
    from medaug.config import PipelineConfig
    from medaug.runs.folder import RunDir
    from medaug.stages.pipeline import StageResult
    from medaug.stages.shards import ShardResult

OnStage = Callable[["StageResult"], None]


def train_cycle(
    *,
    domain: str | None = None,
    model: str | None = None,
    data: AnyPath | None = None,
    out: AnyPath | None = None,
    config: AnyPath | None = None,
    set_: Sequence[str] | None = None,
    devices: int | None = None,
    precision: str | None = None,
    max_steps: int | None = None,
    seed: int | None = None,
    sequence: str | None = None,
    patient_regex: str | None = None,
    skip_unreadable: bool = False,
    dry_run: bool = False,
    on_stage: OnStage | None = None,
) -> Path | PipelineConfig:
    """Trains a translator; the same call resumes.

    Args:
        set_: `key=value` over the pipeline file.
        on_stage: called after each stage.

    Returns:
        The weights folder; with `dry_run` the resolved settings.

    Raises:
        MedaugError: whatever is refused.
    """
    chosen = {
        "domain": domain,
        "translator.type": model,
        "data.root": data,
        "data.sequence": sequence,
        "data.patient_regex": patient_regex,
        "training.devices": devices,
        "training.precision": precision,
        "training.steps": max_steps,
        "training.seed": seed,
        "data.skip_unreadable": skip_unreadable or None,
    }
    settings = _settings(config, set_, chosen)
    if dry_run:
        return settings
    name = f"train-{domain or (Path(config).stem if config else 'tumor')}"
    return _run(settings, out, name, "train", on_stage).weights


def train_gan(
    *,
    data: AnyPath | None = None,
    out: AnyPath | None = None,
    config: AnyPath | None = None,
    set_: Sequence[str] | None = None,
    max_steps: int | None = None,
    seed: int | None = None,
    sequence: str | None = None,
    patient_regex: str | None = None,
    skip_unreadable: bool = False,
    dry_run: bool = False,
    on_stage: OnStage | None = None,
) -> Path | PipelineConfig:
    """Trains a GAN that makes crops from noise; arguments, result and errors as in `train_cycle`."""
    chosen = {
        "data.root": data,
        "data.sequence": sequence,
        "data.patient_regex": patient_regex,
        "training.steps": max_steps,
        "training.seed": seed,
        "data.skip_unreadable": skip_unreadable or None,
    }
    settings = _settings(config, set_, chosen)
    return settings if dry_run else _run(settings, out, "train-gan", "train_gan", on_stage).gan_weights


def run(
    pipeline: AnyPath,
    *,
    out: AnyPath | None = None,
    set_: Sequence[str] | None = None,
    skip_unreadable: bool = False,
    dry_run: bool = False,
    on_stage: OnStage | None = None,
) -> Path | PipelineConfig:
    """Runs a whole pipeline; the same call resumes.

    Returns:
        The path of the report; with `dry_run` the resolved settings.

    Raises:
        MedaugError: whatever is refused.
    """
    settings = _settings(pipeline, set_, {"data.skip_unreadable": skip_unreadable or None})
    return settings if dry_run else _run(settings, out, Path(pipeline).stem, "report", on_stage).report


def synthesize(run: AnyPath, *, shard: str = "1/1") -> ShardResult:
    """Writes the synthetic cases of a run that has trained, or share i of n of them ("i/n").

    Returns:
        How many cases are there, and the path of their datalist once all are.

    Raises:
        MedaugError: whatever is refused.
    """
    from medaug.benchmarks.revisit import synthesize_share

    return synthesize_share(Path(run), shard)


def benchmark(
    pipeline: AnyPath,
    *,
    out: AnyPath | None = None,
    set_: Sequence[str] | None = None,
    jobs: int = 1,
    executor: str | None = None,
    dry_run: bool = False,
) -> BenchmarkResults | Plan:
    """Compares arms over seeds, folds, labelled patients and synthetic ratios; the same call goes on where it was.

    Returns:
        The results of every group and the path of the page; with `dry_run` the cells and how long is left.

    Raises:
        MedaugError: whatever is refused.
    """
    settings, folder = _settings(pipeline, set_, {}), Path(out or Path("out") / Path(pipeline).stem)
    if dry_run:
        from medaug.benchmarks.tables import plan_of

        return plan_of(settings, folder, jobs)
    _check_roots(settings)
    from medaug.benchmarks.launch import run_benchmark
    from medaug.benchmarks.tables import results_of

    return results_of(run_benchmark(settings, folder, jobs=jobs, executor=executor))


def sample(weights: AnyPath, *, out: AnyPath, label: str = "both", count: int = 100, seed: int = 0) -> Path:
    """Writes synthetic crops of a class; returns the path of their datalist.

    Raises:
        MedaugError: whatever is refused.
    """
    check_seed(seed)
    from medaug.scans.sample import write_samples

    return write_samples(Path(weights), Path(out), label=label, count=count, seed=seed)


def _settings(file: AnyPath | None, set_: Sequence[str] | None, chosen: Mapping[str, object]) -> PipelineConfig:
    from medaug.config.files import load_config

    given = {key: value for key, value in chosen.items() if value is not None}
    return load_config(path_of(file), list(set_ or []), given)


def _run(settings: PipelineConfig, out: AnyPath | None, name: str, until: str, on_stage: OnStage | None) -> RunDir:
    _check_roots(settings)
    from medaug.stages.pipeline import run_pipeline

    return run_pipeline(settings, Path(out or Path("out") / name), until=until, on_stage=on_stage or (lambda _: None))


def _check_roots(settings: PipelineConfig) -> None:
    """A mistyped path is told at once, not after the seconds that importing torch and MONAI takes."""
    from medaug.data.layouts import check_root

    for section in (settings.data, settings.target):
        if section is not None and section.root is not None:
            check_root(section.root)
