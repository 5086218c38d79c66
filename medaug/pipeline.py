"""Runs the stages of one pipeline in order: prepare → train → synthesize → audit → evaluate → report.

Between two kinds of image (domain `ct`): prepare → train → translate → audit → evaluate or score → report.

A stage whose inputs and settings are unchanged is not run again; the same command resumes what was stopped. The GAN
from noise is a branch of its own: prepare → train_gan. Anomaly scoring is a question to a run that has trained.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from medaug.errors import ConfigError, RunError
from medaug.stages.benchmark.jobs import do
from medaug.stages.benchmark.launch import run_benchmark
from medaug.stages.benchmark.page import page as benchmark_page
from medaug.stages.benchmark.plan import Job, blocks_of
from medaug.stages.claims import held
from medaug.stages.config import PipelineConfig
from medaug.stages.config.files import load_config
from medaug.stages.domains.evaluate_domains import check_labels
from medaug.stages.downstream.arms import check_arms
from medaug.stages.downstream.tasks import check_network
from medaug.stages.evaluate import check_patients
from medaug.stages.finished import finished_run, is_benchmark
from medaug.stages.report_folds import report_folds
from medaug.stages.reproduce import Reproduction, check_same_data, compared
from medaug.stages.runs import RunDir, check_is_run, open_run
from medaug.stages.shards import Shard, ShardResult, synthesize_shard
from medaug.training.processes import is_helper, is_launched, wait_for_all

STAGES = {
    "tumor": ("prepare", "train", "synthesize", "audit", "evaluate", "report"),
    "ct": ("prepare", "train", "audit_domains", "report_domains"),
    "ct: segmentation": ("prepare", "train", "translate", "audit_domains", "evaluate_domains", "report_domains"),
    "ct: translation": ("prepare", "train", "audit_domains", "score_translation", "report_domains"),
}
"""By domain, and where it has one by task; a stage is the function of that name in the module of that name."""
IN_DOMAINS = {"translate", "audit_domains", "evaluate_domains", "score_translation", "report_domains"}
"""Those that live in `stages/domains/`."""
GAN_STAGES = ("prepare", "train_gan")
TRAINING = ("train", "train_gan")
"""What all processes do that torchrun or srun started; the rest is the first one's."""


@dataclass(frozen=True)
class StageResult:
    """A stage's name and whether it had to run."""

    name: str
    ran: bool


def run_pipeline(
    config: PipelineConfig, out: Path, *, until: str = "report",
    on_stage: Callable[[StageResult], object] = lambda result: None,
) -> RunDir:  # fmt: skip
    """Runs the pipeline in the folder `out`; with `split.folds` every fold in a folder of its own, and pools them.

    Args:
        until: the last stage, or "report" for everything; "train_gan" is a branch of its own.

    Raises:
        ConfigError: if the config asks for what cannot be run.
        RunError: if another process is at work in this folder, or it holds something else.
        MedaugError: whatever a stage refuses.
    """
    stages = stages_of(config, until)
    if "evaluate" in stages or "evaluate_domains" in stages:
        check_arms(config)
        check_network(config)
    in_folds = config.split.folds is not None and config.split.fold is None
    if in_folds:
        _check_folds(config, until)
    check_is_run(out)
    helps = is_helper(config.training)
    with nullcontext() if helps else held(RunDir(out)):
        if in_folds:
            return _run_folds(config, out, on_stage)
        if helps:
            return _help(config, out, stages)
        run = open_run(out, config)
        for name in stages:
            if name in TRAINING:
                wait_for_all(config.training)
            on_stage(StageResult(name, _run_stage(name, config, run)))
            if name == "prepare":  # not after an hour of training
                _check_prepared(config, run, stages)
    return run


def _help(config: PipelineConfig, out: Path, stages: tuple[str, ...]) -> RunDir:
    """Takes part in the training, once the first process has prepared it."""
    run = RunDir(out)
    wait_for_all(config.training)
    for name in stages:
        if name in TRAINING:
            _run_stage(name, config, run)
    return run


def stages_of(config: PipelineConfig, until: str) -> tuple[str, ...]:
    """The names of the stages, in order."""
    if until == "train_gan":
        return GAN_STAGES
    domain, task = config.domain, config.evaluation.task
    stages = STAGES[domain if domain == "tumor" or task == "none" else f"{domain}: {task}"]
    return stages if until == "report" else stages[: stages.index(until) + 1]


def _run_stage(name: str, config: PipelineConfig, run: RunDir) -> bool:
    room = "medaug.stages.domains" if name in IN_DOMAINS else "medaug.stages"
    stage: Any = getattr(import_module(f"{room}.{name}"), name)
    return bool(stage(config, run))


def _check_prepared(config: PipelineConfig, run: RunDir, stages: tuple[str, ...]) -> None:
    if "evaluate" in stages:
        check_patients(config, run)
    if "evaluate_domains" in stages:
        check_labels(config, run)


def _check_folds(config: PipelineConfig, until: str) -> None:
    """Folds are pooled: there is one run to do for each, and every patient has to count once."""
    folds = config.split.folds
    if is_launched(config.training):
        raise ConfigError(
            f"split.folds: found {folds} and no split.fold, in processes that torchrun or srun started; expected one "
            f"fold for all of them. Set split.fold to one from 0 to {(folds or 1) - 1}, or start one process."
        )
    if until != "report":
        raise ConfigError(
            f"split.folds: found {folds} and no split.fold; a training has one fold. Set split.fold to one from 0 to "
            f"{(folds or 1) - 1}, or train and test all of them with `medaug run`."
        )
    if config.evaluation.patients != "test":
        raise ConfigError(
            "evaluation.patients: found validation with split.folds; expected test, the patients of whom each is in "
            "one fold. Set split.fold to look at the validation patients of one."
        )


def _run_folds(config: PipelineConfig, out: Path, on_stage: Callable[[StageResult], object]) -> RunDir:
    run, folds = open_run(out, config), []
    for fold in range(config.split.folds or 0):
        split = config.split.model_copy(update={"fold": fold})
        alone = config.model_copy(update={"split": split, "name": f"{config.name}, fold {fold}"})

        def of_fold(result: StageResult, fold: int = fold) -> None:
            on_stage(StageResult(f"fold {fold}: {result.name}", result.ran))

        folds.append(run_pipeline(alone, run.fold(fold).root, on_stage=of_fold))
    pool: Any = import_module("medaug.stages.pool")
    on_stage(StageResult("pool", bool(pool.pool(config, run, folds))))
    return run


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
    findings: Any = import_module("medaug.stages.audits.findings")
    with held(run):
        found = findings.asked_audits(config, run, only)
        if run.report.exists():
            _run_stage(stages_of(config, "report")[-1], config, run)
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
        _run_stage(last, config, run)
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
    source: Path, weights: Path | None, out: Path | None, *, organ_mask: Path | None = None,
    sequence: str | None = None, overrides: list[str],
) -> list[Path]:  # fmt: skip
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
    score: Any = import_module("medaug.stages.scans.score")
    return score.score_scan(
        source, weights, out, settings=config.anomaly, organ_mask=organ_mask, sequence=sequence,
        organ_margin_mm=config.data.organ_margin_mm,
    )  # fmt: skip


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
