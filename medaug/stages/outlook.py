"""Whether an evaluation can give a verdict at all: told before anything is trained, and by a dry run."""

from __future__ import annotations

import logging
from itertools import chain

from medaug.config import PipelineConfig
from medaug.errors import MedaugError
from medaug.evaluation.statistics import LEAST_SEEDS, lacking, least_patients
from medaug.experiment.arms import arms_of, n_asked
from medaug.progress import say
from medaug.runs.folder import RunDir
from medaug.runs.sources import find_sources
from medaug.runs.splitting import split_for
from medaug.splits import Split
from medaug.stages.tasks import task_of

logger = logging.getLogger(__name__)


def outlook(config: PipelineConfig, patients: int | None, groups: int = 1) -> str | None:
    """Why no verdict will be possible, and what would help; None where one is, or none is asked.

    Args:
        patients: how many will be scored; None: not known, and taken for enough.
        groups: in how many settings of a benchmark every arm is trained.
    """
    settings, translation = config.evaluation, config.evaluation.task == "translation"
    asked = 1 if translation or settings.primary else n_asked(settings.arms, arms_of(settings)) * groups
    if settings.task == "none" or not asked:
        return None
    enough = patients is None or translation or patients >= least_patients(asked)
    seeds = 1 if translation else len(settings.seeds)
    reasons = lacking(least_patients(asked) if enough or patients is None else patients, seeds, asked)
    remedies = [
        *(["test more patients (split.train, split.validation, split.folds)"] if not enough else []),
        *(["compare fewer evaluation.arms"] if not enough and asked > 1 else []),
        *(["set more evaluation.seeds"] if seeds < LEAST_SEEDS and not translation else []),
    ]
    mend = f" To mend it: {', '.join(remedies)}." if remedies else " A translation is scored as it was trained, once."
    return f"no verdict will be possible. {' '.join(reasons)}{mend}" if reasons else None


def say_outlook(config: PipelineConfig, patients: int | None, groups: int = 1) -> None:
    """On the screen and in the log, if there is something to say."""
    if text := outlook(config, patients, groups):
        say(f"warning: {text}")
        logger.info(text)


def scored_patients(config: PipelineConfig, run: RunDir) -> int:
    """How many a prepared run will score; with folds that are pooled, how many all of them will."""
    return len(task_of(config).scored_patients(run, _scored(config, run.read_split())))


def expected_patients(config: PipelineConfig) -> int | None:
    """The same, from the names of the files alone; None where they cannot be listed or split, which a run will say."""
    try:
        cases = [source.cases for source in find_sources(config)]
        real = [[case for case in of_source if not case.healthy] for of_source in cases]
        labelled = [{case.patient for case in of_source if case.label is not None} for of_source in real]
        needs_labels = task_of(config).needs_labels
        used = labelled[0] if needs_labels else {case.patient for of_source in real for case in of_source}
        names = _scored(config, split_for(config.split, [*chain(*cases)], used, labelled=needs_labels))
    except (MedaugError, OSError):
        return None
    return min(len(names & patients) for patients in labelled)


def _scored(config: PipelineConfig, split: Split) -> set[str]:
    """Whose scores the evaluation is of."""
    if config.split.folds is not None and config.split.fold is None:
        return {*split.train, *split.validation, *split.test, *split.unused}
    return set(split.test if config.evaluation.patients == "test" else split.validation)
