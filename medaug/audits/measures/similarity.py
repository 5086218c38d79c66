"""How near a synthetic image is to the real one: masked MAE, PSNR, SSIM and MS-SSIM on a fixed intensity scale.

As in the SynthRAD challenges (2023: Huijben 2024, 2403.08447, Thummerer 2023, 2303.16320; 2025: MS-SSIM), from their
published definitions: SSIM of Wang 2004 (IEEE TIP 13:600) with uniform windows of 7 voxels a side and sample
covariances, MS-SSIM of Wang 2003 (Asilomar 37:1398) with its five weights. For all but the MAE images are clipped to
the scale, and are at its low end outside the mask. Departs from them: the scale is 4024 HU wide, as in 2023 (2025:
4000); an axis is not halved below one window, and an image too small for five levels has fewer, their weights brought
to sum 1. A patient is one pair of (X, Y, Z), or a pair of (X, Y) per slice; fewer than 7 slices count one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from medaug.errors import DataError

WINDOW = 7
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Wang 2003, from fine to coarse; their sum is 1.0001, so they are divided by it."""
NO_LUMINANCE = 1e6
"""A stabilising constant K1 so large that SSIM's first factor is 1: what is left is contrast × structure."""


@dataclass(frozen=True)
class Scale:
    """The intensities that an image can have: what PSNR and SSIM are relative to."""

    unit: str
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def clip(self, image: np.ndarray) -> np.ndarray:
        """Clipped, and counted from the scale's low end (SSIM needs values that are not negative)."""
        return np.clip(image, self.low, self.high) - self.low


HOUNSFIELD = Scale("HU", -1024.0, 3000.0)
GREY_LEVELS = Scale("grey levels", 0.0, 255.0)
WINDOW_UNITS = Scale("window units", -1.0, 1.0)


class ImagePair(NamedTuple):
    """A real image, the synthetic one on its grid, and where they are compared: float, float, bool (X, Y[, Z])."""

    real: np.ndarray
    synthetic: np.ndarray
    mask: np.ndarray


def similarity(pairs: Sequence[ImagePair], scale: Scale) -> dict[str, float]:
    """All `IMAGE_METRICS` of one patient, as finite floats (PSNR of equal images: infinity).

    Raises:
        DataError: if there is no pair, or the arrays of a pair differ in shape, are not finite, too small for one
            window, or not marked anywhere.
    """
    checked = checked_pairs(pairs)
    return {name: float(metric.score(checked, scale)) for name, metric in IMAGE_METRICS.items()}


def mae(pairs: Sequence[ImagePair], scale: Scale) -> float:
    """Mean |synthetic − real| over all voxels of the masks; not clipped."""
    return float(np.mean(np.abs(differences(pairs))))


def psnr(pairs: Sequence[ImagePair], scale: Scale) -> float:
    """10 log10(Q² / MSE) in dB over all voxels of the masks, Q the width of the scale, clipped to it."""
    clipped = [ImagePair(scale.clip(p.real), scale.clip(p.synthetic), p.mask) for p in pairs]
    error = float(np.mean(differences(clipped) ** 2))
    return float(10 * np.log10(scale.width**2 / error)) if error else float("inf")


def ssim(pairs: Sequence[ImagePair], scale: Scale) -> float:
    """The mean of the SSIM map inside the mask."""
    return _by_voxels(pairs, lambda pair: _mean_inside(_ssim_map(pair, scale), pair.mask), scale)


def ms_ssim(pairs: Sequence[ImagePair], scale: Scale) -> float:
    """Contrast × structure at every level and SSIM at the coarsest, each averaged inside the mask (Wang 2003, eq. 7).

    A level has half the size of the one before (means of 2 voxels along each axis); its mask holds the voxels of which
    at least half lay in the mask. Averages below 0 count as 0.
    """

    def score(pair: ImagePair) -> float:
        levels = list(_levels(pair))
        scores = [_mean_inside(_ssim_map(level, scale, K1=NO_LUMINANCE), level.mask) for level in levels[:-1]]
        scores.append(_mean_inside(_ssim_map(levels[-1], scale), levels[-1].mask))
        weights = np.array(SCALE_WEIGHTS[: len(levels)])
        return float(np.prod(np.maximum(scores, 0.0) ** (weights / weights.sum())))

    return _by_voxels(pairs, score, scale)


@dataclass(frozen=True)
class ImageMetric:
    """A score of one patient; `unit` is "" for a plain number and None for that of the scale."""

    title: str
    unit: str | None
    higher_is_better: bool
    score: Callable[[Sequence[ImagePair], Scale], float]
    bounds: tuple[float, float]


IMAGE_METRICS: dict[str, ImageMetric] = {
    "mae": ImageMetric("Mean absolute error", None, False, mae, (0.0, np.inf)),
    "psnr": ImageMetric("PSNR", "dB", True, psnr, (-np.inf, np.inf)),
    "ssim": ImageMetric("SSIM", "", True, ssim, (-1.0, 1.0)),
    "ms_ssim": ImageMetric("MS-SSIM", "", True, ms_ssim, (0.0, 1.0)),
}


def checked_pairs(pairs: Sequence[ImagePair]) -> list[ImagePair]:
    """The pairs as float64 and bool.

    Raises:
        DataError: as `similarity`.
    """
    if not pairs:
        raise DataError("a patient without a single pair cannot be scored; give at least one (real, synthetic, mask)")
    checked = []
    for pair in pairs:
        real, synthetic = (np.asarray(image, dtype=np.float64) for image in (pair.real, pair.synthetic))
        mask = np.asarray(pair.mask).astype(bool)
        for name, shape in (("synthetic", synthetic.shape), ("mask", mask.shape)):
            if shape != real.shape:
                raise DataError(
                    f"{name}: found shape {shape}; expected the real image's {real.shape}. Resample it onto its grid."
                )
        if real.ndim not in (2, 3) or min(real.shape[:2]) < WINDOW:
            raise DataError(
                f"real: found shape {real.shape}; expected (X, Y) or (X, Y, Z) with at least {WINDOW} voxels along X "
                "and Y, the window of SSIM. Compare larger images."
            )
        for name, array in (("real", real), ("synthetic", synthetic)):
            if not np.isfinite(array).all():
                raise DataError(f"{name}: found NaN or infinite values; expected finite ones. Repair the image.")
        if not mask.any():
            raise DataError("mask: found no voxel marked; expected where to compare. Mark the body, or leave it out.")
        checked.append(ImagePair(real, synthetic, mask))
    return checked


def differences(pairs: Sequence[ImagePair]) -> np.ndarray:
    """synthetic − real at every voxel of the masks, (N,)."""
    return np.concatenate([(pair.synthetic - pair.real)[pair.mask] for pair in pairs])


def _by_voxels(pairs: Sequence[ImagePair], score: Callable[[ImagePair], float], scale: Scale) -> float:
    """The mean score of all pieces, weighted by the voxels in their masks.

    A piece is a pair, or a slice of it where a window does not fit through a volume.
    """
    scores, voxels = [], []
    for pair in pairs:
        real, synthetic = (np.where(pair.mask, scale.clip(image), 0.0) for image in (pair.real, pair.synthetic))
        whole = ImagePair(real, synthetic, pair.mask)
        flat = real.ndim == 3 and real.shape[2] < WINDOW
        slices = (ImagePair(*(array[..., z] for array in whole)) for z in range(real.shape[-1]))
        for piece in slices if flat else [whole]:
            if piece.mask.any():
                scores.append(score(piece))
                voxels.append(piece.mask.sum())
    return float(np.average(scores, weights=voxels))


def _ssim_map(pair: ImagePair, scale: Scale, **constants: Any) -> np.ndarray:
    return structural_similarity(
        pair.real, pair.synthetic, win_size=WINDOW, data_range=scale.width, full=True, **constants
    )[1]


def _levels(pair: ImagePair) -> Iterator[ImagePair]:
    """Up to five, each half the size of the one before, as long as an axis can be halved and something is marked."""
    for _ in SCALE_WEIGHTS:
        yield pair
        axes = [axis for axis, size in enumerate(pair.real.shape) if (size + 1) // 2 >= WINDOW]
        real, synthetic, inside = (_halved(array.astype(np.float64), axes) for array in pair)
        pair = ImagePair(real, synthetic, inside >= 0.5)
        if not axes or not pair.mask.any():
            return


def _halved(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Means of two neighbours along these axes; a last voxel without a neighbour stays."""
    for axis in axes:
        means = ndimage.uniform_filter1d(array, 2, axis, mode="nearest", origin=-1)
        array = means.take(range(0, array.shape[axis], 2), axis)
    return array


def _mean_inside(values: np.ndarray, mask: np.ndarray) -> float:
    """The mean over the mask without the rim where windows reach over the edge, unless the mask lies there alone."""
    rim = WINDOW // 2
    inner = tuple(slice(rim, size - rim) for size in mask.shape)
    return float(values[inner][mask[inner]].mean() if mask[inner].any() else values[mask].mean())
