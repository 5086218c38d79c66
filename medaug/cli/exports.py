"""Commands that write what others' tools read: data sets, MONAI bundles, ONNX, model cards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.app import app
from medaug.cli.output import say

Weights = Annotated[Path, typer.Argument(help="Weights folder, for example `out/x/train/weights`.")]


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `medaug run`.")],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    to: Annotated[str, typer.Option(help="nnunet, msd or datalist.")],
) -> None:
    """Write a run's synthetic cases together with its real ones, in the format of another tool.

    Example: medaug export out/brats nnUNet_raw --to nnunet
    """
    from medaug import api

    say(f"{out}: {api.export(run, out, to=to)}")


@app.command("export-bundle")
def export_bundle(weights: Weights, out: Annotated[Path, typer.Argument(help="New folder.")]) -> None:
    """Write weights as a MONAI bundle, which `python -m monai.bundle run` runs.

    Example: medaug export-bundle out/brats/train/weights bundle
    """
    from medaug import api

    say(api.export_bundle(weights, out))


@app.command("export-onnx")
def export_onnx(
    weights: Weights,
    out: Annotated[Path, typer.Argument(help="New file.")],
    direction: Annotated[str, typer.Option(help="`a2b` (insert, translate) or `b2a`.")] = "a2b",
) -> None:
    """Write one direction of a generator as ONNX, and check it against torch with onnxruntime.

    Example: medaug export-onnx out/brats/train/weights insert.onnx --direction a2b
    """
    from medaug import api

    say(api.export_onnx(weights, out, direction=direction))


@app.command("model-card")
def model_card(
    weights: Weights,
    out: Annotated[Path, typer.Argument(help="New Markdown file.")],
    run: Annotated[Path | None, typer.Option(help="Run that trained them, for its scores and audits.")] = None,
) -> None:
    """Write a Hugging Face model card of weights: data, scores, audits, limits; no patient is named.

    Example: medaug model-card out/brats/train/weights README.md --run out/brats
    """
    from medaug import api

    say(api.model_card(weights, out, run=run))
