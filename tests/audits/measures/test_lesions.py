"""Statistics of a lesion against values known by construction."""

import numpy as np
import pytest

from medaug.audits.measures.lesions import lesion_statistics
from medaug.errors import DataError
from medaug.lesions.geometry import ring


def disc(shape=(60, 60), radius=8.0, spacing=(1.0, 1.0)):
    grid = np.meshgrid(*[(np.arange(n) - n // 2) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    return np.sqrt(sum(g**2 for g in grid)) <= radius


def test_contrast_is_inside_minus_ring():
    mask = disc()
    found = lesion_statistics(np.where(mask, 0.5, -0.2), mask, (1, 1))
    assert found["contrast"] == pytest.approx(0.7)
    assert found["std_inside"] == pytest.approx(0.0)


def test_the_surroundings_are_a_ring_in_mm(lesion):
    crop, mask = lesion(np.random.RandomState(0))
    found = lesion_statistics(crop, mask, (0.8, 1.2))["contrast"]
    around = ring(mask, inner_mm=2.0, outer_mm=8.0, spacing_mm=(0.8, 1.2))
    assert found == pytest.approx(float(crop[mask].mean() - crop[around].mean()), abs=1e-5)


def test_only_the_organ_counts_as_surroundings():
    mask = disc()
    image = np.where(mask, 0.5, -0.2)
    organ = np.zeros_like(mask)
    organ[:30] = True
    image[30:][~mask[30:]] = -1.0  # air
    assert lesion_statistics(image, mask, (1, 1), organ)["contrast"] == pytest.approx(0.7)
    assert lesion_statistics(image, mask, (1, 1))["contrast"] > 1.0


def test_diameter_is_in_mm():
    spacing = (0.5, 2.0)
    found = lesion_statistics(np.zeros((120, 40)), disc((120, 40), 12.0, spacing), spacing)
    assert found["diameter_mm"] == pytest.approx(24, rel=0.03)
    ball = disc((40, 40, 20), 9.0, (1, 1, 2))
    assert lesion_statistics(np.zeros(ball.shape), ball, (1, 1, 2))["diameter_mm"] == pytest.approx(18, rel=0.03)


def test_a_sharp_edge_is_steeper_than_a_soft_one():
    mask = disc()
    distance = np.hypot(*(np.indices(mask.shape) - 30))
    soft = 0.6 / (1 + np.exp((distance - 8.5) / 1.5))
    sharp = np.where(mask, 0.6, 0.0)
    found = {name: lesion_statistics(image, mask, (1, 1)) for name, image in (("soft", soft), ("sharp", sharp))}
    assert found["sharp"]["edge_gradient_per_mm"] > 1.2 * found["soft"]["edge_gradient_per_mm"]


def test_gradients_are_per_mm():
    mask = disc()
    ramp = np.linspace(-0.5, 0.5, 60)[:, None] * np.ones((1, 60))
    fine, coarse = lesion_statistics(ramp, mask, (1, 1)), lesion_statistics(ramp, mask, (2, 2))
    assert fine["texture_gradient_per_mm"] == pytest.approx(1 / 59)
    assert coarse["texture_gradient_per_mm"] == pytest.approx(0.5 / 59)


def test_statistics_of_a_single_voxel_are_finite():
    mask = np.zeros((20, 20), bool)
    mask[10, 10] = True
    assert np.isfinite(list(lesion_statistics(np.zeros((20, 20)), mask, (1, 1)).values())).all()


def test_inputs_are_not_changed(lesion):
    crop, mask = lesion(np.random.RandomState(0))
    before = crop.copy(), mask.copy()
    lesion_statistics(crop, mask, (1, 1), np.ones_like(mask))
    assert np.array_equal(crop, before[0]) and np.array_equal(mask, before[1])


def test_what_cannot_be_measured_is_refused():
    mask, image = disc(), np.zeros((60, 60))
    with pytest.raises(DataError, match="no lesion voxel"):
        lesion_statistics(image, np.zeros_like(mask), (1, 1))
    with pytest.raises(DataError, match="inside the organ"):
        lesion_statistics(image, mask, (1, 1), mask)
    with pytest.raises(DataError, match="one grid for both"):
        lesion_statistics(image[1:], mask, (1, 1))
    with pytest.raises(DataError, match="spacing_mm"):
        lesion_statistics(image, mask, (1, 1, 1))
    with pytest.raises(DataError, match="NaN"):
        lesion_statistics(np.full_like(image, np.nan), mask, (1, 1))
