"""A lesion crop as a vector of handcrafted numbers: what `probe.py` tells real from synthetic by.

Intensities, gradients, second derivatives, local binary patterns (Ojala 2002), autocorrelation and the radial power
spectrum (GAN fingerprints: Durall 2020, 2003.01826), in the lesion, at its edge and in the ring around it. Nothing is
downloaded. Size and shape of the mask are left out on purpose: the masks come from a prior, and the question is whether
the *content* looks real. Crops are normalized to [-1, 1], (X, Y) or (X, Y, Z); distances are in voxels of the crop.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, laplace
from skimage.feature import local_binary_pattern

from medaug.errors import DataError

QUANTILES = (5, 25, 50, 75, 95)
REGIONS = ("inside", "edge", "ring")
EDGE_VOXELS, RING_VOXELS = 1, 5  # the ring lies between these distances from the mask
BANDS = 6  # of the radial power spectrum, from the coarsest to the Nyquist frequency
SLICES = 3  # axial slices of a 3-D lesion
NEIGHBOURS, PATTERNS = 8, 10  # uniform local binary patterns of 8 neighbours: 10 codes
FLOOR = 1e-6

FEATURE_NAMES: tuple[str, ...] = (
    *(f"{region} quantile {q}" for region in ("inside", "ring") for q in QUANTILES),
    *(f"{region} {what}" for region in ("inside", "ring") for what in ("mean", "std", "skewness")),
    "contrast",
    *(f"{region} gradient {what}" for region in REGIONS for what in ("mean", "std", "quantile 90")),
    "edge / ring gradient",
    *(f"{region} log Laplacian energy" for region in REGIONS),
    *(f"{region} pattern {code}" for region in ("inside", "ring") for code in range(PATTERNS)),
    *(f"{region} autocorrelation lag {lag}" for region in ("inside", "ring") for lag in (1, 2)),
    *(f"spectrum band {band}" for band in range(BANDS)),
)


def feature_table(crops: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(N, C, F): the `lesion_features` of every channel of N crops (C, *S), each with its mask (*S)."""
    return np.array([[lesion_features(channel, mask) for channel in crop] for crop, mask in crops])


def lesion_features(crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The features of one lesion, in the order of `FEATURE_NAMES`.

    Args:
        crop: image around the lesion with a margin of at least 2 voxels, better 6; normalized.
        mask: the lesion, same shape. In 3-D, `SLICES` axial slices spread over the lesion are measured and averaged.

    Returns:
        (F,) float64, finite.

    Raises:
        DataError: as `checked_lesion`, or if the mask leaves no ring.
    """
    crop, mask = checked_lesion(crop, mask)
    if crop.ndim == 2:
        return _slice_features(crop, mask)
    occupied = np.flatnonzero(mask.any(axis=(0, 1)))
    chosen = np.unique(np.quantile(occupied, np.linspace(0.25, 0.75, SLICES), method="nearest"))
    return np.mean([_slice_features(crop[..., z], mask[..., z]) for z in chosen], axis=0)


def checked_lesion(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image with a lesion as float64, and the lesion as bool.

    Raises:
        DataError: if shapes differ, the image is not finite, or the mask is empty.
    """
    image, mask = np.asarray(image, dtype=np.float64), np.asarray(mask).astype(bool)
    if image.shape != mask.shape or image.ndim not in (2, 3):
        raise DataError(
            f"mask: found shape {mask.shape} for an image of {image.shape}; expected (X, Y) or (X, Y, Z), both the "
            "same. Use one grid for both, and drop the channel axis."
        )
    if not np.isfinite(image).all():
        raise DataError("image: found NaN or infinite values; expected finite ones in [-1, 1]. Repair the image.")
    if not mask.any():
        raise DataError("mask: found no lesion voxel; expected at least one. Leave images without a lesion out.")
    return image, mask


def _slice_features(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    near = binary_dilation(inside, iterations=EDGE_VOXELS)
    ring = binary_dilation(inside, iterations=RING_VOXELS) & ~near
    if not ring.any():
        raise DataError(
            f"mask: found a lesion that fills the crop of {image.shape} voxels; expected a margin around it. "
            f"Crop with a margin of {RING_VOXELS + 1} voxels."
        )
    edge = near & ~binary_erosion(inside, iterations=EDGE_VOXELS)
    gradient, second = np.hypot(*np.gradient(image)), laplace(image, mode="nearest") ** 2
    grey = ((image.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    patterns = local_binary_pattern(grey, NEIGHBOURS, 1, method="uniform").astype(int)
    features = [
        *(np.percentile(image[region], q) for region in (inside, ring) for q in QUANTILES),
        *(number for region in (inside, ring) for number in _moments(image[region])),
        image[inside].mean() - image[ring].mean(),
        *(number for region in (inside, edge, ring) for number in _spread(gradient[region])),
        gradient[edge].mean() / (gradient[ring].mean() + 0.01),
        *(np.log10(second[region].mean() + FLOOR) for region in (inside, edge, ring)),
        *np.concatenate([np.bincount(patterns[r], minlength=PATTERNS)[:PATTERNS] / r.sum() for r in (inside, ring)]),
        *(_autocorrelation(image, region, lag) for region in (inside, ring) for lag in (1, 2)),
        *_radial_spectrum(image),
    ]
    return np.asarray(features, dtype=np.float64)


def _moments(values: np.ndarray) -> tuple[float, float, float]:
    mean, std = values.mean(), values.std()
    skewness = ((values - mean) ** 3).mean() / std**3 if std > 1e-3 else 0.0
    return mean, std, skewness


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    return values.mean(), values.std(), np.percentile(values, 90)


def _autocorrelation(image: np.ndarray, region: np.ndarray, lag: int) -> float:
    """Correlation of voxels `lag` apart along X or Y, both in the region; 0 where it is constant or too small."""
    pairs = [
        (first[both], second[both])
        for first, second, both in (
            (image[:-lag], image[lag:], region[:-lag] & region[lag:]),
            (image[:, :-lag], image[:, lag:], region[:, :-lag] & region[:, lag:]),
        )
    ]
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    if first.size < 3 or first.std() < 1e-3 or second.std() < 1e-3:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _radial_spectrum(image: np.ndarray) -> np.ndarray:
    """log10 of the mean power per frequency band (BANDS,), Hann-windowed, relative to the total power."""
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in image.shape))
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in image.shape), indexing="ij"))  # cycles per voxel
    band = np.minimum((frequency / 0.5 * BANDS).astype(int), BANDS - 1).ravel()
    total = np.bincount(band, power.ravel(), minlength=BANDS) / np.maximum(np.bincount(band, minlength=BANDS), 1)
    return np.log10(total / (power.sum() + FLOOR) + 1e-12)
