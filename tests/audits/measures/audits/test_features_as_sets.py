"""Fréchet distance and MMD²: other textures are caught, honest draws pass, and both are the distances they claim."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.audits.measures.frechet import frechet_audit, frechet_distance
from medaug.audits.measures.kernel import kernel_audit, mmd2
from medaug.audits.measures.lesions import standardised
from medaug.audits.measures.radiomics import radiomics_table
from medaug.errors import DataError

from .population import Study, limits_of

seeds = st.integers(0, 2**31 - 1)


def frechet(study, made):
    tables = (study.held_out.features, made.features)
    return frechet_audit(study.held_out, made, tables, limits_of("frechet"), name="frechet", kind="own", seed=0)


def kernel(study, made):
    return kernel_audit(study.held_out, made, limits_of("kernel"), seed=0)


@pytest.mark.parametrize("audit", [frechet, kernel])
@pytest.mark.parametrize("grain", [0.6, 2.0])
def test_another_texture_fails(study, audit, grain):
    finding = audit(study, study.drawn(grain=grain))
    assert finding.verdict == "fail"
    assert finding.low > finding.floor


@pytest.mark.parametrize("audit", [frechet, kernel])
def test_honest_draws_pass(audit, honest):
    verdicts = [audit(study, made).verdict for study, made in honest]
    assert "fail" not in verdicts
    assert verdicts.count("pass") >= 2


def test_another_texture_fails_by_radiomics():
    pytest.importorskip("numpyradiomics", reason="needs medaug[radiomics]")
    study = Study(0, held_out=16, lesions=6)
    made = study.drawn(grain=2.0)
    tables = tuple(radiomics_table(lesions.images, lesions.masks) for lesions in (study.held_out, made))
    limits = limits_of("frechet_radiomics")
    finding = frechet_audit(study.held_out, made, tables, limits, name="frechet_radiomics", kind="radiomics", seed=0)
    assert finding.verdict == "fail"


def test_too_few_lesions_for_the_features_are_said_and_reduced(study):
    finding = frechet(study, study.drawn())
    assert finding.details["components"] == finding.n["lesions a side"] // 10
    assert finding.details["components"] < finding.details["features"]
    assert "Too few lesions" in finding.sentence


def test_many_lesions_keep_all_features():
    rng = np.random.RandomState(0)
    study = Study(0, held_out=4, lesions=10)
    tables = (rng.normal(size=(40, 2)), rng.normal(size=(40, 2)))
    limits = limits_of("frechet")
    finding = frechet_audit(study.held_out, study.drawn(), tables, limits, name="frechet", kind="own", seed=0)
    assert (finding.details["components"], finding.details["features"]) == (2, 2)
    assert "Too few" not in finding.sentence


def test_frechet_distance_of_known_gaussians():
    """Scaling one axis by 3 and moving it by 2: 2² + (3 − 1)²."""
    rows = np.random.RandomState(0).normal(size=(500, 3))
    rows = (rows - rows.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    assert frechet_distance(rows, rows * [3, 1, 1] + [2, 0, 0]) == pytest.approx(8.0)


def test_mmd_is_the_mean_over_pairs_without_the_diagonal():
    first, second = np.array([[1.0], [2.0]]), np.array([[0.0], [1.0], [3.0]])

    def k(x, y):
        return (x * y + 1) ** 3

    within = k(1, 2) + np.mean([k(0, 1), k(0, 3), k(1, 3)])
    across = np.mean([k(x, y) for x in (1, 2) for y in (0, 1, 3)])
    assert mmd2(first, second) == pytest.approx(within - 2 * across)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 5))
def test_distances_are_zero_on_equal_sets_and_symmetric(seed, features):
    rng = np.random.RandomState(seed)
    first, second = rng.normal(size=(30, features)), rng.normal(1, 2, size=(25, features))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert mmd2(first, first) <= 1e-9  # the unbiased estimate is below 0 where both sets are one
    for distance in (frechet_distance, mmd2):
        assert distance(first, second) == pytest.approx(distance(second, first), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 5), st.floats(0.1, 5))
def test_distances_grow_with_a_shift(seed, features, shift):
    rows = np.random.RandomState(seed).normal(size=(30, features))
    rows -= rows.mean(axis=0)
    # below one standard deviation the unbiased estimate of MMD follows the skew of 30 rows, not their mean
    for distance, step in ((frechet_distance, shift), (mmd2, 1 + shift)):
        near, moved, far = (distance(rows, rows + times * step) for times in (0, 1, 2))
        assert near < moved < far


def test_mmd_of_one_population_is_zero_on_average():
    rng = np.random.RandomState(0)
    estimates = [mmd2(rng.normal(size=(12, 4)), rng.normal(size=(12, 4))) for _ in range(400)]
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / 20


def test_sets_of_one_row_are_refused():
    for distance in (frechet_distance, mmd2):
        with pytest.raises(DataError, match="at least 2"):
            distance(np.zeros((1, 2)), np.zeros((5, 2)))


def test_features_that_are_constant_among_real_lesions_are_left_out():
    real = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert standardised(np.array([[4.0, 9.0]]), real) == pytest.approx(np.array([[2.0]]))
