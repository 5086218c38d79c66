"""Commands before training: look at a data set, write a pipeline for it, or draw procedural patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import CHECK_FAILED, app
from medaug.cli.complete import layouts, written_layouts
from medaug.cli.output import Json, print_json, say
from medaug.cli.runs import PatientRegex, Sequence
from medaug.errors import visible

DataSet = Annotated[Path, typer.Argument(help="Folder or datalist JSON.")]
Layout = Annotated[str, typer.Option(autocompletion=layouts, help="Left out: recognised.")]
Target = Annotated[Path | None, typer.Option(help="A second kind of image, to translate to.")]
TumorLabels = Annotated[
    list[int] | None, typer.Option(help="Label value that is tumor; repeatable; left out: as the labels' names say.")
]
TargetSequence = Annotated[str | None, typer.Option(help="Its sequence; without `--target`: of the same folder.")]


@app.command()
def doctor(
    data: DataSet,
    sequence: Sequence = None,
    layout: Layout = "auto",
    target: Target = None,
    target_sequence: TargetSequence = None,
    patient_regex: PatientRegex = None,
    tumor_labels: TumorLabels = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="New file for the suggested pipeline.")] = None,
    json: Json = False,
) -> None:
    """Look at a data set before training: what it holds, what would be refused; exit code 8 if something would.

    Example: medaug doctor BraTS/ --sequence flair
    """
    from medaug import api
    from medaug.examination.text import examination_text

    found = api.doctor(
        data,
        sequence=sequence,
        layout=layout,
        target=target,
        target_sequence=target_sequence,
        patient_regex=patient_regex,
        tumor_labels=tumor_labels,
        out=out,
    )
    if json:
        print_json(found)
    else:
        say(examination_text(found), lines=True)
    raise typer.Exit(0 if found.usable else CHECK_FAILED)


@app.command()
def init(
    data: DataSet,
    out: Annotated[Path, typer.Option("--out", "-o", help="New file.")] = Path("pipeline.yaml"),
    task: Annotated[
        str | None, typer.Option(help="`segmentation`, `classification`, `translation` or `none`; left out: what fits.")
    ] = None,
    sequence: Sequence = None,
    layout: Layout = "auto",
    target: Target = None,
    target_sequence: TargetSequence = None,
    patient_regex: PatientRegex = None,
    tumor_labels: TumorLabels = None,
) -> None:
    """Write a commented pipeline for a data set, as `doctor` suggests it, and say how to run it.

    Example: medaug init BraTS/ --sequence flair --out brats.yaml
    """
    from medaug import api

    say(
        api.init(
            data,
            out=out,
            task=task,
            sequence=sequence,
            layout=layout,
            target=target,
            target_sequence=target_sequence,
            patient_regex=patient_regex,
            tumor_labels=tumor_labels,
        )
    )
    typer.echo(visible(f"next: medaug doctor {data}, then medaug run {out} --out out/{out.stem}"), err=True)


@app.command()
def phantoms(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    layout: Annotated[
        str, typer.Option(autocompletion=written_layouts, help="brats, kaggle-lgg, msd, datalist or images-labels.")
    ] = "brats",
    patients: Annotated[int, typer.Option(min=1, help="How many.")] = 12,
    anatomy: Annotated[str, typer.Option(help="`head` (MR) or `abdomen` (CT).")] = "head",
    seed: Annotated[int, typer.Option(help="Which family of patients.")] = 0,
) -> None:
    """Write procedural patients (image and label) to disk, in a layout that medaug reads.

    Example: medaug phantoms data/phantoms --layout brats --patients 12
    """
    from medaug import api

    say(f"{api.phantoms(out, layout=layout, patients=patients, anatomy=anatomy, seed=seed)} scans in {out}")
