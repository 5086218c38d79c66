"""Trained translators on disk: safetensors + JSON, never a pickle.

A weights folder holds the generators, the lesion prior where there is one, and what a user needs to know of them:
method, settings, domains and windows, grid, the split's hash, the training patients and fingerprints of their scans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

import medaug
from medaug.data.atomic import JsonObject, read_json
from medaug.data.weights import METADATA, read_weights, weights_folder, write_weights
from medaug.devices import AUTO, EXACT, autocast, check_forked, device_of
from medaug.errors import WeightsError
from medaug.lesions.prior import LesionPrior
from medaug.models.base import AdversarialModel, Chance, Direction, Translator
from medaug.models.budget import Budget, check_settings
from medaug.models.facts import TranslatorFacts, WeightsFacts
from medaug.models.methods import TRANSLATORS, build_translator
from medaug.orientation import Turn, turn_of
from medaug.volumes import Domain

GENERATORS_PREFIX = "generators."
PRIOR_PREFIX = "prior."
KIND = "translator"
BEFORE = {"fill": "emptied"}
"""What settings of weights were before there was a choice."""
UNSTORED_NUMBERS = 2**27
"""In the discriminators, which are built with the generators and not stored: a giant's."""
Model = TypeVar("Model", bound=AdversarialModel)


@dataclass(frozen=True)
class Weights:
    """A translator ready for use (eval mode), with its prior and its provenance."""

    translator: Translator
    prior: LesionPrior | None
    facts: TranslatorFacts
    precision: str = EXACT

    @property
    def device(self) -> torch.device:
        """Where the generators are."""
        return next(self.translator.parameters()).device

    def on(self, accelerator: str | None = None, precision: str | None = None) -> Weights:
        """The same weights on this device, where all that uses them runs its images; moved once, in place.

        Args:
            accelerator, precision: as a pipeline has them; None: its defaults, "auto" and "32-true".

        Raises:
            ConfigError: as `devices.device_of`.
        """
        precision = precision or EXACT
        self.translator.to(device_of(accelerator or AUTO, precision))
        return replace(self, precision=precision)

    def translate(
        self,
        x: Tensor,
        direction: Direction,
        *,
        mask: Tensor | None = None,
        style: Tensor | None = None,
        generator: Chance | None = None,
    ) -> Tensor:
        """`Translator.translate` on the device of the weights, in their precision; float32 on the device of `x`.

        Raises:
            ConfigError: in a forked process, where CUDA cannot be used.
        """
        device = self.device
        check_forked(device)
        there = [None if tensor is None else tensor.to(device) for tensor in (mask, style)]
        with autocast(device, self.precision):
            made = self.translator.translate(
                x.to(device), direction, mask=there[0], style=there[1], generator=generator
            )
        return made.to(x.device, torch.float32)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        return self.facts.spacing_mm

    @property
    def sequences(self) -> tuple[str, ...]:
        """The names of an image's channels, in order; of one channel, its sequence or modality."""
        return _names_of(self.translator.domain_a, self.facts.sequences, self.facts.sequence)

    @property
    def target_sequences(self) -> tuple[str, ...]:
        """The same of images that are translated to."""
        return _names_of(self.translator.domain_b, self.facts.target_sequences, self.facts.target_sequence)

    @property
    def n_parts(self) -> int:
        """How many parts the tumors have."""
        return getattr(self.translator.config, "parts", 1)

    @property
    def axes(self) -> str:
        """The axes of the scans that were trained on, slices last (see `orientation`)."""
        return self.facts.axes

    def turn(self, affine: Any, spatial_dims: int) -> Turn:
        """How an image of this (4, 4) affine is turned before these weights look at it."""
        slicewise = self.translator.spatial_dims == 2
        return turn_of(np.asarray(affine), spatial_dims, axes=self.axes, slicewise=slicewise)

    @property
    def length_unit(self) -> str:
        """The unit of voxel sizes and diameters: "px" for weights that learnt from pictures without a voxel size."""
        return self.facts.length_unit

    @property
    def lesion_prior(self) -> LesionPrior:
        """The prior, which weights of insertion have; errors are those of `check_inserts`."""
        self.check_inserts()
        assert self.prior is not None  # which check_inserts refuses
        return self.prior

    def check_inserts(self) -> None:
        """Refuses weights that do not insert and remove tumors.

        Raises:
            WeightsError: for those that translate whole images from one domain to another; medaug 0.1 could also put
                tumors into whole images.
        """
        if self.prior is None:
            a, b = self.translator.domain_a.name, self.translator.domain_b.name
            raise WeightsError(
                f"found weights of a plain '{self.translator.name}' that translate {a} to {b}; expected weights that "
                "insert and remove tumors, inside a mask. Train them with medaug train-cycle --domain tumor."
            )

    @property
    def uses_references(self) -> bool:
        """Whether insertion starts from a pasted reference lesion ("reference" content)."""
        return getattr(self.translator.config, "content", None) == "reference"


def _names_of(domain: Domain, sequences: tuple[str, ...], sequence: str | int | None) -> tuple[str, ...]:
    first = domain.modality if sequence is None else sequence
    return sequences or (str(first), *(other.name for other in domain.others))


def save_translator(folder: Path, translator: Translator, prior: LesionPrior | None, facts: Mapping[str, Any]) -> str:
    """Writes a weights folder and returns the SHA-256 of its tensors."""
    tensors = {} if prior is None else {f"{PRIOR_PREFIX}{k}": v for k, v in prior.tensors().items()}
    metadata = {
        "settings": asdict(translator.config),
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
        facts = TranslatorFacts.model_validate(metadata)
        config_class = TRANSLATORS[metadata["method"]][1]
        known = {part.name for part in fields(config_class)}
        settings = {name: value for name, value in BEFORE.items() if name in known} | metadata["settings"]
        check_settings(settings)

        def build() -> Translator:
            return build_translator(
                metadata["method"],
                settings,
                Domain.from_dict(metadata["domain_a"]),
                Domain.from_dict(metadata["domain_b"]),
                metadata["spatial_dims"],
            )

        translator = load_generators(build, tensors)
        TypeAdapter(config_class).validate_python(settings)
        prior = None
        if (metadata["prior"] is None) == translator.mask_guided:
            raise ValueError("a prior with a method that knows no lesions, or none with one that does")
        if metadata["prior"] is not None:
            prior = LesionPrior.from_parts(_with_prefix(tensors, PRIOR_PREFIX), metadata["prior"])
        weights = Weights(translator, prior, facts)
        _check_counts(weights)
    return weights


def _check_counts(weights: Weights) -> None:
    """Refuses weights of insertion that do not know one number of channels, or of parts, throughout.

    Raises:
        ValueError: naming who knows how many.
    """
    if weights.prior is None:
        return
    translator, references = weights.translator, weights.prior.references
    channels = {
        "networks": getattr(translator.config, "channels", 1),
        "sequences": len(weights.sequences),
        "healthy windows": len(translator.domain_a.channels),
        "tumor windows": len(translator.domain_b.channels),
        "reference lesions": len(references[0].image),
    }
    parts = {"networks": weights.n_parts, "names": len(weights.facts.parts) or 1}
    parts["reference lesions"] = max(weights.n_parts, *(int(reference.parts.max()) for reference in references))
    for what, counts in (("channels", channels), ("parts", parts)):
        if len({*counts.values()}) > 1:
            listed = ", ".join(f"{count} of its {holder}" for holder, count in counts.items())
            raise ValueError(f"{what}: found {listed}; expected one number")


def read_facts(folder: Path) -> WeightsFacts:
    """What a weights folder says of its training, without a look at its tensors.

    Raises:
        DataError: if its model.json cannot be read.
        WeightsError: if that says what no training notes.
    """
    metadata = read_json(weights_folder(folder) / METADATA)
    with misfits_refused(folder):
        return WeightsFacts.model_validate(metadata)


def save_generators(
    folder: Path, kind: str, model: AdversarialModel, metadata: Mapping[str, object], tensors: dict[str, torch.Tensor]
) -> str:
    """Writes a model's generators, with further `tensors`, and returns the SHA-256 of it all.

    Args:
        kind: what the model is good for ("translator", ...), for `read_kind`.
        metadata: what is needed to build it again, and facts for the user.
    """
    generators = {f"{GENERATORS_PREFIX}{k}": v.detach().cpu() for k, v in model.generators.state_dict().items()}
    about = {"medaug": medaug.__version__, "kind": kind, "method": model.name}
    return write_weights(folder, generators | tensors, {**about, **metadata})


def read_kind(folder: str | Path, kind: str, methods: Iterable[str]) -> tuple[dict[str, torch.Tensor], JsonObject]:
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


def load_generators(build: Callable[[], Model], tensors: dict[str, torch.Tensor]) -> Model:
    """The model that `build` makes, with the generators of a weights folder, ready for use.

    Raises:
        ValueError: if the model is out of proportion to these tensors, or they are no finite numbers.
        RuntimeError: if it has other parameters than these.
    """
    stored = _with_prefix(tensors, GENERATORS_PREFIX)
    for name, tensor in stored.items():
        if tensor.is_complex() or (tensor.is_floating_point() and not tensor.isfinite().all()):
            raise ValueError(f"{name}: numbers that are complex, NaN or infinite")
    with Budget(UNSTORED_NUMBERS + 4 * sum(tensor.numel() for tensor in stored.values())):
        model = build()
    model.generators.load_state_dict(stored)
    return model.eval().requires_grad_(False)


@contextmanager
def misfits_refused(folder: str | Path) -> Iterator[None]:
    """Around what builds a model from a weights folder.

    Raises:
        WeightsError: for metadata or tensors that do not fit.
    """
    try:
        yield
    except Exception as error:  # metadata may be anything, and any use of it may fail in its own way
        raise WeightsError(f"{folder}: these are not weights this version of medaug can use: {error}") from error


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
