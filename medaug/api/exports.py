"""What other tools read: data sets, MONAI bundles, ONNX, model cards; MedaugError for what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medaug.api.paths import AnyPath, path_of

if TYPE_CHECKING:
    from medaug.exports.onnx import Exported


def export(run: AnyPath, out: AnyPath, *, to: str) -> str:
    """Writes a run's synthetic cases together with its real ones in a format of `FORMATS`; says what is in it."""
    from medaug.exports.datasets import export_dataset

    return export_dataset(Path(run), Path(out), to)


def export_bundle(weights: AnyPath, out: AnyPath) -> Path:
    """Writes weights as a MONAI bundle; returns its folder."""
    from medaug.exports import bundle

    return bundle.export_bundle(Path(weights), Path(out))


def export_onnx(weights: AnyPath, out: AnyPath, *, direction: str = "a2b") -> Exported:
    """Writes one direction of a generator as ONNX; returns the file and how far onnxruntime is from torch."""
    from medaug.exports import onnx

    return onnx.export_onnx(Path(weights), Path(out), direction)


def model_card(weights: AnyPath, out: AnyPath, *, run: AnyPath | None = None) -> Path:
    """Writes a Hugging Face model card, with the scores and audits of the run that trained them; returns its path."""
    from medaug.exports.model_card import write_model_card

    return write_model_card(Path(weights), Path(out), path_of(run))
