"""Fréchet distance: other textures are caught, honest draws pass, and it is the distance it claims to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.audits.measures.lesions import standardised
from medaug.audits.measures.sets import components_for, frechet_audit, frechet_distance
from medaug.errors import DataError

from .population import limits_of

seeds = st.integers(0, 2**31 - 1)


def frechet(study, made):
    return frechet_audit(study.held_out, made, limits_of("frechet"), seed=0)


@pytest.mark.parametrize("grain", [0.6, 2.0])
def test_another_texture_fails(study, grain):
    finding = frechet(study, study.drawn(grain=grain))
    assert finding.verdict == "fail"
    assert finding.low > finding.floor


def test_honest_draws_pass(honest):
    verdicts = [frechet(study, made).verdict for study, made in honest]
    assert "fail" not in verdicts
    assert verdicts.count("pass") >= 2


def test_too_few_lesions_for_the_features_are_said_and_reduced(study):
    finding = frechet(study, study.drawn())
    assert finding.details["components"] == finding.n["lesions a side"] // 10
    assert finding.details["components"] < finding.details["features"]
    assert "Too few lesions" in finding.sentence


def test_many_lesions_keep_all_features():
    rows = np.random.RandomState(0).normal(size=(40, 2))
    assert components_for([rows, rows], np.repeat(["a", "b", "c", "d"], 10), group=2) == 2


def test_frechet_distance_of_known_gaussians():
    """Scaling one axis by 3 and moving it by 2: 2² + (3 − 1)²."""
    rows = np.random.RandomState(0).normal(size=(500, 3))
    rows = (rows - rows.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    assert frechet_distance(rows, rows * [3, 1, 1] + [2, 0, 0]) == pytest.approx(8.0)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 5))
def test_the_distance_is_zero_on_equal_sets_and_symmetric(seed, features):
    rng = np.random.RandomState(seed)
    first, second = rng.normal(size=(30, features)), rng.normal(1, 2, size=(25, features))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 5), st.floats(0.1, 5))
def test_the_distance_grows_with_a_shift(seed, features, shift):
    rows = np.random.RandomState(seed).normal(size=(30, features))
    near, moved, far = (frechet_distance(rows, rows + times * shift) for times in (0, 1, 2))
    assert near < moved < far


def test_sets_of_one_row_are_refused():
    with pytest.raises(DataError, match="at least 2"):
        frechet_distance(np.zeros((1, 2)), np.zeros((5, 2)))


def test_features_that_are_constant_among_real_lesions_are_left_out():
    real = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert standardised(np.array([[4.0, 9.0]]), real) == pytest.approx(np.array([[2.0]]))
