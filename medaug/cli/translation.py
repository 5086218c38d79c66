"""Commands that translate images between two domains, and compare a synthetic one with the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import app
from medaug.cli.output import Json, Overwrite, print_json, say
from medaug.cli.scans import Channel, WeightsDir


@app.command("synth-ct")
def synth_ct(
    scan: Annotated[Path, typer.Argument(help="Image file, DICOM file, or folder with a DICOM series.")],
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the image or series, picture and manifest.")],
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID, where a folder holds several.")] = None,
    mask: Annotated[Path | None, typer.Option("--mask", "-m", help="The body; left out: found.")] = None,
    direction: Annotated[str | None, typer.Option(help="`a2b` or `b2a`; left out: towards CT.")] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", help="`nifti` or `dicom`; left out: as the scan.")
    ] = None,
    label: Annotated[Path | None, typer.Option(help="Class numbers, for weights that read labels.")] = None,
    segmentation: Annotated[Path | None, typer.Option(help="Label to write as DICOM SEG of the new series.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="A label value's name: `1=liver`; repeatable.")] = None,
    deidentify: Annotated[bool, typer.Option("--deidentify", help="Remove identity from what is written.")] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same image.")] = 0,
    sequence: Channel = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a synthetic CT (or the weights' other kind of image) of a scan: NIfTI, or a DICOM series in its study.

    Example: medaug synth-ct MR/series --weights out/ct/train/weights --out synthetic --deidentify
    """
    from medaug import api

    for path in api.synth_ct(
        scan,
        weights=weights,
        out=out,
        series=series,
        mask=mask,
        direction=direction,
        output_format=output_format,
        label=label,
        segmentation=segmentation,
        name=name,
        deidentify=deidentify,
        seed=seed,
        sequence=sequence,
        overwrite=overwrite,
    ):
        say(path)


@app.command()
def compare(
    real: Annotated[Path, typer.Argument(help="The real image, for example a CT.")],
    synthetic: Annotated[Path, typer.Argument(help="The synthetic image, on the same grid.")],
    mask: Annotated[Path | None, typer.Option("--mask", "-m", help="Where to compare; left out: the body.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for comparison.json and pictures.")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Compare a synthetic image with the real one: MAE, PSNR, SSIM, MS-SSIM, and in HU the bias by tissue.

    Example: medaug compare ct.nii.gz synthetic_ct.nii.gz --mask body.nii.gz --out compared
    """
    from medaug import api
    from medaug.report.comparison import comparison_text

    found = api.compare(real, synthetic, mask=mask, out=out, overwrite=overwrite)
    if json:
        print_json(found)
    else:
        say(comparison_text(found), lines=True)
