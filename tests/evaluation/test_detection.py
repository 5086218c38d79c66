"""Lesions found, lost and gained, counted by connected parts; rates over patients, and what their intervals hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medaug.errors import DataError
from medaug.evaluation.detection import count_detections, interval_of, lost_and_gained, rates, ratio_scores
from medaug.evaluation.outlines import Outlined


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


def outlined(prediction, truth, scan="scan", spacing_mm=(1.0, 1.0), classes=(1,)):
    maps = Outlined(scan, np.asarray(prediction, np.uint8), np.asarray(truth, np.uint8), spacing_mm)
    return maps.region(classes)


def test_lesions_keep_their_size_in_mm_and_whether_they_were_found():
    truth = squares((2, 2)) | squares((20, 20), size=8)
    counts = count_detections([outlined(squares((3, 3), size=2), truth, spacing_mm=(2.0, 3.0))])
    (small, found), (large, lost) = counts["lesions"]
    assert (found, lost) == (True, False) and counts["dimensions"] == 2
    assert small == pytest.approx(2 * np.sqrt(9 * 6 / np.pi), abs=1e-3)
    assert large == pytest.approx(2 * np.sqrt(64 * 6 / np.pi), abs=1e-3)


def test_a_lesion_over_three_slices_counts_once_in_a_volume_and_three_times_in_pictures():
    truth = np.stack([squares((5, 5))] * 3 + [squares()], axis=-1)
    found = truth & (np.arange(4) == 1)
    volume = count_detections([outlined(found, truth, spacing_mm=(1.0, 1.0, 5.0))])
    pictures = count_detections([outlined(found[..., z], truth[..., z]) for z in range(4)])
    assert [hit for _, hit in volume["lesions"]] == [True] and volume["dimensions"] == 3
    assert [hit for _, hit in pictures["lesions"]] == [False, True, False] and pictures["dimensions"] == 2
    assert volume["lesions"][0][0] == pytest.approx(2 * (3 * 9 * 5 * 3 / (4 * np.pi)) ** (1 / 3), abs=1e-3)
    assert volume["scans"] == pictures["scans"] == 1
    assert volume["tumor_free"] == pictures["tumor_free"] | {"slices": 1}


def test_false_positives_are_counted_once_a_scan_and_by_scan_where_there_is_no_tumor():
    healthy, ill = squares(), squares((2, 2))
    counts = count_detections(
        [
            outlined(ill | squares((20, 20), (30, 30)), ill, "ill"),
            outlined(squares((20, 20)), healthy, "healthy"),
            outlined(squares((8, 8)), healthy, "healthy"),
        ]
    )
    assert (counts["scans"], counts["false_positives"]) == (2, 4)
    assert counts["tumor_free"] == {
        "scans": 1,
        "false_positives": 2,
        "slices": 2,
        "slice_false_positives": 2,
        "slice_voxels": 18,
    }


def test_a_prediction_that_runs_on_beyond_a_tumor_is_seen_in_the_slices_without_it():
    truth = np.stack([squares((5, 5), size=4), squares(), squares()], axis=-1)
    counts = count_detections([outlined(np.stack([squares((5, 5), size=4)] * 3, axis=-1), truth, spacing_mm=(1, 1, 1))])
    assert counts["false_positives"] == 0, "in 3-D it touches the lesion"
    assert counts["tumor_free"] == {
        "scans": 0,
        "false_positives": 0,
        "slices": 2,
        "slice_false_positives": 2,
        "slice_voxels": 32,
    }


def test_each_class_or_region_has_lesions_of_its_own_that_no_other_finds():
    one, beside, far = (squares(corner).astype(int) for corner in ((2, 2), (2, 5), (20, 20)))
    truth, prediction = one + 2 * beside + 2 * far, one + 2 * beside + far
    first, second, both = (count_detections([outlined(prediction, truth, classes=of)]) for of in ([1], [2], [1, 2]))
    assert [hit for _, hit in first["lesions"]] == [True] and first["false_positives"] == 1
    assert sorted(hit for _, hit in second["lesions"]) == [False, True]
    assert [hit for _, hit in both["lesions"]] == [True, True] and both["false_positives"] == 0, "as one region"


def test_one_part_over_everything_finds_nothing_and_is_a_false_positive():
    truth = squares((2, 2), (2, 30), size=4)
    counts = count_detections([outlined(np.ones((40, 40)), truth)])
    assert [hit for _, hit in counts["lesions"]] == [False, False] and counts["false_positives"] == 1


def test_a_lesion_is_found_from_an_iou_of_a_tenth_by_all_parts_that_touch_it_together():
    truth = squares((10, 10), size=10)
    just, less, pieces = (np.zeros((40, 40)) for _ in range(3))
    just[10, 10:20], less[10, 10:19] = 1, 1
    pieces[10, 10:15], pieces[14, 10:15] = 1, 1
    found = [count_detections([outlined(prediction, truth)]) for prediction in (just, less, pieces)]
    assert [counts["lesions"][0][1] for counts in found] == [True, False, True]
    assert [counts["false_positives"] for counts in found] == [0, 1, 0]


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (5, 5, 4)), arrays(bool, (5, 5, 4)))
def test_what_counts_as_found_is_at_least_touched_and_free_slices_are_counted_whole(prediction, truth):
    counts = count_detections([outlined(prediction, truth, spacing_mm=(1, 1, 1))])
    touched = lost_and_gained(prediction, truth)
    lost = sum(not hit for _, hit in counts["lesions"])
    assert len(counts["lesions"]) == touched.lesions
    assert lost >= touched.lost and counts["false_positives"] >= touched.gained
    free = ~truth.any(axis=(0, 1))
    assert counts["tumor_free"]["slices"] == free.sum()
    assert counts["tumor_free"]["slice_voxels"] == prediction[..., free].sum()
    itself = count_detections([outlined(truth, truth, spacing_mm=(1, 1, 1))])
    assert all(hit for _, hit in itself["lesions"]) and itself["false_positives"] == 0


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
    chances = np.array([1, 3, 2])
    every = ratio_scores(np.stack([chances, chances], axis=1), chances)
    interval = interval_of(sensitivity, every, chances)
    assert (interval.mean, interval.high) == (1, 1) and interval.low == pytest.approx(0.025 ** (1 / 3))
    none = interval_of(sensitivity, 0 * every, chances)
    assert (none.mean, none.low) == (0, 0) and none.high == pytest.approx(1 - 0.025 ** (1 / 3))
    assert interval_of(false_positives, 0 * every, chances).high == pytest.approx(-np.log(0.025) / 6)
    some = interval_of(sensitivity, ratio_scores(np.array([[1, 1], [3, 3], [2, 1]]), chances), chances)
    assert some.low < some.mean == pytest.approx(11 / 12) and some.mean < some.high <= 1


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
        held += not interval_of(rates(())["sensitivity"], ratio_scores(events, chances), chances).excludes(truth)
    assert 0.91 <= held / trials <= 0.995
