"""Errors by tissue of the real CT, and the overlap of bone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaug.audits.measures.hounsfield import TISSUES_HU, bone_dice, region_errors, tissue_errors, tissues_of
from medaug.audits.measures.similarity import ImagePair


def pair(real: list[float], synthetic: list[float], size: int = 8) -> list[ImagePair]:
    """These values in the first row, marked, and zeros below, unmarked."""
    images = [np.zeros((size, size)) for _ in range(2)]
    mask = np.zeros((size, size), dtype=bool)
    mask[0, : len(real)] = True
    for image, values in zip(images, (real, synthetic), strict=True):
        image[0, : len(values)] = values
    return [ImagePair(*images, mask)]


def test_errors_by_tissue_by_hand():
    found = tissue_errors(pair([-1000, -800, -100, 40, 60, 900], [-990, -800, -130, 60, 70, 600]))
    assert list(found) == ["air", "lung", "fat", "soft", "bone"]
    assert found["air"] == {"bias_hu": 10, "sd_hu": 0, "mae_hu": 10, "share": pytest.approx(1 / 6)}
    assert found["fat"]["bias_hu"] == -30 and found["bone"]["bias_hu"] == -300
    assert found["soft"] == {"bias_hu": 15, "sd_hu": 5, "mae_hu": 15, "share": pytest.approx(2 / 6)}


def test_a_tissue_that_the_real_ct_does_not_hold_is_not_listed():
    assert list(tissue_errors(pair([10, 20], [500, -900]))) == ["soft"]


def test_partial_volume_between_lung_and_fat_is_no_tissue():
    assert tissue_errors(pair([-300, -200], [0, 0])) == {}


@given(st.floats(-1024, 3000))
def test_no_value_is_two_tissues(value):
    assert sum(bool(members) for members in tissues_of(np.array(value)).values()) == (not -500 <= value < -190)


def test_tissues_meet_without_a_gap_from_fat_to_bone():
    bounds = [bound for name in ("fat", "soft", "bone") for bound in TISSUES_HU[name]]
    assert bounds[1] == bounds[2] and bounds[3] == bounds[4]


def test_bone_dice_by_hand():
    assert bone_dice(pair([200, 200, 0, 0], [300, 0, 160, 149])) == pytest.approx(2 * 1 / 4)
    assert bone_dice(pair([200, 0], [0, 0])) == 0.0
    assert bone_dice(pair([10, 20], [30, 40])) is None


def test_errors_of_a_region_count_every_tissue_in_it():
    found = region_errors(pair([40, 900], [50, 870]))
    assert found == {"bias_hu": -10, "sd_hu": 20, "mae_hu": 20}
