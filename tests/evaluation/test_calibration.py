"""Verdicts have the error that they promise, in simulated evaluations as `make calibration` makes them."""

import pytest

from tests.benchmarks.calibration import Setting, rates


@pytest.mark.parametrize(
    ("setting", "families"),
    [(Setting("organ", 33, 2, 1), 300), (Setting("tumor", 33, 2, 1), 300), (Setting("organ", 46, 2, 1, folds=5), 300)],
)
def test_an_interval_seldom_excludes_what_is_true_though_seeds_are_two(setting, families):
    """Bounds are 5 % and three standard errors; one t with Satterthwaite's freedom comes to 13 % in the first."""
    found = rates(setting, families)
    error = 3 * (0.05 * 0.95 / families) ** 0.5
    assert found.excludes <= 0.05 + error and found.misses <= 0.05 + error * 2**0.5


def test_seven_arms_without_an_effect_seldom_give_a_verdict_and_one_that_is_there_is_found():
    """Not pooled over arms, the seeds' spread lets a third of such evaluations have a verdict."""
    found = rates(Setting("organ", 33, 2, 7), 60)
    assert found.any_false <= 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5
    assert found.alone >= 0.7 and found.power >= 0.3
