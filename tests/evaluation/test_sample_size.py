"""How many patients would tell: the formula, its limits, and what it says of simulated test sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaug.evaluation.statistics import compare, lacking, least_patients, patients_needed, seed_share


def drawn(patients, seeds, *, of_patients, of_seeds, rest, mean=0.0, state=0):
    rng = np.random.RandomState(state)
    return (
        mean + of_patients * rng.randn(patients, 1) + of_seeds * rng.randn(1, seeds) + rest * rng.randn(patients, seeds)
    )


def test_half_the_difference_takes_four_times_the_patients():
    assert patients_needed(20, 0.1, 0.1) == 20
    assert patients_needed(20, 0.1, 0.05) == 80


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0, 0.95))
def test_a_larger_difference_never_takes_more_patients(smaller, more, share):
    few, many = (patients_needed(30, 0.1, wanted, share) for wanted in (smaller + more, smaller))
    assert many is None or (few is not None and few <= many)


def test_what_seeds_vary_no_number_of_patients_lowers():
    assert patients_needed(20, 0.1, 0.05, share=0.5) is None
    assert patients_needed(20, 0.1, 0.08, share=0.5) > patients_needed(20, 0.1, 0.08)


def test_no_fewer_patients_are_named_than_the_corrected_test_can_decide_on():
    assert patients_needed(20, 0.1, 10.0) == least_patients() == 6
    assert patients_needed(20, 0.1, 10.0, n_comparisons=7) == least_patients(7) == 9
    assert lacking(9, 2, 7) == [] and len(lacking(8, 1, 7)) == 2


def test_no_difference_needs_more_patients_than_there_are():
    assert patients_needed(20, 0.1, 0.0) is None


def test_the_share_is_that_of_the_planted_spreads():
    assert seed_share(drawn(200, 6, of_patients=0.1, of_seeds=0, rest=0)) < 1e-9
    assert seed_share(drawn(200, 6, of_patients=0, of_seeds=0.1, rest=0.001)) > 0.99
    shares = [seed_share(drawn(60, 4, of_patients=0.1, of_seeds=0.05, rest=0.05, state=i)) for i in range(40)]
    # variances of the mean: seeds 0.05² / 4; patients 0.1² / 60; rest 0.05² / 240
    assert np.mean(shares) == pytest.approx(0.0025 / 4 / (0.0025 / 4 + 0.01 / 60 + 0.0025 / 240), abs=0.12)


def test_one_seed_says_nothing_of_how_seeds_vary():
    assert seed_share(drawn(20, 1, of_patients=0.1, of_seeds=0.1, rest=0)) == 0


def test_so_many_patients_show_the_difference_in_about_four_of_five_repeats():
    def compared(patients, mean, state):
        scores = drawn(patients, 2, of_patients=0.1, of_seeds=0, rest=0.02, mean=mean, state=state)
        return compare(
            scores,
            np.zeros_like(scores),
            metric="dice",
            higher_is_better=True,
            rng=np.random.RandomState(0),
            resamples=400,
        )

    detectable = np.mean([compared(20, 0.0, state).smallest_detectable for state in range(10)])
    needed = patients_needed(20, float(detectable), 0.04)
    shown = np.mean([compared(needed, 0.04, state).verdict == "helps" for state in range(60)])
    assert 0.65 < shown < 0.97
