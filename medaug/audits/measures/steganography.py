"""Does a fake hide its source? (Chu, Zhmoginov and Sandler 2017, arXiv 1712.02950)

A generator that is only asked for a way back can write what it removed into the fake as a weak pattern. The way back
then works to the last detail and breaks down under noise too weak to see. The figure is the RMS error of the cycle with
noise on the fake, over what it would be if the noise passed straight through: sqrt(error² + noise²). It is 1 or less
where nothing is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medaug.audits.measures.cases import Limits
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.intervals import over_patients

QUESTION = "Does the fake hide its source?"


@dataclass(frozen=True)
class Cycle:
    """One image and its fake, (*S) in [-1, 1].

    Attributes:
        back: the way back, fake → reconstruction.
        region: bool (*S), where reconstruction and source are compared.
    """

    patient: str
    source: np.ndarray
    fake: np.ndarray
    region: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Reconstruction:
    """Of one cycle: what came back with and without noise, and the mean squares of both errors and of the noise."""

    clean: np.ndarray
    noisy: np.ndarray
    squares: tuple[float, float, float]


def steganography(
    cycles: Sequence[Cycle], reconstructions: Sequence[Reconstruction], limits: Limits, *, noise: float, seed: int
) -> Finding:
    """See the module.

    Args:
        reconstructions: of `cycles`, by `reconstructed`.
        noise: its standard deviation, in window units [-1, 1].
    """
    if not cycles:
        return skipped("steganography", QUESTION, "there is no fake to translate back")
    squares = np.array([r.squares for r in reconstructions])
    clean, noisy, _ = np.sqrt(squares.mean(axis=0))
    low, high = over_patients(squares, [c.patient for c in cycles], seed=seed, statistic=_ratio)
    sentence = (
        f"The cycle error is {clean:.3f}, and {noisy:.3f} with noise of {noise:g} on the fake (window units): "
        f"{_ratio(squares):.2f} times what that noise alone would add up to."
    )
    return judged(
        "steganography",
        QUESTION,
        sentence,
        value=_ratio(squares),
        low=low,
        high=high,
        warn=limits.warn,
        fail=limits.fail,
        n={"images": len(cycles), "patients": len({c.patient for c in cycles})},
        details={"error": float(clean), "error_with_noise": float(noisy), "noise": noise},
    )


def reconstructed(cycles: Sequence[Cycle], *, noise: float, seed: int) -> list[Reconstruction]:
    """Each fake translated back, as it is and with noise on it."""
    rng = np.random.RandomState(seed)
    results = []
    for cycle in cycles:
        disturbed = np.clip(cycle.fake + noise * rng.standard_normal(cycle.fake.shape), -1, 1).astype(np.float32)
        clean, noisy = cycle.back(cycle.fake), cycle.back(disturbed)
        differences = (clean - cycle.source, noisy - cycle.source, disturbed - cycle.fake)
        squares = [float(np.square(d[cycle.region], dtype=np.float64).mean()) for d in differences]
        results.append(Reconstruction(clean, noisy, (squares[0], squares[1], squares[2])))
    return results


def _ratio(squares: np.ndarray) -> float:
    clean, noisy, added = squares.mean(axis=0)
    return float(np.sqrt(noisy / max(clean + added, np.finfo(float).tiny)))
