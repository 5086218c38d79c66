"""What is asked of the folder of a run later: audits, a share of its cases, anomaly scores, its page, itself again."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from medaug.benchmarks.jobs import do
from medaug.benchmarks.launch import run_benchmark
from medaug.benchmarks.page import page as benchmark_page
from medaug.benchmarks.plan import Job, blocks_of
from medaug.benchmarks.reproduce import Reproduction, check_same_data, compared
from medaug.config.files import load_config
from medaug.errors import ConfigError, RunError
from medaug.runs.claims import held
from medaug.runs.finished import finished_run, is_benchmark
from medaug.runs.folder import RunDir, open_run
from medaug.stages.pipeline import StageResult, run_pipeline, run_stage_named, stages_of
from medaug.stages.report_folds import report_folds
from medaug.stages.shards import Shard, ShardResult, synthesize_shard


def audit_run(root: Path, only: list[str], overrides: list[str]) -> list[Any]:
    """Asks audits (all, or these) of a run folder and shows the findings on its page; what is known is not asked again.

    Args:
        overrides: `audit.key=value`, over the run's settings.

    Raises:
        RunError: if it has no trained weights.
        MedaugError: whatever the audits refuse.
    """
    run = RunDir(root)
    _check_trained(run, run.weights, "an audit")
    config = load_config(run.config, overrides)
    findings: Any = import_module("medaug.audits.findings")
    with held(run):
        found = findings.asked_audits(config, run, only)
        if run.report.exists():
            run_stage_named(stages_of(config, "report")[-1], config, run)
    return found


def synthesize_share(root: Path, share: str) -> ShardResult:
    """Makes one share of a run's synthetic cases, with the settings in its folder: all shares have the same.

    Raises:
        ConfigError: if `share` is not like "1/4", or the run inserts no tumors.
        RunError: if it has no trained weights, or another process makes this share.
        LeakageError: if the weights were trained on validation or test patients of this run.
    """
    run, shard = RunDir(root), Shard.parse(share)
    _check_trained(run, run.weights, "synthesis")
    return synthesize_shard(load_config(run.config, []), run, shard)


def draw_page(folder: Path) -> Path:
    """Draws the page of a finished run or benchmark again; returns its path.

    Raises:
        RunError: if there is nothing to draw it from, naming what is missing.
    """
    run = RunDir(folder)
    if not run.config.exists():
        raise RunError(f"{folder}: found no config.yaml; expected the folder of a medaug run. Check the path.")
    config = load_config(run.config, [])
    if is_benchmark(run):
        return benchmark_page(config, run)
    folds = [run.fold(fold) for fold in range(config.split.folds or 0)] if config.split.fold is None else []
    *before, last = stages_of(config, "report")
    missing = [
        f"{part.root.name}: {name}" for part in folds or [run] for name in before if not part.done(name).exists()
    ]
    if missing:
        raise RunError(f"{folder}: an unfinished run; missing: {', '.join(missing)}. Run the same command again first.")
    if folds:
        report_folds(config, run, folds)
    else:
        run_stage_named(last, config, run)
    return run.report


def reproduce(
    folder: Path, out: Path | None, *, jobs: int = 1, on_stage: Callable[[StageResult], object] = lambda result: None
) -> Reproduction:
    """Runs a finished run again in another folder (by default `<folder>-again`) and compares the two.

    Args:
        jobs: of a benchmark, the processes that work on it.

    Raises:
        RunError: if the run is unfinished, or the other folder holds something else.
        DataError: if the data have changed since; nothing is trained then.
    """
    before, again = finished_run(folder), RunDir(out or folder.with_name(f"{folder.name}-again"))
    if again.root.resolve() == folder.resolve():
        raise ConfigError(f"--out: found {again.root}, the run itself; expected another folder")

    def check(result: StageResult) -> None:
        for name in before.splits:
            check_same_data(RunDir(folder / name), RunDir(again.root / name))
        on_stage(result)

    if before.is_benchmark:
        first = blocks_of(before.config, open_run(again.root, before.config))[0]
        check(StageResult("prepare", do(Job(first, "prepare"), again)))
        run_benchmark(before.config, again.root, jobs=jobs)
    else:
        run_pipeline(before.config, again.root, on_stage=check)
    return compared(before, finished_run(again.root))


def score_anomalies(
    source: Path,
    weights: Path | None,
    out: Path | None,
    *,
    organ_mask: Path | None = None,
    sequence: str | None = None,
    overrides: list[str],
) -> list[Path]:
    """Scores a scan, or the held-out slices of a run folder, by removal; the paths written, that of the scores last.

    Args:
        overrides: `anomaly.key=value`, over the defaults or over the run's settings.

    Raises:
        ConfigError: if an argument is missing, or does not apply to this kind of source.
        MedaugError: whatever a stage refuses.
    """
    if source.is_dir():
        if out is not None or organ_mask is not None or sequence is not None:
            raise ConfigError(
                f"{source}: a run folder; its own images and organs are scored, into {source}/anomaly. Leave --out, "
                "--organ-mask and --sequence out."
            )
        return _score_run(RunDir(source), weights, overrides)
    if weights is None or out is None:
        raise ConfigError(f"{source}: a single scan (or no folder); expected --weights and --out with it.")
    config = load_config(None, overrides)
    score: Any = import_module("medaug.scans.score")
    return score.score_scan(
        source,
        weights,
        out,
        settings=config.anomaly,
        organ_mask=organ_mask,
        sequence=sequence,
        organ_margin_mm=config.data.organ_margin_mm,
    )


def _score_run(run: RunDir, weights: Path | None, overrides: list[str]) -> list[Path]:
    """Also puts the result on the run's page, if it has one."""
    _check_trained(run, weights or run.weights, "scoring")
    config = load_config(run.config, overrides)
    stage: Any = import_module("medaug.stages.anomaly")
    stage.anomaly(config, run, weights)
    if run.report.exists():
        page: Any = import_module("medaug.stages.report")
        page.report(config, run)
    return [run.anomaly / "summary.json"]


def _check_trained(run: RunDir, weights: Path, what: str) -> None:
    needed = (run.config, run.split, run.datalist, weights / "model.json")
    if missing := [path for path in needed if not path.exists()]:
        folds = " Of a run with folds give one fold's folder." if run.fold(0).root.is_dir() else ""
        raise RunError(
            f"{missing[0]}: missing; {what} needs a run that has trained. Run `medaug train-cycle` first.{folds}"
        )
