"""Two trivial translations, so that a score of a trained one means something: the mean image, and intensity alone.

Both are fitted on training patients. What a GAN adds is what it scores beyond the better of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

BINS = 64
"""Of the source's intensities in [-1, 1]."""


class MeanImage:
    """The voxelwise mean of all target images of one shape; of a shape never seen, their mean intensity in the body.

    Args:
        targets: (image, body mask), (X, Y[, Z]) each, in the target's unit; at least one.
    """

    def __init__(self, targets: Iterable[tuple[np.ndarray, np.ndarray]]):
        sums: dict[tuple[int, ...], np.ndarray] = {}
        counts: dict[tuple[int, ...], int] = {}
        inside, voxels = 0.0, 0
        for image, mask in targets:
            sums[image.shape] = sums.get(image.shape, 0.0) + image.astype(np.float64)
            counts[image.shape] = counts.get(image.shape, 0) + 1
            inside, voxels = inside + float(image[mask].sum(dtype=np.float64)), voxels + int(mask.sum())
        self.means = {shape: total / counts[shape] for shape, total in sums.items()}
        self.level = inside / voxels

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """What stands for the translation of a source (*S)."""
        mean = self.means.get(source.shape)
        return np.full(source.shape, self.level) if mean is None else mean


class Example(NamedTuple):
    """A registered pair: the source in [-1, 1], the target in its unit, the body; (X, Y[, Z]) each."""

    source: np.ndarray
    target: np.ndarray
    mask: np.ndarray


class IntensityRegression:
    """The mean target value at every source intensity: bins, joined by straight lines; nothing of place or shape.

    Args:
        examples: registered pairs, at least one.
    """

    def __init__(self, examples: Iterable[Example]):
        sums, counts, places = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
        for source, target, mask in examples:
            values = source[mask].astype(np.float64)
            bins = np.clip(((values + 1) * BINS / 2).astype(int), 0, BINS - 1)
            counts += np.bincount(bins, minlength=BINS)
            places += np.bincount(bins, values, BINS)
            sums += np.bincount(bins, target[mask].astype(np.float64), BINS)
        met = counts > 0
        self.places, self.values = places[met] / counts[met], sums[met] / counts[met]

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """The regression's target for a source (*S) in [-1, 1]."""
        return np.interp(source, self.places, self.values)
