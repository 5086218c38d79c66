"""Does the generator leave the same pattern at the same place of every crop, where it inserts nothing?

A paired test at fixed positions: what null insertions change inside the mask, without what is smooth, is averaged over
patients, as it is and by its phase in periods of 2, 4, 8 and the network's stride. A matched filter (Turin 1960) of
this pattern is then laid over the crops of other patients, passed over and untouched. Its AUC says how well a network
could see the pattern through the tissue: tissue itself is the yardstick, so a trace that drowns in it does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from medaug.audits.measures.finding import Finding, Limits, Question, over_patients
from medaug.audits.measures.lesions import Insertion
from medaug.audits.measures.probe import MIN_PATIENTS

FINGERPRINT = Question("fingerprint", "Does the generator repeat a pattern at fixed places of the crop?")
PERIODS = (2, 4, 8)
CHANCE = 0.5
"""An AUC whose interval reaches down to it is none."""
SMOOTH_VOXELS = 2.0
"""Standard deviation of the Gaussian that says what is smooth: it leaves 70 % of a pattern of period 8."""


def fingerprint(
    nulls: Sequence[Insertion], size: Sequence[int], stride: int, limits: Limits, *, channel: int, seed: int
) -> Finding:
    """AUC of a matched filter in one sequence, each patient's filter from all others; of all periods the best counts.

    Patterns that change from crop to crop are no fingerprint: only an interval above chance warns or fails.

    Args:
        nulls: `image` is what the generator made of `before` with nothing inserted.
        size: of the crops, in voxels; `stride` is the network's.
    """
    patients = np.array([i.patient for i in nulls])
    if (count := len(np.unique(patients))) < MIN_PATIENTS:
        return FINGERPRINT.skipped(f"{count} held-out patients with room for a lesion; {MIN_PATIENTS} are needed")
    seen = [i.as_seen(size) for i in nulls]
    masks = np.stack([mask for *_, mask in seen])
    after, before = (np.stack([_rough(crop[k][channel], crop[2]) for crop in seen]) for k in (0, 1))
    found = {}
    for period in (0, *sorted({*PERIODS, stride})):
        scores = np.zeros((len(nulls), 2))
        for patient in np.unique(patients):
            own = patients == patient
            pattern = _pattern((after - before)[~own].sum(axis=0), masks[~own].sum(axis=0), period)
            filters = pattern * masks[own]
            scores[own] = np.stack([(filters * x[own]).reshape(own.sum(), -1).sum(axis=1) for x in (before, after)], 1)
        found[period] = scores
    best = max(found, key=lambda period: _auc(found[period]))
    value, low_high = _auc(found[best]), over_patients(found[best], patients, seed=seed, statistic=_auc)
    what = f"a pattern of period {best}" if best else "a pattern"
    sentence = f"A filter for {what} at fixed places tells passed-over from untouched crops with an AUC of {value:.2f}."
    by_period = {"any" if not period else str(period): round(_auc(scores), 4) for period, scores in found.items()}
    n, details = {"pairs": len(nulls), "patients": count}, {"by_period": by_period}
    finding = FINGERPRINT.judged(sentence, value, limits, low_high, floor=CHANCE, n=n, details=details)
    above = low_high[0] is None or low_high[0] > CHANCE
    return finding if above else replace(finding, verdict="pass", sentence=f"{sentence} That may be chance.")


def _rough(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image inside the mask without its local mean there (normalised convolution)."""
    weight = ndimage.gaussian_filter(mask.astype(np.float64), SMOOTH_VOXELS)
    smooth = ndimage.gaussian_filter(np.where(mask, image, 0.0).astype(np.float64), SMOOTH_VOXELS)
    return np.where(mask, image - smooth / np.maximum(weight, 1e-6), 0.0)


def _pattern(total: np.ndarray, count: np.ndarray, period: int) -> np.ndarray:
    """Mean change at each place, or at each phase of a period along all axes."""
    if period:
        phase = np.zeros(total.shape, dtype=int)
        for axis, places in enumerate(np.indices(total.shape)):
            phase += (places % period) * period**axis
        total, count = (np.bincount(phase.ravel(), x.ravel())[phase] for x in (total, count))
    return total / np.maximum(count, 1)


def _auc(scores: np.ndarray) -> float:
    """(crops, 2) scores of untouched crops and of those passed over → the share of pairs of them in order."""
    untouched, passed = scores.T
    difference = passed[:, None] - untouched[None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())
