"""What every phantom is: the `Phantom` record, its random streams, its MR scanner, and the checks on its arguments.

A patient is drawn from independent streams (anatomy, tumors, scanner), each seeded by (seed, index, stream). So patient
i does not depend on how many are drawn, and the same patient with `tumors=0` is its own healthy twin: same anatomy,
same gain, same noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medaug.errors import ConfigError
from medaug.phantoms.fields import Grid, smooth_noise, white_noise


@dataclass(frozen=True)
class Phantom:
    """One procedural patient; all arrays share one grid (X, Y, Z).

    Attributes:
        patient: `phantom-000`, ...
        images: by sequence; MR float32 in au, CT int16 in HU.
        label: uint8; head 1 tumor core, 2 edema-like rim; abdomen 1 liver lesion.
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


def streams(seed: int, index: int, names: tuple[str, ...]) -> dict[str, np.random.RandomState]:
    """One independent generator per name, a function of (seed, index, position in names) only."""
    return {
        name: np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, index, number])))
        for number, name in enumerate(names)
    }


def grid_for(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] | None, field_of_view_mm: tuple[float, ...]
) -> Grid:
    """The sampling grid; without a spacing, the one that just covers the field of view.

    Raises:
        ConfigError: if shape or spacing is not three positive numbers.
    """
    if len(shape) != 3 or any(int(n) != n or n < 1 for n in shape):
        raise ConfigError(f"shape: found {shape!r}; expected three positive whole numbers (X, Y, Z)")
    covering_mm = tuple(extent / n for extent, n in zip(field_of_view_mm, shape, strict=True))
    sizes_mm = covering_mm if spacing_mm is None else spacing_mm
    if len(sizes_mm) != 3 or any(not (np.isfinite(s) and s > 0) for s in sizes_mm):
        raise ConfigError(f"spacing_mm: found {spacing_mm!r}; expected three positive sizes in mm")
    (x, y, z), (r, a, s) = map(int, shape), map(float, sizes_mm)
    return Grid.centred((x, y, z), (r, a, s))


def check_draw(index: int, seed: int, tumors: int | None) -> None:
    """Refuses numbers that cannot name a patient.

    Raises:
        ConfigError: if one of them is negative.
    """
    for name, value in (("index", index), ("seed", seed), ("tumors", tumors)):
        if value is not None and value < 0:
            raise ConfigError(f"{name}: found {value}; expected 0 or more")


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
