"""Errors by tissue of the real CT, overlap of bone, and enhanced blood told from bone, on drawings and phantoms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.audits.measures.hounsfield import (
    TISSUES_HU,
    beside_blood,
    bone_dice,
    enhanced_blood,
    region_errors,
    tissue_errors,
    tissues_of,
)
from medaug.audits.measures.similarity import ImagePair
from medaug.errors import DataError
from medaug.lesions.anatomy import body_of
from medaug.phantoms import phantoms
from medaug.volumes import Window


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


SPACING_MM = (2.0, 2.0)
BODY = np.ones((64, 64), dtype=bool)
distance_mm = 2.0 * np.hypot(*(np.indices((64, 64)) - 31.5))


def disc(inside_hu: float, radius_mm: float, shell_hu: float | None = None) -> np.ndarray:
    """In muscle; with a shell of 4 mm where one is given."""
    image = np.where(distance_mm <= radius_mm, inside_hu, 50.0)
    if shell_hu is not None:
        image[(distance_mm > radius_mm - 4) & (distance_mm <= radius_mm)] = shell_hu
    return image


@settings(max_examples=20, deadline=None)
@given(st.floats(180, 380), st.floats(9, 40))
def test_a_thick_vessel_is_found_with_its_size(hu, radius_mm):
    found = enhanced_blood(disc(hu, radius_mm), BODY, SPACING_MM)
    assert not found[distance_mm > radius_mm + 2].any() and found[distance_mm <= radius_mm - 4].all()


@pytest.mark.parametrize(
    "image",
    [
        disc(50, 20), disc(110, 20), disc(200, 20, shell_hu=800), disc(900, 20), disc(200, 3),
    ],
    ids=["blood alone", "liver", "marrow in its cortex", "first pass", "thin vessel"],
)  # fmt: skip
def test_what_is_no_enhanced_blood(image):
    assert not enhanced_blood(image, BODY, SPACING_MM).any()


def test_nothing_outside_the_body_is_blood():
    assert not enhanced_blood(disc(200, 20), distance_mm > 30, SPACING_MM).any()


def test_a_volume_is_looked_at_slice_by_slice():
    slices = [disc(200, 20), disc(200, 20, shell_hu=800), disc(50, 20)]
    volume, body = np.stack(slices, axis=-1), np.stack([BODY] * 3, axis=-1)
    found = enhanced_blood(volume, body, (*SPACING_MM, 5.0))
    for z, plane in enumerate(slices):
        np.testing.assert_array_equal(found[..., z], enhanced_blood(plane, BODY, SPACING_MM))


def test_soft_tissue_beside_blood_keeps_away_from_its_edge_and_from_bone_and_fat():
    image = disc(200, 20)
    image[:, :20] = -100.0
    image[:20] = 700.0
    found = beside_blood(image, enhanced_blood(image, BODY, SPACING_MM), BODY, SPACING_MM)
    assert found.any() and distance_mm[found].min() > 20 and distance_mm[found].max() < 40
    assert (image[found] == 50).all()


def test_voxels_too_large_to_see_a_cortex_are_refused():
    with pytest.raises(DataError, match="found voxels of 6 mm in the plane; expected up to 4.5 mm"):
        enhanced_blood(disc(200, 20), BODY, (6.0, 6.0))


def test_phantoms_have_it_in_kidneys_and_great_vessels_and_none_without_contrast_agent():
    for phantom in phantoms("abdomen", 2, seed=1, shape=(96, 96, 6), spacing_mm=(4.0, 4.0, 32.0)):
        found, shares = {}, {}
        for phase in ("contrast", "noncontrast"):
            image = phantom.images[phase].astype(np.float32)
            body = body_of(image, Window(-160, 240, "HU"), phantom.spacing_mm)
            found[phase] = enhanced_blood(image, body, phantom.spacing_mm)
            shares[phase] = found[phase].sum() / body.sum()
        kidneys, liver, spine = (phantom.organs == number for number in (2, 1, 3))
        blood = found["contrast"]
        assert blood[kidneys].mean() > 0.7 > 0.1 > blood[liver].mean() and blood[spine].mean() < 0.02
        assert blood[~kidneys & ~liver].any() and not found["noncontrast"][kidneys].any()
        assert shares["noncontrast"] < 0.005 and shares["contrast"] > 5 * shares["noncontrast"]
