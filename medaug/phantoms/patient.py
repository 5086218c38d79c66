"""What every phantom is drawn with: the `Phantom` record, its grid and streams, irregular lesions, an MR scanner.

A patient is drawn from independent streams (anatomy, confounders, tumors, scanner), each seeded by (seed, index,
stream). So patient i does not depend on how many are drawn, and the same patient with `tumors=0` is its own healthy
twin: same anatomy, same gain, same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np

from medaug.errors import ConfigError
from medaug.phantoms.fields import Grid, Vector, ellipsoid, rotation, smooth_noise, union, white_noise

STREAMS = ("anatomy", "confounders", "tumors", "scanner")


@dataclass(frozen=True)
class Phantom:
    """One procedural patient; all arrays share one grid (X, Y, Z).

    Attributes:
        patient: `phantom-000`, ...
        images: by sequence; MR float32 in au, CT int16 in HU.
        label: uint8; head 1 tumor core, 2 edema-like rim (with parts: see `head.PARTS`); abdomen 1 liver lesion.
        organs: uint8; head 1 brain; abdomen 1 liver, 2 kidneys, 3 spine. An organ includes its tumors.
        spacing_mm: voxel size.
        affine: (4, 4), voxel index to RAS mm.
    """

    patient: str
    images: dict[str, np.ndarray]
    label: np.ndarray
    organs: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray


def axial_slices(phantom: Phantom, sequence: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The (index, image (X, Y), label (X, Y)) of every slice, from the lowest axial slice up.

    Raises:
        ConfigError: if the phantom has no such sequence.
    """
    if sequence not in phantom.images:
        raise ConfigError(f"{phantom.patient}: no sequence {sequence!r}; it has {', '.join(sorted(phantom.images))}")
    image = phantom.images[sequence]
    return ((z, image[:, :, z], phantom.label[:, :, z]) for z in range(image.shape[2]))


def begin(
    index: int,
    seed: int,
    tumors: int | None,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float] | None,
    field_of_view_mm: tuple[float, ...],
) -> tuple[Grid, dict[str, np.random.RandomState]]:
    """The sampling grid and the random streams of a patient; without a spacing, the grid just covers the field of view.

    Raises:
        ConfigError: if a number is negative, or shape or spacing is not three positive numbers.
    """
    for name, value in (("index", index), ("seed", seed), ("tumors", tumors)):
        if value is not None and value < 0:
            raise ConfigError(f"{name}: found {value}; expected 0 or more")
    if len(shape) != 3 or any(int(n) != n or n < 1 for n in shape):
        raise ConfigError(f"shape: found {shape!r}; expected three positive whole numbers (X, Y, Z)")
    covering_mm = tuple(extent / n for extent, n in zip(field_of_view_mm, shape, strict=True))
    sizes_mm = covering_mm if spacing_mm is None else spacing_mm
    if len(sizes_mm) != 3 or any(not (np.isfinite(s) and s > 0) for s in sizes_mm):
        raise ConfigError(f"spacing_mm: found {spacing_mm!r}; expected three positive sizes in mm")
    steps = (-sizes_mm[0], -sizes_mm[1], sizes_mm[2])
    r, a, s = (  # the grid's middle is the world's origin
        (float(step) * (np.arange(int(n)) - (int(n) - 1) / 2)).astype(np.float32)
        for step, n in zip(steps, shape, strict=True)
    )
    states = (np.random.SeedSequence([seed, index, number]) for number in range(len(STREAMS)))
    rngs = (np.random.RandomState(np.random.MT19937(state)) for state in states)
    spacing = (float(sizes_mm[0]), float(sizes_mm[1]), float(sizes_mm[2]))
    return Grid((r, a, s), spacing), dict(zip(STREAMS, rngs, strict=True))


def mr_scan(
    rng: np.random.RandomState,
    clean: np.ndarray,
    grid: Grid,
    *,
    bias: float,
    noise: float,
    gain: float,
    extent_mm: float,
) -> np.ndarray:
    """What an MR scanner makes of a clean image (tissue values about 0 to 1).

    Multiplies by a smooth bias field exp(bias · field), adds Rician noise of this standard deviation, then applies the
    gain. Returns float32 (X, Y, Z), never negative.
    """
    received = clean * np.exp(np.float32(bias) * smooth_noise(rng, grid, 0.8 * extent_mm, extent_mm))
    real, imaginary = white_noise(rng, (2, *grid.shape)) * np.float32(noise)
    real += received
    return np.float32(gain) * np.sqrt(real**2 + imaginary**2)


@dataclass(frozen=True)
class Lesion:
    """One lesion sampled in a box of the grid.

    Attributes:
        where: the box's slices in the full grid.
        distance_mm: signed distance to the surface, negative inside.
        texture: smooth noise of unit variance, about 5 mm fine.
        spread: smooth noise of unit variance, coarser: how far what surrounds the lesion reaches.
    """

    where: tuple[slice, slice, slice]
    distance_mm: np.ndarray
    texture: np.ndarray
    spread: np.ndarray


def lesion(
    rng: np.random.RandomState, grid: Grid, centre_mm: Vector, radius_mm: float, *, margin_mm: float, roughness: float
) -> Lesion | None:
    """Draws a lesion about a centre (R, A, S): two or three blended, turned ellipsoids, their surface pushed by noise.

    The draws do not depend on the grid; the result is None where the lesion misses it.

    Args:
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
    found = Lesion(where, distance + np.float32(roughness * radius_mm) * surface, texture, spread)
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
