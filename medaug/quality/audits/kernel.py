"""Maximum mean discrepancy between features of real and synthetic lesions, as in the kernel inception distance.

KID (Bińkowski 2018, 1801.01401) is the unbiased estimate of MMD² with the kernel k(x, y) = (x·y / F + 1)³, averaged
over random subsets. Being unbiased it is right for small sets and may be negative, near 0 where nothing differs. Here
on the repository's own features; nothing is downloaded. They are z-scored by both sets together: by the real set alone,
outliers of the other set would weigh more in the cubic kernel than outliers among real lesions. It selects no model.
"""

from __future__ import annotations

import numpy as np

from medaug.errors import DataError
from medaug.quality.audits.cases import Limits
from medaug.quality.audits.finding import Finding, judged, skipped
from medaug.quality.audits.lesions import Lesions, standardised
from medaug.quality.audits.resampling import against_halves, group_size, too_few

NAME = "kernel"
QUESTION = "Do synthetic lesions have the features of real ones, by a kernel that needs no Gaussian?"


def kernel_audit(real: Lesions, synthetic: Lesions, limits: Limits, *, seed: int) -> Finding:
    """Judges MMD² by that between groups of real patients; `limits` are multiples of that floor."""
    if (reason := too_few(real, synthetic)) is not None:
        return skipped(NAME, QUESTION, reason)
    group = group_size(real, synthetic)
    pooled = np.concatenate([real.features, synthetic.features])
    ours, theirs = (standardised(lesions.features, pooled) for lesions in (real, synthetic))
    halves = against_halves(mmd2, ours, theirs, real.patients, group, np.random.RandomState(seed))
    floor, (low, high) = max(halves.floor, 0.0), halves.spread
    sentence = (
        f"MMD² = {halves.value:.3g} between real and synthetic lesions (subsets of {halves.lesions}, standard "
        f"deviation {halves.values.std():.2g}), up to {floor:.3g} between groups of real patients."
    )
    return judged(
        NAME, QUESTION, sentence, value=halves.value, low=low, high=high, warn=limits.warn * floor,
        fail=limits.fail * floor, floor=floor,
        n=real.counts("real") | synthetic.counts("synthetic") | {"lesions a side": halves.lesions},
        details={
            "subset_deviation": float(halves.values.std()), "features": ours.shape[1], "group_patients": group,
            "floors": halves.listed(),
        },
    )  # fmt: skip


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
