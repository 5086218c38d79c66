"""Traces of windows, strides and slices: seams, checkerboards, brightness that drifts, and flicker along z.

An instance norm (Ulyanov 2016, 1607.08022) subtracts what it sees on average, so a tile of air and a tile of liver come
out differently bright. Strided networks leave regular patterns (Odena 2016, doi 10.23915/distill.00003), and where
windows meet there may be a step. Edits made slice by slice may flicker along z; thin slices are smoother than thick
ones, so steps along z are set against those in the plane, and that against the same ratio of real lesions. Arrays are
(X, Y[, Z]) in the target's unit, and so are differences; ratios are 1 where there is nothing to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from monai.data.utils import dense_patch_slices

from medaug.errors import DataError

NEARBY_VOXELS = 4
"""Gradients up to so far from a border are what those across it are compared with."""
PEAK_BINS, AROUND_BINS = 1.5, (2.5, 6.0)
"""Bins of a spectrum: half the width of what counts as one frequency, and what its energy is compared with."""

Region = tuple[slice, ...]


class Difference(NamedTuple):
    """How far a scan translated in windows is from the scan translated whole; absolute, in the target's unit."""

    mean: float
    largest: float


class Drift(NamedTuple):
    """How the tiles' brightness differs from that of the whole scan, in the target's unit.

    Attributes:
        offsets: (tiles,), mean of (tile alone − whole scan); `spread` is their standard deviation.
        slope: how much they change, on a straight line, from one end of the scan to the other; the steepest axis.
    """

    offsets: np.ndarray
    spread: float
    slope: float


def tiles_of(shape: Sequence[int], patch_size: Sequence[int], overlap: float) -> list[Region]:
    """The windows that a sliding window of this size and overlap (a fraction) looks at; the last ones end at the edge.

    An image smaller than the window is one tile along that axis.
    """
    size = [min(p, n) for p, n in zip(patch_size, shape, strict=True)]
    steps = [n if p == n else max(1, int(p * (1 - overlap))) for p, n in zip(size, shape, strict=True)]
    return dense_patch_slices(tuple(shape), size, steps)


def seam_ratio(image: np.ndarray, patch_size: Sequence[int], overlap: float) -> float:
    """Mean absolute step across the windows' borders over that nearby, along the same axis; 1 without seams.

    The image may be a change, which is more sensitive. The axis with the strongest seams counts.
    """
    tiles = tiles_of(image.shape, patch_size, overlap)
    return max(_seams_along(image, axis, tiles) for axis in range(image.ndim))


def checkerboard_ratio(fake: np.ndarray, reference: np.ndarray, stride: int) -> float:
    """Energy of `fake` at the frequencies of the stride's grid, up to Nyquist's, relative to that of `reference`.

    A pattern of the network's has one phase everywhere: it is a peak in the plane's spectrum, where anatomy is a slope.
    So each energy is taken over its surroundings in the spectrum (of the reference at least 1), and the frequency where
    `fake` has most in excess counts. Two clean images differ by a factor of a few; strides above 4 reach into the
    anatomy's own frequencies: look at the change (fake − source) there.

    Args:
        reference: an image of the target domain, or the source; its shape may differ. Volumes are averaged over axis 2.
        stride: of the network, at least 2.

    Raises:
        DataError: for a constant image.
    """
    spectra = [_spectrum(image) for image in (fake, reference)]
    steps = [k / stride for k in range(-(stride // 2), stride // 2 + 1)]
    grid = [(x, y) for x in {*steps, 0.5} for y in {*steps, 0.5} if (x, y) != (0, 0)]
    return max(_peak(spectra[0], place) / max(1.0, _peak(spectra[1], place)) for place in grid)


def tiling_difference(whole: np.ndarray, tiled: np.ndarray, mask: np.ndarray | None = None) -> Difference:
    """How far the scan translated in windows is from the scan translated whole.

    Raises:
        DataError: if shapes differ, or the mask is empty.
    """
    inside = _inside(mask, whole.shape)
    if whole.shape != tiled.shape:
        raise DataError(f"found translations of shapes {whole.shape} and {tiled.shape}; expected one scan's")
    distance = np.abs(np.asarray(whole, dtype=np.float64) - tiled)[inside]
    return Difference(float(distance.mean()), float(distance.max()))


def brightness_drift(
    whole: np.ndarray, tiles: Sequence[tuple[Region, np.ndarray]], mask: np.ndarray | None = None
) -> Drift:
    """How much brighter each tile comes out alone than in the whole scan; tiles with nothing of the mask do not count.

    Args:
        tiles: a window of the scan, and its translation when nothing else was seen.

    Raises:
        DataError: if a tile does not have its region's shape, or none is left.
    """
    inside, offsets, centres = _inside(mask, whole.shape), [], []
    for region, alone in tiles:
        if alone.shape != whole[region].shape:
            raise DataError(f"found a tile of shape {alone.shape}; expected {whole[region].shape}, as its region")
        if inside[region].any():
            offsets.append(float((alone.astype(np.float64) - whole[region])[inside[region]].mean()))
            centres.append([(s.start + s.stop) / 2 / n for s, n in zip(region, whole.shape, strict=True)])
    if not offsets:
        raise DataError("found no tile with a voxel of the mask; expected some. Give all tiles, or leave the mask out.")
    values, slopes = np.array(offsets), []
    for places in np.array(centres).T:  # least squares, by the scan's whole extent; 0 where all places are one
        spread = places - places.mean()
        slopes.append(float((spread @ values) / (spread @ spread)) if np.ptp(places) > 1e-9 else 0.0)
    return Drift(values, float(values.std()), max(slopes, key=abs))


@dataclass(frozen=True)
class ZConsistency:
    """How real and synthetic regions go on from slice to slice.

    Attributes:
        real, synthetic: median `z_ratio` of either, of `n_real` and `n_synthetic` regions.
        ratio: synthetic over real: 1 as continuous as real scans, above 1 flicker, below 1 smeared along z.
    """

    real: float
    synthetic: float
    ratio: float
    n_real: int
    n_synthetic: int


def z_ratio(image: np.ndarray, region: np.ndarray, spacing_mm: Sequence[float]) -> float | None:
    """Mean |∂z| over the mean of |∂x| and |∂y|, all per mm, between neighbours that both lie in `region`.

    None where there are no such neighbours on each axis (a region in one slice) or nothing varies in the plane.

    Raises:
        DataError: if the shapes differ, or the image is no volume.
    """
    if image.ndim != 3 or image.shape != region.shape:
        raise DataError(
            f"found an image of shape {image.shape} and a region of {region.shape}; expected two volumes of one shape. "
            "Give both as (X, Y, Z)."
        )
    steps = []
    for axis, mm in enumerate(spacing_mm):
        values = np.moveaxis(image.astype(np.float64), axis, 0)
        inside = np.moveaxis(region.astype(bool), axis, 0)
        both = inside[1:] & inside[:-1]
        if not both.any():
            return None
        steps.append(float(np.abs(np.diff(values, axis=0))[both].mean()) / mm)
    x, y, z = steps
    return float(2 * z / (x + y)) if x + y > 0 else None


def z_consistency(real: Sequence[float], synthetic: Sequence[float]) -> ZConsistency | None:
    """Medians of the `z_ratio` of real and synthetic regions, and their ratio; None where one of them is missing."""
    if not len(real) or not len(synthetic) or not np.median(real) > 0:
        return None
    typical, found = float(np.median(real)), float(np.median(synthetic))
    return ZConsistency(typical, found, found / typical, len(real), len(synthetic))


def _seams_along(image: np.ndarray, axis: int, tiles: list[Region]) -> float:
    lines = np.abs(np.diff(np.asarray(image, dtype=np.float64), axis=axis))
    steps = lines.mean(axis=tuple(other for other in range(image.ndim) if other != axis))  # (n - 1,)
    ends = {end for tile in tiles for end in (tile[axis].start, tile[axis].stop) if 0 < end < image.shape[axis]}
    borders = np.array(sorted(ends), dtype=int) - 1
    if not borders.size:
        return 1.0
    distance = np.abs(np.arange(len(steps))[:, None] - borders).min(axis=1)
    nearby = (distance > 1) & (distance <= NEARBY_VOXELS)
    across, beside = steps[borders].mean(), steps[nearby].mean() if nearby.any() else steps.mean()
    if beside == 0:
        return 1.0 if across == 0 else float("inf")
    return float(across / beside)


def _spectrum(image: np.ndarray) -> np.ndarray:
    """(X, Y): the energy of the plane's frequencies, averaged over slices, without the mean."""
    planes = np.asarray(image, dtype=np.float64).reshape(*image.shape[:2], -1)
    if np.ptp(planes) == 0:
        raise DataError("found a constant image; expected one with contrast, whose spectrum says something")
    taper = np.outer(*(np.hanning(n + 2)[1:-1] for n in planes.shape[:2]))
    planes = (planes - planes.mean(axis=(0, 1))) * taper[..., None]
    return (np.abs(np.fft.fft2(planes, axes=(0, 1))) ** 2).mean(axis=-1)


def _peak(spectrum: np.ndarray, place: tuple[float, float]) -> float:
    """Mean energy at a frequency (cycles per voxel along X and Y) over the median of what surrounds it."""
    away = []
    for size, frequency in zip(spectrum.shape, place, strict=True):
        bins = np.abs(np.fft.fftfreq(size) - frequency) * size
        away.append(np.minimum(bins, size - bins))
    distance = np.maximum.outer(*away)
    around = np.median(spectrum[(distance > AROUND_BINS[0]) & (distance <= AROUND_BINS[1])])
    return float(spectrum[distance <= PEAK_BINS].mean() / max(around, np.finfo(float).tiny))


def _inside(mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if mask is None:
        return np.ones(shape, dtype=bool)
    if mask.shape != shape or not mask.any():
        raise DataError(f"mask: found shape {mask.shape}, {int((mask > 0).sum())} voxels; expected some on {shape}")
    return mask > 0
