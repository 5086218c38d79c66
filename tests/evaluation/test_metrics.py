"""Scores against hand-computed values and against MONAI."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from medaug.errors import DataError
from medaug.evaluation.metrics import METRICS, score_patient


def square(shape, corner, size):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = True
    return mask


def blob_pair(seed, shape):
    rng = np.random.RandomState(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    masks = []
    for _ in range(2):
        center = np.array([n / 2 for n in shape]) + rng.uniform(-3, 3, len(shape))
        distance = np.sqrt(((grid - center.reshape(-1, *[1] * len(shape))) ** 2).sum(0))
        masks.append(distance + rng.normal(0, 0.7, shape) < 6)
    return tuple(masks)


def test_perfect_prediction_gets_the_best_scores():
    mask = square((20, 20), (4, 5), (6, 7))
    assert score_patient([(mask, mask)], (1.0, 1.0)) == {"dice": 1.0, "hd95_mm": 0.0, "nsd": 1.0}


def test_dice_of_a_half_overlap_is_the_hand_computed_value():
    truth, prediction = square((20, 20), (2, 2), (4, 4)), square((20, 20), (4, 2), (4, 4))
    assert score_patient([(prediction, truth)], (1.0, 1.0))["dice"] == pytest.approx(0.5)


def test_dice_pools_voxels_over_the_slices_of_a_patient():
    big, small, none = square((20, 20), (2, 2), (10, 10)), square((20, 20), (2, 2), (2, 2)), np.zeros((20, 20), bool)
    assert score_patient([(big, big), (none, small)], (1, 1))["dice"] == pytest.approx(200 / 204)


def test_empty_truth_and_empty_prediction_count_as_right():
    none = np.zeros((10, 10), bool)
    assert score_patient([(none, none)], (1, 1)) == {"dice": 1.0, "hd95_mm": 0.0, "nsd": 1.0}


@pytest.mark.parametrize("missed", [True, False])
def test_a_missed_or_invented_tumor_gets_the_worst_finite_scores(missed):
    mask, none = square((30, 40), (3, 3), (4, 4)), np.zeros((30, 40), bool)
    pair = (none, mask) if missed else (mask, none)
    assert score_patient([pair], (2.0, 0.5)) == {"dice": 0.0, "hd95_mm": pytest.approx(np.hypot(60, 20)), "nsd": 0.0}


def test_hausdorff_distance_is_in_mm_along_each_axis():
    truth = square((30, 30), (10, 10), (1, 1))
    along_x, along_y = square((30, 30), (14, 10), (1, 1)), square((30, 30), (10, 14), (1, 1))
    assert score_patient([(along_x, truth)], (0.5, 3.0))["hd95_mm"] == pytest.approx(2.0)
    assert score_patient([(along_y, truth)], (0.5, 3.0))["hd95_mm"] == pytest.approx(12.0)


def test_surface_dice_depends_on_the_tolerance_in_mm():
    truth, shifted = square((30, 30), (5, 5), (10, 1)), square((30, 30), (5, 8), (10, 1))
    assert score_patient([(shifted, truth)], (1.0, 1.0), tolerance_mm=2.0)["nsd"] == 0.0
    assert score_patient([(shifted, truth)], (1.0, 0.5), tolerance_mm=2.0)["nsd"] == 1.0


def test_surface_scores_average_over_slices_with_truth_or_prediction_only():
    truth, shifted = square((30, 30), (5, 5), (1, 1)), square((30, 30), (9, 5), (1, 1))
    none = np.zeros((30, 30), bool)
    pairs = [(truth, truth), (shifted, truth), (none, none)]
    assert score_patient(pairs, (1, 1))["hd95_mm"] == pytest.approx(2.0)


@pytest.mark.parametrize(("shape", "spacing"), [((32, 28), (0.7, 1.3)), ((22, 20, 18), (0.8, 1.1, 2.5))])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_surface_scores_equal_monai(shape, spacing, seed):
    prediction, truth = blob_pair(seed, shape)
    mine = score_patient([(prediction, truth)], spacing, tolerance_mm=1.5)
    tensors = [torch.from_numpy(m)[None, None] for m in (prediction, truth)]
    assert mine["hd95_mm"] == pytest.approx(
        float(compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=spacing)), rel=1e-5
    )
    assert mine["nsd"] == pytest.approx(
        float(compute_surface_dice(*tensors, [1.5], include_background=True, spacing=spacing)), rel=1e-5
    )


def test_every_metric_has_a_key_a_direction_and_a_unit():
    scores = score_patient([(square((9, 9), (2, 2), (3, 3)),) * 2], (1, 1))
    assert list(scores) == list(METRICS)
    assert [METRICS[k].higher_is_better for k in ("dice", "hd95_mm", "nsd")] == [True, False, True]
    assert METRICS["hd95_mm"].unit == "mm"


def test_unequal_shapes_missing_spacing_and_no_pairs_are_refused():
    mask = square((9, 9), (2, 2), (3, 3))
    with pytest.raises(DataError, match="grid"):
        score_patient([(mask, mask[:-1])], (1, 1))
    with pytest.raises(DataError, match="spacing_mm"):
        score_patient([(mask, mask)], (1, 1, 1))
    with pytest.raises(DataError, match="at least one"):
        score_patient([], (1, 1))
