"""Pooled metrics: the AUC by hand, pseudo-values, and intervals over patients."""

import numpy as np
import pytest

from medaug.errors import DataError
from medaug.evaluation.metrics import POOLED_METRICS, Scored, auc, auc_interval, pseudo_values, within_patient


def patient(rng, slices=20, shift=1.0, own=0.5):
    tumor = rng.random_sample(slices) < 0.5
    return Scored(rng.normal(size=slices) + shift * tumor + own * rng.normal(), tumor)


def by_hand(patients):
    """Pairs of a tumor and a tumor-free slice of all patients, counted one by one."""
    positive = [s for p in patients for s, t in zip(p.scores, p.tumor, strict=True) if t]
    negative = [s for p in patients for s, t in zip(p.scores, p.tumor, strict=True) if not t]
    won = [(a > b) + 0.5 * (a == b) for a in positive for b in negative]
    return sum(won) / len(won)


SMALL = [
    Scored(np.array([0.9, 0.4]), np.array([True, False])),
    Scored(np.array([0.5, 0.5]), np.array([True, False])),
    Scored(np.array([0.2, 0.6]), np.array([True, False])),
]


def test_the_auc_counts_pairs_of_all_patients_and_ties_half():
    assert auc(np.array([0.9, 0.4, 0.5, 0.5, 0.2, 0.6]), np.array([1, 0] * 3, bool)) == pytest.approx(4.5 / 9)
    assert by_hand(SMALL) == pytest.approx(4.5 / 9)


def test_pseudo_values_are_the_jackknife_s_and_their_mean_is_the_auc():
    without = np.array([by_hand(SMALL[1:]), by_hand([SMALL[0], SMALL[2]]), by_hand(SMALL[:2])])
    jackknife = 3 * by_hand(SMALL) - 2 * without
    values = pseudo_values(SMALL)
    assert values.mean() == pytest.approx(by_hand(SMALL))
    np.testing.assert_allclose(values - values.mean(), jackknife - jackknife.mean())


def test_the_interval_is_that_of_a_bootstrap_over_patients():
    rng = np.random.RandomState(0)
    patients = [patient(rng) for _ in range(25)]
    draws = []
    for _ in range(400):
        drawn = [patients[i] for i in rng.randint(25, size=25)]
        draws.append(auc(np.concatenate([p.scores for p in drawn]), np.concatenate([p.tumor for p in drawn])))
    interval = auc_interval({str(i): p for i, p in enumerate(patients)})
    assert interval.mean == pytest.approx(by_hand(patients))
    assert interval.low == pytest.approx(np.quantile(draws, 0.025), abs=0.03)
    assert interval.high == pytest.approx(np.quantile(draws, 0.975), abs=0.03)


def test_slices_that_repeat_their_patient_do_not_narrow_the_interval():
    rng = np.random.RandomState(1)
    few = {str(i): patient(rng, slices=12, own=1.0) for i in range(12)}
    many = {name: Scored(np.repeat(p.scores, 10), np.repeat(p.tumor, 10)) for name, p in few.items()}
    a, b = (auc_interval(patients) for patients in (few, many))
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=1e-6)


def test_an_interval_of_few_patients_stays_between_0_and_1():
    interval = auc_interval(dict(zip("abc", SMALL, strict=True)))
    assert 0 <= interval.low < 0.5 < interval.high <= 1


def test_sensitivity_specificity_and_balanced_accuracy_count_at_one_half():
    scored = Scored(np.array([0.9, 0.4, 0.1, 0.6]), np.array([True, True, False, False]))
    assert within_patient(scored) == {"auc": 0.75, "balanced_accuracy": 0.5, "sensitivity": 0.5, "specificity": 0.5}
    pooled = pseudo_values(SMALL, POOLED_METRICS["sensitivity"].score).mean()
    assert pooled == pytest.approx(1 / 3)


def test_a_patient_of_one_kind_has_no_metric_alone_but_counts_in_the_pool():
    tumor_only = Scored(np.array([0.1]), np.array([True]))
    assert set(within_patient(tumor_only).values()) == {None}
    assert pseudo_values([*SMALL, tumor_only]).mean() == pytest.approx(by_hand([*SMALL, tumor_only]))


def test_too_few_patients_of_a_kind_are_refused():
    free = Scored(np.array([0.1]), np.array([False]))
    with pytest.raises(DataError, match="found 1 who have slices with, and 3 who have slices without"):
        pseudo_values([SMALL[0], free, free])
