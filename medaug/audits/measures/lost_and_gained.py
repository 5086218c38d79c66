"""Does a network that knows real tumors see the inserted ones, and nothing that was not there before?

CycleGAN adds and erases lesions where the domains differ in prevalence (Cohen 2018, arXiv 1805.08841). The judge is a
frozen segmenter trained on real labels; what it misses of real lesions in the same views is the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from medaug.audits.measures.cases import Insertion, Limits
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.intervals import over_patients

LOST = "Does a frozen segmenter find the inserted lesions?"
GAINED = "Does a frozen segmenter find things beside the mask that were not there before?"
MOST_WRONG = 0.5
"""A segmenter that misses more of the real lesions of these sizes is no judge; nor is one that marks more of the places
before anything is there."""
LIKE_SIZE = 10
"""So many real lesions, the nearest in size, are what an inserted one is compared with."""
Count = Callable[[np.ndarray, np.ndarray], Any]
"""(prediction, truth), bool (*S) → counts with `lost` and `gained` (`evaluation.lost_and_gained`)."""


def lost(
    insertions: Sequence[Insertion],
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    limits: Limits,
    *,
    seed: int,
) -> Finding:
    """The share of inserted lesions in which nothing new is found, judged by how much it exceeds that of real ones.

    Small lesions are missed more often, so each inserted one is compared with the real ones nearest to it in size.

    Args:
        before, after: predictions in the views, bool (*S).
    """
    if not insertions:
        return skipped("lost", LOST, "there is no lesion to look for")
    sizes, unseen = _real_parts(insertions, before)
    marked = np.array([(p & i.mask).any() for p, i in zip(before, insertions, strict=True)])
    nearest = [np.argsort(np.abs(np.log(sizes / i.mask.sum())), kind="stable")[:LIKE_SIZE] for i in insertions]
    floor = float(np.mean([unseen[k].mean() for k in nearest]))
    if max(floor, marked.mean()) > MOST_WRONG:
        reason = (
            f"the segmenter misses {100 * floor:.0f} % of the real lesions of these sizes and marks "
            f"{100 * marked.mean():.0f} % of the places before anything is there: it cannot judge (segmenter.updates)"
        )
        return skipped("lost", LOST, reason)
    missed = missed_lesions(insertions, before, after).astype(float)
    share = float(missed.mean())
    low, high = over_patients(missed, [i.patient for i in insertions], seed=seed)
    sentence = (
        f"The segmenter misses {int(missed.sum())} of {len(missed)} inserted lesions, and {100 * floor:.0f} % of real "
        "ones of their sizes."
    )
    return judged(
        "lost",
        LOST,
        sentence,
        value=share,
        low=low,
        high=high,
        warn=floor + limits.warn,
        fail=floor + limits.fail,
        floor=floor,
        n={"inserted": len(missed), "real": len(sizes), "patients": len({i.patient for i in insertions})},
        details={"real_missed": float(unseen.mean())},
    )


def gained(
    insertions: Sequence[Insertion],
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    limits: Limits,
    *,
    count: Count,
    seed: int,
) -> Finding:
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
        "gained",
        GAINED,
        sentence,
        value=float(parts.mean()),
        low=low,
        high=high,
        warn=limits.warn,
        fail=limits.fail,
        unit="per view",
        n={"views": len(parts), "patients": len({i.patient for i in insertions})},
        details={"by_view": parts.tolist()},
    )


def missed_lesions(
    insertions: Sequence[Insertion], before: Sequence[np.ndarray], after: Sequence[np.ndarray]
) -> np.ndarray:
    """(insertions,) bool: no voxel of the mask is found that was not before."""
    found = zip(insertions, before, after, strict=True)
    return np.array([not (new & ~old & i.mask).any() for i, old, new in found], dtype=bool)


def gained_parts(
    insertions: Sequence[Insertion], before: Sequence[np.ndarray], after: Sequence[np.ndarray], count: Count
) -> np.ndarray:
    """(views,) how many."""
    known = [i.mask | i.label | found for i, found in zip(insertions, before, strict=True)]
    return np.array([count(found, truth).gained for found, truth in zip(after, known, strict=True)], dtype=int)


def _real_parts(insertions: Sequence[Insertion], before: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(parts,) voxels of each real tumor in the views, and 1 where no voxel of it is found."""
    sizes: list[int] = []
    unseen: list[float] = []
    for i, prediction in zip(insertions, before, strict=True):
        parts, count = ndimage.label(i.label, structure=np.ones((3,) * i.label.ndim))
        seen = np.isin(np.arange(1, count + 1), parts[prediction])
        sizes += np.bincount(parts.reshape(-1), minlength=count + 1)[1:].tolist()
        unseen += (~seen).astype(float).tolist()
    return np.array(sizes), np.array(unseen)
