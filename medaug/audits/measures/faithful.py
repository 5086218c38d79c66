"""Does a translation keep the anatomy, change anything, and put tissues where the target domain has them?

*Geometry*: how far edges of the translation lie where those of its source do (correlation of gradient magnitudes
inside the body): 1 for the source itself, about 0 for a mirrored, moved, or constant image. *HU by tissue*: how far a
tissue of the source moves, less how far its median lies apart in held-out scans of the two domains, which is what it
should move.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from medaug.audits.measures.edits import LEAST_CHANGE, UNCHANGED
from medaug.audits.measures.finding import Finding, Limits, Question, over_patients
from medaug.audits.measures.hounsfield import tissues_of
from medaug.audits.measures.similarity import ImagePair

GEOMETRY = Question("geometry", "Do edges lie where they lie in the source?")
HU_BIAS = Question("hu_bias", "Do tissues have the HU of the target domain?")
TISSUES = ("lung", "fat", "soft")
LEAST_VOXELS = 50
MISSING = (float("nan"), float("nan"))
RIM_VOXELS = 3
"""The body's own outline, which a mirrored image shares, does not count."""


def untranslated(pairs: Sequence[ImagePair], patients: Sequence[str], limits: Limits) -> Finding:
    """The share of images (window units) that hand the source back, or are of one grey in half of the body."""
    if not pairs:
        return UNCHANGED.skipped("there is no translated image to look at")
    same = [np.abs(fake - real)[body].mean() < LEAST_CHANGE for real, fake, body in pairs]
    flat = [np.ptp(np.quantile(fake[body], [0.25, 0.75])) < LEAST_CHANGE for _, fake, body in pairs]
    sentence = f"{sum(same)} of {len(pairs)} translations are their source, and {sum(flat)} are of one grey."
    value, n = float(np.mean(np.logical_or(same, flat))), {"images": len(pairs), "patients": len(set(patients))}
    return UNCHANGED.judged(sentence, value, limits, n=n)


def geometry(correlations: Sequence[float], patients: Sequence[str], limits: Limits, *, seed: int) -> Finding:
    """Agreement of edges inside the body: the median of each image's `edge_correlation`."""
    found = np.asarray(correlations)
    if not len(found) or np.isnan(found).all():
        return GEOMETRY.skipped("no source has an edge inside its body")
    kept, whose = found[~np.isnan(found)], np.asarray(patients)[~np.isnan(found)]
    value, interval = float(np.median(kept)), over_patients(kept, whose, seed=seed, statistic=np.median)
    sentence = f"Edges of the translation agree with those of its source by {value:.2f} (1: as in the source itself)."
    n, details = {"images": len(kept), "patients": len(set(whose))}, {"by_image": kept.round(4).tolist()}
    return GEOMETRY.judged(sentence, value, limits, interval, higher_is_worse=False, n=n, details=details)


def hu_bias(
    pairs: Sequence[ImagePair], patients: Sequence[str], target: Sequence[ImagePair], limits: Limits, *, seed: int
) -> Finding:
    """HU by which a tissue misses where the target has it; of all tissues the worst counts.

    Args:
        pairs: source and translation in HU; `target` the same of real target scans, each beside itself.
    """
    missed: dict[str, tuple[float, np.ndarray, np.ndarray]] = {}
    of_both = [np.array([_medians(pair) for pair in of]).reshape(-1, len(TISSUES), 2) for of in (pairs, target)]
    for number, tissue in enumerate(TISSUES):
        ours, theirs = (medians[:, number] for medians in of_both)
        held, kept = ~np.isnan(ours[:, 0]), theirs[~np.isnan(theirs[:, 0]), 0]
        if held.any() and len(kept):
            expected = kept.mean() - ours[held, 0].mean()
            rows = ours[held, 1] - ours[held, 0] - expected
            missed[tissue] = float(rows.mean()), rows, np.asarray(patients)[held]
    if not missed:
        return HU_BIAS.skipped("held-out scans of the two domains hold no lung, fat or soft tissue in common")
    worst = max(missed, key=lambda tissue: abs(missed[tissue][0]))
    value, rows, whose = missed[worst]
    interval = over_patients(rows, whose, seed=seed, statistic=_size)
    sentence = f"{worst.capitalize()} misses the HU of the target domain by {value:+.0f} HU."
    each, n = {tissue: of[0] for tissue, of in missed.items()}, {"images": len(rows), "patients": len(set(whose))}
    return HU_BIAS.judged(sentence, abs(value), limits, interval, unit="HU", n=n, each=each)


def _size(rows: np.ndarray) -> float:
    return float(abs(rows.mean()))


def edge_correlation(pair: ImagePair) -> float:
    """Correlation of gradient magnitudes inside the body; NaN without edges in the source, 0 in the translation."""
    plane = np.ones((3, 3) + (1,) * (pair.mask.ndim - 2))
    inside = ndimage.binary_erosion(pair.mask > 0, plane, iterations=RIM_VOXELS)
    if inside.sum() < LEAST_VOXELS:
        return float("nan")
    real, fake = (_steepness(image)[inside] for image in pair[:2])
    if real.std() < 1e-6:
        return float("nan")
    return float(np.corrcoef(real, fake)[0, 1]) if fake.std() > 1e-6 else 0.0


def _steepness(image: np.ndarray) -> np.ndarray:
    """Gradient magnitude in the plane."""
    smooth = ndimage.gaussian_filter(image.astype(np.float64), [1.0, 1.0, *[0.0] * (image.ndim - 2)])
    steep: np.ndarray = np.hypot(*np.gradient(smooth, axis=(0, 1)))
    return steep


def _medians(pair: ImagePair) -> list[tuple[float, float]]:
    """Of each tissue of the first image, in both; NaN where there is too little of it."""
    found, members = [], tissues_of(pair[0])
    for tissue in TISSUES:
        where = members[tissue] & (pair.mask > 0)
        enough = where.sum() >= LEAST_VOXELS
        found.append((float(np.median(pair[0][where])), float(np.median(pair[1][where]))) if enough else MISSING)
    return found
