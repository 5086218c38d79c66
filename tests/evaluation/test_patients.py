"""Patients scored in this process and in others: the same figures, cut out of the scan or not."""

import os
from functools import partial

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from medaug.errors import RunError
from medaug.evaluation.metrics import score_patient
from medaug.evaluation.outlines import Outlined
from medaug.evaluation.patients import score_outlined
from medaug.processes import worked_out

SCORED = {"whole": (1, 2), "core": (2,), "nothing": (7,)}
SPACING_MM = (0.9375, 0.9375, 1.5)


def outlines(seed: int, shape: tuple[int, ...] = (40, 36, 20)) -> Outlined:
    rng = np.random.RandomState(seed)
    maps = []
    for _ in range(2):
        field = gaussian_filter(rng.normal(size=shape), 3)
        maps.append(np.digitize(field, np.quantile(field, (0.9, 0.96))).astype(np.uint8))
    return Outlined(f"scan {seed}", *maps, SPACING_MM[: len(shape)])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_figures_are_the_same_whatever_the_number_of_processes(workers):
    tasks = [partial(score_outlined, [outlines(seed), outlines(seed + 9)], SCORED, 2.0) for seed in range(4)]
    assert list(worked_out(tasks, workers, setting="")) == list(worked_out(tasks, 0, setting=""))


def test_what_is_cut_to_the_outlines_scores_as_the_whole_volume_does():
    part = outlines(0)
    around = [np.pad(array, 30) for array in (part.prediction, part.truth)]
    wide = Outlined("scan", *around, SPACING_MM)
    found, expected = (score_outlined([maps], SCORED, 2.0) for maps in (part, wide))
    assert found.scores == expected.scores
    for kind, classes in SCORED.items():
        assert found.scores[kind] == score_patient(
            [tuple(np.isin(a, classes) for a in (part.prediction, part.truth))], SPACING_MM
        )
        free = [counts.detection[kind]["tumor_free"] for counts in (found, expected)]
        assert free[1] == free[0] | {"slices": free[0]["slices"] + 60}


@pytest.mark.parametrize("shape", [(40, 36), (40, 36, 20)])
def test_distances_are_those_of_a_distance_transform_of_the_whole_image(shape):
    region = outlines(1, shape).region((1, 2))
    surfaces = [mask & ~binary_erosion(mask) for mask in (region.prediction, region.truth)]
    for side, found_mm in enumerate(region.distances_mm):
        to_the_other = distance_transform_edt(~surfaces[1 - side], sampling=region.spacing_mm)
        np.testing.assert_allclose(found_mm, to_the_other[surfaces[side]], rtol=1e-12)


def test_a_picture_beside_volumes_is_scored_as_a_volume_of_one_slice():
    volume, picture = outlines(2), outlines(3, (40, 36))
    stacked = Outlined("b", picture.prediction[..., None], picture.truth[..., None], SPACING_MM)
    found, expected = (score_outlined([volume, other], SCORED, 2.0) for other in (picture, stacked))
    assert found.scores == expected.scores


def test_a_process_that_is_ended_from_outside_is_told_with_the_way_round_it():
    with pytest.raises(RunError, match="evaluation.workers=0"):
        list(worked_out([partial(os._exit, 9)], 1, setting="evaluation.workers"))
