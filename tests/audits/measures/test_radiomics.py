"""Radiomics features mean what their names say, and are finite for every lesion."""

import sys

import numpy as np
import pytest

from medaug.audits.measures.radiomics import radiomics_available, radiomics_features, radiomics_table
from medaug.errors import ConfigError, DataError

needs_library = pytest.mark.skipif(not radiomics_available(), reason="needs medaug[radiomics]")


@needs_library
@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 24)])
def test_features_are_finite_and_the_same_in_every_crop(lesion, shape):
    rng = np.random.RandomState(0)
    rows = [radiomics_features(*lesion(rng, shape, grey=grey)) for grey in (False, True)]
    assert list(rows[0]) == list(rows[1])
    assert np.isfinite([list(row.values()) for row in rows]).all()


@needs_library
def test_only_the_lesion_counts(lesion):
    crop, mask = lesion(np.random.RandomState(0))
    assert radiomics_features(crop, mask) == radiomics_features(np.where(mask, crop, 0.7), mask)


@needs_library
def test_first_order_features_are_those_of_the_shifted_grey_levels(lesion):
    crop, mask = lesion(np.random.RandomState(0))
    found = radiomics_features(crop, mask)
    inside = crop[mask].astype(float) + 1
    assert found["firstorder Mean"] == pytest.approx(inside.mean())
    assert found["firstorder Energy"] == pytest.approx((inside**2).sum())


@needs_library
def test_a_checkerboard_has_the_co_occurrence_contrast_of_its_steps():
    """Neighbours along an axis are 2 levels apart, along a diagonal none: (4 + 4 + 0 + 0) / 4."""
    board = np.where(np.indices((16, 16)).sum(axis=0) % 2, 2.5, 0.5) * (2 / 32) - 1
    found = radiomics_features(board, np.ones((16, 16), bool))
    assert found["glcm Contrast"] == pytest.approx(2.0)


@needs_library
def test_a_single_voxel_has_features():
    mask = np.zeros((20, 20), bool)
    mask[10, 10] = True
    assert np.isfinite(list(radiomics_features(np.zeros((20, 20)), mask).values())).all()


@needs_library
def test_a_table_has_one_row_a_lesion(lesion):
    crops, masks = zip(*[lesion(np.random.RandomState(seed)) for seed in range(3)], strict=True)
    assert radiomics_table(np.array(crops), np.array(masks)).shape == (3, len(radiomics_features(crops[0], masks[0])))


@needs_library
def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="expected some"):
        radiomics_features(np.zeros((8, 8)), np.zeros((8, 8), bool))


def test_without_the_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpyradiomics", None)
    assert not radiomics_available()
    with pytest.raises(ConfigError, match=r"medaug\[radiomics\]"):
        radiomics_features(np.zeros((8, 8)), np.ones((8, 8), bool))
