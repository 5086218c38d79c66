"""Initial weights from a seed, without touching anyone else's random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Inside, torch's CPU default generator starts at `seed`; afterwards it is where it was before.

    For constructors that draw from the default generator and take no other (most of torch's and MONAI's).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def initialize_normal(module: nn.Module, std: float = 0.02) -> None:
    """Convolutions N(0, 0.02²), biases 0 (CycleGAN, appendix 7.1). Call inside `isolated_rng`.

    Networks that say `keeps_initial_weights` are left as they are: 0.02 suits convolutions before a norm.
    """
    kept = {
        m for network in module.modules() if getattr(network, "keeps_initial_weights", False) for m in network.modules()
    }
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d) and layer not in kept:
            parametrized = getattr(layer, "parametrizations", None)
            nn.init.normal_(parametrized.weight.original if parametrized is not None else layer.weight, 0.0, std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
