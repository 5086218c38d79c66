"""Rates over patients: ratios of sums, their size classes, and intervals that hold what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medaug.errors import DataError
from medaug.evaluation.detection import rate_interval, rates, ratio_scores


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, 9), st.integers(1, 4))
def test_the_mean_of_the_scores_is_the_ratio_of_the_sums(data, patients, seeds):
    chances = data.draw(arrays(int, patients, elements=st.integers(0, 6)).filter(lambda c: (c > 0).sum() > 1))
    events = data.draw(arrays(int, (patients, seeds), elements=st.integers(0, 6)))
    events = np.minimum(events, chances[:, None])
    scores = ratio_scores(events, chances)
    assert scores.shape == ((chances > 0).sum(), seeds)
    assert scores.mean() == pytest.approx(events.sum() / (seeds * chances.sum()))


def test_a_patient_without_lesions_changes_neither_the_rate_nor_its_interval():
    events, chances = np.array([[1, 2], [0, 1], [3, 3]]), np.array([2, 2, 3])
    more = ratio_scores(np.vstack([events, [[0, 0]]]), np.append(chances, 0))
    np.testing.assert_array_equal(more, ratio_scores(events, chances))


def test_one_patient_is_no_sample():
    with pytest.raises(DataError, match="found 1 patients"):
        ratio_scores(np.array([[1], [0]]), np.array([2, 0]))


def test_size_classes_meet_at_their_limits_and_leave_no_lesion_out():
    counts = {"lesions": [[9.99, True], [10.0, False], [19.9, True], [20.0, True], [300.0, False]]}
    known = {name: rate for name, rate in rates((10, 20)).items() if name.startswith("sensitivity")}
    assert {name: (rate.events(counts), rate.chances(counts)) for name, rate in known.items()} == {
        "sensitivity": (3, 5),
        "sensitivity: under 10 mm": (1, 1),
        "sensitivity: 10 to 20 mm": (1, 2),
        "sensitivity: 20 mm and more": (1, 2),
    }
    assert [rate.diameters_mm for rate in known.values()] == [(0, None), (0, 10), (10, 20), (20, None)]
    assert [name for name in rates(()) if name.startswith("sensitivity")] == ["sensitivity"]


def test_all_found_in_few_patients_is_not_certainty():
    sensitivity, false_positives = (rates((10,))[name] for name in ("sensitivity", "false_positives"))
    rng, chances = np.random.RandomState(0), np.array([1, 3, 2])
    every = ratio_scores(np.stack([chances, chances], axis=1), chances)
    interval = rate_interval(sensitivity, every, rng)
    assert (interval.mean, interval.high) == (1, 1) and interval.low == pytest.approx(0.025 ** (1 / 3))
    none = rate_interval(sensitivity, 0 * every, rng)
    assert (none.mean, none.low) == (0, 0) and none.high == pytest.approx(1 - 0.025 ** (1 / 3))
    assert rate_interval(false_positives, 0 * every, rng).high == 0
    some = rate_interval(sensitivity, ratio_scores(np.array([[1, 1], [3, 3], [2, 1]]), chances), rng)
    assert some.low < some.mean == pytest.approx(11 / 12) and some.high == 1


@pytest.mark.parametrize(("patients", "seeds", "lesions"), [(10, 3, 2.0), (30, 3, 0.5), (30, 1, 2.0)])
def test_intervals_hold_the_true_rate_as_often_as_they_say(patients, seeds, lesions):
    """With one seed the interval knows nothing of seeds: there is then no spread of them to know of."""
    rng, trials, between_seeds = np.random.RandomState(0), 200, 0.2 if seeds > 1 else 0.0

    def found(own, shared):
        return 1 / (1 + np.exp(-(0.8 + own + shared)))

    truth = found(rng.normal(size=100_000), rng.normal(0, between_seeds, 100_000)).mean()
    held = 0
    for _ in range(trials):
        chances = rng.poisson(lesions, patients)
        share = found(rng.normal(size=(patients, 1)), rng.normal(0, between_seeds, seeds))
        events = rng.binomial(chances[:, None], share)
        held += not rate_interval(rates(())["sensitivity"], ratio_scores(events, chances), rng).excludes(truth)
    assert 0.91 <= held / trials <= 0.995
