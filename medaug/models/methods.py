"""The methods. A new one is a file beside these, a line in `TRANSLATORS`, and an 8-line test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from medaug.errors import ConfigError
from medaug.models.base import Translator
from medaug.models.insertion.cyclegan import MaskGuidedCycleGAN, MaskGuidedCycleGANConfig
from medaug.models.insertion.munit import MaskGuidedMUNIT, MaskGuidedMUNITConfig
from medaug.models.insertion.pix2pix import MaskGuidedPix2Pix, MaskGuidedPix2PixConfig
from medaug.models.insertion.unit import MaskGuidedUNIT, MaskGuidedUNITConfig
from medaug.models.networks.layers import initialize_normal, isolated_rng
from medaug.models.translation.cyclegan import CycleGAN, CycleGANConfig
from medaug.models.translation.munit import MUNIT, MUNITConfig
from medaug.models.translation.pix2pix import Pix2Pix, Pix2PixConfig
from medaug.models.translation.regression import Regression, RegressionConfig
from medaug.models.translation.unit import UNIT, UNITConfig
from medaug.settings import problems_in
from medaug.volumes import Domain

TRANSLATORS: dict[str, tuple[type[Translator], type]] = {
    CycleGAN.name: (CycleGAN, CycleGANConfig),
    MaskGuidedCycleGAN.name: (MaskGuidedCycleGAN, MaskGuidedCycleGANConfig),
    UNIT.name: (UNIT, UNITConfig),
    MaskGuidedUNIT.name: (MaskGuidedUNIT, MaskGuidedUNITConfig),
    MUNIT.name: (MUNIT, MUNITConfig),
    MaskGuidedMUNIT.name: (MaskGuidedMUNIT, MaskGuidedMUNITConfig),
    Pix2Pix.name: (Pix2Pix, Pix2PixConfig),
    MaskGuidedPix2Pix.name: (MaskGuidedPix2Pix, MaskGuidedPix2PixConfig),
    Regression.name: (Regression, RegressionConfig),
}
"""Method name → (translator class, its config dataclass)."""


def build_translator(
    name: str, settings: Mapping[str, Any], domain_a: Domain, domain_b: Domain, spatial_dims: int, *, seed: int = 0
) -> Translator:
    """A freshly initialised translator; its weights depend on `seed` alone.

    Raises:
        ConfigError: for an unknown method or setting, listing the valid ones.
    """
    if name not in TRANSLATORS:
        raise ConfigError(f"unknown translator '{name}'; choose one of: {', '.join(TRANSLATORS)}")
    translator_class, config_class = TRANSLATORS[name]
    known = {field.name for field in fields(config_class)}
    if unknown := set(settings) - known:
        raise ConfigError(
            f"translator '{name}' has no setting {', '.join(sorted(unknown))}; it has: {', '.join(sorted(known))}"
        )
    try:
        config = config_class(**settings)
    except ValidationError as error:
        raise ConfigError(f"translator '{name}': {problems_in(error)}") from None
    with isolated_rng(seed):
        translator = translator_class(config, domain_a, domain_b, spatial_dims)
        initialize_normal(translator)
    return translator
