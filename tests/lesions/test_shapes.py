"""Warps that can be replayed, and procedural masks of a given size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.lesions.geometry import components, equivalent_diameter_mm
from medaug.lesions.reference import (
    COARSE,
    Warp,
    clear_of_edge,
    draw_warp,
    procedural_blob,
    sampled,
    stretched,
    warp_points,
)

few = settings(max_examples=15, deadline=None, derandomize=True)
SIZES = {2: (48, 40), 3: (24, 20, 16)}
dims = pytest.mark.parametrize("spatial_dims", [2, 3])


def apply_warp(crops, warp):
    points = warp_points(warp, crops[0].shape)
    return list(sampled(crops, points))


def crop_of(spatial_dims: int) -> np.ndarray:
    return np.random.RandomState(0).random_sample(SIZES[spatial_dims]).astype(np.float32)


def unbent(matrix: np.ndarray) -> Warp:
    spatial_dims = len(matrix)
    return Warp(matrix, np.zeros((spatial_dims, *([COARSE] * spatial_dims))))


@dims
def test_the_identity_warp_returns_its_input(spatial_dims):
    crop = crop_of(spatial_dims)
    np.testing.assert_allclose(apply_warp([crop], unbent(np.eye(spatial_dims)))[0], crop, atol=1e-4)


@dims
def test_a_flip_flips_that_axis(spatial_dims):
    crop = crop_of(spatial_dims)
    for axis in range(spatial_dims):
        matrix = np.eye(spatial_dims)
        matrix[axis, axis] = -1
        np.testing.assert_allclose(apply_warp([crop], unbent(matrix))[0], np.flip(crop, axis), atol=1e-4)


@dims
def test_a_constant_displacement_shifts_by_so_much_of_the_half_width(spatial_dims):
    crop = crop_of(spatial_dims)
    for axis, length in enumerate(crop.shape):
        warp = unbent(np.eye(spatial_dims))
        warp.displacement[axis] = 2 * 3 / (length - 1)  # three voxels
        moved = np.take(apply_warp([crop], warp)[0], range(length - 3), axis)
        np.testing.assert_allclose(moved, np.take(crop, range(3, length), axis), atol=1e-4)


@dims
def test_a_warp_replays_exactly_and_moves_all_arrays_alike(spatial_dims):
    crop = crop_of(spatial_dims)
    warp = draw_warp(np.random.RandomState(5), spatial_dims)
    first, twin = apply_warp([crop, crop], warp)
    np.testing.assert_array_equal(first, twin)
    np.testing.assert_array_equal(first, apply_warp([crop], warp)[0])
    again = draw_warp(np.random.RandomState(5), spatial_dims)
    np.testing.assert_array_equal(again.matrix, warp.matrix)


@few
@given(st.integers(0, 10_000), st.sampled_from([2, 3]), st.floats(0.6, 1.6))
def test_a_warp_without_bending_scales_sizes_as_told(seed, spatial_dims, scale):
    warp = draw_warp(np.random.RandomState(seed), spatial_dims, scale=scale, bend=0.0)
    assert abs(np.linalg.det(warp.matrix)) == pytest.approx(scale**-spatial_dims)
    assert abs(np.linalg.det(warp.enlarged(1.5).matrix)) == pytest.approx((1.5 * scale) ** -spatial_dims)


@few
@given(st.integers(0, 10_000), st.sampled_from([2, 3]), st.floats(14, 30))
def test_a_blob_is_one_piece_within_a_tenth_of_its_diameter(seed, spatial_dims, diameter_mm):
    spacing_mm, size = (2.0, 2.5, 3.0)[:spatial_dims], (40, 36, 20)[:spatial_dims]
    blob = procedural_blob(np.random.RandomState(seed), diameter_mm, spacing_mm, size, margin=2)
    assert len(components(blob)) == 1
    assert equivalent_diameter_mm(blob, spacing_mm) == pytest.approx(diameter_mm, rel=0.1)
    assert clear_of_edge(blob, 2)


@dims
def test_a_blob_too_large_for_its_irregularity_is_a_ball(spatial_dims):
    size, spacing_mm = (24,) * spatial_dims, (1.0,) * spatial_dims
    for seed in range(3):
        blob = procedural_blob(np.random.RandomState(seed), 17.0, spacing_mm, size, margin=3)
        assert clear_of_edge(blob, 3)
        assert equivalent_diameter_mm(blob, spacing_mm) == pytest.approx(17.0, rel=0.05)


@dims
def test_the_smallest_blob_is_one_voxel(spatial_dims):
    blob = procedural_blob(np.random.RandomState(0), 0.1, (1.0,) * spatial_dims, (12,) * spatial_dims)
    assert blob.sum() == 1


@dims
def test_stretching_lays_the_source_over_the_target(spatial_dims):
    size = SIZES[spatial_dims]
    source, target = np.zeros(size, bool), np.zeros(size, bool)
    source[(slice(4, 8),) * spatial_dims] = True
    target[(slice(6, 14),) * spatial_dims] = True
    ramp = np.indices(size)[0].astype(np.float32)
    (filled,) = stretched(ramp[None], source, target)
    values = filled[target].reshape((8,) * spatial_dims).mean(axis=tuple(range(1, spatial_dims)))
    np.testing.assert_allclose(values[[0, -1]], [4, 7], atol=0.5)
    assert (np.diff(values) >= 0).all()


@dims
def test_stretching_never_shows_what_lay_outside_the_source(spatial_dims):
    size = SIZES[spatial_dims]
    source, target = np.zeros(size, bool), np.zeros(size, bool)
    source[(slice(4, 8),) * spatial_dims] = True
    target[(slice(2, 15),) * spatial_dims] = True
    (filled,) = stretched(np.where(source, 0.5, -1.0)[None], source, target)
    assert (filled == 0.5).all()
