"""How far is a scan from its pseudo-healthy version? A map of anomaly, without knowing where a tumor might be.

Scores by reconstruction as AnoGAN does (Schlegl 2017, arXiv 1703.05921), with removal in place of the latent search:
the organ is covered by overlapping tiles of a lesion's size, each is filled from its surroundings alone, and the fills
together are the pseudo-healthy image. The map is what the scan has over it, smoothed. Any other score of crops, a
latent search say, plugs in as `CropScorer`.

Images are (X, Y[, Z]) in [-1, 1], organs bool of the same shape; 2-D weights score a volume slice by slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medaug.errors import ConfigError, DataError
from medaug.lesions.crops import CropBox, box_around, extract, resized
from medaug.lesions.geometry import bounding_box
from medaug.models.weights import Weights
from medaug.volumes import SPACING_TOLERANCE

BATCH = 64
"""Fixed, because the noise is drawn batch by batch."""
STEP = 0.5
"""Tiles lie so many of their diameters apart: every voxel is filled several times."""
MARGIN_VOXELS = 4
"""Of a crop around its tile: the least surroundings to fill it from."""
AIR = -1.0


@dataclass(frozen=True)
class Anomaly:
    """What a scorer finds in one image.

    Attributes:
        residual: (*S) float32 ≥ 0, zero outside the organ.
        healthy: (*S) float32 in [-1, 1], the pseudo-healthy image; None for scorers that make none.
    """

    residual: np.ndarray
    healthy: np.ndarray | None = None


class Scorer(Protocol):
    """Scores one image (*S) in [-1, 1] inside its organ."""

    def __call__(self, image: np.ndarray, organ: np.ndarray, spacing_mm: Sequence[float]) -> Anomaly: ...


@dataclass(frozen=True)
class RemovalScorer:
    """The distance between an image and what removal makes of it.

    Attributes:
        weights: of a translator that removes tumors.
        tile_mm: diameter of the tiles; None takes the upper quartile of the training lesions'.
        passes: how often; from the second on, tiles are filled from pseudo-healthy surroundings, in which a tumor
            larger than a tile has faded.
        smoothing_mm: standard deviation of the Gaussian over the map.
        only_brighter: count only what is brighter than the pseudo-healthy image.
        seed: of the fills' noise.

    Raises:
        ConfigError: if a tile does not fit the weights' crop, naming the largest that does.
    """

    weights: Weights
    tile_mm: float | None = None
    passes: int = 2
    smoothing_mm: float = 5.0
    only_brighter: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        prior = self.weights.lesion_prior
        largest = largest_tile_mm(prior.crop_size, prior.spacing_mm)
        tile_mm = self.tile_mm or min(float(np.percentile(prior.diameters_mm, 75)), largest)
        _check_tile(tile_mm, largest)
        object.__setattr__(self, "tile_mm", tile_mm)

    def __call__(self, image: np.ndarray, organ: np.ndarray, spacing_mm: Sequence[float]) -> Anomaly:
        """The map and the pseudo-healthy image; a scan of another voxel size is looked at on the weights' grid.

        Raises:
            DataError: if the image's dimensions do not fit the weights.
        """
        dims = self.weights.translator.spatial_dims
        if image.ndim == dims + 1 == 3:
            planes = [self(image[..., z], organ[..., z], spacing_mm[:2]) for z in range(image.shape[-1])]
            return Anomaly(*(np.stack([getattr(p, key) for p in planes], -1) for key in ("residual", "healthy")))
        if image.ndim != dims:
            raise DataError(f"image of shape {image.shape}: found {image.ndim} axes; the weights are {dims}-D")
        size = _size_on(image.shape, spacing_mm, self.weights.spacing_mm)
        seen, inside = resized(image, size), resized(organ.astype(np.float32), size) >= 0.5
        healthy = image + resized(self._healthy(seen, inside) - seen, image.shape)
        difference = image - healthy
        distance = np.maximum(difference, 0) if self.only_brighter else np.abs(difference)
        return Anomaly(smoothed_inside(distance, organ, self.smoothing_mm, spacing_mm), healthy)

    @torch.inference_mode()
    def _healthy(self, image: np.ndarray, organ: np.ndarray) -> np.ndarray:
        """The pseudo-healthy image on the weights' grid."""
        device = next(self.weights.translator.parameters()).device
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.passes):
            image = self._filled(image, organ, generator, device)
        return image

    def _filled(
        self, image: np.ndarray, organ: np.ndarray, generator: torch.Generator, device: torch.device
    ) -> np.ndarray:
        """Every tile filled from its surroundings in `image`; a voxel changes by the mean of its tiles' changes."""
        translator, prior, tile_mm = self.weights.translator, self.weights.lesion_prior, self.tile_mm
        assert tile_mm is not None  # set when the scorer was made
        tile = tile_mask(tile_mm, prior.crop_size, prior.spacing_mm)
        total, times = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
        for boxes, crops, regions in tiled_crops(image, organ, tile, tile_mm, prior.spacing_mm):
            x, mask = crops.to(device), regions.to(device)
            fills = translator.translate(x, "b2a", mask=mask, generator=generator).cpu()
            _add(total, boxes, (fills - crops) * regions)
            _add(times, boxes, regions)
        return image + total / np.maximum(times, 1)


@dataclass(frozen=True)
class CropScorer:
    """A score of every tile's crop, spread over the tile: for methods that judge a crop as a whole.

    Attributes:
        score: crops (N, 1, *crop_size) in [-1, 1] → (N,) ≥ 0.
        crop_size: in voxels of `crop_spacing_mm`, the grid that `score` knows.
        tile_mm: diameter of the tile in the middle of a crop that its score counts for.

    Raises:
        ConfigError: if the tile does not fit the crop, naming the largest that does.
    """

    score: Callable[[Tensor], np.ndarray]
    crop_size: tuple[int, ...]
    crop_spacing_mm: tuple[float, ...]
    tile_mm: float

    def __post_init__(self) -> None:
        _check_tile(self.tile_mm, largest_tile_mm(self.crop_size, self.crop_spacing_mm))

    def __call__(self, image: np.ndarray, organ: np.ndarray, spacing_mm: Sequence[float]) -> Anomaly:
        """The map: each voxel's mean over the tiles it lies in; a volume slice by slice where crops are 2-D."""
        if image.ndim == len(self.crop_size) + 1 == 3:
            planes = [self(image[..., z], organ[..., z], spacing_mm[:2]).residual for z in range(image.shape[-1])]
            return Anomaly(np.stack(planes, axis=-1))
        if image.ndim != len(self.crop_size):
            raise DataError(f"image of shape {image.shape}: found {image.ndim} axes; crops have {len(self.crop_size)}")
        size = _size_on(image.shape, spacing_mm, self.crop_spacing_mm)
        inside = resized(organ.astype(np.float32), size) >= 0.5
        residual = resized(self._spread(resized(image, size), inside), image.shape)
        return Anomaly(np.where(organ, residual, 0).astype(np.float32))

    def _spread(self, image: np.ndarray, organ: np.ndarray) -> np.ndarray:
        tile = tile_mask(self.tile_mm, self.crop_size, self.crop_spacing_mm)
        total, times = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
        for boxes, crops, regions in tiled_crops(image, organ, tile, self.tile_mm, self.crop_spacing_mm):
            scores = torch.as_tensor(np.asarray(self.score(crops), dtype=np.float32))
            _add(total, boxes, scores.reshape(-1, *[1] * (crops.ndim - 1)) * regions)
            _add(times, boxes, regions)
        return total / np.maximum(times, 1)


def level_scores(values: np.ndarray, organ: np.ndarray, percentile: float) -> np.ndarray:
    """One score a slice (Z,), or (1,) of a 2-D image: a percentile inside the organ; NaN where there is no organ."""
    planes = values[..., None] if values.ndim == 2 else values
    inside = organ.reshape(planes.shape)
    return np.array(
        [
            np.percentile(planes[..., z][inside[..., z]], percentile) if inside[..., z].any() else np.nan
            for z in range(planes.shape[-1])
        ]
    )


def smoothed_inside(values: np.ndarray, organ: np.ndarray, sigma_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """The Gaussian mean over the organ alone, so that its edge does not fade; zero outside."""
    sigmas = [sigma_mm / mm for mm in spacing_mm]
    inside = organ.astype(np.float32)
    weight = ndimage.gaussian_filter(inside, sigmas)
    mean = ndimage.gaussian_filter(values.astype(np.float32) * inside, sigmas) / np.maximum(weight, 1e-6)
    return np.where(organ, mean, 0).astype(np.float32)


def tile_mask(tile_mm: float, crop_size: Sequence[int], spacing_mm: Sequence[float]) -> np.ndarray:
    """A disc or ball of this diameter in the middle of a crop, bool (*crop_size); at least one voxel."""
    offsets = np.meshgrid(
        *((np.arange(n) - n // 2) * mm for n, mm in zip(crop_size, spacing_mm, strict=True)), indexing="ij"
    )
    return sum(offset**2 for offset in offsets) <= (tile_mm / 2) ** 2


def largest_tile_mm(crop_size: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """The largest tile that leaves surroundings on every side of a crop."""
    return min((n - 2 * MARGIN_VOXELS) * mm for n, mm in zip(crop_size, spacing_mm, strict=True))


def tiled_crops(
    image: np.ndarray, organ: np.ndarray, tile: np.ndarray, tile_mm: float, spacing_mm: Sequence[float]
) -> Iterator[tuple[list[CropBox], Tensor, Tensor]]:
    """Batches of (boxes, crops, regions), the latter (N, 1, *crop_size): the organ's part of the tile, 0 or 1.

    The regions together cover the organ, and only that: air is not to be filled with tissue.
    """
    if not organ.any():
        return
    low, extent = bounding_box(organ)
    steps = [max(1, int(STEP * tile_mm / mm)) for mm in spacing_mm]
    starts = [
        np.arange(first, first + length + step - 1, step)
        for first, length, step in zip(low, extent, steps, strict=True)
    ]
    boxes = [
        box_around(center, tile.shape)
        for center in np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, organ.ndim)
    ]
    boxes = [box for box in boxes if (extract(organ, box, False) & tile).any()]
    for first in range(0, len(boxes), BATCH):
        batch = boxes[first : first + BATCH]
        crops = np.stack([extract(image, box, AIR) for box in batch])[:, None]
        regions = np.stack([extract(organ, box, False) & tile for box in batch])[:, None]
        yield batch, torch.from_numpy(crops.astype(np.float32)), torch.from_numpy(regions.astype(np.float32))


def _add(total: np.ndarray, boxes: list[CropBox], crops: Tensor) -> None:
    """Adds crops (N, 1, *crop_size) to the parts of their boxes that lie inside, in place."""
    for box, crop in zip(boxes, crops[:, 0].numpy(), strict=True):
        inside, part = box.overlap(total.shape)
        total[inside] += crop[part]


def _check_tile(tile_mm: float, largest_mm: float) -> None:
    if not 0 < tile_mm <= largest_mm:
        raise ConfigError(
            f"tile_mm: found {tile_mm:g}; expected at most {largest_mm:g}, which leaves surroundings in the crop. "
            "Choose a smaller tile."
        )


def _size_on(shape: Sequence[int], spacing_mm: Sequence[float], grid_mm: Sequence[float]) -> tuple[int, ...]:
    """How many voxels of the weights' grid the image has; its own where the voxels are about as large."""
    ratios = [own / wanted for own, wanted in zip(spacing_mm, grid_mm, strict=True)]
    if all(abs(ratio - 1) <= SPACING_TOLERANCE for ratio in ratios):
        return tuple(shape)
    return tuple(max(1, round(n * ratio)) for n, ratio in zip(shape, ratios, strict=True))
