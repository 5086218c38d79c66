"""Masks and crops: properties that hold for any mask, in 2-D and 3-D, also where a box reaches over the edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.lesions.geometry import (
    CropBox,
    bounding_box,
    box_around,
    components,
    equivalent_diameter_mm,
    extract,
    from_nearest,
    grow,
    largest_component,
    relative_location,
    ring,
    volume_ml,
    voxels_of_diameter,
)
from medaug.resampling import nearest_mask, resized_mask

dims = st.sampled_from([2, 3])
seeds = st.integers(0, 10_000)
few = settings(max_examples=25, deadline=None, derandomize=True)


def random_mask(seed: int, spatial_dims: int) -> np.ndarray:
    mask = np.random.RandomState(seed).random_sample((14, 11, 9)[:spatial_dims]) < 0.03
    mask[(5,) * spatial_dims] = True
    return mask


def doubled(mask: np.ndarray) -> np.ndarray:
    """The same mask on a grid of half the voxel size."""
    for axis in range(mask.ndim):
        mask = mask.repeat(2, axis)
    return mask


def ball(shape: tuple[int, ...], spacing_mm: tuple[float, ...], radius_mm: float) -> np.ndarray:
    offsets = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)]
    return sum(g**2 for g in np.meshgrid(*offsets, indexing="ij")) <= radius_mm**2


@few
@given(seeds, dims, st.floats(0, 8), st.floats(0, 8))
def test_growing_is_monotone_and_keeps_the_mask(seed, spatial_dims, first_mm, second_mm):
    mask, spacing_mm = random_mask(seed, spatial_dims), (1.0, 2.5, 4.0)[:spatial_dims]
    small, large = (grow(mask, margin, spacing_mm) for margin in sorted((first_mm, second_mm)))
    assert not (mask & ~small).any()
    assert not (small & ~large).any()


@few
@given(seeds, dims, st.floats(0.5, 8))
def test_growing_takes_exactly_the_voxels_within_the_margin(seed, spatial_dims, margin_mm):
    mask, spacing_mm = random_mask(seed, spatial_dims), np.array((1.0, 2.5, 4.0)[:spatial_dims])
    voxels = np.argwhere(mask) * spacing_mm
    everywhere = np.argwhere(np.ones_like(mask)) * spacing_mm
    nearest_mm = np.linalg.norm(everywhere[:, None] - voxels[None], axis=-1).min(axis=1).reshape(mask.shape)
    undecided = np.abs(nearest_mm - margin_mm) < 1e-6
    assert ((grow(mask, margin_mm, tuple(spacing_mm)) == (nearest_mm <= margin_mm)) | undecided).all()


@few
@given(seeds, dims, st.floats(0.5, 6))
def test_shrinking_never_adds_and_undoes_no_more_than_growing_added(seed, spatial_dims, margin_mm):
    mask, spacing_mm = random_mask(seed, spatial_dims), (1.0, 2.5, 4.0)[:spatial_dims]
    assert not (grow(mask, -margin_mm, spacing_mm) & ~mask).any()
    grown = grow(mask, margin_mm, spacing_mm)
    assert not (grow(grown, -margin_mm * 0.999, spacing_mm) & ~grown).any()


@few
@given(seeds, dims)
def test_a_ring_touches_neither_the_mask_nor_its_inner_margin(seed, spatial_dims):
    mask, spacing_mm = random_mask(seed, spatial_dims), (1.0, 2.5, 4.0)[:spatial_dims]
    shell = ring(mask, inner_mm=2.0, outer_mm=6.0, spacing_mm=spacing_mm)
    assert not (shell & grow(mask, 2.0, spacing_mm)).any()
    assert not (shell & ~grow(mask, 6.0, spacing_mm)).any()


@few
@given(seeds, dims, st.floats(0.5, 8))
def test_halving_the_voxels_moves_the_grown_edge_by_less_than_half_a_voxel(seed, spatial_dims, margin_mm):
    mask, spacing_mm = random_mask(seed, spatial_dims), np.array((1.0, 2.5, 4.0)[:spatial_dims])
    fine = grow(doubled(mask), margin_mm, spacing_mm / 2)
    slack_mm = float(np.linalg.norm(spacing_mm)) / 2 + 1e-6
    assert not (fine & ~doubled(grow(mask, margin_mm + slack_mm, spacing_mm))).any()
    if margin_mm > slack_mm:
        assert not (doubled(grow(mask, margin_mm - slack_mm, spacing_mm)) & ~fine).any()


@few
@given(seeds, dims)
def test_halving_the_voxels_keeps_sizes_and_components(seed, spatial_dims):
    mask, spacing_mm = random_mask(seed, spatial_dims), np.array((1.0, 2.5, 4.0)[:spatial_dims])
    fine = doubled(mask)
    assert equivalent_diameter_mm(fine, spacing_mm / 2) == pytest.approx(equivalent_diameter_mm(mask, spacing_mm))
    assert len(components(fine)) == len(components(mask))
    if spatial_dims == 3:
        assert volume_ml(fine, spacing_mm / 2) == pytest.approx(volume_ml(mask, spacing_mm))


@few
@given(seeds, dims)
def test_components_are_disjoint_complete_and_largest_first(seed, spatial_dims):
    mask = random_mask(seed, spatial_dims)
    parts = components(mask)
    sizes = [int(part.sum()) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert (np.sum(parts, axis=0) == mask).all()


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.5, 2.0), (1.0, 1.0, 1.0), (1.0, 1.5, 2.0)])
def test_the_diameter_in_mm_does_not_depend_on_the_voxel_size(spacing_mm):
    shape = tuple(int(50 / s) for s in spacing_mm)
    assert equivalent_diameter_mm(ball(shape, spacing_mm, 16.0), spacing_mm) == pytest.approx(32.0, rel=0.03)


@few
@given(seeds, dims)
def test_the_largest_component_is_the_first_of_them(seed, spatial_dims):
    mask = random_mask(seed, spatial_dims)
    np.testing.assert_array_equal(largest_component(mask), components(mask)[0])


@few
@given(seeds, dims, st.floats(0.001, 0.3))
def test_what_is_missing_gets_the_value_of_a_voxel_as_near_as_any_known_one(seed, spatial_dims, share):
    rng = np.random.RandomState(seed)
    shape = (17, 14, 11)[:spatial_dims]
    known = rng.random_sample(shape) < share
    known.reshape(-1)[rng.randint(known.size)] = True
    missing = ~known & (rng.random_sample(shape) < 0.1)
    missing.reshape(-1)[np.flatnonzero(~known)[0]] = True
    places = np.arange(known.size).reshape(shape)
    found = from_nearest(places, known, missing)
    np.testing.assert_array_equal(found[~missing], places[~missing])
    assert known.reshape(-1)[found[missing]].all()
    apart = np.stack(np.unravel_index(found[missing], shape)) - np.stack(np.nonzero(missing))
    nearest = np.linalg.norm(np.argwhere(missing)[:, None] - np.argwhere(known)[None], axis=2).min(axis=1)
    np.testing.assert_allclose(np.linalg.norm(apart, axis=0), nearest)


@few
@given(seeds, dims)
def test_the_bounding_box_holds_every_voxel_and_no_more(seed, spatial_dims):
    mask = random_mask(seed, spatial_dims)
    low, extent = bounding_box(mask)
    voxels = np.argwhere(mask)
    np.testing.assert_array_equal(low, voxels.min(axis=0))
    np.testing.assert_array_equal(extent, np.ptp(voxels, axis=0) + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_labels_of_other_dtypes_count_as_masks(dtype):
    mask = random_mask(0, 3)
    label, spacing_mm = mask.astype(dtype) * 2, (1.0, 2.5, 4.0)
    for function in (lambda m: grow(m, 3.0, spacing_mm), lambda m: grow(m, -1.0, spacing_mm)):
        np.testing.assert_array_equal(function(label), function(mask))
    np.testing.assert_array_equal(
        ring(label, inner_mm=1.0, outer_mm=5.0, spacing_mm=spacing_mm),
        ring(mask, inner_mm=1.0, outer_mm=5.0, spacing_mm=spacing_mm),
    )
    assert equivalent_diameter_mm(label, spacing_mm) == equivalent_diameter_mm(mask, spacing_mm)
    assert volume_ml(label, spacing_mm) == volume_ml(mask, spacing_mm)


def test_an_empty_and_a_full_mask_stay_what_they_are():
    empty, full = np.zeros((6, 6), bool), np.ones((6, 6), bool)
    for margin_mm in (-2.0, 0.0, 2.0):
        assert not grow(empty, margin_mm, (1, 1)).any()
        assert grow(full, margin_mm, (1, 1)).all()
    assert not ring(empty, inner_mm=0, outer_mm=3, spacing_mm=(1, 1)).any()
    assert components(empty) == []
    assert not largest_component(empty).any()


def test_growing_returns_a_copy():
    mask = random_mask(0, 2)
    before = mask.copy()
    grow(mask, 0.0, (1, 1))[:] = True
    np.testing.assert_array_equal(mask, before)


def test_the_volume_of_a_slice_is_refused():
    with pytest.raises(ValueError, match="3-D"):
        volume_ml(np.ones((4, 4), bool), (1.0, 1.0))


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5), (1.0, 1.0, 2.0)])
def test_the_voxels_of_a_diameter_have_that_diameter(spacing_mm):
    count = voxels_of_diameter(20.0, spacing_mm)
    mask = np.zeros((count + 5, 1, 1)[: len(spacing_mm)], bool)
    mask[:count] = True
    assert equivalent_diameter_mm(mask, spacing_mm) == pytest.approx(20.0, rel=0.01)


@few
@given(seeds, dims)
def test_a_place_in_the_organ_is_the_same_on_a_finer_grid_and_after_a_shift(seed, spatial_dims):
    mask = random_mask(seed, spatial_dims)
    organ = grow(mask, 1.0, (1.0,) * spatial_dims)
    location = relative_location(mask, organ)
    assert all(0 < x < 1 for x in location)
    assert relative_location(doubled(mask), doubled(organ)) == pytest.approx(location)
    assert relative_location(np.pad(mask, [(3, 0)] * spatial_dims), np.pad(organ, [(3, 0)] * spatial_dims)) == location


def test_a_place_without_an_organ_is_the_middle_of_the_mask_itself():
    mask = np.zeros((9, 9), bool)
    mask[2:5, 6] = True
    assert relative_location(mask, np.zeros_like(mask)) == (0.5, 0.5)


boxes = st.sampled_from([2, 3]).flatmap(
    lambda dims: st.tuples(
        st.lists(st.integers(-20, 20), min_size=dims, max_size=dims),
        st.lists(st.integers(1, 9), min_size=dims, max_size=dims),
    )
)


def image_for(box: CropBox) -> np.ndarray:
    return np.random.RandomState(0).random_sample((14, 11, 9)[: len(box.size)])


@few
@given(boxes)
def test_a_crop_shows_the_array_inside_and_the_fill_outside(box):
    box = CropBox(*map(tuple, box))
    array = image_for(box)
    crop = extract(array, box, -1.0)
    assert crop.shape == box.size
    for index in np.ndindex(crop.shape):
        place = tuple(np.add(index, box.start))
        inside = all(0 <= p < n for p, n in zip(place, array.shape, strict=True))
        assert crop[index] == (array[place] if inside else -1.0)


@few
@given(boxes)
def test_overlap_is_where_box_and_image_meet(box):
    box = CropBox(*map(tuple, box))
    array = image_for(box)
    inside, part = box.overlap(array.shape)
    assert array[inside].shape == np.zeros(box.size)[part].shape
    covered = np.zeros(array.shape, bool)
    covered[inside] = True
    for index in np.ndindex(array.shape):
        in_box = all(s <= i < s + n for i, s, n in zip(index, box.start, box.size, strict=True))
        assert covered[index] == in_box


def test_a_box_wholly_outside_is_all_fill():
    for start in ((-50, 0), (0, 50), (50, -50)):
        box = CropBox(start, (4, 4))
        assert (extract(np.zeros((8, 8)), box, 7.0) == 7.0).all()


def test_a_crop_is_a_copy():
    array = np.zeros((8, 8))
    extract(array, box_around((4, 4), (4, 4)), 0.0)[:] = 1.0
    assert not array.any()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
def test_a_crop_keeps_the_dtype(dtype):
    box = box_around((0, 0), (4, 4))
    assert extract(np.ones((8, 8), dtype), box, 0).dtype == dtype


def test_the_box_around_a_voxel_has_it_in_the_middle():
    box = box_around((10, 20, 5), (4, 5, 6))
    assert box.start == (8, 18, 2)
    assert box.size == (4, 5, 6)


@pytest.mark.parametrize("resize", [resized_mask, nearest_mask])
def test_a_mask_on_its_own_grid_is_unchanged(resize):
    mask = np.random.RandomState(0).random_sample((9, 7, 5)) < 0.4
    np.testing.assert_array_equal(resize(mask, mask.shape), mask)
    np.testing.assert_array_equal(resize(mask.astype(np.uint8) * 3, mask.shape), mask)


@pytest.mark.parametrize("resize", [resized_mask, nearest_mask])
@pytest.mark.parametrize("size", [(32, 32), (9, 9), (16, 16, 32), (5, 6, 7)])
def test_a_mask_on_another_grid_fills_the_same_part_of_the_box(resize, size):
    mask = np.zeros((16,) * len(size), bool)
    mask[(slice(4, 12),) * len(size)] = True
    assert resize(mask, size).mean() == pytest.approx(0.5 ** len(size), rel=0.5)


@few
@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_a_mask_that_vanishes_on_a_coarser_grid_can_be_kept(seed, spatial_dims):
    mask = np.zeros((20,) * spatial_dims, bool)
    voxel = tuple(np.random.RandomState(seed).randint(0, 20, spatial_dims))
    mask[voxel] = True
    assert not resized_mask(mask, (5,) * spatial_dims).any()
    kept = np.argwhere(resized_mask(mask, (5,) * spatial_dims, keep=True))
    np.testing.assert_array_equal(kept, [np.array(voxel) // 4])
