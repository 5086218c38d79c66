"""A weights folder: `model.safetensors` (tensors) and `model.json` (what they are). Nothing is ever unpickled.

The JSON holds the caller's metadata and the tensors file's sha256, so that a half-copied or mixed folder is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from medaug.data.atomic import JsonObject, atomic_path, read_json, to_json
from medaug.data.opening import read_file
from medaug.errors import DataError, WeightsError

if TYPE_CHECKING:  # a mistyped folder is told before torch is imported
    import torch

TENSORS, METADATA = "model.safetensors", "model.json"
SHIPPED = Path(__file__).parents[1] / "models" / "shipped"
"""Small weights that come with the package; their names say what they were trained on (docs/install.md)."""


def weights_folder(name: str | Path) -> Path:
    """The folder that is meant: one on the disk, or where there is none of that name one of `SHIPPED`.

    Args:
        name: a path, or for example "phantoms/head".
    """
    shipped = SHIPPED / name
    return shipped if not Path(name).exists() and (shipped / METADATA).is_file() else Path(name)


def complete_folder(name: str | Path) -> Path:
    """`weights_folder`, with both files in it.

    Raises:
        WeightsError: naming what is missing.
    """
    folder = weights_folder(name)
    for path in (folder, folder / TENSORS, folder / METADATA):
        if not path.exists():
            raise WeightsError(f"{path}: missing; a weights folder holds {TENSORS} and {METADATA}. Check the path.")
    return folder


def write_weights(folder: str | Path, tensors: dict[str, torch.Tensor], metadata: Mapping[str, object]) -> str:
    """Writes a weights folder: a new one appears as a whole; in an existing one both files are replaced at the end.

    Args:
        folder: the weights folder.
        tensors: by name, on any device.
        metadata: what JSON can hold; "sha256" is added to it.

    Returns:
        The sha256 of the tensors file, in hex.

    Raises:
        RunError: if the folder cannot be written.
    """
    import safetensors.torch

    folder = Path(folder)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(plain, metadata={"format": "pt"})
    digest = hashlib.sha256(data).hexdigest()
    place = nullcontext(folder) if folder.exists() else atomic_path(folder)
    # both are complete beside their names before either name changes; the JSON, with the hash, comes last
    with place as into, atomic_path(into / METADATA) as metadata_path, atomic_path(into / TENSORS) as tensors_path:
        metadata_path.write_text(to_json({**metadata, "sha256": digest}), encoding="utf-8")
        tensors_path.write_bytes(data)
    return digest


def read_weights(folder: str | Path) -> tuple[dict[str, torch.Tensor], JsonObject]:
    """Reads a weights folder.

    Returns:
        The tensors by name (on the CPU), and the metadata with "sha256".

    Raises:
        WeightsError: as `complete_folder`, and if the files do not belong together, or the tensors are not safetensors.
    """
    import safetensors.torch
    from safetensors import SafetensorError

    folder = complete_folder(folder)
    try:
        metadata: JsonObject = read_json(folder / METADATA)
        data = read_file(folder / TENSORS)
    except (DataError, OSError) as error:
        raise WeightsError(f"{folder}: cannot be read ({error}). Copy the weights again.") from error
    expected = metadata.get("sha256")
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise WeightsError(
            f"{folder / TENSORS}: found sha256 {found[:12]}…; expected {str(expected)[:12]}… as in {METADATA}. "
            "The folder is incomplete or its files come from different trainings: copy both files again."
        )
    try:
        return safetensors.torch.load(data), metadata
    except SafetensorError as error:
        raise WeightsError(f"{folder / TENSORS}: not a safetensors file ({error}). Copy the weights again.") from error
