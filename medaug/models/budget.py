"""Limits on networks whose settings are read from a file: they are refused before their memory is taken."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from medaug.errors import ConfigError
from medaug.models.methods import build_translator
from medaug.volumes import Domain

LARGEST_SETTING = 1024
"""Limit of widths, depths, numbers of blocks and layers."""
SURELY_FITS = 128
"""Networks of no greater width and depth are not counted before they are built."""


def check_settings(settings: Mapping[Any, object]) -> None:
    """Refuses settings that no network has, before it is built layer by layer.

    Raises:
        ValueError: naming the setting.
    """
    for name, value in settings.items():
        if isinstance(value, int) and not 0 <= value <= LARGEST_SETTING:
            raise ValueError(f"{name}: {value:,}")


def check_memory(name: str, settings: Mapping[str, Any], spatial_dims: int) -> None:
    """Refuses settings of a network that no training on this machine can hold, before anything is read for it.

    Weights, gradients and Adam's two moments take 16 bytes a parameter; what the layers compute comes on top.

    Raises:
        ConfigError: with the machine's memory.
    """
    if all(value <= SURELY_FITS for value in settings.values() if isinstance(value, int)):
        return
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**40
    domain = Domain("any", "MR")
    try:
        with torch.device("meta"), Budget(size // 16):
            build_translator(name, settings, domain, domain, spatial_dims)
    except TooLargeError:
        raise ConfigError(
            f"translator: found settings of a network of more than {size // 16:,} weights, which do not train in the "
            f"{size / 2**30:.0f} GiB of this machine. Lower translator.width, depth or discriminator_width."
        ) from None


class TooLargeError(ValueError):
    """A network has more numbers than it may."""


class Budget(TorchFunctionMode):
    """Inside, no more than so many numbers can be allocated for parameters: settings are read from a file."""

    def __init__(self, numbers: int):
        super().__init__()
        self.left = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn):
            sizes = args[0] if args and isinstance(args[0], tuple | list) else args
            self.left -= math.prod(int(size) for size in sizes)
            if self.left < 0:
                raise TooLargeError("settings of a network that is larger than its file")
        return func(*args, **(kwargs or {}))
