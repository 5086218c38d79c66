"""Mass effect: it never folds, ends where it says, and carries labels along."""

import numpy as np
import pytest
from scipy import ndimage

from medaug.errors import ConfigError
from medaug.lesions.geometry import CropBox
from medaug.lesions.growth import MassEffect, displacement
from medaug.lesions.radial import Growth, RadialShape

SPACING = {2: (1.0, 1.4), 3: (1.0, 1.2, 2.0)}


@pytest.fixture(params=[2, 3], ids=["2d", "3d"])
def growth(request, ellipsoid) -> Growth:
    """A lopsided lesion in the middle of a field of 80 (2-D) or 48 voxels."""
    dims = request.param
    size = ((80, 80), (56, 48, 32))[dims - 2]
    middle = np.array(size) // 2
    mask = ellipsoid(size, middle, np.array([8, 5, 4])[:dims]) | ellipsoid(size, middle + 3, np.array([5, 5, 3])[:dims])
    shape, center = RadialShape.of(mask, SPACING[dims])
    return Growth.of(shape, center, SPACING[dims], CropBox((0,) * dims, size), np.ones(size, bool))


def everywhere(growth: Growth) -> np.ndarray:
    return np.ones(growth.box.size, dtype=bool)


def lesion(growth: Growth, scale: float = 1.0) -> np.ndarray:
    return growth.masks([scale * growth.shape.diameter_mm], growth.box.size)[0]


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("reach_mm", [6.0, 14.0])
def test_it_never_folds(growth, strength, reach_mm):
    moved = displacement(growth, 1.0, everywhere(growth), MassEffect(strength, reach_mm))
    sources = np.stack(np.meshgrid(*map(np.arange, growth.box.size), indexing="ij")).astype(float)
    sources[(slice(None), *moved.moved.T)] = moved.sources.T
    gradients = np.stack([np.stack(np.gradient(s), axis=-1) for s in sources], axis=-2)
    assert np.linalg.det(gradients).min() > 0


def test_nothing_moves_beyond_the_reach(growth):
    moved = displacement(growth, 1.0, everywhere(growth), MassEffect(1.0, 8.0))
    image = np.random.RandomState(0).normal(size=growth.box.size).astype(np.float32)
    away = ndimage.distance_transform_edt(~lesion(growth), sampling=growth.spacing_mm)
    changed = moved.image(image) != image
    assert changed[(away > 0) & (away < 3)].mean() > 0.9
    assert not changed[away > 8.0 + max(growth.spacing_mm)].any()


def test_tissue_moves_away_from_the_centre(growth):
    moved = displacement(growth, 1.0, everywhere(growth), MassEffect(0.7, 12.0))
    spacing = np.array(growth.spacing_mm)
    now, before = (np.linalg.norm((x - growth.center) * spacing, axis=1) for x in (moved.moved, moved.sources))
    assert (now > before).all() and (now - before).max() > 2.0


def test_nothing_moves_at_the_edge_of_the_organ_or_outside(growth):
    organ = everywhere(growth)
    organ[: int(growth.center[0]) - 11] = False
    moved = displacement(growth, 1.0, organ, MassEffect(1.0, 20.0))
    np.testing.assert_array_equal(moved.label(organ.astype(np.uint8)) > 0, organ)
    image = np.random.RandomState(0).normal(size=organ.shape)
    assert (moved.image(image)[~organ] == image[~organ]).all()


def test_a_label_nearby_is_carried_along_and_stays_binary(growth):
    spacing = growth.spacing_mm
    axes = np.stack(np.meshgrid(*map(np.arange, growth.box.size), indexing="ij"))
    offsets = np.stack([(a - c) * s for a, c, s in zip(axes, growth.center, spacing, strict=True)])
    place = np.zeros(len(spacing))
    place[0] = -16.0
    near = (((offsets.T - place).T ** 2).sum(axis=0) <= 16).astype(np.uint8)
    moved = displacement(growth, 1.0, everywhere(growth), MassEffect(0.6, 20.0)).label(near)
    assert set(np.unique(moved)) == {0, 1} and moved.dtype == near.dtype
    assert moved.sum() == pytest.approx(near.sum(), rel=0.35)
    shift = (np.argwhere(moved).mean(axis=0) - np.argwhere(near).mean(axis=0)) * spacing
    assert shift[0] < -0.3, "away from the lesion"


def test_no_strength_moves_nothing(growth):
    image = np.random.RandomState(0).normal(size=growth.box.size)
    moved = displacement(growth, 1.0, everywhere(growth), MassEffect(0.0))
    np.testing.assert_array_equal(moved.image(image), image)


@pytest.mark.parametrize("settings", [{"strength": 1.2}, {"strength": -0.1}, {"reach_mm": 0.0}])
def test_effects_that_are_none_are_refused(settings):
    with pytest.raises(ConfigError, match=": found"):
        MassEffect(**settings)
