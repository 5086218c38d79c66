"""Commands before training: look at a data set, write a pipeline for it, or draw procedural patients."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medaug.cli.command import (
    AnyPath,
    PatientRegex,
    SequenceName,
    check_seed,
    command,
    data_there,
    path_of,
    quoted,
    say,
)
from medaug.cli.complete import layouts, written_layouts

if TYPE_CHECKING:
    from medaug.examination.examination import Examination

DataSet = Annotated[AnyPath, typer.Argument(callback=data_there, help="Folder or datalist JSON.")]
Layout = Annotated[str, typer.Option(autocompletion=layouts, help="Left out: recognised.")]
Target = Annotated[AnyPath | None, typer.Option(help="A second kind of image, to translate to.")]
TargetSequence = Annotated[str | None, typer.Option(help="Its sequence; without `--target`: of the same folder.")]
TumorLabels = Annotated[
    Sequence[int] | None,
    typer.Option(help="Label value that is tumor; repeatable; left out: as the labels' names say."),
]


def _tell_examination(found: "Examination") -> None:
    from medaug.examination.examination import examination_text

    say(examination_text(found), lines=True)


@command(_tell_examination, json=True, holds=attrgetter("usable"))
def doctor(
    data: DataSet,
    *,
    sequence: SequenceName = None,
    layout: Layout = "auto",
    target: Target = None,
    target_sequence: TargetSequence = None,
    patient_regex: PatientRegex = None,
    tumor_labels: TumorLabels = None,
    out: Annotated[AnyPath | None, typer.Option("--out", "-o", help="New file for the suggested pipeline.")] = None,
) -> "Examination":
    """Look at a data set before training: what it holds, what would be refused; exit code 8 if something would.

    Example: medaug doctor BraTS/

    Raises:
        MedaugError: if nothing can be looked at, or `out` is there already.
    """
    from medaug.examination.examination import examine

    return examine(
        Path(data),
        sequence=sequence,
        layout=layout,
        target=path_of(target),
        target_sequence=target_sequence,
        patient_regex=patient_regex,
        tumor_labels=tumor_labels,
        out=path_of(out),
    )


def _run_it(found: Path, given: Mapping[str, Any]) -> str:
    return f"medaug run {quoted(found)} --out {quoted(Path('out') / found.stem)}"


@command(hint=_run_it)
def init(
    data: DataSet,
    *,
    out: Annotated[AnyPath, typer.Option("--out", "-o", help="New file.")] = "pipeline.yaml",
    task: Annotated[
        str | None, typer.Option(help="`segmentation`, `classification`, `translation` or `none`; left out: what fits.")
    ] = None,
    sequence: SequenceName = None,
    layout: Layout = "auto",
    target: Target = None,
    target_sequence: TargetSequence = None,
    patient_regex: PatientRegex = None,
    tumor_labels: TumorLabels = None,
) -> Path:
    """Write a commented pipeline for a data set, as `doctor` suggests it, and say how to run it.

    Example: medaug init BraTS/ --out brats.yaml

    Args:
        task: `evaluation.task`; None: what labels and pairs allow.

    Returns:
        The path of the pipeline.

    Raises:
        MedaugError: if nothing can be looked at, or `out` is there already.
    """
    from medaug.examination.examination import examine

    examine(
        Path(data),
        sequence=sequence,
        layout=layout,
        target=path_of(target),
        target_sequence=target_sequence,
        patient_regex=patient_regex,
        tumor_labels=tumor_labels,
        task=task,
        out=Path(out),
    )
    return Path(out)


@command("{found} scans in {out}")
def phantoms(
    out: Annotated[AnyPath, typer.Argument(help="Folder to write to.")],
    *,
    layout: Annotated[
        str, typer.Option(autocompletion=written_layouts, help="brats, kaggle-lgg, msd, datalist or images-labels.")
    ] = "brats",
    patients: Annotated[int, typer.Option(min=1, help="How many.")] = 12,
    anatomy: Annotated[str, typer.Option(help="`head` (MR) or `abdomen` (CT).")] = "head",
    seed: Annotated[int, typer.Option(help="Which family of patients.")] = 0,
    label: Annotated[str, typer.Option(help="`tumor`, `parts` (head, in 4 sequences), `organ` or `organs`.")] = "tumor",
    healthy: Annotated[int, typer.Option(min=0, help="How many more without a tumor, in `OUT-healthy`.")] = 0,
) -> int:
    """Write procedural patients (image and label) to disk, in a layout that medaug reads.

    Example: medaug phantoms data/phantoms --layout brats --patients 12

    Args:
        label: what the labels hold: the tumor; its parts as in BraTS (1 core, 2 edema, 4 enhancing); the organ (1) and
            the tumor (2); or organs alone.

    Returns:
        How many scans.

    Raises:
        MedaugError: for an unknown layout or anatomy, or a folder that cannot be written.
    """
    check_seed(seed)
    from medaug.data.writers import write_phantoms

    return write_phantoms(
        Path(out), layout, patients=patients, anatomy=anatomy, seed=seed, label=label, healthy=healthy
    )
