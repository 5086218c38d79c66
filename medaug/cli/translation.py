"""Commands on translated images: compare a synthetic one with the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import app


@app.command()
def compare(
    real: Annotated[Path, typer.Argument(help="The real image, for example a CT.")],
    synthetic: Annotated[Path, typer.Argument(help="The synthetic image, on the same grid.")],
    mask: Annotated[Path | None, typer.Option("--mask", "-m", help="Where to compare; left out: the body.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for comparison.json and pictures.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON in place of the table.")] = False,
) -> None:
    """Compare a synthetic image with the real one: MAE, PSNR, SSIM, MS-SSIM, and in HU the bias by tissue.

    Example: `medaug compare ct.nii.gz synthetic_ct.nii.gz --mask body.nii.gz --out compared`
    """
    from medaug.io.atomic import to_json
    from medaug.report.comparison import comparison_text
    from medaug.stages.compare import compare_images

    found = compare_images(real, synthetic, mask, out)
    typer.echo(to_json(found).rstrip() if json else comparison_text(found))
