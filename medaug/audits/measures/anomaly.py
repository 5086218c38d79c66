"""How far is a scan from its pseudo-healthy version? A map of anomaly, without knowing where a tumor might be.

Scores by reconstruction as AnoGAN does (Schlegl 2017, arXiv 1703.05921), with removal in place of the latent search:
the organ is covered by overlapping tiles of a lesion's size, each is filled from its surroundings alone, and the map is
what the scan has over the fills, smoothed. Any other score of crops, a latent search say, plugs in as `CropScorer`.
Images are (C, *S) in [-1, 1], organs (*S) bool; 2-D weights score a volume slice by slice. All sequences are filled at
once, and what a voxel scores is the mean over them: one that shows nothing there counts as much as any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medaug.errors import ConfigError, DataError
from medaug.lesions.geometry import CropBox, bounding_box, box_around, extract
from medaug.models.weights import Weights
from medaug.resampling import resized
from medaug.volumes import SPACING_TOLERANCE

BATCH = 64
"""Fixed, because the noise is drawn batch by batch."""
STEP = 0.5
"""Tiles lie so many of their diameters apart: every voxel is filled several times."""
MARGIN_VOXELS = 4
"""What a crop has around its tile: the least surroundings to fill it from."""
AIR = -1.0


class Anomaly(NamedTuple):
    """What a scorer finds: a map (*S) ≥ 0, zero outside the organ, and the pseudo-healthy image (C, *S), if any."""

    residual: np.ndarray
    healthy: np.ndarray | None = None


@dataclass(frozen=True)
class Tiling:
    """Discs or balls in the middle of crops, which together cover an organ.

    Raises:
        ConfigError: if a tile does not fit the crop, naming the largest that does.
    """

    tile_mm: float
    crop_size: tuple[int, ...]
    spacing_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        largest = largest_tile_mm(self.crop_size, self.spacing_mm)
        if not 0 < self.tile_mm <= largest:
            raise ConfigError(
                f"tile_mm: found {self.tile_mm:g}; expected at most {largest:g}, which leaves surroundings in the "
                "crop. Choose a smaller tile."
            )

    @cached_property
    def tile(self) -> np.ndarray:
        """A disc or ball of this diameter in the middle of a crop, bool (*crop_size); at least one voxel."""
        sides = ((np.arange(n) - n // 2) * mm for n, mm in zip(self.crop_size, self.spacing_mm, strict=True))
        return sum(offset**2 for offset in np.meshgrid(*sides, indexing="ij")) <= (self.tile_mm / 2) ** 2

    def crops(self, image: np.ndarray, organ: np.ndarray) -> Iterator[tuple[list[CropBox], Tensor, Tensor]]:
        """Batches of (boxes, crops (N, C, *crop_size), regions (N, 1, *crop_size)).

        A region is the organ's part of the tile, 0 or 1.

        The regions together cover the organ, and only that: air is not to be filled with tissue.
        """
        if not organ.any():
            return
        low, extent = bounding_box(organ)
        steps = [max(1, int(STEP * self.tile_mm / mm)) for mm in self.spacing_mm]
        starts = [np.arange(a, a + n + step - 1, step) for a, n, step in zip(low, extent, steps, strict=True)]
        centers = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, organ.ndim)
        boxes = [box_around(center, self.crop_size) for center in centers]
        boxes = [box for box in boxes if (extract(organ, box, False) & self.tile).any()]
        for first in range(0, len(boxes), BATCH):
            batch = boxes[first : first + BATCH]
            crops = np.stack([np.stack([extract(channel, box, AIR) for channel in image]) for box in batch])
            regions = np.stack([extract(organ, box, False) & self.tile for box in batch])[:, None]
            yield batch, torch.from_numpy(crops.astype(np.float32)), torch.from_numpy(regions.astype(np.float32))

    def mean(self, image: np.ndarray, organ: np.ndarray, of: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
        """The mean (K, *S) of `of(crops, regions)` (N, K, ...) over the tiles of a voxel; 0 where it lies in none."""
        total, times = np.zeros_like(image, np.float32), np.zeros(organ.shape, np.float32)
        for boxes, crops, regions in self.crops(image, organ):
            values = (of(crops, regions) * regions).numpy()
            if len(total) != values.shape[1]:
                total = np.zeros((values.shape[1], *organ.shape), np.float32)
            for box, value, region in zip(boxes, values, regions[:, 0].numpy(), strict=True):
                inside, part = box.overlap(organ.shape)
                total[(slice(None), *inside)] += value[(slice(None), *part)]
                times[inside] += region[part]
        return total / np.maximum(times, 1)


def largest_tile_mm(crop_size: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """The largest tile that leaves surroundings on every side of a crop."""
    return min((n - 2 * MARGIN_VOXELS) * mm for n, mm in zip(crop_size, spacing_mm, strict=True))


class Scorer(ABC):
    """Scores images (C, *S) in [-1, 1] inside their organ, tile by tile."""

    tiling: Tiling
    channels: int

    def __call__(self, image: np.ndarray, organ: np.ndarray, spacing_mm: Sequence[float]) -> Anomaly:
        """The map; a scan of another voxel size is looked at on the grid of the tiles.

        Raises:
            DataError: if the image's dimensions or channels do not fit the weights.
        """
        dims = len(self.tiling.crop_size)
        if len(image) != self.channels:
            raise DataError(f"image of shape {image.shape}: found {len(image)} channels; the weights' {self.channels}")
        if organ.ndim == dims + 1 == 3:
            planes = [self(image[..., z], organ[..., z], spacing_mm[:2]) for z in range(image.shape[-1])]
            healthy = [plane.healthy for plane in planes if plane.healthy is not None]
            return Anomaly(np.stack([p.residual for p in planes], -1), np.stack(healthy, -1) if healthy else None)
        if organ.ndim != dims:
            raise DataError(f"image of shape {image.shape}: found {organ.ndim} axes; the weights are {dims}-D")
        ratios = [own / wanted for own, wanted in zip(spacing_mm, self.tiling.spacing_mm, strict=True)]
        size = organ.shape
        if any(abs(ratio - 1) > SPACING_TOLERANCE for ratio in ratios):
            size = tuple(max(1, round(n * ratio)) for n, ratio in zip(organ.shape, ratios, strict=True))
        seen = np.stack([resized(channel, size) for channel in image])
        found = self._found(seen, resized(organ.astype(np.float32), size) >= 0.5)
        return self._scored(image, organ, spacing_mm, np.stack([resized(channel, organ.shape) for channel in found]))

    @abstractmethod
    def _found(self, image: np.ndarray, organ: np.ndarray) -> np.ndarray:
        """What the tiles say of an image on their grid."""

    @abstractmethod
    def _scored(self, image: np.ndarray, organ: np.ndarray, spacing_mm: Sequence[float], found: np.ndarray) -> Anomaly:
        """The map of an image, from what the tiles say on its own grid."""


@dataclass(frozen=True)
class RemovalScorer(Scorer):
    """The distance between an image and what removal makes of it.

    Attributes:
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
        object.__setattr__(self, "tile_mm", tile_mm)
        object.__setattr__(self, "tiling", Tiling(tile_mm, tuple(prior.crop_size), tuple(prior.spacing_mm)))
        object.__setattr__(self, "channels", len(self.weights.sequences))

    @torch.inference_mode()
    def _found(self, image: np.ndarray, organ: np.ndarray) -> np.ndarray:
        """How the pseudo-healthy image differs: every tile is filled from its surroundings, pass by pass."""
        generator = torch.Generator().manual_seed(self.seed)

        def change(crops: Tensor, regions: Tensor) -> Tensor:
            parts = torch.cat([regions, *[torch.zeros_like(regions)] * (self.weights.n_parts - 1)], dim=1)
            return self.weights.translate(crops, "b2a", mask=parts, generator=generator) - crops

        healthy = image
        for _ in range(self.passes):
            healthy = healthy + self.tiling.mean(healthy, organ, change)
        return healthy - image

    def _scored(self, image: np.ndarray, organ: np.ndarray, spacing_mm: Sequence[float], found: np.ndarray) -> Anomaly:
        healthy = image + found
        distance = np.maximum(image - healthy, 0) if self.only_brighter else np.abs(image - healthy)
        return Anomaly(smoothed_inside(distance.mean(axis=0), organ, self.smoothing_mm, spacing_mm), healthy)


@dataclass(frozen=True)
class CropScorer(Scorer):
    """A score of every tile's crop, spread over the tile: for methods that judge a crop as a whole.

    Attributes:
        score: crops (N, C, *crop_size) in [-1, 1] → (N,) ≥ 0.
        crop_size: in voxels of `crop_spacing_mm`, the grid that `score` knows.
        tile_mm: diameter of the tile in the middle of a crop that its score counts for.

    Raises:
        ConfigError: if the tile does not fit the crop, naming the largest that does.
    """

    score: Callable[[Tensor], np.ndarray]
    crop_size: tuple[int, ...]
    crop_spacing_mm: tuple[float, ...]
    tile_mm: float
    channels: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiling", Tiling(self.tile_mm, self.crop_size, self.crop_spacing_mm))

    def _found(self, image: np.ndarray, organ: np.ndarray) -> np.ndarray:
        """Each voxel's mean over the tiles it lies in."""

        def scores(crops: Tensor, _: Tensor) -> Tensor:
            found = torch.as_tensor(np.asarray(self.score(crops), dtype=np.float32))
            return found.reshape(-1, *[1] * (crops.ndim - 1))

        return self.tiling.mean(image, organ, scores)

    def _scored(self, image: np.ndarray, organ: np.ndarray, spacing_mm: Sequence[float], found: np.ndarray) -> Anomaly:
        return Anomaly(np.where(organ, found[0], 0).astype(np.float32))


def level_scores(values: np.ndarray, organ: np.ndarray, percentile: float) -> np.ndarray:
    """One score a slice (Z,), or (1,) of a 2-D image: a percentile inside the organ; NaN where there is no organ."""
    planes = values[..., None] if values.ndim == 2 else values
    levels = zip(np.moveaxis(planes, -1, 0), np.moveaxis(organ.reshape(planes.shape), -1, 0), strict=True)
    return np.array([np.percentile(plane[inside], percentile) if inside.any() else np.nan for plane, inside in levels])


def smoothed_inside(values: np.ndarray, organ: np.ndarray, sigma_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """The Gaussian mean over the organ alone, so that its edge does not fade; zero outside."""
    sigmas = [sigma_mm / mm for mm in spacing_mm]
    inside = organ.astype(np.float32)
    weight = ndimage.gaussian_filter(inside, sigmas)
    mean = ndimage.gaussian_filter(values.astype(np.float32) * inside, sigmas) / np.maximum(weight, 1e-6)
    return np.where(organ, mean, 0).astype(np.float32)
