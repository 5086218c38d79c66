"""Commands on a single scan: insert, remove, vary and grow tumors in it, and score it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import app
from medaug.cli.output import Json, Overwrite, print_json, say

WeightsDir = Annotated[Path, typer.Option("--weights", "-w", help="Weights folder, for example `out/x/train/weights`.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="`key=value` over the settings; repeatable.")]
Scan = Annotated[Path, typer.Argument(help="Image: NIfTI, NRRD, MHA, PNG, TIFF, or a DICOM file or series folder.")]
TumorValues = Annotated[
    list[int] | None, typer.Option("--tumor-labels", help="Values of the label that are tumor, of several; repeatable.")
]
Channel = Annotated[str | None, typer.Option(help="Channel of a multi-channel file, by number.")]


@app.command()
def insert(
    scan: Scan,
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for image, label and picture.")],
    count: Annotated[int, typer.Option(min=1, help="How many tumors.")] = 1,
    seed: Annotated[int, typer.Option(help="Same seed, same tumors.")] = 0,
    size_mm: Annotated[tuple[float, float] | None, typer.Option(help="Least and most diameter.")] = None,
    organ_mask: Annotated[Path | None, typer.Option(help="Where tumors may lie; left out: found.")] = None,
    mask: Annotated[Path | None, typer.Option("--mask", "-m", help="One tumor exactly here.")] = None,
    avoid: Annotated[Path | None, typer.Option(help="Label of tumors to keep clear of.")] = None,
    tumor_labels: TumorValues = None,
    style_from: Annotated[Path | None, typer.Option(help="Scan with a tumor whose style to use (MUNIT).")] = None,
    style_mask: Annotated[Path | None, typer.Option(help="That tumor, on its scan's grid.")] = None,
    sequence: Channel = None,
    overwrite: Overwrite = False,
) -> None:
    """Insert tumors into one scan; writes image, label, and a before / after picture.

    Example: medaug insert scan.nii.gz --weights out/brats/train/weights --out inserted --size-mm 10 25 --seed 3
    """
    from medaug import api

    for path in api.insert(
        scan,
        weights=weights,
        out=out,
        count=count,
        seed=seed,
        size_mm=size_mm,
        organ_mask=organ_mask,
        mask=mask,
        avoid=avoid,
        tumor_labels=tumor_labels,
        style_from=style_from,
        style_mask=style_mask,
        sequence=sequence,
        overwrite=overwrite,
    ):
        say(path)


@app.command()
def styles(
    scan: Scan,
    mask: Annotated[Path, typer.Option("--mask", "-m", help="Where the tumor shall be, on the image's grid.")],
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for images, label and picture.")],
    count: Annotated[int, typer.Option(min=1, help="How many variants.")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same tumors.")] = 0,
    sequence: Channel = None,
    overwrite: Overwrite = False,
) -> None:
    """Fill one mask with many different tumors; writes the images and a picture to compare them.

    Example: medaug styles scan.nii.gz --mask where.nii.gz --weights out/munit/train/weights --out styles --count 10
    """
    from medaug import api

    for path in api.styles(
        scan, mask=mask, weights=weights, out=out, count=count, seed=seed, sequence=sequence, overwrite=overwrite
    ):
        say(path)


@app.command()
def remove(
    scan: Scan,
    mask: Annotated[Path, typer.Option("--mask", "-m", help="The tumor to remove, on the image's grid.")],
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for image, label and picture.")],
    seed: Annotated[int, typer.Option(help="Of the fill's texture.")] = 0,
    tumor_labels: TumorValues = None,
    sequence: Channel = None,
    overwrite: Overwrite = False,
) -> None:
    """Remove a marked tumor from one scan; writes image, label, and a before / after picture.

    Example: medaug remove scan.nii.gz --mask tumor.nii.gz --weights out/brats/train/weights --out removed
    """
    from medaug import api

    for path in api.remove(
        scan,
        mask=mask,
        weights=weights,
        out=out,
        seed=seed,
        tumor_labels=tumor_labels,
        sequence=sequence,
        overwrite=overwrite,
    ):
        say(path)


@app.command()
def grow(
    scan: Scan,
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for images, labels, animation and page.")],
    steps: Annotated[int, typer.Option(help="How many sizes.")] = 6,
    start_mm: Annotated[float, typer.Option(help="Diameter at day 0.")] = 4.0,
    doubling_days: Annotated[float, typer.Option(help="Days in which the volume doubles.")] = 60.0,
    interval_days: Annotated[float, typer.Option(help="Days between two steps.")] = 30.0,
    mass_effect: Annotated[float, typer.Option(help="0 (none) to 1: how hard the tumor pushes tissue away.")] = 0.0,
    reach_mm: Annotated[float, typer.Option(help="How far from its surface it pushes.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Same seed, same series.")] = 0,
    organ_mask: Annotated[Path | None, typer.Option(help="Where the tumor may lie; left out: found.")] = None,
    sequence: Channel = None,
    overwrite: Overwrite = False,
) -> None:
    """Grow one tumor in one scan; writes image and label at each step, an animation, and a page.

    Example: medaug grow scan.nii.gz --weights out/brats/train/weights --out grown --start-mm 8 --mass-effect 0.5
    """
    from medaug import api

    for path in api.grow(
        scan,
        weights=weights,
        out=out,
        steps=steps,
        start_mm=start_mm,
        doubling_days=doubling_days,
        interval_days=interval_days,
        mass_effect=mass_effect,
        reach_mm=reach_mm,
        seed=seed,
        organ_mask=organ_mask,
        sequence=sequence,
        overwrite=overwrite,
    ):
        say(path)


@app.command()
def anomaly(
    source: Annotated[Path, typer.Argument(help="A scan, or a run folder with trained weights.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", "-w", help="Of a run folder: others than its own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Of a scan: folder for map, image and scores.")
    ] = None,
    organ_mask: Annotated[Path | None, typer.Option(help="Of a scan: where to look; left out: found.")] = None,
    sequence: Channel = None,
    set_: Set = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Score a scan by its distance from its pseudo-healthy version; of a run folder, all held-out slices (AUC).

    Example: medaug anomaly scan.nii.gz --weights out/brats/train/weights --out anomaly
    """
    from medaug import api

    found = api.anomaly(
        source, weights=weights, out=out, organ_mask=organ_mask, sequence=sequence, set_=set_, overwrite=overwrite
    )
    if json:
        print_json(found)
        return
    for line in [*([found.summary["sentence"]] if "sentence" in found.summary else []), *found.files]:
        say(line)
