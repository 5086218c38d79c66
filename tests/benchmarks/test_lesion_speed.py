"""How long one drawn lesion takes: a training batch draws several."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.lesions import LesionExample, LesionPrior


@pytest.mark.parametrize(
    ("grid", "crop_size", "limit_s"),
    [((96, 96), (48, 48), 0.005), ((72, 72, 48), (32, 32, 16), 0.015)],
    ids=["2d", "3d"],
)
def test_drawing_a_lesion_is_fast(benchmark, grid, crop_size, limit_s):
    spacing_mm = (2.7,) * len(grid)
    offsets = [np.abs(g - n / 2) for g, n in zip(np.indices(grid), grid, strict=True)]
    organ = sum((o / (0.45 * n)) ** 2 for o, n in zip(offsets, grid, strict=True)) <= 1
    label = sum(o**2 for o in offsets) <= 3.5**2
    image = np.where(organ, -0.2, -1.0).astype(np.float32) + 0.5 * label.astype(np.float32)
    prior = LesionPrior.fit([LesionExample(image, label, organ, "p", "c", None, spacing_mm)], crop_size, spacing_mm)
    occupied, rng = np.zeros_like(organ), np.random.RandomState(0)
    assert benchmark(prior.sample, organ, occupied, rng) is not None
    if benchmark.stats is not None:
        assert benchmark.stats.stats.median < 4 * limit_s, "four times the aim: a shared machine must not fail it"
