"""Reference lesions in new surroundings: brightness matched, fitted to a mask, stacked into a volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.geometry import CropBox, box_around_mask, components, equivalent_diameter_mm, extract
from medaug.lesions.prior import Lesion, LesionPrior
from medaug.lesions.reference import lesion_for_mask, match_surroundings, sections
from medaug.resampling import resized_mask

few = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def disc_lesion(ellipsoid) -> Lesion:
    """A disc of 20 mm (1 mm voxels): 0.4 inside, 0.1 around it, drawn with its own contrast."""
    mask = ellipsoid((48, 48), (23.5, 23.5), 10)
    texture = np.where(mask, 0.4, 0.1).astype(np.float32)
    box, diameter_mm = CropBox((0, 0), (48, 48)), equivalent_diameter_mm(mask, (1, 1))
    return Lesion(mask.astype(np.uint8), texture[None], box, 0, "p", diameter_mm, (0.3,), (0.3,), (0.1,))


def region_of(lesion: Lesion, shape: tuple[int, ...]) -> np.ndarray:
    mask = resized_mask(lesion.mask, lesion.box.size)
    inside, part = lesion.box.overlap(shape)
    region = np.zeros(shape, bool)
    region[inside] = mask[part]
    return region


def matched_in(lesion: Lesion, crop: np.ndarray) -> np.ndarray:
    """The texture (*S) for a crop (*S) of one channel."""
    (matched,) = match_surroundings(lesion, crop[None])
    return matched


@pytest.mark.parametrize("level", [-0.6, 0.0, 0.5])
def test_the_texture_is_shifted_to_the_targets_ring(disc_lesion, level):
    matched = matched_in(disc_lesion, np.full((48, 48), level, np.float32))
    np.testing.assert_allclose(matched[disc_lesion.mask], level + 0.3, atol=1e-6)
    assert matched.dtype == np.float32


def test_only_the_ring_around_the_lesion_counts(disc_lesion, ellipsoid):
    near = ellipsoid((48, 48), (23.5, 23.5), 16)
    matched = matched_in(disc_lesion, np.where(near, -0.3, 0.9).astype(np.float32))
    np.testing.assert_allclose(matched[disc_lesion.mask], 0.0, atol=1e-6)


def test_air_beside_the_lesion_does_not_count(disc_lesion):
    crop = np.full((48, 48), -0.3, np.float32)
    crop[:20] = -1.0
    np.testing.assert_allclose(matched_in(disc_lesion, crop)[disc_lesion.mask], 0.0, atol=1e-6)


def test_background_that_the_lesion_touched_in_its_own_scan_is_not_brought_along(disc_lesion):
    texture = disc_lesion.texture.copy()
    texture[0, :, :14] = -1.0
    texture[0, :, 14] = -0.4  # half tissue, half background
    crop = np.linspace(-0.2, 0.2, 48 * 48, dtype=np.float32).reshape(48, 48)
    matched = matched_in(replace(disc_lesion, texture=texture), crop)
    rim = np.zeros((48, 48), bool)
    rim[:, :15] = True
    np.testing.assert_array_equal(matched[rim & ~disc_lesion.mask], crop[rim & ~disc_lesion.mask])
    near = ndimage.binary_dilation(disc_lesion.mask, iterations=4) & ~disc_lesion.mask
    assert (matched[~rim & near] != crop[~rim & near]).all()
    far = np.ones((48, 48), bool)
    far[box_around_mask(disc_lesion.mask, 4)] = False
    np.testing.assert_array_equal(matched[far], crop[far])


def test_a_lesion_that_touched_the_background_is_continued_to_its_edge(disc_lesion):
    texture = disc_lesion.texture.copy()
    texture[0, :, :18] = -1.0
    texture[0, :, 18] = -0.3
    matched = matched_in(replace(disc_lesion, texture=texture), np.zeros((48, 48), np.float32))
    np.testing.assert_allclose(matched[disc_lesion.mask], 0.3, atol=1e-6)


def test_a_drawn_contrast_scales_the_texture_about_its_ring(disc_lesion):
    crop = np.zeros((48, 48), np.float32)
    for contrast, expected in ((0.45, 0.45), (0.15, 0.15), (3.0, 0.6), (0.01, 0.15)):
        matched = matched_in(replace(disc_lesion, contrast=(contrast,)), crop)
        np.testing.assert_allclose(matched[disc_lesion.mask], expected, atol=1e-6)


def test_a_reference_without_contrast_is_not_scaled(disc_lesion):
    flat = replace(disc_lesion, contrast=(0.5,), reference_contrast=(0.01,))
    matched = matched_in(flat, np.zeros((48, 48), np.float32))
    np.testing.assert_allclose(matched[flat.mask], 0.3, atol=1e-6)


def test_the_matched_texture_stays_in_range_and_inputs_unchanged(disc_lesion):
    crop = np.full((48, 48), 0.9, np.float32)
    before = disc_lesion.texture.copy()
    assert matched_in(disc_lesion, crop).max() <= 1.0
    np.testing.assert_array_equal(disc_lesion.texture, before)
    assert (crop == np.float32(0.9)).all()


@few
@given(st.integers(0, 10_000))
def test_a_lesion_covers_exactly_the_given_mask(prior_and_organ, seed):
    prior, organ = prior_and_organ
    rng = np.random.RandomState(seed)
    mask = np.zeros_like(organ)
    corner = [rng.randint(0, n - 4) for n in organ.shape]
    mask[tuple(slice(c, c + rng.randint(1, 8)) for c in corner)] = True
    mask &= rng.random_sample(mask.shape) < 0.8
    mask[tuple(corner)] = True
    lesion = lesion_for_mask(prior, mask, prior.spacing_mm, rng)
    np.testing.assert_array_equal(region_of(lesion, organ.shape), mask)
    assert lesion.mask.shape == prior.crop_size
    assert lesion.texture.shape == (1, *prior.crop_size)
    assert lesion.diameter_mm == equivalent_diameter_mm(mask, prior.spacing_mm)
    assert lesion.patient == prior.references[lesion.reference].patient


@pytest.mark.parametrize("factor", [0.7, 2, 3])
def test_a_lesion_covers_a_mask_on_a_grid_of_other_voxels(prior_and_organ, ellipsoid, factor):
    prior, organ = prior_and_organ
    shape = tuple(round(n * factor) for n in organ.shape)
    mask = ellipsoid(shape, [0.55 * n for n in shape], 4.5 * factor)
    lesion = lesion_for_mask(prior, mask, [s / factor for s in prior.spacing_mm], np.random.RandomState(0))
    region = region_of(lesion, shape)
    assert 2 * (region & mask).sum() / (region.sum() + mask.sum()) > 0.9


def test_a_mask_larger_than_the_crop_is_covered_by_a_larger_box(prior_and_organ, ellipsoid):
    prior, organ = prior_and_organ
    mask = ellipsoid(organ.shape, [n / 2 for n in organ.shape], 0.45 * min(organ.shape))
    lesion = lesion_for_mask(prior, mask, prior.spacing_mm, np.random.RandomState(0))
    region = region_of(lesion, organ.shape)
    assert max(b / c for b, c in zip(lesion.box.size, prior.crop_size, strict=True)) > 1
    assert 2 * (region & mask).sum() / (region.sum() + mask.sum()) > 0.9


def test_a_mask_that_vanishes_on_the_priors_grid_keeps_a_voxel(prior_and_organ):
    prior, organ = prior_and_organ
    mask = np.zeros([6 * n for n in organ.shape][: organ.ndim], bool)
    voxel = tuple(n // 3 for n in mask.shape)
    mask[voxel] = True
    lesion = lesion_for_mask(prior, mask, [s / 6 for s in prior.spacing_mm], np.random.RandomState(0))
    assert lesion.mask.sum() == 1
    marked = np.argwhere(resized_mask(lesion.mask, lesion.box.size)) + lesion.box.start
    assert np.abs(marked - voxel).max() <= 6


def test_the_texture_for_a_mask_is_of_the_lesion_throughout(prior_and_organ, ellipsoid):
    prior, organ = prior_and_organ
    mask = ellipsoid(organ.shape, [n / 2 for n in organ.shape], [3, 7, 4][: organ.ndim])
    for number in range(3):
        lesion = lesion_for_mask(prior, mask, prior.spacing_mm, np.random.RandomState(0), reference=number)
        assert lesion.reference == number
        inside = lesion.texture[0][lesion.mask]
        assert inside.min() > 0.1
        assert inside.mean() == pytest.approx(0.3, abs=0.05)


def test_the_reference_is_drawn_among_those_of_like_size(example, ellipsoid):
    sizes = [14.0] * 10 + [40.0] * 10
    examples = [example(2, number, size) for number, size in enumerate(sizes)]
    prior = LesionPrior.fit(examples, (48, 48), examples[0].spacing_mm)
    mask = ellipsoid((96, 96), (48, 48), 3)
    drawn = {lesion_for_mask(prior, mask, (2.7, 2.7), np.random.RandomState(s)).reference for s in range(30)}
    assert drawn <= set(range(10))
    assert len(drawn) > 4


def test_an_empty_mask_and_a_missing_reference_are_refused(prior_and_organ):
    prior, organ = prior_and_organ
    with pytest.raises(DataError, match="empty"):
        lesion_for_mask(prior, np.zeros_like(organ), prior.spacing_mm, np.random.RandomState(0))
    with pytest.raises(DataError, match="0 to 2"):
        lesion_for_mask(prior, organ, prior.spacing_mm, np.random.RandomState(0), reference=7)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_mask_of_another_dtype_gives_the_same_lesion(prior_and_organ, dtype):
    prior, organ = prior_and_organ
    mask = np.zeros_like(organ)
    mask[tuple(slice(n // 2, n // 2 + 4) for n in organ.shape)] = True
    first, second = (
        lesion_for_mask(prior, m, prior.spacing_mm, np.random.RandomState(0)) for m in (mask, mask.astype(dtype) * 3)
    )
    assert first.provenance() == second.provenance()
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.texture, second.texture)


@few
@given(st.integers(2, 40), st.integers(0, 39), st.floats(0.8, 8), st.floats(0.5, 1.5))
def test_sections_shrink_away_from_the_middle_and_stay_in_the_volume(
    disc_lesion, levels, level, thickness_mm, flatness
):
    level = level % levels
    stack = list(sections(disc_lesion, levels, level, thickness_mm, flatness=flatness))
    slices = [z for z, _ in stack]
    assert slices == list(range(slices[0], slices[-1] + 1))
    assert 0 <= slices[0] <= level <= slices[-1] < levels
    areas = {z: int(section.mask.sum()) for z, section in stack}
    assert areas[level] == disc_lesion.mask.sum()
    for z in slices:
        if z != level:
            assert 0 < areas[z] <= areas[z + (1 if z < level else -1)]


def test_sections_add_up_to_the_volume_of_the_ellipsoid(disc_lesion):
    stack = list(sections(disc_lesion, 100, 50, 1.0))
    found = sum(section.mask.sum() for _, section in stack)
    assert found == pytest.approx(4 / 3 * np.pi * (disc_lesion.diameter_mm / 2) ** 3, rel=0.08)


def test_a_lesion_thinner_than_a_slice_is_one_section(disc_lesion):
    assert [z for z, _ in sections(disc_lesion, 10, 4, 25.0)] == [4]


def test_the_middle_section_is_the_lesion_itself_and_the_others_are_in_one_piece(disc_lesion):
    stack = dict(sections(disc_lesion, 20, 10, 3.0))
    assert stack[10] is disc_lesion
    for section in stack.values():
        assert len(components(section.mask)) == 1
        assert (section.mask & ~disc_lesion.mask).sum() == 0
        assert extract(section.texture[0], CropBox((23, 23), (2, 2)), 0).mean() == pytest.approx(0.4, abs=0.05)
