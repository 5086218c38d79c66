"""What changed and where: outside, unchanged, seams, checkerboards, and what is hidden."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medaug.audits.measures.edits import (
    Cycle,
    Spectral,
    checkerboard,
    outside,
    reconstructed,
    seams,
    steganography,
    unchanged,
    window_seams,
)
from medaug.audits.measures.finding import Limits, over_patients

from .conftest import with_lesion

NONE = Limits(0, 0)
SOME = Limits(1.5, 2.5)
ONE = ("flair",)


def inside(image, mask, rng):
    return np.where(mask, with_lesion(image, mask, rng), image)


def test_one_voxel_outside_is_one_too_many(views):
    _, made = views(inside)
    assert outside(made, NONE, ONE).verdict == "pass"
    made[3].changed[0, 0, 0] = True
    finding = outside(made, NONE, ONE)
    assert finding.verdict == "fail" and finding.value == 1 and finding.details["insertions_with_changes"] == 1


def test_insertions_without_effect_are_counted(views):
    _, made = views(lambda image, mask, rng: image if rng.random_sample() < 0.5 else inside(image, mask, rng))
    without = sum((i.image == i.before).all() for i in made)
    finding = unchanged(made, Limits(0.02, 0.1), ONE)
    assert finding.value == pytest.approx(without / 24) and finding.n["asked"] == 24
    assert unchanged([], Limits(0.02, 0.1), ONE).verdict == "skipped"


@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_a_step_is_found_at_the_distance_where_it_is(views, width):
    def framed(image, mask, rng):
        region = ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=width) if width else mask
        return np.where(region, image + 0.5, image)

    finding = seams(*views(framed), SOME, channel=0, seed=0)
    where = "at the mask's edge" if width == 0 else f"{width} voxels outside"
    assert where in finding.sentence and (finding.verdict == "fail" or width == 0)


def test_lesions_made_as_the_real_ones_have_no_seam(views):
    finding = seams(*views(), SOME, channel=0, seed=0)
    assert finding.verdict == "pass" and finding.low <= finding.value <= finding.high


def test_windows_that_do_not_fit_each_other_are_seams():
    rng, blocks = np.random.RandomState(0), np.kron(np.arange(4).reshape(2, 2), np.ones((16, 16)))
    noise = [0.1 * rng.normal(size=(32, 32)) for _ in range(4)]
    patients = ["a", "a", "b", "b"]
    assert window_seams(noise, patients, (16, 16), 0.0, SOME, seed=0).verdict == "pass"
    stepped = [image + 0.3 * blocks for image in noise]
    assert window_seams(stepped, patients, (16, 16), 0.0, SOME, seed=0).verdict == "fail"


@pytest.mark.parametrize(("amplitude", "verdict"), [(0.0, "pass"), (0.1, "fail")])
def test_a_checkerboard_is_energy_that_real_images_do_not_have(views, amplitude, verdict):
    x, y = np.mgrid[:48, :48]

    def checkered(image, mask, rng):
        return with_lesion(image, mask, rng) + amplitude * mask * (-1.0) ** (x + y)

    real, made = views(checkered)
    images = [Spectral(i.patient, i.image[0], i.before[0], r.image[0]) for i, r in zip(made, real, strict=True)]
    finding = checkerboard(images, 2, Limits(3, 10), seed=0)
    assert finding.verdict == verdict, finding.sentence


def cycles_of(views, there, back):
    _, made = views()
    return [Cycle(i.patient, i.before, there(i.before), i.organ[None], back) for i in made]


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_what_is_hidden_in_a_faint_pattern_is_lost_in_noise_and_what_is_plain_to_see_is_not(views, scale):
    def ratio(there, back):
        made = cycles_of(views, there, back)
        back = reconstructed(made, noise=0.02 * scale, seed=0)
        return steganography(made, back, Limits(1.5, 3), channel=0, noise=0.02 * scale, seed=0)

    faint = ratio(lambda x: (0.2 + 0.01 * x).astype(np.float32), lambda y: (y - 0.2) / 0.01)
    plain = ratio(lambda x: (x * 0.8).astype(np.float32), lambda y: y / 0.8)
    lossy = ratio(lambda x: ndimage.gaussian_filter(x, 2), lambda y: y)
    assert faint.verdict == "fail" and plain.verdict == lossy.verdict == "pass"
    assert plain.value == pytest.approx(1.25, abs=0.05)


def test_intervals_resample_patients_and_need_two_of_them():
    assert over_patients([1.0, 2.0], ["a", "a"], seed=0) == (None, None)
    low, high = over_patients([0.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b"], seed=0)
    assert (low, high) == (0.0, 1.0)
    assert over_patients([1.0, 2.0, 3.0], ["a", "b", "c"], seed=3) == over_patients([1, 2, 3], ["a", "b", "c"], seed=3)
