"""Runs the stages of one pipeline in order: prepare → train → synthesize → audit → evaluate → report.

A stage whose inputs and settings are unchanged is not run again; the same command resumes what was stopped. The GAN
from noise is a branch of its own: prepare → train_gan.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from medaug.config import PipelineConfig
from medaug.devices import device_of
from medaug.errors import ConfigError
from medaug.experiment.records import Evaluation
from medaug.models.budget import check_memory
from medaug.progress import say
from medaug.report.verdicts import verdict_of
from medaug.runs.folder import RunDir, check_is_run, open_run
from medaug.runs.markers import held
from medaug.splits import split_patients
from medaug.stages.audit import audit
from medaug.stages.evaluate import evaluate
from medaug.stages.outlook import say_outlook, scored_patients
from medaug.stages.pool import pool
from medaug.stages.prepare import prepare
from medaug.stages.report import report
from medaug.stages.synthesize import synthesize
from medaug.stages.tasks import task_of
from medaug.stages.train import train, train_seeds
from medaug.stages.train_gan import train_gan
from medaug.training.config import is_helper, is_launched, join_processes, made_once

STAGES: dict[str, Callable[[PipelineConfig, RunDir], bool]] = {
    "prepare": prepare,
    "train": train,
    "train_gan": train_gan,
    "synthesize": synthesize,
    "audit": audit,
    "evaluate": evaluate,
    "report": report,
}
"""In order; a stage says whether it had anything to do."""
TRAINING = ("train", "train_gan")
"""What all processes do that torchrun or srun started; the rest is the first one's."""


@dataclass(frozen=True)
class StageResult:
    """A stage's name and whether it had to run."""

    name: str
    ran: bool


def run_pipeline(
    config: PipelineConfig,
    out: Path,
    *,
    until: str = "report",
    on_stage: Callable[[StageResult], object] = lambda result: None,
    outer: RunDir | None = None,
) -> RunDir:
    """Runs the pipeline in the folder `out`; with `split.folds` every fold in a folder of its own, and pools them.

    Whether a verdict will be possible at all is said as soon as the patients are known.

    Args:
        until: the last stage, or "report" for everything; "train_gan" is a branch of its own.
        outer: the run that this is a fold of. They share their scans, and nothing is said of the fold's own verdict.

    Raises:
        ConfigError: if the config asks for what cannot be run.
        RunError: if another process is at work in this folder, or it holds something else.
        MedaugError: whatever a stage refuses.
    """
    stages, task = stages_of(config, until), task_of(config)
    if "evaluate" in stages:
        task.check_settings()
    if until != "prepare":
        device_of(config.accelerator, config.precision)
    if "train" in stages:
        check_memory(config.translator.method, config.translator.settings, config.data.spatial_dims)
    in_folds = config.split.folds is not None and config.split.fold is None
    if in_folds:
        _check_folds(config, until)
    check_is_run(out)
    if set(stages) & set(TRAINING):
        join_processes(config.fit_config)
    helps = is_helper(config.training)
    with nullcontext() if helps else held(RunDir(out)):
        if in_folds:
            return _run_folds(config, out, until, on_stage)
        if helps:
            return _help(config, out, stages)
        run = open_run(out, config, outer=outer.root if outer else None)
        for name in stages:
            if name in TRAINING:
                made_once(config.fit_config, lambda: None)  # the others waited for this
            on_stage(StageResult(name, STAGES[name](config, run)))
            if name == "train" and "synthesize" in stages and config.evaluation.gan_seeds:
                on_stage(StageResult("train for each seed", train_seeds(config, run)))
            if name == "prepare":  # not after an hour of training
                _check_tested(config, run, stages)
                if "evaluate" in stages:
                    task.check_prepared(run)
                    if outer is None:
                        say_outlook(config, scored_patients(config, run))
        if "report" in stages and outer is None:
            _say_answer(run)
    return run


def _say_answer(run: RunDir) -> None:
    """On the screen, the first sentence of the page, where anything was evaluated."""
    if (found := Evaluation.of_run(run)) is not None:
        say(f"{verdict_of(found.main).headline}.")


def _help(config: PipelineConfig, out: Path, stages: tuple[str, ...]) -> RunDir:
    """Takes part in the training, once the first process has prepared it."""
    run = RunDir(out)
    made_once(config.fit_config, lambda: None)
    for name in stages:
        if name in TRAINING:
            STAGES[name](config, run)
        if name == "train" and "synthesize" in stages:
            train_seeds(config, run)
    return run


def stages_of(config: PipelineConfig, until: str) -> tuple[str, ...]:
    """The names of the stages, in order."""
    if until == "train_gan":
        return ("prepare", "train_gan")
    stages = task_of(config).stages
    return stages if until == "report" else stages[: stages.index(until) + 1]


def _check_tested(config: PipelineConfig, run: RunDir, stages: tuple[str, ...]) -> None:
    """Refuses a split that leaves nobody to test, unless nothing but training is asked."""
    split = run.read_split()
    if not split.test and not {*stages} <= {"prepare", *TRAINING}:
        split_patients((*split.train, *split.validation), len(split.train), len(split.validation), config.split.seed)


def _check_folds(config: PipelineConfig, until: str) -> None:
    """Folds are pooled: there is one run to do for each, and every patient has to count once."""
    folds = config.split.folds
    if is_launched(config.training):
        raise ConfigError(
            f"split.folds: found {folds} and no split.fold, in processes that torchrun or srun started; expected one "
            f"fold for all of them. Set split.fold to one from 0 to {(folds or 1) - 1}, or start one process."
        )
    if until not in ("prepare", "report"):
        raise ConfigError(
            f"split.folds: found {folds} and no split.fold; a training has one fold. Set split.fold to one from 0 to "
            f"{(folds or 1) - 1}, or train and test all of them with `medaug run`."
        )
    if config.evaluation.patients != "test":
        raise ConfigError(
            "evaluation.patients: found validation with split.folds; expected test, the patients of whom each is in "
            "one fold. Set split.fold to look at the validation patients of one."
        )


def _run_folds(config: PipelineConfig, out: Path, until: str, on_stage: Callable[[StageResult], object]) -> RunDir:
    run, folds = open_run(out, config), []
    for fold in range(config.split.folds or 0):
        split = config.split.model_copy(update={"fold": fold})
        alone = config.model_copy(update={"split": split, "name": f"{config.name}, fold {fold}"})

        def of_fold(result: StageResult, fold: int = fold) -> None:
            on_stage(StageResult(f"fold {fold}: {result.name}", result.ran))
            if (fold, result.name) == (0, "prepare"):
                say_outlook(config, scored_patients(config, run.fold(0)))

        folds.append(run_pipeline(alone, run.fold(fold).root, until=until, on_stage=of_fold, outer=run))
    if until == "report":
        on_stage(StageResult("pool", pool(config, run, folds)))
        _say_answer(run)
    return run
