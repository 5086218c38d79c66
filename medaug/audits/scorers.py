"""What judges a scan in `medaug anomaly`: removal by a translator, or latent search by a GAN from noise.

Which one follows from the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from medaug.audits.measures.anomaly import CropScorer, RemovalScorer, Scorer, largest_tile_mm
from medaug.config import AnomalyConfig
from medaug.data.atomic import read_json
from medaug.models.noise.dcgan import DCGAN
from medaug.models.noise.latent import latent_residual
from medaug.models.noise.weights import load_gan
from medaug.models.weights import load_weights
from medaug.volumes import Domain

TILE_OF_CROP = 0.5
"""Diameter of the tile that a latent search's score counts for, relative to the largest that fits the crop."""


class Judge(NamedTuple):
    """A scorer and what it was made of; `method` starts a sentence."""

    scorer: Scorer
    method: str
    tile_mm: float | None
    domain: Domain
    facts: dict[str, Any]
    spatial_dims: int


def judge_of(weights: Path, settings: AnomalyConfig) -> Judge:
    """The scorer that these weights make.

    Raises:
        WeightsError: if they cannot be used, or translate between two kinds of image.
        ConfigError: if the tile does not fit their crop.
    """
    facts = weights / "model.json"
    if facts.is_file() and read_json(facts).get("method") == DCGAN.name:
        return _latent_search(weights, settings)
    loaded = load_weights(weights)
    scorer = RemovalScorer(loaded, **settings.model_dump(exclude={"percentile", "search_steps"}))
    return Judge(
        scorer, "Removal", scorer.tile_mm, loaded.translator.domain_a, loaded.facts, loaded.translator.spatial_dims
    )


def _latent_search(weights: Path, settings: AnomalyConfig) -> Judge:
    loaded = load_gan(weights)
    gan, spacing_mm = loaded.gan, loaded.spacing_mm
    tile_mm = settings.tile_mm or TILE_OF_CROP * largest_tile_mm(gan.size, spacing_mm)

    def residual(crops: Any) -> Any:
        return latent_residual(gan, crops, steps=settings.search_steps, seed=settings.seed)

    return Judge(
        CropScorer(residual, gan.size, spacing_mm, tile_mm),
        "Latent search",
        tile_mm,
        gan.domain,
        loaded.facts,
        len(gan.size),
    )
