"""What an edit does: does it stay where it belongs, does it do anything at all, and does it hide what was there?

A label is right by construction only if nothing but the mask changes; a generator that changes nothing, or next to
nothing, teaches a network that healthy tissue is tumor.

*Hidden sources* (Chu, Zhmoginov and Sandler 2017, arXiv 1712.02950): a generator that is only asked for a way back can
write what it removed into the fake as a weak pattern. The way back then works to the last detail and breaks down under
noise too weak to see. The figure is the RMS error of the cycle with noise on the fake, over what it would be if the
noise passed straight through: sqrt(error² + noise²). It is 1 or less where nothing is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medaug.audits.measures.cases import Insertion
from medaug.audits.measures.finding import Finding, Limits, Question, over_patients

OUTSIDE = Question("outside", "Does anything change outside the mask?")
UNCHANGED = Question("unchanged", "Does every insertion change the image where it says so?")
STEGANOGRAPHY = Question("steganography", "Does the fake hide its source?")
LEAST_CHANGE = 0.01
"""Mean absolute change inside the mask, in window units [-1, 1], below which nothing was inserted."""
NONE = "no tumor could be inserted into a held-out view"


def outside(insertions: Sequence[Insertion], limits: Limits) -> Finding:
    """Voxels outside the mask that do not keep their bits, all insertions."""
    if not insertions:
        return OUTSIDE.skipped(NONE)
    counts = outside_counts(insertions)
    seen = sum(int((~i.mask).sum()) for i in insertions)
    hit = int((counts > 0).sum())
    sentence = f"{counts.sum()} of {seen} voxels outside the mask changed, in {hit} of {len(insertions)} insertions."
    details = {"insertions_with_changes": hit, "voxels_looked_at": seen}
    return OUTSIDE.judged(sentence, float(counts.sum()), limits, unit="voxels", n=_counted(insertions), details=details)


def unchanged(insertions: Sequence[Insertion], limits: Limits) -> Finding:
    """The share of insertions that leave the image inside their mask as it was."""
    if not insertions:
        return UNCHANGED.skipped(NONE)
    strengths = strengths_of(insertions)
    without, asked = int((strengths < LEAST_CHANGE).sum()), len(insertions)
    typical = f"the median change is {np.median(strengths):.2f} in window units"
    sentence = f"{without} of {asked} insertions leave the image inside the mask as it was; {typical}."
    n, details = _counted(insertions) | {"asked": asked}, {"strength": strengths.round(4).tolist()}
    return UNCHANGED.judged(sentence, without / asked, limits, n=n, details=details)


def outside_counts(insertions: Sequence[Insertion]) -> np.ndarray:
    """(insertions,) voxels that changed outside the mask."""
    return np.array([int((i.changed & ~i.mask).sum()) for i in insertions], dtype=int)


def strengths_of(insertions: Sequence[Insertion]) -> np.ndarray:
    """(insertions,) mean absolute change inside the mask."""
    return np.array([np.abs(i.image - i.before)[i.mask].mean() for i in insertions], dtype=np.float64)


def _counted(insertions: Sequence[Insertion]) -> dict[str, int]:
    return {"insertions": len(insertions), "patients": len({i.patient for i in insertions})}


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
    """What came back of one cycle with and without noise, and the mean squares of both errors and of the noise."""

    clean: np.ndarray
    noisy: np.ndarray
    squares: tuple[float, float, float]


def steganography(
    cycles: Sequence[Cycle], limits: Limits, *, noise: float, seed: int
) -> tuple[Finding, list[Reconstruction]]:
    """Judges the cycle error with noise on the fakes; returns what came back of each, too.

    Args:
        noise: its standard deviation, in window units [-1, 1].
    """
    if not cycles:
        return STEGANOGRAPHY.skipped("there is no fake to translate back"), []
    rng, results = np.random.RandomState(seed), []
    for cycle in cycles:
        disturbed = np.clip(cycle.fake + noise * rng.standard_normal(cycle.fake.shape), -1, 1).astype(np.float32)
        clean, noisy = cycle.back(cycle.fake), cycle.back(disturbed)
        differences = (clean - cycle.source, noisy - cycle.source, disturbed - cycle.fake)
        a, b, c = (float(np.square(d[cycle.region], dtype=np.float64).mean()) for d in differences)
        results.append(Reconstruction(clean, noisy, (a, b, c)))
    squares, patients = np.array([result.squares for result in results]), [c.patient for c in cycles]
    error, with_noise, _ = np.sqrt(squares.mean(axis=0)).tolist()
    sentence = (
        f"The cycle error is {error:.3f}, and {with_noise:.3f} with noise of {noise:g} on the fake (window units): "
        f"{_ratio(squares):.2f} times what that noise alone would add up to."
    )
    interval = over_patients(squares, patients, seed=seed, statistic=_ratio)
    n = {"images": len(cycles), "patients": len(set(patients))}
    details = {"error": error, "error_with_noise": with_noise, "noise": noise}
    return STEGANOGRAPHY.judged(sentence, _ratio(squares), limits, interval, n=n, details=details), results


def _ratio(squares: np.ndarray) -> float:
    clean, noisy, added = squares.mean(axis=0)
    return float(np.sqrt(noisy / max(clean + added, np.finfo(float).tiny)))
