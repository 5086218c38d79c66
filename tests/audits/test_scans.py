"""The trivial translations: the mean image, and intensity alone."""

import numpy as np
import pytest

from medaug.audits.scans import IntensityRegression, MeanImage, RegisteredCase


def test_the_mean_image_is_the_voxelwise_mean_of_one_shape():
    rng = np.random.RandomState(0)
    images = [rng.randn(2, 6, 5) for _ in range(3)]
    mask = np.zeros((6, 5), dtype=bool)
    mask[2:4] = True
    mean = MeanImage([(image, mask) for image in images])
    np.testing.assert_allclose(mean(np.zeros((1, 6, 5))), np.mean(images, axis=0))
    other = mean(np.zeros((1, 4, 4, 3)))  # a shape never seen
    assert other.shape == (2, 4, 4, 3)
    for channel in range(2):
        assert np.unique(other[channel]) == pytest.approx(np.mean([i[channel][mask] for i in images]))


def test_the_regression_finds_a_function_of_intensity_that_is_not_monotone():
    rng = np.random.RandomState(0)
    source = rng.uniform(-1, 1, (1, 60, 60))
    target = 1000 * source**2 + rng.randn(60, 60)
    regression = IntensityRegression([RegisteredCase(source, target, np.ones((60, 60), dtype=bool))])
    asked = np.array([[-0.9, 0.0, 0.5]])
    np.testing.assert_allclose(regression(asked), 1000 * asked**2, atol=15)


def test_the_regression_looks_inside_the_body_only_and_bridges_intensities_it_never_met():
    source = np.array([[-1.0, -0.5, 0.5, 1.0]])
    target = np.array([[999.0, 0.0, 100.0, 999.0]])
    regression = IntensityRegression([RegisteredCase(source, target, np.array([False, True, True, False]))])
    np.testing.assert_allclose(regression(np.array([[-1.0, -0.5, 0.0, 0.5, 1.0]])), [[0, 0, 50, 100, 100]])


def test_the_regression_adds_a_curve_for_every_sequence_whatever_they_share():
    rng = np.random.RandomState(0)
    first = rng.uniform(-1, 1, (80, 80))
    source = np.stack([first, (0.6 * first + 0.4 * rng.uniform(-1, 1, (80, 80)))])
    target = np.stack([300 * source[0] ** 2 - 200 * source[1], 50 * source[1]])
    regression = IntensityRegression([RegisteredCase(source, target, np.ones((80, 80), dtype=bool))])
    assert np.abs(regression(source) - target).mean(axis=(1, 2)).max() < 4
