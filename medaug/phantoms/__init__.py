"""Procedural patients: heads and abdomens drawn from a seed, with truth, for tests, examples and a first run.

No download and no files: numpy only, well under a second each. See `patient.Phantom` for what a patient holds, `head`
and `abdomen` for what is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from medaug.errors import ConfigError
from medaug.phantoms.abdomen import abdomen_phantom
from medaug.phantoms.head import PARTS, head_phantom
from medaug.phantoms.patient import Phantom, axial_slices

__all__ = ["ANATOMIES", "PARTS", "Phantom", "abdomen_phantom", "axial_slices", "head_phantom", "phantoms"]

ANATOMIES: dict[str, Callable[..., Phantom]] = {"head": head_phantom, "abdomen": abdomen_phantom}


def phantoms(anatomy: str, patients: int, *, seed: int = 0, first: int = 0, **options: Any) -> Iterator[Phantom]:
    """Yields `patients` of them from number `first`; patient i depends on (seed, i) and the options, not on the count.

    Args:
        anatomy: a key of `ANATOMIES`.
        patients: how many.
        seed: which family of patients.
        first: the number of the first.
        **options: passed to the anatomy's function (`shape`, `spacing_mm`, `tumors`, ...).

    Raises:
        ConfigError: at the call, for an unknown anatomy or a negative count.
    """
    if anatomy not in ANATOMIES:
        raise ConfigError(f"anatomy: found {anatomy!r}; expected one of {', '.join(sorted(ANATOMIES))}")
    if patients < 0:
        raise ConfigError(f"patients: found {patients}; expected 0 or more")
    return (ANATOMIES[anatomy](index, seed=seed, **options) for index in range(first, first + patients))
