"""Weights of both kinds, made without training."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.models.methods import build_translator
from medaug.models.weights import Weights, save_translator
from medaug.volumes import Domain, Window

SMALL = {"width": 2, "depth": 1, "discriminator_width": 2, "discriminator_layers": 1}
FACTS = {
    "training_patients": ["Ada", "Grace"],
    "split_hash": "5" * 64,
    "steps": 0,
    "slices": 1,
    "overlap": 0.5,
    "warnings": [],
    "sequence": None,
}


@pytest.fixture(scope="session")
def ct_weights(tmp_path_factory) -> Path:
    """MR to CT, untrained."""
    domains = Domain("t1", "MR"), Domain("ct", "CT", Window(-1000, 1000, "HU"))
    translator = build_translator("cyclegan", SMALL | {"generator": "unet"}, *domains, 2, seed=1)
    folder = tmp_path_factory.mktemp("ct") / "weights"
    facts = {"domain": "ct", "spacing_mm": [6.0, 6.0], "patch_size": [16, 16], "paired_patients": ["Ada"]}
    save_translator(folder, translator, None, FACTS | facts)
    return folder


@pytest.fixture(scope="session")
def flat_weights(tmp_path_factory, multi_weights: Weights) -> Path:
    """Two channels and two parts, by a network of one resolution level, which converts in seconds."""
    domains = multi_weights.translator.domain_a, multi_weights.translator.domain_b
    size = SMALL | {"channels": 2, "parts": 2}
    translator = build_translator("mask-guided-cyclegan", size, *domains, 2, seed=1)
    folder = tmp_path_factory.mktemp("flat") / "weights"
    facts = {"domain": "tumor", "spacing_mm": list(multi_weights.spacing_mm), "patch_size": [16, 16]}
    facts |= {"sequences": ["flair", "t1"], "parts": {"core": [1], "rim": [2]}}
    save_translator(folder, translator, multi_weights.prior, FACTS | facts)
    return folder
