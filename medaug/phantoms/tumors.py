"""Irregular lesions in mm: two or three blended, turned ellipsoids, their surface pushed in and out by smooth noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np

from medaug.phantoms.fields import Grid, Vector, ellipsoid, rotation, smooth_noise, union


@dataclass(frozen=True)
class Lesion:
    """One lesion sampled in a box of the grid.

    Attributes:
        where: the box's slices in the full grid.
        distance_mm: signed distance to the surface, negative inside.
        texture: smooth noise of unit variance, about 5 mm fine.
        spread: smooth noise of unit variance, coarser: how far what surrounds the lesion reaches.
        radius_mm: its mean radius.
    """

    where: tuple[slice, slice, slice]
    distance_mm: np.ndarray
    texture: np.ndarray
    spread: np.ndarray
    radius_mm: float


def lesion(
    rng: np.random.RandomState, grid: Grid, centre_mm: Vector, radius_mm: float, *, margin_mm: float, roughness: float
) -> Lesion | None:
    """Draws a lesion about a centre; None where it misses the grid (the draws are the same then).

    Args:
        rng: draws shape and texture; the draws do not depend on the grid.
        grid: the full grid.
        centre_mm: R, A, S.
        radius_mm: mean radius of the main lobe.
        margin_mm: how much surroundings the box keeps around the lesion.
        roughness: standard deviation of the surface's displacement, as a fraction of the radius.
    """
    half_mm = 2.2 * radius_mm + margin_mm
    box = grid.box(centre_mm, half_mm)
    r, a, s = grid.axes
    where, local = box if box else ((slice(0, 0),) * 3, Grid((r[:0], a[:0], s[:0]), grid.spacing_mm))
    lobes = []
    for lobe in range(rng.randint(2, 4)):
        size = radius_mm if lobe == 0 else radius_mm * rng.uniform(0.45, 0.75)
        radii = size * np.exp(rng.normal(0, 0.2, 3))
        direction = rng.normal(0, 1, 3)
        offset = direction / np.linalg.norm(direction) * (0.0 if lobe == 0 else 0.75 * radius_mm)
        turn = rotation(rng.uniform(0, 2 * np.pi, 3))
        lobes.append(ellipsoid(local.points, np.add(centre_mm, offset), radii, turn))
    distance = reduce(partial(union, blend_mm=0.4 * radius_mm), lobes)
    surface = smooth_noise(rng, local, 0.6 * radius_mm, half_mm, centre_mm)
    texture = smooth_noise(rng, local, max(4.0, 0.35 * radius_mm), half_mm, centre_mm)
    spread = smooth_noise(rng, local, max(7.0, 0.7 * radius_mm), half_mm, centre_mm)
    found = Lesion(where, distance + np.float32(roughness * radius_mm) * surface, texture, spread, radius_mm)
    return found if box else None


def lesion_in(
    rng: np.random.RandomState,
    grid: Grid,
    organ: np.ndarray,
    place: Callable[[], np.ndarray],
    radius_mm: float,
    *,
    margin_mm: float,
    roughness: float,
) -> Lesion | None:
    """Draws centres by `place` until most of the lesion lies in the organ (bool (X, Y, Z)); else see `lesion`.

    After ten tries, or where the lesion misses the grid, it takes what came; None if no voxel of it lies in the organ.
    """
    for _ in range(10):
        found = lesion(rng, grid, place(), radius_mm, margin_mm=margin_mm, roughness=roughness)
        if found is None:
            return None
        share = organ[found.where][found.distance_mm < 0]
        if share.size and share.mean() > 0.6:
            break
    return found if share.any() else None
