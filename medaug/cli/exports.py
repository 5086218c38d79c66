"""Commands that write what others' tools read: data sets, MONAI bundles, ONNX, model cards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medaug.cli.command import AnyPath, WeightsFolder, command, path_of, run_there
from medaug.cli.complete import formats

if TYPE_CHECKING:
    from medaug.exports.onnx import Exported


@command("{out}: {found}")
def export(
    run: Annotated[AnyPath, typer.Argument(callback=run_there, help="Folder of a finished `medaug run`.")],
    out: Annotated[AnyPath, typer.Argument(help="New folder.")],
    *,
    to: Annotated[str, typer.Option(autocompletion=formats, help="nnunet, msd or datalist.")],
) -> str:
    """Write a run's synthetic cases together with its real ones, in the format of another tool.

    Example: medaug export out/brats nnUNet_raw --to nnunet

    Returns:
        What is in it, in words.

    Raises:
        MedaugError: for a format there is not, a run without synthetic cases, or an `out` that is there already.
    """
    from medaug.exports.datasets import export_dataset

    return export_dataset(Path(run), Path(out), to)


@command()
def export_bundle(weights: WeightsFolder, out: Annotated[AnyPath, typer.Argument(help="New folder.")]) -> Path:
    """Write weights as a MONAI bundle, which `python -m monai.bundle run` runs.

    Example: medaug export-bundle out/brats/train/weights bundle

    Returns:
        Its folder.
    """
    from medaug.exports.bundle import export_bundle

    return export_bundle(Path(weights), Path(out))


@command()
def nnunet_path() -> Path:
    """Print the folder in which nnU-Net finds medaug's trainers: export nnUNet_extTrainer="$(medaug nnunet-path)".

    Example: medaug nnunet-path

    Returns:
        The folder.

    Raises:
        ConfigError: if nnU-Net is not installed, or of another version.
    """
    from medaug.nnunet.library import check_installed
    from medaug.nnunet.trainers import FOLDER

    check_installed()
    return FOLDER


@command()
def export_onnx(
    weights: WeightsFolder,
    out: Annotated[AnyPath, typer.Argument(help="New file.")],
    *,
    direction: Annotated[str, typer.Option(help="`a2b` (insert, translate) or `b2a`.")] = "a2b",
) -> "Exported":
    """Write one direction of a generator as ONNX, and check it against torch with onnxruntime.

    Example: medaug export-onnx out/brats/train/weights insert.onnx --direction a2b

    Returns:
        The file, its channels, and how far onnxruntime is from torch.
    """
    from medaug.exports.onnx import export_onnx

    return export_onnx(Path(weights), Path(out), direction)


@command()
def model_card(
    weights: WeightsFolder,
    out: Annotated[AnyPath, typer.Argument(help="New Markdown file.")],
    *,
    run: Annotated[AnyPath | None, typer.Option(help="Run that trained them, for its scores and audits.")] = None,
) -> Path:
    """Write a Hugging Face model card of weights: data, scores, audits, limits; no patient is named.

    Example: medaug model-card out/brats/train/weights README.md --run out/brats

    Returns:
        Its path.
    """
    from medaug.exports.model_card import write_model_card

    return write_model_card(Path(weights), Path(out), path_of(run))
