"""Lesions drawn from the prior: where they lie, how large they are, and that a random state replays them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medaug.errors import ConfigError, DataError
from medaug.lesions.drawing import draw_lesion
from medaug.lesions.geometry import bounding_box, components, equivalent_diameter_mm
from medaug.lesions.places import CLEARANCE_VOXELS, with_less_around
from medaug.lesions.prior import MARGIN_VOXELS, Lesion, LesionExample, LesionPrior
from medaug.lesions.reference import clear_of_edge
from medaug.resampling import resized_mask

few = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 10_000)
shapes = st.sampled_from(["bank", "blob", "mixed"])


def nothing(organ: np.ndarray) -> np.ndarray:
    return np.zeros_like(organ)


def region_of(lesion: Lesion, shape: tuple[int, ...]) -> np.ndarray:
    """The voxels a lesion marks on its target; fails where it leaves the image."""
    mask = resized_mask(lesion.mask, lesion.box.size)
    inside, part = lesion.box.overlap(shape)
    region = np.zeros(shape, bool)
    region[inside] = mask[part]
    assert region.sum() == mask.sum()
    return region


@few
@given(seeds, shapes)
def test_places_drawn_from_some_voxels_of_the_organ_are_as_good(prior_and_organ, seed, shape):
    prior, organ = prior_and_organ
    occupied, rng = nothing(organ).astype(np.uint8), np.random.RandomState(seed)
    occupied[tuple(slice(n // 3, n // 3 + 8) for n in organ.shape)] = 2
    some = np.argwhere(organ)[:: 1 + seed % 50]
    lesion = draw_lesion(prior, organ.astype(np.uint8), occupied, rng, shape=shape, voxels=some)
    assert lesion is not None
    region = region_of(lesion, organ.shape)
    assert not (region & ~organ).any() and not (region & (occupied > 0)).any()
    assert draw_lesion(prior, organ, occupied, rng, voxels=some[:0]) is None


@few
@given(seeds)
def test_the_crop_of_a_small_lesion_is_cut_about_it_and_lies_where_it_lay(seed):
    organ = np.ones((72, 72, 56), bool)
    parts = np.zeros(organ.shape, np.uint8)
    parts[30:38, 28:40, 20:30] = 1
    image = np.where(parts > 0, 0.4, -0.2)[None].astype(np.float32)
    example = LesionExample(image, parts, organ, "p", "c", None, (1.0,) * 3)
    prior = LesionPrior.fit([example], (48, 48, 40), (1.0,) * 3)
    lesion = draw_lesion(prior, organ, nothing(organ), np.random.RandomState(seed))
    cut = with_less_around(lesion, 1.6, 4)
    assert cut.parts.size < lesion.parts.size / 2 and not any(n % 4 for n in cut.parts.shape)
    assert cut.texture.shape == (1, *cut.parts.shape) and cut.box.size == cut.parts.shape
    np.testing.assert_array_equal(region_of(cut, organ.shape), region_of(lesion, organ.shape))
    low, extent = bounding_box(cut.mask)
    assert low.min() >= 8 and (np.array(cut.parts.shape) - low - extent).min() >= 6
    whole = with_less_around(lesion, 9.0, 4)
    assert whole.parts.shape == lesion.parts.shape and whole.box == lesion.box


def regridded(mask: np.ndarray, factor: float) -> np.ndarray:
    return resized_mask(mask, [round(n * factor) for n in mask.shape])


@few
@given(seeds, shapes)
def test_a_lesion_lies_in_the_organ_clear_of_others_and_in_one_piece(prior_and_organ, seed, shape):
    prior, organ = prior_and_organ
    rng = np.random.RandomState(seed)
    occupied = nothing(organ)
    corner = [rng.randint(n // 4, n // 2) for n in organ.shape]
    occupied[tuple(slice(c, c + 8) for c in corner)] = True
    lesion = draw_lesion(prior, organ, occupied, rng, shape=shape)
    assert lesion is not None
    region = region_of(lesion, organ.shape)
    assert not (region & ~organ).any()
    gap = np.abs(np.argwhere(region)[:, None] - np.argwhere(occupied)[None]).sum(axis=-1).min()
    assert gap > CLEARANCE_VOXELS
    assert len(components(lesion.mask)) == 1
    assert lesion.mask.dtype == bool
    assert lesion.mask.shape == prior.crop_size
    assert lesion.texture.shape == (1, *prior.crop_size)
    assert lesion.texture.dtype == np.float32
    assert np.abs(lesion.texture).max() <= 1
    assert clear_of_edge(lesion.mask, MARGIN_VOXELS)


@few
@given(seeds, shapes, st.floats(9, 24), st.floats(0, 5))
def test_a_lesion_keeps_to_the_asked_sizes_in_mm(prior_and_organ, seed, shape, least, more):
    prior, organ = prior_and_organ
    most = min(least + more, prior.largest_mm)
    lesion = draw_lesion(prior, organ, nothing(organ), np.random.RandomState(seed), size_mm=(least, most), shape=shape)
    assert lesion is not None
    assert 0.85 * least <= lesion.diameter_mm <= 1.15 * most
    assert lesion.diameter_mm == equivalent_diameter_mm(lesion.mask, prior.spacing_mm)


@few
@given(seeds, shapes, st.sampled_from([0.7, 1.5, 2.0]))
def test_sizes_in_mm_and_clearance_hold_on_a_target_of_other_voxels(prior_and_organ, seed, shape, factor):
    prior, organ = prior_and_organ
    target, spacing_mm = regridded(organ, factor), tuple(s / factor for s in prior.spacing_mm)
    occupied = nothing(target)
    occupied[tuple(slice(n // 2, n // 2 + 6) for n in target.shape)] = True
    lesion = draw_lesion(
        prior, target, occupied, np.random.RandomState(seed), spacing_mm=spacing_mm, size_mm=(16, 22), shape=shape
    )
    assert lesion is not None
    region = region_of(lesion, target.shape)
    assert 0.85 * 16 <= equivalent_diameter_mm(region, spacing_mm) <= 1.15 * 22
    assert not (region & occupied).any()
    assert (region & ~target).sum() <= 0.02 * region.sum() + 1
    assert lesion.box.size == tuple(round(n * factor) for n in prior.crop_size)
    assert lesion.mask.shape == prior.crop_size


@few
@given(seeds, shapes)
def test_the_same_random_state_gives_the_same_lesion(prior_and_organ, seed, shape):
    prior, organ = prior_and_organ
    states = [np.random.RandomState(seed) for _ in range(2)]
    first, second = (draw_lesion(prior, organ, nothing(organ), rng, shape=shape) for rng in states)
    assert first.provenance() == second.provenance()
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.texture, second.texture)
    assert states[0].randint(2**31) == states[1].randint(2**31)


def test_another_seed_gives_another_lesion(prior_and_organ):
    prior, organ = prior_and_organ
    first, second = (draw_lesion(prior, organ, nothing(organ), np.random.RandomState(seed)) for seed in (3, 4))
    assert first.box != second.box or (first.mask != second.mask).any()


def test_sampling_changes_neither_its_inputs_nor_the_global_generator(prior_and_organ):
    prior, organ = prior_and_organ
    occupied = nothing(organ)
    occupied[tuple(slice(n // 2, n // 2 + 3) for n in organ.shape)] = True
    kept = organ.copy(), occupied.copy(), [r.image.copy() for r in prior.references]
    state = np.random.get_state()[1].copy()
    for seed in range(4):
        draw_lesion(prior, organ, occupied, np.random.RandomState(seed), shape="mixed")
    np.testing.assert_array_equal(state, np.random.get_state()[1])
    np.testing.assert_array_equal(organ, kept[0])
    np.testing.assert_array_equal(occupied, kept[1])
    for reference, before in zip(prior.references, kept[2], strict=True):
        np.testing.assert_array_equal(reference.image, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_masks_of_other_dtypes_give_the_same_lesion(prior_and_organ, dtype):
    prior, organ = prior_and_organ
    occupied = nothing(organ)
    occupied[tuple(slice(n // 2, n // 2 + 3) for n in organ.shape)] = True
    first = draw_lesion(prior, organ, occupied, np.random.RandomState(0))
    second = draw_lesion(prior, organ.astype(dtype) * 2, occupied.astype(dtype), np.random.RandomState(0))
    assert first.provenance() == second.provenance()
    np.testing.assert_array_equal(first.mask, second.mask)


def test_a_lesion_names_the_patient_of_its_reference(prior_and_organ):
    prior, organ = prior_and_organ
    for seed in range(8):
        lesion = draw_lesion(prior, organ, nothing(organ), np.random.RandomState(seed))
        assert lesion.patient == prior.references[lesion.reference].patient
        assert lesion.provenance()["patient"] == lesion.patient


def test_a_chosen_reference_is_used_at_about_its_own_size(prior_and_organ):
    prior, organ = prior_and_organ
    for number, reference in enumerate(prior.references):
        lesions = [
            draw_lesion(prior, organ, nothing(organ), np.random.RandomState(s), reference=number) for s in range(8)
        ]
        assert {lesion.reference for lesion in lesions} == {number}
        assert np.median([x.diameter_mm for x in lesions]) == pytest.approx(reference.diameter_mm, rel=0.35)


def test_drawn_sizes_follow_the_training_fold(prior_and_organ):
    prior, organ = prior_and_organ
    rng = np.random.RandomState(0)
    drawn = [draw_lesion(prior, organ, nothing(organ), rng).diameter_mm for _ in range(60)]
    assert np.median(drawn) == pytest.approx(np.median(prior.diameters_mm), rel=0.2)
    assert 0.5 * prior.diameters_mm.min() < min(drawn) < prior.diameters_mm.min() * 1.2
    assert 0.8 * prior.diameters_mm.max() < max(drawn) < prior.diameters_mm.max() * 1.8


def test_lesions_lie_where_the_training_lesions_lay(prior_and_organ):
    prior, organ = prior_and_organ
    rng = np.random.RandomState(0)
    lesions = [draw_lesion(prior, organ, nothing(organ), rng, size_mm=(8, 10)) for _ in range(30)]
    centers = [(np.array(x.box.start) + np.array(x.box.size) // 2) / organ.shape for x in lesions]
    wanted = np.mean([r.location for r in prior.references], axis=0)
    np.testing.assert_allclose(np.mean(centers, axis=0), wanted, atol=0.08)


def test_there_is_no_lesion_where_there_is_no_room(prior_and_organ):
    prior, organ = prior_and_organ
    rng = np.random.RandomState(0)
    voxel = nothing(organ)
    voxel[tuple(n // 2 for n in organ.shape)] = True
    assert draw_lesion(prior, nothing(organ), nothing(organ), rng) is None
    assert draw_lesion(prior, organ, organ, rng) is None
    assert draw_lesion(prior, voxel, nothing(organ), rng) is None
    assert draw_lesion(prior, organ, nothing(organ), rng, max_tries=0) is None


def test_a_narrow_organ_gets_a_smaller_lesion_but_none_below_the_smallest_seen(prior_and_organ):
    prior, organ = prior_and_organ
    narrow = nothing(organ)
    middle = [n // 2 for n in organ.shape]
    narrow[tuple(slice(m - 4, m + 5) for m in middle)] = True
    lesions = [draw_lesion(prior, narrow, nothing(organ), np.random.RandomState(seed)) for seed in range(4)]
    found = [lesion.diameter_mm for lesion in lesions if lesion is not None]
    assert found
    assert min(found) > 0.5 * prior.diameters_mm.min()


def test_a_target_too_coarse_to_show_a_lesion_gets_none(prior_and_organ):
    prior, organ = prior_and_organ
    coarse = np.ones((4,) * organ.ndim, bool)
    spacing_mm = tuple(60.0 for _ in organ.shape)
    rng = np.random.RandomState(0)
    assert draw_lesion(prior, coarse, nothing(coarse), rng, spacing_mm=spacing_mm, size_mm=(9, 10)) is None


@pytest.mark.parametrize("shape", ["bank", "blob"])
def test_the_largest_possible_size_is_drawn_and_more_is_refused(prior_and_organ, shape):
    prior, organ = prior_and_organ
    largest = prior.largest_mm
    roomy = np.ones([2 * n for n in organ.shape], bool)
    lesion = draw_lesion(
        prior, roomy, nothing(roomy), np.random.RandomState(0), size_mm=(largest, largest), shape=shape
    )
    assert lesion.diameter_mm == pytest.approx(largest, rel=0.12)
    with pytest.raises(DataError, match=f"largest that fits.*{largest:.1f} mm"):
        draw_lesion(prior, roomy, nothing(roomy), np.random.RandomState(0), size_mm=(5.0, largest + 1))


@pytest.mark.parametrize("size_mm", [(20.0, 10.0), (0.0, 10.0), (-5.0, 10.0), (float("nan"), 10.0)])
def test_sizes_that_are_no_range_are_refused(prior_and_organ, size_mm):
    prior, organ = prior_and_organ
    with pytest.raises(ConfigError, match="size_mm"):
        draw_lesion(prior, organ, nothing(organ), np.random.RandomState(0), size_mm=size_mm)


@pytest.mark.parametrize("number", [-1, 3])
def test_a_reference_that_is_not_there_is_refused(prior_and_organ, number):
    prior, organ = prior_and_organ
    with pytest.raises(DataError, match="0 to 2"):
        draw_lesion(prior, organ, nothing(organ), np.random.RandomState(0), reference=number)


def test_a_shape_that_is_not_there_is_refused(prior_and_organ):
    prior, organ = prior_and_organ
    with pytest.raises(ConfigError, match="bank, blob or mixed"):
        draw_lesion(prior, organ, nothing(organ), np.random.RandomState(0), shape="banana")


def test_a_blob_is_filled_with_the_lesion_and_not_with_its_surroundings(prior_and_organ):
    prior, organ = prior_and_organ
    for seed in range(5):
        lesion = draw_lesion(prior, organ, nothing(organ), np.random.RandomState(seed), shape="blob")
        assert lesion.texture[0][lesion.mask].mean() == pytest.approx(0.3, abs=0.05)


def test_a_bent_reference_brings_its_texture_along(prior_and_organ):
    prior, organ = prior_and_organ
    for seed in range(5):
        lesion = draw_lesion(prior, organ, nothing(organ), np.random.RandomState(seed), shape="bank")
        assert lesion.texture[0][lesion.mask].mean() == pytest.approx(0.3, abs=0.1)


def test_long_lesions_never_reach_the_edge_of_their_crop(example, ellipsoid):
    view = example(2, 0, 18.0)
    label = ellipsoid(view.parts.shape, (48, 48), (19, 5))
    prior = LesionPrior.fit([replace(view, parts=label)], (48, 48), view.spacing_mm)
    organ = np.ones((150, 150), bool)
    for seed in range(20):
        lesion = draw_lesion(prior, organ, nothing(organ), np.random.RandomState(seed))
        assert clear_of_edge(lesion.mask, MARGIN_VOXELS)
