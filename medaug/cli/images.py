"""Commands on whole images: translate a scan to another kind, compare two."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from medaug.cli.command import (
    Accelerator,
    AnyPath,
    Overwrite,
    Precision,
    WeightsOption,
    check_seed,
    command,
    path_of,
    say,
)
from medaug.cli.scans import Channel

if TYPE_CHECKING:
    from medaug.models.base import Direction


@command()
def synth_ct(
    scan: Annotated[AnyPath, typer.Argument(help="Image file, DICOM file, or folder with a DICOM series.")],
    *,
    weights: WeightsOption,
    out: Annotated[AnyPath, typer.Option("--out", "-o", help="Folder for the image or series, picture and manifest.")],
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID, where a folder holds several.")] = None,
    mask: Annotated[AnyPath | None, typer.Option("--mask", "-m", help="The body; left out: found.")] = None,
    direction: Annotated[str | None, typer.Option(help="`a2b` or `b2a`; left out: towards CT.")] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", help="`nifti` or `dicom`; left out: as the scan.")
    ] = None,
    label: Annotated[AnyPath | None, typer.Option(help="Class numbers, for weights that read labels.")] = None,
    segmentation: Annotated[AnyPath | None, typer.Option(help="Label to write as DICOM SEG of the new series.")] = None,
    name: Annotated[Sequence[str] | None, typer.Option(help="A label value's name: `1=liver`; repeatable.")] = None,
    deidentify: Annotated[bool, typer.Option("--deidentify", help="Remove identity from what is written.")] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same image.")] = 0,
    sequence: Channel = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> list[Path]:
    """Make a synthetic CT (or the weights' other kind of image) of a scan: NIfTI, or a DICOM series in its study.

    Example: medaug synth-ct MR/series --weights out/ct/train/weights --out synthetic --deidentify

    Args:
        overwrite: whether files of an earlier call may be replaced; a DICOM series never is.

    Returns:
        The paths of the image (NIfTI, or the folder of the series), the segmentation if asked for, picture, manifest
        and page.

    Raises:
        ConfigError: if the options contradict each other.
        DataError: if the scan cannot be used, or is of another modality than the weights read.
        WeightsError: if the weights cannot be used.
        RunError: if the series' folder is in use, or results of an earlier call are there.
    """
    check_seed(seed)
    path = Path(scan)
    from medaug.data.atomic import check_unwritten
    from medaug.data.opening import stem_of

    stem = Path(out) / ("synthetic" if deidentify else f"{stem_of(path.resolve())}_synthetic")
    check_unwritten(stem.parent, [stem.name], overwrite=overwrite)
    from medaug.models.weights import load_weights
    from medaug.scans.synth_ct import output_of, translate_scan
    from medaug.transforms import SynthesizeCT, TranslateDomain

    output = output_of(path, stem, output_format, segmentation, name or (), deidentify)
    loaded = load_weights(weights).on(accelerator, precision)
    if direction is None:
        translate: TranslateDomain = SynthesizeCT(loaded, seed=seed)
    else:
        translate = TranslateDomain(loaded, cast("Direction", direction), seed=seed)
    return translate_scan(path, translate, output, series=series, sequence=sequence, mask=mask, label=label)


def _tell_comparison(found: dict[str, Any]) -> None:
    from medaug.report.terminal import comparison_text

    say(comparison_text(found), lines=True)


@command(_tell_comparison, json=True)
def compare(
    real: Annotated[AnyPath, typer.Argument(help="The real image, for example a CT.")],
    synthetic: Annotated[AnyPath, typer.Argument(help="The synthetic image, on the same grid.")],
    *,
    mask: Annotated[AnyPath | None, typer.Option("--mask", "-m", help="Where to compare; left out: the body.")] = None,
    out: Annotated[AnyPath | None, typer.Option("--out", "-o", help="Folder for comparison.json and pictures.")] = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Compare a synthetic image with the real one: MAE, PSNR, SSIM, MS-SSIM, and in HU the bias by tissue.

    Example: medaug compare ct.nii.gz synthetic_ct.nii.gz --mask body.nii.gz --out compared

    Returns:
        What was compared, and the scores; see `scans.compare`.

    Raises:
        DataError: if a file cannot be read, or the two are not of one grid and unit.
        RunError: if the results of an earlier call are there, and `overwrite` is not given.
    """
    if out is not None:
        from medaug.data.atomic import check_unwritten

        check_unwritten(Path(out), ["comparison", "view"], overwrite=overwrite)
    from medaug.scans.compare import compare_images

    return compare_images(Path(real), Path(synthetic), path_of(mask), path_of(out))
