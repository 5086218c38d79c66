"""Maximum mean discrepancy between features of real and synthetic lesions, as in the kernel inception distance.

KID (Bińkowski 2018, 1801.01401) is the unbiased estimate of MMD² with the kernel k(x, y) = (x·y / F + 1)³, averaged
over random subsets. Being unbiased it is right for small sets and may be negative, near 0 where nothing differs. Here
on the repository's own features; nothing is downloaded. They are z-scored by that group of real patients which both
other real patients and the synthetic set are compared with: a set that is itself part of the yardstick has fewer
outliers, and the cubic kernel makes much of outliers. It selects no model.
"""

from __future__ import annotations

import numpy as np

from medaug.audits.measures.cases import Limits
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.lesions import Lesions, standardised
from medaug.audits.measures.resampling import against_halves, group_size, too_few
from medaug.errors import DataError

NAME = "kernel"
QUESTION = "Do synthetic lesions have the features of real ones, by a kernel that needs no Gaussian?"


def kernel_audit(real: Lesions, synthetic: Lesions, limits: Limits, *, seed: int) -> Finding:
    """Judges MMD² by that between groups of real patients; `limits` are multiples of that floor."""
    if (reason := too_few(real, synthetic)) is not None:
        return skipped(NAME, QUESTION, reason)
    group = group_size(real, synthetic)
    rng = np.random.RandomState(seed)
    halves = against_halves(kernel_distance, real.features, synthetic.features, real.patients, group, rng)
    floor, (low, high) = max(halves.floor, 0.0), halves.spread
    sentence = (
        f"MMD² = {halves.value:.3g} between real and synthetic lesions (subsets of {halves.lesions}, standard "
        f"deviation {halves.values.std():.2g}), up to {floor:.3g} between groups of real patients."
    )
    return judged(
        NAME,
        QUESTION,
        sentence,
        value=halves.value,
        low=low,
        high=high,
        warn=limits.warn * floor,
        fail=limits.fail * floor,
        floor=floor,
        n=real.counts("real") | synthetic.counts("synthetic") | {"lesions a side": halves.lesions},
        details={
            "subset_deviation": float(halves.values.std()),
            "features": real.features.shape[1],
            "group_patients": group,
            "floors": halves.listed(),
        },
    )


def kernel_distance(real: np.ndarray, other: np.ndarray) -> float:
    """MMD² of (N, F) and (M, F), both z-scored by the first."""
    return mmd2(standardised(real, real), standardised(other, real))


def mmd2(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimate of MMD² between (N, F) and (M, F) (Gretton 2012, lemma 6), with the cubic kernel.

    Raises:
        DataError: if a set has fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise DataError(f"MMD: found sets of {len(first)} and {len(second)} rows; expected at least 2 in each")
    within = [_kernel(rows, rows) for rows in (first, second)]
    means = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in within]
    return float(sum(means) - 2 * _kernel(first, second).mean())


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first @ second.T / first.shape[1] + 1) ** 3
