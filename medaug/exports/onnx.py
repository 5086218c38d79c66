"""A generator as ONNX, checked against torch before the file gets its name.

One model file holds one direction (`DirectionNetwork`: crops in [-1, 1] with mask and noise as further channels), with
batch and spatial sizes left open. Cutting crops, windowing and pasting lesions stay with the caller: the model's
metadata says what the channels are, the domains with their windows, the stride, and what it is not for.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch

import medaug
from medaug.data.atomic import atomic_path, check_free
from medaug.errors import ConfigError, WeightsError
from medaug.models.base import Direction
from medaug.models.network import DirectionNetwork
from medaug.models.weights import Weights, load_weights

TOLERANCE = 1e-4
"""Limit on the largest difference to torch, in [-1, 1]: 0.02 HU in a window of 400 HU. Small networks give 1e-6."""
OPSET = 18


@dataclass(frozen=True)
class Exported:
    """An ONNX file, what its input is, and how far it was from torch on random input."""

    path: Path
    channels: tuple[str, ...]
    largest_difference: float

    def __str__(self) -> str:
        return (
            f"{self.path}: input ({', '.join(self.channels)}); onnxruntime differs from torch by at most "
            f"{self.largest_difference:.1e} (tolerance {TOLERANCE:g})"
        )


def export_onnx(folder: Path, out: Path, direction: str = "a2b") -> Exported:
    """Writes one direction of a weights folder as ONNX.

    Raises:
        ConfigError: for a direction there is not, or if the libraries are not installed.
        RunError: if `out` is there already.
        WeightsError: if the weights cannot be used, or onnxruntime gives another image than torch.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - what torch converts with
    except ImportError as error:
        raise ConfigError(
            f'ONNX export needs {error.name}, which is not installed: pip install "medaug[export]"'
        ) from None
    if direction not in get_args(Direction):
        raise ConfigError(f"--direction: found {direction!r}; expected one of {', '.join(get_args(Direction))}")
    check_free(out)
    weights = load_weights(folder)
    network = DirectionNetwork(weights.translator, cast(Direction, direction), weights.facts).eval()
    model = _converted(network, _size(weights))
    _scrub(model)
    onnx.helper.set_model_props(model, _about(network, weights))
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = _largest_difference(network, session, _size(weights))
    if not difference <= TOLERANCE:
        raise WeightsError(
            f"{folder}: found a difference of {difference:.2g} between onnxruntime and torch; expected at most "
            f"{TOLERANCE:g}. Nothing was written; use the weights with torch."
        )
    with atomic_path(out) as temporary:
        temporary.write_bytes(content)
    return Exported(out, network.channels, difference)


def _converted(network: DirectionNetwork, size: tuple[int, ...]) -> Any:
    """The model as a protocol buffer; batch and spatial sizes are symbols."""
    inputs = _random_inputs(network, 2, size, seed=0)
    free = torch.export.Dim.DYNAMIC
    shapes: list[dict[int, Any]] = [{0: free} | dict.fromkeys(range(2, 2 + len(size)), free), {0: free}]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter warns of packages that it could convert from, not installed
    try:
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            dynamic_shapes=tuple(shapes[: len(inputs)]),
            opset_version=OPSET,
            input_names=["input", "style"][: len(inputs)],
            output_names=["image"],
            external_data=False,
            verbose=False,
        )
    finally:
        logging.disable(before)
    return program.model_proto


def _scrub(message: Any) -> None:
    """Takes out what the exporter noted of how it was made: stack traces with the paths of this machine, and names.

    Those are `doc_string` and `metadata_props` of every part of the protocol buffer (model, functions, graphs, nodes).
    """
    for field, value in list(message.ListFields()):
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for part in value if hasattr(value, "__len__") else [value]:
                _scrub(part)


def _about(network: DirectionNetwork, weights: Weights) -> dict[str, str]:
    """For ONNX's `metadata_props`, which are texts."""
    translator, facts = weights.translator, weights.facts
    values = {
        "made_by": f"medaug {medaug.__version__}",
        "method": translator.name,
        "direction": network.direction,
        "channels": network.channels,
        "outputs": network.outputs,
        "style_dim": network.style_dim,
        "stride": translator.stride,
        "crop_size": _size(weights),
        "spacing_mm": weights.spacing_mm,
        "domain_a": translator.domain_a.to_dict(),
        "domain_b": translator.domain_b.to_dict(),
        "range": [-1.0, 1.0],
        "split_hash": facts.split_hash,
        "weights_sha256": facts.sha256,
        "intended_use": "for research, not for diagnosis",
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def _largest_difference(network: DirectionNetwork, session: Any, size: tuple[int, ...]) -> float:
    """Over a batch of the crops' size, and a single input of another size."""
    names = [value.name for value in session.get_inputs()]
    larger = tuple(axis + 2 * network.translator.stride for axis in size)
    differences = []
    for seed, (batch, shape) in enumerate(((2, size), (1, larger)), start=1):
        inputs = _random_inputs(network, batch, shape, seed=seed)
        with torch.inference_mode():
            expected = network(*inputs).numpy()
        found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})[0]
        differences.append(float(np.abs(found - expected).max()))
    return float(np.max(differences))


def _random_inputs(network: DirectionNetwork, batch: int, size: tuple[int, ...], seed: int) -> tuple[torch.Tensor, ...]:
    """Images in [-1, 1], masks and labels of a tenth of the voxels, noise, and a style where there is one."""
    chance = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, len(network.channels), *size, generator=chance) * 2 - 1
    for number, channel in enumerate(network.channels):
        if channel == "noise":
            x[:, number] = torch.randn(batch, *size, generator=chance)
        elif not channel.startswith("image"):
            x[:, number] = (x[:, number] > 0.8).float()
    return (x, torch.randn(batch, network.style_dim, generator=chance)) if network.style_dim else (x,)


def _size(weights: Weights) -> tuple[int, ...]:
    """What the network was trained on; of whole images, whose size is not known, some multiple of the stride."""
    known = weights.prior.crop_size if weights.prior is not None else weights.facts.patch_size
    return tuple(known) if known else (16 * weights.translator.stride,) * weights.translator.spatial_dims
