"""Does a network that knows real tumors see the inserted ones, and nothing that was not there before?

CycleGAN adds and erases lesions where the domains differ in prevalence (Cohen 2018, arXiv 1805.08841). The judge is a
frozen segmenter trained on real labels; what it misses of real lesions in the same views is the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medaug.quality.audits.cases import Insertion, Limits
from medaug.quality.audits.finding import Finding, judged, skipped
from medaug.quality.audits.intervals import over_patients

LOST = "Does a frozen segmenter find the inserted lesions?"
GAINED = "Does a frozen segmenter find things beside the mask that were not there before?"
MOST_MISSED = 0.5
"""A segmenter that misses more of the real lesions than this is no judge."""
Count = Callable[[np.ndarray, np.ndarray], Any]
"""(prediction, truth), bool (*S) → counts with `lost` and `gained` (`evaluation.lost_and_gained`)."""


def lost(
    edited: Sequence[np.ndarray], inserted: Sequence[np.ndarray], original: Sequence[np.ndarray],
    real: Sequence[np.ndarray], patients: Sequence[str], limits: Limits, *, seed: int,
) -> Finding:  # fmt: skip
    """The share of inserted lesions that no predicted voxel touches, judged by how much it exceeds that of real ones.

    Args:
        edited: predictions in the edited views; `inserted`: the lesions there.
        original: predictions in views of the same patients before the edit; `real`: their lesions.
    """
    if not inserted:
        return skipped("lost", LOST, "there is no lesion to look for")
    missed, missed_real = _missed(edited, inserted), _missed(original, real)
    share, floor = float(missed.mean()), float(missed_real.mean())
    if floor > MOST_MISSED:
        return skipped("lost", LOST, f"the segmenter misses {100 * floor:.0f} % of the real lesions: it cannot judge")
    low, high = over_patients(missed, patients, seed=seed)
    sentence = (
        f"The segmenter misses {int(missed.sum())} of {len(missed)} inserted lesions and {int(missed_real.sum())} of "
        f"{len(missed_real)} real ones."
    )
    return judged(
        "lost", LOST, sentence, value=share, low=low, high=high, warn=floor + limits.warn, fail=floor + limits.fail,
        floor=floor, n={"inserted": len(missed), "real": len(missed_real), "patients": len(set(patients))},
    )  # fmt: skip


def gained(
    insertions: Sequence[Insertion], before: Sequence[np.ndarray], after: Sequence[np.ndarray], limits: Limits, *,
    count: Count, seed: int,
) -> Finding:  # fmt: skip
    """Predicted parts in an edited view that touch neither the mask, a real tumor, nor what was predicted before.

    Args:
        before, after: predictions, bool (*S).
    """
    if not insertions:
        return skipped("gained", GAINED, "there is no edited view to look at")
    parts = gained_parts(insertions, before, after, count)
    low, high = over_patients(parts, [i.patient for i in insertions], seed=seed)
    sentence = f"{parts.sum()} new findings beside the masks of {len(parts)} edited views."
    return judged(
        "gained", GAINED, sentence, value=float(parts.mean()), low=low, high=high, warn=limits.warn, fail=limits.fail,
        unit="per view", n={"views": len(parts), "patients": len({i.patient for i in insertions})},
        details={"by_view": parts.tolist()},
    )  # fmt: skip


def gained_parts(
    insertions: Sequence[Insertion], before: Sequence[np.ndarray], after: Sequence[np.ndarray], count: Count
) -> np.ndarray:
    """(views,) how many."""
    known = [i.mask | i.label | found for i, found in zip(insertions, before, strict=True)]
    return np.array([count(found, truth).gained for found, truth in zip(after, known, strict=True)], dtype=int)


def _missed(predictions: Sequence[np.ndarray], lesions: Sequence[np.ndarray]) -> np.ndarray:
    """(lesions,) 1 where no voxel was found."""
    return np.array([not (p & m).any() for p, m in zip(predictions, lesions, strict=True)], dtype=float)
