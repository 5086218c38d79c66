"""What scores a scan in `medaug anomaly`: removal by a translator, or latent search by a GAN from noise.

Which one follows from the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from medaug.audits.measures.anomaly import CropScorer, RemovalScorer, Scorer, largest_tile_mm
from medaug.config import AnomalyConfig
from medaug.data.atomic import read_json
from medaug.models.noise.dcgan import DCGAN
from medaug.models.noise.latent import latent_residual
from medaug.models.noise.weights import load_gan
from medaug.models.weights import WeightsFacts, load_weights
from medaug.volumes import Domain

TILE_OF_CROP = 0.5
"""Diameter of the tile that a latent search's score counts for, relative to the largest that fits the crop."""


class AnomalyMethod(NamedTuple):
    """A scorer and what it was made of; `method` starts a sentence."""

    scorer: Scorer
    method: str
    domain: Domain
    facts: WeightsFacts

    @property
    def tile_mm(self) -> float:
        return self.scorer.tiling.tile_mm

    @property
    def spatial_dims(self) -> int:
        return len(self.scorer.tiling.crop_size)


def anomaly_method(weights: Path, settings: AnomalyConfig) -> AnomalyMethod:
    """The scorer that these weights make.

    Raises:
        WeightsError: if they cannot be used, or translate between two kinds of image.
        ConfigError: if the tile does not fit their crop.
    """
    facts = weights / "model.json"
    if not facts.is_file() or read_json(facts).get("method") != DCGAN.name:
        loaded = load_weights(weights)
        scorer = RemovalScorer(loaded, **settings.model_dump(exclude={"percentile", "search_steps"}))
        return AnomalyMethod(scorer, "Removal", loaded.translator.domain_a, loaded.facts)
    noise = load_gan(weights)
    gan, spacing_mm = noise.gan, noise.spacing_mm

    def residual(crops: Tensor) -> Any:
        return latent_residual(gan, crops, steps=settings.search_steps, seed=settings.seed)

    tile_mm = settings.tile_mm or TILE_OF_CROP * largest_tile_mm(gan.size, spacing_mm)
    search = CropScorer(residual, gan.size, spacing_mm, tile_mm)
    return AnomalyMethod(search, "Latent search", gan.domain, noise.facts)
