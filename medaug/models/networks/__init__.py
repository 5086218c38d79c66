"""Networks of the translators: tensors in, tensors out; no files, no metadata, no randomness but initial weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticKnownError
from torch import nn

from medaug.errors import ConfigError
from medaug.models.networks.coding import Decoder, Encoder
from medaug.models.networks.patchgan import least_size, patch_discriminator
from medaug.models.networks.resnet import ResNetGenerator
from medaug.models.networks.styles import AdaINDecoder, StyleEncoder
from medaug.models.networks.unet import UNetGenerator

__all__ = [
    "GENERATORS",
    "AdaINDecoder",
    "Decoder",
    "Encoder",
    "GeneratorName",
    "ResNetGenerator",
    "StyleEncoder",
    "UNetGenerator",
    "build_generator",
    "least_size",
    "patch_discriminator",
]

GENERATORS: dict[str, Callable[..., nn.Module]] = {"resnet": ResNetGenerator, "unet": UNetGenerator}


def _known(name: str) -> str:
    if name not in GENERATORS:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, GENERATORS))})
    return name


GeneratorName = Annotated[str, AfterValidator(_known)]
"""As a setting: refused before anything is read."""


def build_generator(
    name: str, *, spatial_dims: int, in_channels: int, out_channels: int, width: int, depth: int
) -> nn.Module:
    """A generator by name; `depth` counts residual blocks (resnet) or resolution levels (unet).

    Raises:
        ConfigError: for an unknown name, listing the known ones.
    """
    if name not in GENERATORS:
        raise ConfigError(f"unknown generator '{name}'; choose one of: {', '.join(GENERATORS)}")
    return GENERATORS[name](spatial_dims, in_channels, out_channels, width=width, depth=depth)
