"""Trained translators on disk: safetensors + JSON, never a pickle.

A weights folder holds the generators, the lesion prior where there is one, and what a user needs to know of them:
method, settings, domains and windows, grid, the split's hash and the training patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import medaug
from medaug.errors import WeightsError
from medaug.io.weights import read_weights, write_weights
from medaug.lesions import LesionPrior
from medaug.translators import TRANSLATORS, Translator, build_translator, settings_of
from medaug.translators.base import AdversarialModel
from medaug.volumes import Domain

GENERATORS_PREFIX = "generators."
PRIOR_PREFIX = "prior."
KIND = "translator"


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
    def lesion_prior(self) -> LesionPrior:
        """The prior, which mask-guided weights have.

        Raises:
            WeightsError: for those of a plain translator.
        """
        if self.prior is None:
            raise WeightsError(
                f"found weights of a plain '{self.translator.name}', which know no lesions; expected mask-guided ones "
                "(translator.mask_guided=true)"
            )
        return self.prior

    @property
    def uses_references(self) -> bool:
        """Whether insertion starts from a pasted reference lesion ("reference" content)."""
        return getattr(self.translator.config, "content", None) == "reference"


def save_translator(folder: Path, translator: Translator, prior: LesionPrior | None, facts: dict[str, Any]) -> str:
    """Writes a weights folder and returns the SHA-256 of its tensors."""
    tensors = {} if prior is None else {f"{PRIOR_PREFIX}{k}": v for k, v in prior.tensors().items()}
    metadata = {
        "settings": settings_of(translator),
        "spatial_dims": translator.spatial_dims,
        "domain_a": translator.domain_a.to_dict(),
        "domain_b": translator.domain_b.to_dict(),
        "prior": prior.metadata() if prior is not None else None,
        **facts,
    }
    return save_generators(folder, KIND, translator, metadata, tensors)


def load_weights(folder: str | Path) -> Weights:
    """Reads a weights folder.

    Raises:
        WeightsError: if it is missing, incomplete, altered, of no translator, or its tensors do not fit its method.
    """
    tensors, metadata = read_kind(folder, KIND, TRANSLATORS)
    with misfits_refused(folder):
        translator = build_translator(
            metadata["method"], metadata["settings"], Domain.from_dict(metadata["domain_a"]),
            Domain.from_dict(metadata["domain_b"]), metadata["spatial_dims"],
        )  # fmt: skip
        load_generators(translator, tensors)
        prior = None
        if metadata["prior"] is not None:
            prior = LesionPrior.from_parts(_with_prefix(tensors, PRIOR_PREFIX), metadata["prior"])
    return Weights(translator, prior, metadata)


def save_generators(
    folder: Path, kind: str, model: AdversarialModel, metadata: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> str:
    """Writes a model's generators, with further `tensors`, and returns the SHA-256 of it all.

    Args:
        kind: what the model is good for ("translator", ...), for `read_kind`.
        metadata: what is needed to build it again, and facts for the user.
    """
    generators = {f"{GENERATORS_PREFIX}{k}": v.detach().cpu() for k, v in model.generators.state_dict().items()}
    about = {"medaug": medaug.__version__, "kind": kind, "method": model.name}
    return write_weights(folder, generators | tensors, about | metadata)


def read_kind(folder: str | Path, kind: str, methods: Iterable[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and metadata of a weights folder of this kind.

    Raises:
        WeightsError: if it is missing, incomplete or altered, or of another kind (naming its method and the `methods`
            of this one).
    """
    tensors, metadata = read_weights(Path(folder))
    found = metadata.get("kind", KIND)
    if found != kind:
        raise WeightsError(
            f"{folder}: found weights of a {found} ({metadata.get('method')}); expected those of a {kind} "
            f"({', '.join(methods)}). Give the folder of another training."
        )
    return tensors, metadata


def load_generators(model: AdversarialModel, tensors: dict[str, torch.Tensor]) -> None:
    """Puts the generators of a weights folder into `model` and makes it ready for use."""
    model.generators.load_state_dict(_with_prefix(tensors, GENERATORS_PREFIX))
    model.eval().requires_grad_(False)


@contextmanager
def misfits_refused(folder: str | Path) -> Iterator[None]:
    """Around what builds a model from a weights folder.

    Raises:
        WeightsError: for metadata or tensors that do not fit.
    """
    try:
        yield
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder}: these are not weights this version of medaug can use: {error}") from error


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
