"""The probe sees crude fakes, stays at chance where there is nothing to see, and never splits a patient."""

import numpy as np
import pytest

from medaug.audits.measures.features import FEATURE_NAMES, lesion_features
from medaug.audits.measures.probe import probe_auc
from medaug.errors import DataError


@pytest.fixture(scope="module")
def features(lesion):
    """Real and grey lesions of 12 patients, 5 each."""
    rng = np.random.RandomState(0)
    patients = [f"patient {p}" for p in range(12) for _ in range(5)]
    sets = {
        name: np.stack([lesion_features(*lesion(rng, grey=grey)) for _ in patients])
        for name, grey in (("real", False), ("real again", False), ("grey", True))
    }
    return sets, patients


@pytest.fixture(scope="module")
def chance(features):
    sets, patients = features
    return probe_auc(sets["real"], patients, sets["real again"], patients, seed=3)


def test_grey_blobs_are_told_from_real_lesions(features):
    sets, patients = features
    result = probe_auc(sets["real"], patients, sets["grey"], patients, seed=0)
    assert result.auc > 0.95
    assert result.low > 0.9
    assert (result.n_real, result.n_synthetic, result.n_patients) == (60, 60, 12)
    assert set(result.top_features) <= set(FEATURE_NAMES) and len(result.top_features) == 5


def test_lesions_of_one_distribution_are_at_chance(chance):
    assert 0.35 < chance.auc < 0.65
    assert chance.low < 0.5 < chance.high


def test_a_planted_feature_is_named_first():
    rng = np.random.RandomState(0)
    real, synthetic = rng.normal(size=(60, 6)), rng.normal(size=(60, 6))
    synthetic[:, 4] += 3
    patients = [str(i // 5) for i in range(60)]
    names = [f"name {i}" for i in range(6)]
    result = probe_auc(real, patients, synthetic, patients, seed=0, feature_names=names)
    assert result.auc > 0.95
    assert result.top_features[0] == "name 4"


def test_knowing_the_patient_gains_nothing():
    """Real and synthetic lesions of different patients; the only features are one indicator per patient."""
    patients = np.repeat(np.arange(12), 6)
    identity = np.eye(12)[patients]
    synthetic = (patients % 2).astype(bool)

    def auc(groups):
        return probe_auc(identity[~synthetic], groups[~synthetic], identity[synthetic], groups[synthetic], seed=0).auc

    assert auc(patients) == pytest.approx(0.5, abs=0.1)
    assert auc(np.arange(len(patients))) > 0.95  # the control: with patients split over folds, identity is enough


def test_the_same_seed_gives_the_same_result(features, chance):
    sets, patients = features
    assert probe_auc(sets["real"], patients, sets["real again"], patients, seed=3) == chance


def test_fewer_than_four_patients_are_refused(features):
    sets, patients = features
    few = [str(i % 3) for i in range(len(patients))]
    with pytest.raises(DataError, match="3 patients"):
        probe_auc(sets["real"], few, sets["grey"], few, seed=0)
    with pytest.raises(DataError, match="synthetic lesions: found 1 patients"):
        probe_auc(sets["real"], patients, sets["grey"], ["a"] * len(patients), seed=0)


def test_features_that_do_not_fit_or_are_not_finite_are_refused(features):
    sets, patients = features
    bad = sets["grey"].copy()
    bad[0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        probe_auc(sets["real"], patients, bad, patients, seed=0)
    with pytest.raises(DataError, match="one patient per lesion"):
        probe_auc(sets["real"], patients[:-1], sets["grey"], patients, seed=0)
    with pytest.raises(DataError, match="expected equal"):
        probe_auc(sets["real"][:, :-1], patients, sets["grey"], patients, seed=0)


@pytest.mark.parametrize("shape", [(40, 40), (31, 44), (40, 40, 24)])
def test_features_are_finite_and_named_in_two_and_three_dimensions(lesion, shape):
    for grey in (False, True):
        values = lesion_features(*lesion(np.random.RandomState(1), shape, grey=grey))
        assert values.shape == (len(FEATURE_NAMES),)
        assert np.isfinite(values).all()


def test_features_of_a_single_voxel_and_of_a_constant_crop_are_finite():
    mask = np.zeros((20, 20), bool)
    mask[10, 10] = True
    assert np.isfinite(lesion_features(np.zeros((20, 20)), mask)).all()


def test_named_features_mean_what_they_say(lesion):
    crop, mask = lesion(np.random.RandomState(2))
    named = dict(zip(FEATURE_NAMES, lesion_features(crop, mask), strict=True))
    assert named["inside mean"] == pytest.approx(crop[mask].mean(), abs=1e-6)
    assert named["contrast"] > 0.3
    assert named["edge / ring gradient"] > 1
    assert sum(named[f"inside pattern {code}"] for code in range(10)) == pytest.approx(1.0)
    flat = dict(zip(FEATURE_NAMES, lesion_features(*lesion(np.random.RandomState(2), grey=True)), strict=True))
    assert flat["inside std"] < 1e-6 < named["inside std"]
    assert flat["edge log Laplacian energy"] > named["edge log Laplacian energy"]


def test_empty_masks_full_masks_and_other_shapes_are_refused():
    crop = np.zeros((20, 20))
    with pytest.raises(DataError, match="no lesion voxel"):
        lesion_features(crop, np.zeros((20, 20), bool))
    with pytest.raises(DataError, match="margin"):
        lesion_features(crop, np.ones((20, 20), bool))
    with pytest.raises(DataError, match="channel axis"):
        lesion_features(crop[None], np.ones((20, 20), bool))
    with pytest.raises(DataError, match="NaN"):
        lesion_features(np.full((20, 20), np.nan), np.ones((20, 20), bool))
