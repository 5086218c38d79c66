"""Trained GANs from noise on disk: safetensors + JSON, as `models.weights` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medaug.devices import AUTO, EXACT, device_of
from medaug.models.budget import check_settings
from medaug.models.facts import WeightsFacts
from medaug.models.noise.config import CLASSES, DCGANConfig
from medaug.models.noise.dcgan import DCGAN, build_dcgan
from medaug.models.weights import load_generators, misfits_refused, read_kind, save_generators
from medaug.volumes import Domain

KIND = "GAN from noise"


@dataclass(frozen=True)
class GanWeights:
    """A GAN ready for use (eval mode) and its provenance."""

    gan: DCGAN
    facts: WeightsFacts

    def on(self, accelerator: str | None = None, precision: str | None = None) -> GanWeights:
        """The same weights on this device; arguments and errors are those of `Weights.on`."""
        self.gan.to(device_of(accelerator or AUTO, precision or EXACT))
        return self

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        return self.facts.spacing_mm


def save_gan(folder: Path, gan: DCGAN, facts: Mapping[str, object]) -> str:
    """Writes a weights folder and returns the SHA-256 of its tensors."""
    metadata = {
        "settings": gan.config.model_dump(mode="json"),
        "size": list(gan.size),
        "classes": list(CLASSES),
        "domain": gan.domain.to_dict(),
        **facts,
    }
    return save_generators(folder, KIND, gan, metadata, {})


def load_gan(folder: str | Path) -> GanWeights:
    """Reads a weights folder.

    Raises:
        WeightsError: if it is missing, incomplete, altered, of no GAN from noise, or its tensors do not fit.
    """
    tensors, metadata = read_kind(folder, KIND, [DCGAN.name])
    with misfits_refused(folder):
        facts = WeightsFacts.model_validate(metadata)
        check_settings(metadata["settings"] | dict(enumerate(metadata["size"])))

        def build() -> DCGAN:
            config = DCGANConfig(**metadata["settings"])
            return build_dcgan(config, tuple(metadata["size"]), Domain.from_dict(metadata["domain"]))

        gan = load_generators(build, tensors)
    return GanWeights(gan, facts)
