"""`medaug doctor` and `medaug init`: what a data set holds, what would be refused of it, and a pipeline for it.

Nothing is trained, and the data set is only read. `examination_text` is what the terminal shows of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from shutil import get_terminal_size

from rich.console import Console

from medaug.config.data import DataConfig
from medaug.data.atomic import write_text
from medaug.errors import ConfigError, DataError, RunError, visible
from medaug.examination.checks import Check, checks_of, copies_check, patients_check, prevalence_check, refusals_of
from medaug.examination.figures import SPECK_MM, DataSummary, Group, SequenceFigures, Spread
from medaug.examination.scans import Refusal
from medaug.examination.suggestion import suggestion_for
from medaug.examination.survey import Survey, survey_of
from medaug.report.terminal import Table

TASKS = {"tumor": ("segmentation", "classification"), "ct": ("segmentation", "translation", "none")}
"""Values of `evaluation.task`, by domain."""
WIDTH = 140
NAMED = 5
"""So many of the cases that a check is about are named; `--json` has them all."""


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
        sequence, target_sequence: as `data.sequence`; where none is chosen of several, all are channels, or with a
            target FLAIR or the first is taken.
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
    survey, second = survey_of(data, layout, sequence, patient_regex, tumors, together=not two), None
    if two:
        place, own_layout = (data, layout) if target is None else (target, "auto")
        second = survey_of(place, own_layout, target_sequence, patient_regex, tumors, together=False)
    elif out is not None and survey.tumors.undecided and not survey.tumors.parts:
        raise ConfigError(f"{data}: {survey.tumors.sentence}")
    elif out is not None and not survey.is_for_tumors:
        raise DataError.about(
            data,
            f"{len(survey.cases)} images and no label",
            "labels, or a second kind of image",
            "Add labels, or translate: give `--target`, or `--target-sequence` where it lies in the same folder.",
        )
    suggestion = suggestion_for(survey, second, task, str(out or "pipeline.yaml"))
    config = suggestion.config
    checks: list[Check] = []
    refusals: list[Refusal] = []
    sides: list[tuple[str, Survey, DataConfig]] = [("data", survey, config.data)]
    if second is not None:
        sides.append(("target", second, config.target or config.data))
    for section, side, settings in sides:
        refused = refusals_of(side, settings, section, tumors=second is None and side.is_for_tumors)
        found = checks_of(side, settings, refused, config, tumors=second is None)
        checks += found if second is None else [replace(check, name=f"{section}: {check.name}") for check in found]
        refusals += refused
    checks += [] if second is None else copies_check(survey, second)
    checks += [patients_check(config, survey, second), prevalence_check(survey, second)]
    if out is not None:
        write_text(out, suggestion.yaml)
    return Examination(
        usable=not any(check.verdict == "fail" for check in checks),
        data=survey.summary,
        target=None if second is None else second.summary,
        checks=checks,
        refusals=refusals,
        suggestion=suggestion.yaml if survey.is_for_tumors or second is not None else "",
    )


def examination_text(found: Examination) -> str:
    """Tables of the data sets and of the checks, what the checks name, and the suggestion."""
    stream = StringIO()
    console = Console(file=stream, width=get_terminal_size((WIDTH, 24)).columns, color_system=None, highlight=False)
    for summary in (found.data, found.target):
        if summary is not None:
            console.print(_figures(summary))
    checks = Table("check", "answer", "what was found")
    for check in found.checks:
        checks.add_row(check.name, check.verdict, check.sentence)
    console.print(checks)
    for check in found.checks:
        if check.named and check.verdict != "pass":
            console.print(f"{check.name}:", markup=False)
            for name in check.named[:NAMED]:
                console.print(f"  {visible(name)}", soft_wrap=True, markup=False)
            if len(check.named) > NAMED:
                console.print(f"  … and {len(check.named) - NAMED} more (`--json` has all)", markup=False)
    if found.suggestion:
        pipeline = visible(found.suggestion, keep="\n")
        console.print(f"\nA pipeline for it:\n\n{pipeline}", soft_wrap=True, markup=False)
    console.print("usable" if found.usable else "NOT usable as it is: see the checks that fail")
    return stream.getvalue().rstrip()


def _figures(s: DataSummary) -> Table:
    table = Table("", s.root, show_lines=False)
    linked = f" ({s.linked} behind links)" if s.linked else ""
    rows = {
        "layout": f"{s.layout} ({s.looks_like})",
        "cases": f"{s.cases}{linked}, {s.read} read, {s.labelled} with a label; "
        f"{_spread(s.cases_per_patient)} a patient, of {s.patients}",
        "shape": _groups(s.shapes),
        "voxel size": _groups(s.spacings_mm),
        "orientation": _groups(s.orientations),
        **{f"sequence {one.name or ''}".strip(): _of_sequence(one) for one in s.sequences},
        "label values": "; ".join(
            f"{v.value}{f' ({v.name})' if v.name else ''} in {v.cases} labels of {v.patients} patients"
            + ("" if v.volume_ml is None else f", {_spread(v.volume_ml)} ml")
            for v in s.label_values
        )
        or "none",
        "lesions": _lesions(s),
        "prevalence": "unknown"
        if s.prevalence is None
        else f"{s.prevalence.tumor_slices} of {s.prevalence.slices} labelled slices ({s.prevalence.by_slice:.0%}), "
        f"{s.prevalence.tumor_patients} of {s.prevalence.patients} patients",
        "cost": f"read in {s.seconds:g} s; prepared on this grid {s.megabytes:.0f} MB",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _of_sequence(s: SequenceFigures) -> str:
    unit = ", in HU" if s.looks_like_hu else ", as SUV" if s.looks_like_suv else ""
    middle = ", ".join(f"{value:g}" for value in s.percentiles)
    lacking = f"; {len(s.lacking)} case(s) lack it" if s.lacking else ""
    return (
        f"{s.modality}{unit}: {s.lowest:g} to {s.highest:g}; percentiles 0.5, 50, 99.5: {middle}; stored as "
        f"{', '.join(s.dtypes)}{lacking}"
    )


def _lesions(s: DataSummary) -> str:
    if s.lesions is None:
        return "none"
    volume = "" if s.lesions.volume_ml is None else f", volume {_spread(s.lesions.volume_ml)} ml"
    return (
        f"{s.lesions.count}, {_spread(s.lesions.per_patient)} a patient; diameter {_spread(s.lesions.diameter_mm)} "
        f"{s.length_unit}{volume}; {s.lesions.specks} specks below {SPECK_MM:g} {s.length_unit}"
    )


def _groups(groups: list[Group]) -> str:
    shown = "; ".join(f"{group.value} ({len(group.cases)})" for group in groups[:NAMED])
    return shown + (f"; … {len(groups) - NAMED} more" if len(groups) > NAMED else "")


def _spread(spread: Spread) -> str:
    if spread.least == spread.most:
        return f"{spread.median:.3g}"
    return f"{spread.least:.3g} to {spread.most:.3g} (median {spread.median:.3g})"
