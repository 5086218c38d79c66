"""Crops that reach over the image's edge, and masks on two grids over one box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.lesions.geometry import CropBox, box_around, extract
from medaug.resampling import nearest_mask, resized_mask

few = settings(max_examples=40, deadline=None, derandomize=True)
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
