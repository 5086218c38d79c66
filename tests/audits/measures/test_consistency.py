"""Flicker from slice to slice is seen, whatever the voxel size or the contrast."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medaug.audits.measures.seams import z_consistency, z_ratio
from medaug.errors import DataError

REGION = np.zeros((24, 24, 16), bool)
REGION[4:20, 4:20, 3:13] = True


def tissue(seed: int, spacing_mm=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Noise as smooth in mm along each axis."""
    sigma = [2.0 / mm for mm in spacing_mm]
    return gaussian_filter(np.random.RandomState(seed).normal(size=REGION.shape), sigma)


def test_isotropic_texture_has_a_ratio_of_one_at_any_contrast():
    ratios = [z_ratio(tissue(seed), REGION, (1.0, 1.0, 1.0)) for seed in range(6)]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)
    assert z_ratio(0.1 * tissue(0) - 0.5, REGION, (1.0, 1.0, 1.0)) == pytest.approx(ratios[0])


def test_a_known_slope_gives_a_known_ratio():
    x, y, z = np.indices(REGION.shape)
    assert z_ratio(0.03 * x - 0.01 * y + 0.06 * z, REGION, (1.0, 1.0, 1.0)) == pytest.approx(3.0)
    assert z_ratio(0.03 * x - 0.01 * y + 0.06 * z, REGION, (1.0, 1.0, 3.0)) == pytest.approx(1.0)


def test_slices_of_other_brightness_raise_it_and_blurring_across_them_lowers_it():
    real = [z_ratio(tissue(seed), REGION, (1.0, 1.0, 1.0)) for seed in range(4)]
    flicker = 0.1 * (-1.0) ** np.arange(16)
    flickering = [z_ratio(tissue(seed) + flicker, REGION, (1.0, 1.0, 1.0)) for seed in range(4)]
    smeared = [z_ratio(gaussian_filter(tissue(seed), (0, 0, 3)), REGION, (1.0, 1.0, 1.0)) for seed in range(4)]
    assert z_consistency(real, real).ratio == 1.0
    assert z_consistency(real, flickering).ratio > 2 > 0.7 > z_consistency(real, smeared).ratio
    assert z_consistency(real, flickering[:3]).n_synthetic == 3


def test_only_the_region_counts():
    image = tissue(0)
    elsewhere = np.where(REGION, image, 100 * np.random.RandomState(1).normal(size=REGION.shape))
    assert z_ratio(elsewhere, REGION, (1, 1, 1)) == z_ratio(image, REGION, (1, 1, 1))


def test_what_lies_in_one_slice_has_no_ratio():
    flat = np.zeros_like(REGION)
    flat[4:10, 4:10, 5] = True
    assert z_ratio(tissue(0), flat, (1, 1, 1)) is None
    assert z_ratio(np.zeros(REGION.shape), REGION, (1, 1, 1)) is None
    assert z_consistency([], [1.0]) is None and z_consistency([1.0], []) is None


def test_slices_are_refused():
    with pytest.raises(DataError, match="two volumes of one shape"):
        z_ratio(np.zeros((4, 4)), np.zeros((4, 4), bool), (1, 1))
