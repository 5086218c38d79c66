"""`medaug doctor` and `medaug init`: what a data set holds, what would be refused of it, and a pipeline for it.

Nothing is trained, and the data set is only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medaug.config.data import DataConfig
from medaug.data.atomic import write_text
from medaug.errors import ConfigError, DataError, RunError
from medaug.examination.checks import Check, checks_of, copies_check, patients_check, prevalence_check, refusals_of
from medaug.examination.scans import Refusal
from medaug.examination.suggestion import Suggestion, suggestion_for
from medaug.examination.survey import DataSummary, Survey, survey_of

TASKS = {"tumor": ("segmentation", "classification"), "ct": ("segmentation", "translation", "none")}
"""Values of `evaluation.task`, by domain."""


@dataclass(frozen=True)
class Examination:
    """What `medaug doctor` found.

    Attributes:
        usable: no check fails: the suggested pipeline would not be refused.
        refusals: every file that would be, with the reason.
        suggestion: the text of a pipeline file; empty where a second kind of image is missing.
    """

    usable: bool
    data: DataSummary
    target: DataSummary | None
    checks: list[Check]
    refusals: list[Refusal]
    suggestion: str


def examine(
    data: Path,
    *,
    sequence: str | int | None = None,
    target: Path | None = None,
    target_sequence: str | int | None = None,
    layout: str = "auto",
    task: str | None = None,
    patient_regex: str | None = None,
    tumor_labels: Sequence[int] | None = None,
    out: Path | None = None,
) -> Examination:
    """Looks at a data set, or at two kinds of image between which shall be translated.

    Args:
        data: folder or datalist JSON.
        sequence, target_sequence: as `data.sequence`; where none is chosen of several, FLAIR or the first is taken.
        target: a second folder; left out with `target_sequence`: the same.
        task: `evaluation.task` of the suggested pipeline; None: what labels and pairs allow.
        patient_regex: as `data.patient_regex`, of both.
        tumor_labels: as `data.tumor_labels`, of both; None: as the labels' names say.
        out: where to write the suggestion, a new file.

    Raises:
        DataError: if no layout is recognised, or the folder is not complete in its layout.
        ConfigError: for an unknown layout or sequence, or a task that does not fit.
        RunError: if `out` is there already.
    """
    two = target is not None or target_sequence is not None
    tasks = TASKS["ct" if two else "tumor"]
    if task is not None and task not in tasks:  # before an hour of reading
        expected = f"one of {', '.join(tasks)} {'with' if two else 'without'} a target"
        raise ConfigError(f"--task: found {task}; expected {expected}")
    if out is not None and out.exists():
        raise RunError(f"{out}: is there already, and is not overwritten. Choose another --out, or move it away.")
    tumors = tuple(tumor_labels) if tumor_labels else None
    survey, second = survey_of(data, layout, sequence, patient_regex, tumors), None
    if two:
        second = survey_of(target or data, "auto" if target else layout, target_sequence, patient_regex, tumors)
    elif out is not None and survey.tumors.undecided:
        raise ConfigError(f"{data}: {survey.tumors.sentence}")
    elif out is not None and not survey.is_for_tumors:
        raise DataError.about(
            data,
            f"{len(survey.cases)} images and no label",
            "labels, or a second kind of image",
            "Add labels, or translate: give `--target`, or `--target-sequence` where it lies in the same folder.",
        )
    suggestion = suggestion_for(survey, second, task, str(out or "pipeline.yaml"))
    found = _examination(survey, second, suggestion)
    if out is not None:
        write_text(out, suggestion.yaml)
    return found


def _examination(survey: Survey, target: Survey | None, suggestion: Suggestion) -> Examination:
    config = suggestion.config
    checks: list[Check] = []
    refusals: list[Refusal] = []
    sides: list[tuple[str, Survey, DataConfig]] = [("data", survey, config.data)]
    if target is not None:
        sides.append(("target", target, config.target or config.data))
    for section, side, data in sides:
        refused = refusals_of(side, data, section, tumors=target is None and side.is_for_tumors)
        found = checks_of(side, data, refused, config, tumors=target is None)
        checks += found if target is None else [replace(check, name=f"{section}: {check.name}") for check in found]
        refusals += refused
    checks += [] if target is None else copies_check(survey, target)
    checks += [patients_check(config, survey, target), prevalence_check(survey, target)]
    return Examination(
        usable=not any(check.verdict == "fail" for check in checks),
        data=survey.summary,
        target=None if target is None else target.summary,
        checks=checks,
        refusals=refusals,
        suggestion=suggestion.yaml if survey.is_for_tumors or target is not None else "",
    )
