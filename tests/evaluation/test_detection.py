"""Lesions lost and gained, counted by connected parts."""

import numpy as np
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from medaug.evaluation import lost_and_gained


def squares(*corners: tuple[int, int], size: int = 3) -> np.ndarray:
    mask = np.zeros((40, 40), dtype=bool)
    for x, y in corners:
        mask[x : x + size, y : y + size] = True
    return mask


def test_a_lesion_that_is_touched_is_found_and_one_that_is_not_is_lost():
    truth = squares((2, 2), (20, 20))
    assert lost_and_gained(squares((4, 4)), truth) == (2, 1, 0)


def test_a_predicted_part_that_touches_nothing_is_gained_unless_it_is_a_speck():
    truth = squares((2, 2))
    assert lost_and_gained(truth | squares((30, 30)), truth) == (1, 0, 1)
    assert lost_and_gained(truth | squares((30, 30), size=2), truth) == (1, 0, 0)


def test_one_part_over_two_lesions_finds_both_and_diagonals_connect():
    truth = squares((2, 2), (2, 8))
    assert lost_and_gained(squares((1, 1), size=12), truth) == (2, 0, 0)
    assert lost_and_gained(squares(), squares((2, 2), (5, 5))) == (1, 1, 0)


def test_a_scan_without_lesions_and_predictions_counts_nothing():
    assert lost_and_gained(squares(), squares()) == (0, 0, 0)


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (6, 6, 4)))
def test_the_truth_itself_loses_and_gains_nothing(mask):
    counts = lost_and_gained(mask, mask)
    assert counts.lost == counts.gained == 0
    assert lost_and_gained(np.zeros_like(mask), mask).lost == counts.lesions
