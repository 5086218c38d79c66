"""Growth series: exact volumes, nested masks of one shape, and what bounds them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.errors import ConfigError, DataError
from medaug.lesions.drawing import draw_lesion
from medaug.lesions.geometry import CropBox, equivalent_diameter_mm
from medaug.lesions.growth import GrowthPlan, draw_growing, let_grow
from medaug.lesions.prior import LesionPrior
from medaug.lesions.radial import Growth, RadialShape

SHAPES = {2: (48, 48), 3: (32, 32, 32)}


def bean(dims: int) -> np.ndarray:
    """A lopsided mask of two overlapping balls."""
    grid = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in SHAPES[dims]], indexing="ij"))
    shifted = grid - np.reshape([4, 2, 1][:dims], (-1, *([1] * dims)))
    return ((grid**2).sum(axis=0) <= 36) | ((shifted**2).sum(axis=0) <= 20)


def grown(dims: int, spacing_mm: tuple[float, ...], room: np.ndarray | None = None) -> Growth:
    mask = bean(dims)
    shape, center = RadialShape.of(mask, spacing_mm)
    box = CropBox((0,) * dims, mask.shape)
    return Growth.of(shape, center, spacing_mm, box, np.ones(mask.shape, bool) if room is None else room)


@settings(max_examples=12, deadline=None)
@given(
    dims=st.sampled_from([2, 3]),
    start_mm=st.floats(4, 10),
    doubling_days=st.floats(20, 400),
    interval_days=st.floats(10, 90),
    spacing=st.lists(st.floats(0.5, 1.5), min_size=3, max_size=3),
)
def test_volumes_follow_the_doubling_time_to_the_voxel(dims, start_mm, doubling_days, interval_days, spacing):
    plan, spacing_mm = GrowthPlan(4, start_mm, doubling_days, interval_days), tuple(spacing[:dims])
    try:
        masks = grown(dims, spacing_mm).masks(plan.diameters_mm, SHAPES[dims])
    except DataError as error:
        assert "at most" in str(error) or "longer interval" in str(error)
        return
    unit = np.prod(spacing_mm)
    start = np.pi * start_mm**2 / 4 if dims == 2 else np.pi * start_mm**3 / 6
    for day, mask in zip(plan.days, masks, strict=True):
        expected = start * 2 ** (day / doubling_days * dims / 3)
        assert abs(mask.sum() * unit - expected) <= 0.5 * unit * (1 + 1e-9)
    for smaller, larger in zip(masks, masks[1:], strict=False):
        assert not (smaller & ~larger).any() and larger.sum() > smaller.sum()


@pytest.mark.parametrize("dims", [2, 3])
def test_the_shape_is_the_same_at_every_size(dims):
    growth = grown(dims, (1.0,) * dims)
    drawn = bean(dims)
    again = growth.masks([equivalent_diameter_mm(drawn, (1.0,) * dims)], drawn.shape)[0]
    assert 2 * (again & drawn).sum() / (again.sum() + drawn.sum()) > 0.93
    small, large = growth.masks([6.0, 18.0], drawn.shape)
    ratios = [[np.ptp(i) + 1 for i in np.nonzero(mask)] for mask in (small, large)]
    np.testing.assert_allclose(np.divide(ratios[1], ratios[0]), 3.0, atol=0.6)


def test_a_series_that_outgrows_its_room_names_the_largest_size():
    room = np.zeros(SHAPES[3], bool)
    room[8:24, 8:24, 8:24] = True
    growth = grown(3, (1.0,) * 3, room)
    with pytest.raises(DataError, match=rf"ends at 30.0 mm; expected at most {growth.largest_mm:.1f} mm"):
        growth.masks([10.0, 30.0], SHAPES[3])
    assert 11 < growth.largest_mm < 17
    assert growth.holds(growth.largest_mm) and not growth.holds(growth.largest_mm + 0.5)
    mask = growth.masks([growth.largest_mm], SHAPES[3])[0]
    assert not (mask & ~room).any()


def test_steps_too_small_for_the_voxels_are_refused():
    with pytest.raises(DataError, match="found 13 voxels at 4.00 mm and 13 a step later"):
        grown(2, (1.0, 1.0)).masks([4.0, 4.01], SHAPES[2])


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 1), ("start_mm", 0), ("doubling_days", -3), ("interval_days", float("nan"))]
)
def test_plans_that_are_none_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name}: found"):
        GrowthPlan(**{name: value})


def test_the_body_of_a_ball_has_its_radius_everywhere(ellipsoid):
    shape, center = RadialShape.of(ellipsoid((32, 32, 32), (16, 15, 14), (8, 8, 8)), (1.0, 1.0, 1.0))
    np.testing.assert_allclose(center, (16, 15, 14), atol=0.01)
    np.testing.assert_allclose(shape.radii_mm, 8, atol=0.6)
    assert shape.diameter_mm == pytest.approx(16, abs=0.5)


def test_a_crescent_grows_from_inside_itself(ellipsoid):
    mask = ellipsoid((40, 40), (20, 20), (14, 14)) & ~ellipsoid((40, 40), (24, 20), (12, 12))
    _, center = RadialShape.of(mask, (1.0, 1.0))
    assert mask[tuple(center.astype(int))]


def test_a_lifted_shape_has_the_sections_of_an_ellipsoid():
    shape, _ = RadialShape.of(bean(2), (1.0, 1.0))
    lifted = shape.lifted(5.0)
    np.testing.assert_allclose(lifted.radii_mm[:, 30], shape.radii_mm, rtol=1e-6)
    np.testing.assert_allclose(lifted.radii_mm[:, [0, -1]], 5.0)
    assert lifted.diameter_mm == pytest.approx((shape.diameter_mm**2 * 10) ** (1 / 3), rel=0.01)


def test_a_drawn_lesion_grows_where_it_has_room(prior_and_organ):
    prior, organ = prior_and_organ
    spacing = prior.spacing_mm
    occupied = np.zeros_like(organ)
    drawn = draw_growing(prior, 16.0, organ, occupied, np.random.RandomState(0), spacing_mm=spacing)
    again = draw_growing(prior, 16.0, organ, occupied, np.random.RandomState(0), spacing_mm=spacing)
    masks = drawn.growth.masks([9.0, 12.0, 16.0], organ.shape)
    for mask, twin in zip(masks, again.growth.masks([9.0, 12.0, 16.0], organ.shape), strict=True):
        assert mask.any() and not (mask & ~organ).any()
        np.testing.assert_array_equal(mask, twin)
    ((level, lesion),) = drawn.at(masks[-1], 16.0)
    assert level is None and lesion.mask.sum() == masks[-1].sum()
    assert lesion.reference == drawn.lesion.reference


def test_no_room_at_the_last_size_names_the_largest_that_fits(prior_and_organ):
    prior, organ = prior_and_organ
    with pytest.raises(DataError, match="expected at most") as error:
        draw_growing(prior, 400.0, organ, np.zeros_like(organ), np.random.RandomState(0), spacing_mm=prior.spacing_mm)
    largest = float(str(error.value).split("at most ")[1].split(" mm")[0])
    assert 10 < largest < 130
    drawn = draw_growing(
        prior, 0.8 * largest, organ, np.zeros_like(organ), np.random.RandomState(0), spacing_mm=prior.spacing_mm
    )
    assert drawn.growth.holds(0.8 * largest)


def test_a_flat_lesion_grows_in_a_volume_as_a_stack(example):
    prior = LesionPrior.fit([example(2, i, d) for i, d in enumerate((14.0, 18.0, 24.0))], (24, 24), (2.7, 2.7))
    organ = np.ones((64, 64, 24), bool)
    lesion = draw_lesion(prior, organ[..., 12], ~organ[..., 12], np.random.RandomState(0), size_mm=(20.0, 20.0))
    stacked = let_grow(lesion, (2.7, 2.7, 4.0), organ, level=12, flatness=0.8)
    for diameter_mm, mask in zip((10, 19.0), stacked.growth.masks([10.0, 19.0], organ.shape), strict=True):
        assert equivalent_diameter_mm(mask, (2.7, 2.7, 4.0)) == pytest.approx(diameter_mm, rel=0.02)
        sections = stacked.at(mask, diameter_mm)
        assert [z for z, _ in sections] == list(np.flatnonzero(mask.any(axis=(0, 1))))
        assert mask[..., 12].sum() == mask.sum(axis=(0, 1)).max()
        assert all(section.mask.shape == (24, 24) and section.mask.any() for _, section in sections)
