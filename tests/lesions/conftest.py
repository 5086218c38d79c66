"""Small training folds: ellipsoid organs with ellipsoid lesions whose size, place and contrast are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from medaug.lesions.prior import LesionExample, LesionPrior

SPACING_MM = 2.7
GRIDS = {2: ((96, 96), (48, 48)), 3: ((56, 56, 40), (32, 32, 16))}
DIAMETERS_MM = (14.0, 18.0, 24.0)


def draw_ellipsoid(shape: tuple[int, ...], center: np.ndarray, radius: np.ndarray | float) -> np.ndarray:
    offsets = np.moveaxis(np.indices(shape), 0, -1) - np.asarray(center)
    return ((offsets / radius) ** 2).sum(axis=-1) <= 1


def make_example(spatial_dims: int, number: int, diameter_mm: float) -> LesionExample:
    shape, rng = GRIDS[spatial_dims][0], np.random.RandomState(number)
    middle = (np.array(shape) - 1) / 2
    organ = draw_ellipsoid(shape, middle, 0.45 * np.array(shape))
    place = middle + rng.uniform(-0.08, 0.08, spatial_dims) * shape
    label = draw_ellipsoid(shape, place, diameter_mm / 2 / SPACING_MM)
    image = np.where(organ, -0.2, -1.0) + 0.5 * label + rng.normal(0, 0.03, shape) * organ
    spacing_mm = (SPACING_MM,) * spatial_dims
    return LesionExample(
        image[None].astype(np.float32), label, organ, f"patient{number}", f"case{number}", None, spacing_mm
    )


@pytest.fixture(scope="session")
def ellipsoid() -> Callable[..., np.ndarray]:
    """`ellipsoid(shape, center, radius)`: a bool mask, in voxels."""
    return draw_ellipsoid


@pytest.fixture(scope="session")
def example() -> Callable[..., LesionExample]:
    """`example(spatial_dims, number, diameter_mm)`: a view with one lesion, contrast 0.5, of `patient<number>`."""
    return make_example


@pytest.fixture(scope="session", params=[2, 3], ids=["2d", "3d"])
def prior_and_organ(request: pytest.FixtureRequest) -> tuple[LesionPrior, np.ndarray]:
    """A prior of three lesions of 14, 18 and 24 mm, and the organ they lay in; 2.7 mm voxels."""
    dims = request.param
    examples = [make_example(dims, number, size) for number, size in enumerate(DIAMETERS_MM)]
    return LesionPrior.fit(examples, GRIDS[dims][1], (SPACING_MM,) * dims), examples[0].organ
