"""Seeds by number: sample `number` of a seed is the same whenever it is asked for, whoever came before it."""

from __future__ import annotations

import numpy as np


def seed_of(seed: int, number: int) -> int:
    """A seed of its own for every number below a million, whatever the seed."""
    return seed * 1_000_003 + number


def rng_of(seed: int, number: int) -> np.random.RandomState:
    """NumPy's generator of that seed, of which it takes 32 bits."""
    return np.random.RandomState(seed_of(seed, number) % 2**32)
