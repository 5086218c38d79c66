"""Trained translators on disk: safetensors + JSON, never a pickle.

A weights folder holds the generators, the lesion prior where there is one, and what a user needs to know of them:
method, settings, domains and windows, grid, the split's hash and the training patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import medaug
from medaug.errors import WeightsError
from medaug.io.weights import read_weights, write_weights
from medaug.lesions import LesionPrior
from medaug.translators import Translator, build_translator, settings_of
from medaug.volumes import Domain

GENERATORS_PREFIX = "generators."
PRIOR_PREFIX = "prior."


@dataclass(frozen=True)
class Weights:
    """A translator ready for use (eval mode), with its prior and its provenance.

    Attributes:
        facts: `spacing_mm`, `training_patients`, `split_hash`, `sha256`, and whatever else the trainer noted.
    """

    translator: Translator
    prior: LesionPrior | None
    facts: dict[str, Any]

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        return tuple(self.facts["spacing_mm"])

    @property
    def uses_references(self) -> bool:
        """Whether insertion starts from a pasted reference lesion ("reference" content)."""
        return getattr(self.translator.config, "content", None) == "reference"


def save_translator(folder: Path, translator: Translator, prior: LesionPrior | None, facts: dict[str, Any]) -> str:
    """Writes a weights folder and returns the SHA-256 of its tensors."""
    tensors = {f"{GENERATORS_PREFIX}{k}": v.detach().cpu() for k, v in translator.generators.state_dict().items()}
    if prior is not None:
        tensors |= {f"{PRIOR_PREFIX}{k}": v for k, v in prior.tensors().items()}
    metadata = {
        "medaug": medaug.__version__,
        "method": translator.name,
        "settings": settings_of(translator),
        "spatial_dims": translator.spatial_dims,
        "domain_a": translator.domain_a.to_dict(),
        "domain_b": translator.domain_b.to_dict(),
        "prior": prior.metadata() if prior is not None else None,
        **facts,
    }
    return write_weights(folder, tensors, metadata)


def load_weights(folder: str | Path) -> Weights:
    """Reads a weights folder.

    Raises:
        WeightsError: if it is missing, incomplete, altered, or its tensors do not fit its method.
    """
    tensors, metadata = read_weights(Path(folder))
    try:
        translator = build_translator(
            metadata["method"], metadata["settings"], Domain.from_dict(metadata["domain_a"]),
            Domain.from_dict(metadata["domain_b"]), metadata["spatial_dims"],
        )  # fmt: skip
        translator.generators.load_state_dict(_with_prefix(tensors, GENERATORS_PREFIX))
        prior = None
        if metadata["prior"] is not None:
            prior = LesionPrior.from_parts(_with_prefix(tensors, PRIOR_PREFIX), metadata["prior"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder}: these are not weights this version of medaug can use: {error}") from error
    translator.eval().requires_grad_(False)
    return Weights(translator, prior, metadata)


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
