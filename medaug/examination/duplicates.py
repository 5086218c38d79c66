"""Images that are there twice: the same voxels (of a slice, or all), or the same but for intensities or noise.

A scan that two patients share would be on both sides of a split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from medaug.data.fingerprints import holders_of
from medaug.examination.scans import ScanFacts

ALIKE = 0.998
"""Correlation of two thumbnails from which on they count as the same picture."""
ROWS = 512
"""Thumbnails compared with all others at once: memory grows linearly."""

Twins = tuple[ScanFacts, ScanFacts]


def equal_twins(facts: Sequence[ScanFacts]) -> list[Twins]:
    """Cases that share a slice or the whole image, voxel by voxel."""
    pairs = {pair for same in holders_of(fact.fingerprints for fact in facts) for pair in combinations(same, 2)}
    return [(facts[one], facts[other]) for one, other in sorted(pairs)]


def similar_twins(facts: Sequence[ScanFacts]) -> list[Twins]:
    """Cases of different patients whose images have one shape and correlate above `ALIKE`, but are not identical."""
    by_shape: dict[tuple[int, ...], list[ScanFacts]] = defaultdict(list)
    for fact in facts:
        by_shape[fact.shape].append(fact)
    pairs: list[Twins] = []
    for same in by_shape.values():
        thumbnails = np.stack([fact.thumbnail for fact in same])
        for start in range(0, len(same), ROWS):
            alike = thumbnails[start : start + ROWS] @ thumbnails.T / thumbnails.shape[1] > ALIKE
            pairs += [(same[start + row], same[column]) for row, column in np.argwhere(alike) if start + row < column]
    return [(a, b) for a, b in pairs if a.patient != b.patient and set(a.fingerprints).isdisjoint(b.fingerprints)]
