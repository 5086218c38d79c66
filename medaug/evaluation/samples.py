"""What the downstream network trains on: real views, and in GAN arms a share of synthetic ones, augmented alike.

Sample i depends on (seed, i) alone. The draw of real views is the same in every arm of a seed; a GAN arm replaces a
share of them by synthetic cases, so arms differ in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandFlipd, RandGaussianNoised
from torch.utils.data import Dataset

from medaug.io.prepared import View

TUMOR_SHARE = 0.67
"""Part of the draws that come from views with a tumor (3-D: patches around one), where there are both kinds."""


@dataclass(frozen=True)
class Source:
    """Views and the folder their arrays lie in."""

    views: list[View]
    folder: Path


class SegmentationSamples(Dataset):
    """`samples[i]` → {"image": (1, *S) in [-1, 1], "label": (1, *S) of 0/1}.

    Args:
        real, synthetic: where views come from; `synthetic` None for arms without.
        synthetic_ratio: the probability that a sample is synthetic.
        patch_size: 3-D: size of the patches; None takes whole views.
        length: how many samples there are.
    """

    def __init__(
        self, real: Source, synthetic: Source | None, *, synthetic_ratio: float, seed: int, length: int,
        patch_size: tuple[int, ...] | None = None,
    ):  # fmt: skip
        self.real, self.synthetic, self.ratio = real, synthetic, synthetic_ratio
        self.seed, self.length, self.patch_size = seed, length, patch_size
        self._with_tumor = [view for view in real.views if view.tumor_voxels]
        self._augment: Compose | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.RandomState((self.seed * 1_000_003 + index) % 2**32)
        tumor, pick, replace, other = rng.random_sample(4)
        pool = self._with_tumor if self._with_tumor and tumor < TUMOR_SHARE else self.real.views
        view, folder = pool[int(pick * len(pool))], self.real.folder
        if self.synthetic is not None and replace < self.ratio:
            view, folder = self.synthetic.views[int(other * len(self.synthetic.views))], self.synthetic.folder
        arrays = view.read(folder)
        image, label = self._patch(arrays.image, arrays.label, rng, around_tumor=tumor < TUMOR_SHARE)
        sample = {"image": torch.from_numpy(image.copy())[None], "label": torch.from_numpy(label.copy())[None].float()}
        augment = self._augmentation(image.ndim)
        augment.set_random_state(seed=int(rng.randint(2**31)))
        sample = augment(sample)
        return {"image": _plain(sample["image"]).clamp(-1, 1).float(), "label": (_plain(sample["label"]) > 0.5).float()}

    def _patch(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.RandomState, *, around_tumor: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.patch_size is None:
            return image, label
        size = tuple(self.patch_size)
        missing = [(0, max(0, want - have)) for want, have in zip(size, image.shape, strict=True)]
        image, label = np.pad(image, missing, constant_values=-1.0), np.pad(label, missing)
        room = [have - want for have, want in zip(image.shape, size, strict=True)]
        start = [int(rng.randint(r + 1)) for r in room]
        if around_tumor and label.any():
            inside = np.argwhere(label)
            center = inside[rng.randint(len(inside))]
            jitter = [rng.randint(-(s // 4), s // 4 + 1) for s in size]
            start = [int(np.clip(c + j - s // 2, 0, r)) for c, j, s, r in zip(center, jitter, size, room, strict=True)]
        box = tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))
        return image[box], label[box]

    def _augmentation(self, spatial_dims: int) -> Compose:
        if self._augment is None:
            self._augment = standard_augmentation(spatial_dims)
        return self._augment


def standard_augmentation(spatial_dims: int) -> Compose:
    """The `standard` arm: flip, affine, gamma, noise, on {"image", "label"} in [-1, 1]."""
    keys, planes = ["image", "label"], ([0.26] if spatial_dims == 2 else [0.1, 0.1, 0.26])
    options: dict[str, Any] = {"mode": ("bilinear", "nearest"), "padding_mode": "border"}
    return Compose([
        RandFlipd(keys, prob=0.5, spatial_axis=0),
        RandAffined(
            keys, prob=0.7, rotate_range=planes, scale_range=[0.15] * spatial_dims,
            translate_range=[5.0] * spatial_dims, **options,
        ),
        RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.4)),
        RandGaussianNoised("image", prob=0.3, std=0.05),
    ])  # fmt: skip


def _plain(x: torch.Tensor) -> torch.Tensor:
    return x.as_tensor() if hasattr(x, "as_tensor") else x
