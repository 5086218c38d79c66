"""Phantoms: determinism, physical truth (mm, HU), and that patients differ."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medaug.errors import ConfigError
from medaug.phantoms import ANATOMIES, PARTS, Phantom, abdomen_phantom, axial_slices, head_phantom, phantoms
from medaug.volumes import spacing_of

SMALL = (48, 48, 16)
MEDIUM = (64, 64, 24)


@pytest.fixture(scope="module")
def heads() -> list[Phantom]:
    return list(phantoms("head", 6, shape=SMALL))


@pytest.fixture(scope="module")
def abdomens() -> list[Phantom]:
    return list(phantoms("abdomen", 4, shape=MEDIUM))


@pytest.mark.parametrize("anatomy", sorted(ANATOMIES))
def test_same_seed_gives_the_same_arrays(anatomy):
    first, second = (ANATOMIES[anatomy](3, seed=7, shape=SMALL) for _ in range(2))
    assert first.patient == second.patient == "phantom-003"
    np.testing.assert_array_equal(first.label, second.label)
    for sequence, image in first.images.items():
        np.testing.assert_array_equal(image, second.images[sequence])


@pytest.mark.parametrize("anatomy", sorted(ANATOMIES))
def test_another_seed_or_index_gives_another_patient(anatomy):
    base = ANATOMIES[anatomy](0, seed=0, shape=SMALL)
    for other in (ANATOMIES[anatomy](0, seed=1, shape=SMALL), ANATOMIES[anatomy](1, seed=0, shape=SMALL)):
        assert (base.organs != other.organs).mean() > 0.005


@pytest.mark.parametrize("anatomy", sorted(ANATOMIES))
def test_a_patient_does_not_depend_on_how_many_are_drawn(anatomy):
    two, four = (list(phantoms(anatomy, n, seed=2, shape=SMALL)) for n in (2, 4))
    for sequence, image in two[1].images.items():
        np.testing.assert_array_equal(image, four[1].images[sequence])


def test_drawing_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    head_phantom(0, shape=SMALL)
    abdomen_phantom(0, shape=SMALL)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("anatomy", sorted(ANATOMIES))
def test_all_arrays_share_shape_and_the_affine_carries_the_spacing(anatomy):
    phantom = ANATOMIES[anatomy](0, shape=(40, 36, 12), spacing_mm=(4.0, 5.0, 9.0))
    assert {a.shape for a in (*phantom.images.values(), phantom.label, phantom.organs)} == {(40, 36, 12)}
    assert phantom.label.dtype == phantom.organs.dtype == np.uint8
    assert spacing_of(phantom.affine, 3) == phantom.spacing_mm == (4.0, 5.0, 9.0)


def test_the_default_spacing_covers_the_body_at_any_shape():
    assert head_phantom(0).spacing_mm == (2.0, 2.0, 4.0)
    assert abdomen_phantom(0).spacing_mm == (4.0, 4.0, 6.0)
    assert head_phantom(0, shape=SMALL).spacing_mm == (4.0, 4.0, 8.0)


def test_head_sequences_are_finite_not_negative_and_float32(heads):
    for phantom in heads:
        assert set(phantom.images) == {"flair", "t1"}
        for image in phantom.images.values():
            assert image.dtype == np.float32 and np.isfinite(image).all() and image.min() >= 0


@pytest.mark.parametrize("index", range(6))
def test_tumors_lie_inside_the_organ_with_a_rim_around_the_core(heads, index):
    phantom = heads[index]
    assert (phantom.label == 1).any() and (phantom.label == 2).any()
    assert (phantom.organs[phantom.label > 0] == 1).all()
    grown = ndimage.binary_dilation(phantom.label == 1, iterations=2)
    assert (phantom.label[grown] == 2).any()


def test_lesions_lie_inside_the_liver(abdomens):
    for phantom in abdomens:
        assert (phantom.label == 1).any()
        assert (phantom.organs[phantom.label > 0] == 1).all()


@pytest.mark.parametrize("anatomy", sorted(ANATOMIES))
def test_no_tumors_give_the_same_patient_with_an_empty_label(anatomy):
    ill, healthy = ANATOMIES[anatomy](2, shape=MEDIUM), ANATOMIES[anatomy](2, shape=MEDIUM, tumors=0)
    assert not healthy.label.any() and ill.label.any()
    np.testing.assert_array_equal(ill.organs, healthy.organs)
    far = ~ndimage.binary_dilation(ill.label > 0, iterations=12)
    for sequence, image in ill.images.items():
        np.testing.assert_array_equal(image[far], healthy.images[sequence][far])
        assert np.abs(image[ill.label > 0].mean() - healthy.images[sequence][ill.label > 0].mean()) > 0


def test_the_number_of_tumors_is_honoured():
    most = [ndimage.label(head_phantom(i, shape=MEDIUM, tumors=2).label == 1)[1] for i in range(4)]
    least = [ndimage.label(head_phantom(i, shape=MEDIUM, tumors=1).label == 1)[1] for i in range(4)]
    assert max(most) >= 2 and sum(most) > sum(least)


def test_tumors_vary_in_size_between_patients():
    volumes_ml = [(p.label > 0).sum() * np.prod(p.spacing_mm) / 1000 for p in phantoms("head", 12, shape=SMALL)]
    assert min(volumes_ml) < 25 and max(volumes_ml) > 50 and max(volumes_ml) < 300


def test_tumors_are_not_spheres():
    ratios = []
    for index in range(8):
        phantom = head_phantom(index, shape=MEDIUM, tumors=1)
        points = np.argwhere(phantom.label == 1) * phantom.spacing_mm
        axes = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
        ratios.append(axes[2] / axes[0])
    assert np.median(ratios) > 1.2


def test_some_axial_slices_have_a_tumor_and_some_have_none(heads):
    for phantom in heads:
        has_tumor = [label.any() for _, _, label in axial_slices(phantom, "flair")]
        assert any(has_tumor) and not all(has_tumor)


def test_tumors_are_brighter_in_flair_and_darker_in_t1_than_their_healthy_twin():
    flair, t1 = [], []
    for index in range(5):
        ill, healthy = head_phantom(index, shape=MEDIUM), head_phantom(index, shape=MEDIUM, tumors=0)
        rim = ill.label == 2
        flair.append(np.median(ill.images["flair"][rim]) / np.median(healthy.images["flair"][rim]))
        t1.append(np.median(ill.images["t1"][rim]) / np.median(healthy.images["t1"][rim]))
    assert min(flair) > 1.02 and np.ptp(flair) > 0.1
    assert np.mean(t1) < 0.98


def test_parts_of_a_tumor_have_the_contrasts_of_a_glioma():
    """Edema is bright in FLAIR and T2 alone, the rim takes up contrast agent, the core is dark in T1."""
    ratios = {(sequence, part): [] for sequence in ("t1", "t1ce", "t2", "flair") for part in PARTS}
    for index in range(5):
        ill, healthy = (head_phantom(index, shape=MEDIUM, tumors=n, parts=True) for n in (1, 0))
        assert set(np.unique(ill.label)) == {0, 1, 2, 4} and not healthy.label.any()
        for sequence, part in ratios:
            inside = ill.label == PARTS[part]
            means = [phantom.images[sequence][inside].mean() for phantom in (ill, healthy)]
            ratios[sequence, part].append(means[0] / means[1])
    bright = {key for key, values in ratios.items() if min(values) > 1.05}
    assert {("flair", "edema"), ("t2", "edema"), ("t1ce", "enhancing")} <= bright
    assert not {("t1", "enhancing"), ("t1", "edema"), ("t1ce", "edema"), ("t1", "core")} & bright
    assert np.mean(ratios["t1", "core"]) < 0.85 and max(ratios["t1", "edema"]) < 1
    assert all(
        ce > plain + 0.3 for ce, plain in zip(ratios["t1ce", "enhancing"], ratios["t1", "enhancing"], strict=True)
    )


def test_parts_are_another_label_and_two_more_sequences_of_the_same_patient():
    plain, parts = head_phantom(2, shape=SMALL), head_phantom(2, shape=SMALL, parts=True)
    assert list(parts.images) == ["t1", "t1ce", "t2", "flair"]
    np.testing.assert_array_equal(np.where(parts.label == 4, 1, parts.label), plain.label)
    for sequence, image in plain.images.items():
        np.testing.assert_array_equal(parts.images[sequence], image)
    around = ndimage.binary_dilation(parts.label == 1) & (parts.label != 1)
    assert (parts.label[around] == 4).mean() > 0.5, "the necrotic core lies in the enhancing tissue"


def test_scanner_gain_differs_by_a_large_factor_between_patients(heads):
    gains = [np.median(p.images["flair"][p.organs == 1]) for p in heads]
    assert max(gains) / min(gains) > 3


def test_more_difficulty_means_less_contrast():
    def contrast(difficulty: float) -> float:
        ill = head_phantom(1, shape=MEDIUM, difficulty=difficulty)
        flair = ill.images["flair"]
        return np.median(flair[ill.label > 0]) / np.median(flair[(ill.organs == 1) & (ill.label == 0)])

    assert contrast(3.0) < contrast(1.0) < contrast(0.5)


@pytest.mark.parametrize("anatomy", sorted(ANATOMIES))
def test_lesions_keep_their_size_in_mm_when_the_spacing_halves(anatomy):
    coarse = ANATOMIES[anatomy](1, shape=(48, 48, 24), tumors=1)
    fine = ANATOMIES[anatomy](1, shape=(96, 96, 48), tumors=1)
    assert fine.spacing_mm == tuple(s / 2 for s in coarse.spacing_mm)
    diameters = [2 * (3 / (4 * np.pi) * (p.label > 0).sum() * np.prod(p.spacing_mm)) ** (1 / 3) for p in (coarse, fine)]
    assert diameters[0] == pytest.approx(diameters[1], rel=0.04)
    centres = [np.argwhere(p.label > 0).mean(0) * p.spacing_mm for p in (coarse, fine)]
    np.testing.assert_allclose(*centres, atol=max(coarse.spacing_mm))


@pytest.mark.parametrize("phase", ["contrast", "noncontrast"])
def test_ct_tissues_lie_in_their_hu_ranges(abdomens, phase):
    kidney_hu = (125, 230) if phase == "contrast" else (15, 45)
    liver_hu = (75, 130) if phase == "contrast" else (30, 70)
    for phantom in abdomens:
        image = phantom.images[phase]
        assert image.dtype == np.int16 and image.min() >= -1024
        assert -1010 < np.median(image[:4]) < -990
        healthy = (phantom.organs == 1) & ~ndimage.binary_dilation(phantom.label > 0, iterations=2)
        assert liver_hu[0] < np.median(image[healthy]) < liver_hu[1]
        assert kidney_hu[0] < np.median(image[ndimage.binary_erosion(phantom.organs == 2)]) < kidney_hu[1]
        assert 120 < np.median(image[phantom.organs == 3]) < 600
        assert ((image > -130) & (image < -80)).mean() > 0.05


def test_contrast_changes_enhancing_organs_and_leaves_bone_fat_and_air(abdomens):
    for phantom in abdomens:
        change = phantom.images["contrast"].astype(float) - phantom.images["noncontrast"]
        plain = phantom.images["noncontrast"]
        assert change[phantom.organs == 2].mean() > 80
        assert change[phantom.organs == 1].mean() > 20
        assert abs(change[phantom.organs == 3].mean()) < 12
        assert abs(np.median(change[(plain > -140) & (plain < -90)])) < 6
        assert abs(np.median(change[plain < -950])) < 3


def test_lesions_are_hypodense_and_plainer_with_contrast(abdomens):
    drops = {"contrast": [], "noncontrast": []}
    for index in range(4):
        ill, healthy = abdomens[index], abdomen_phantom(index, shape=MEDIUM, tumors=0)
        core = ill.label == 1
        for phase, values in drops.items():
            values.append(healthy.images[phase][core].mean() - ill.images[phase][core].mean())
    assert min(drops["contrast"]) > 10 and min(drops["noncontrast"]) > 3
    assert np.mean(drops["contrast"]) > 1.5 * np.mean(drops["noncontrast"])


def test_the_mr_twin_is_registered_to_the_ct(abdomens):
    for phantom in abdomens:
        mr = phantom.images["mr"]
        assert mr.dtype == np.float32
        body_ct = phantom.images["noncontrast"] > -400
        body_mr = mr > 0.25 * np.percentile(mr, 90)
        overlap = 2 * (body_ct & body_mr).sum() / (body_ct.sum() + body_mr.sum())
        assert overlap > 0.85


def test_slices_come_in_order_with_their_labels(heads):
    slices = list(axial_slices(heads[0], "t1"))
    assert [z for z, _, _ in slices] == list(range(SMALL[2]))
    np.testing.assert_array_equal(np.stack([image for _, image, _ in slices], -1), heads[0].images["t1"])
    np.testing.assert_array_equal(np.stack([label for _, _, label in slices], -1), heads[0].label)


def test_the_right_kidney_side_holds_the_liver_in_world_coordinates(abdomens):
    for phantom in abdomens:
        world = phantom.affine[:3, :3] @ np.argwhere(phantom.organs == 1).mean(0) + phantom.affine[:3, 3]
        spine = phantom.affine[:3, :3] @ np.argwhere(phantom.organs == 3).mean(0) + phantom.affine[:3, 3]
        assert world[0] > 20 and spine[1] < -30


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: phantoms("knee", 1), "abdomen, head"),
        (lambda: phantoms("head", -1), "patients"),
        (lambda: head_phantom(-1), "index"),
        (lambda: head_phantom(0, tumors=-1), "tumors"),
        (lambda: head_phantom(0, difficulty=0.0), "difficulty"),
        (lambda: head_phantom(0, shape=(8, 8)), "shape"),
        (lambda: abdomen_phantom(0, spacing_mm=(1.0, 0.0, 1.0)), "spacing_mm"),
        (lambda: axial_slices(head_phantom(0, shape=(8, 8, 4)), "t2"), "flair, t1"),
    ],
)
def test_arguments_that_cannot_be_drawn_are_refused_with_a_remedy(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def test_a_field_of_view_that_misses_the_tumor_still_draws_the_same_patient():
    small = head_phantom(4, shape=(4, 4, 2), spacing_mm=(1.0, 1.0, 1.0))
    assert small.images["flair"].shape == (4, 4, 2) and (small.organs == 1).all()
