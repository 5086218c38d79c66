"""Does an edit stay where it belongs, and does it do anything at all?

A label is right by construction only if nothing but the mask changes; a generator that changes
nothing, or next to nothing, teaches a network that healthy tissue is tumor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medaug.audits.measures.cases import Insertion
from medaug.audits.measures.finding import Finding, Limits, Question

OUTSIDE = Question("outside", "Does anything change outside the mask?")
UNCHANGED = Question("unchanged", "Does every insertion change the image where it says so?")
LEAST_CHANGE = 0.01
"""Mean absolute change inside the mask, in window units [-1, 1], below which nothing was inserted."""
NONE = "no tumor could be inserted into a held-out view"


def changed_outside(insertions: Sequence[Insertion], limits: Limits) -> Finding:
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
