"""The augmentation of the arm `standard`: nnU-Net's list and probabilities (Isensee 2021, 10.1038/s41592-020-01008-z).

| what                | how often | how much                                                                           |
|---------------------|-----------|------------------------------------------------------------------------------------|
| rotation            | 20 %      | 2-D: any angle (15° where the sample is long); 3-D: 30° about each axis (thick     |
|                     |           | slices: any angle, in plane)                                                       |
| scaling             | 20 %      | a factor of 0.7 to 1.4, one for all axes                                           |
| Gaussian noise      | 10 %      | variance up to 0.1                                                                 |
| Gaussian blur       | 20 %      | sigma 0.5 to 1 voxel, half of the channels                                         |
| brightness          | 15 %      | times 0.75 to 1.25                                                                 |
| contrast            | 15 %      | times 0.75 to 1.25 about the mean, inside the range                                |
| low resolution      | 25 %      | 0.5 to 1 of it, half of the channels                                               |
| gamma               | 30 %      | 0.7 to 1.5, mean and spread kept; 10 %: of the inverted image                      |
| mirroring           | 50 %      | along each axis                                                                    |

Geometry moves all channels and the label alike; of intensities "whether" is drawn once, "how much" channel by channel,
in units of each channel's own standard deviation, as nnU-Net's z-scores have it. All of it is MONAI's, drawn from
`self.R`: the same transforms in batchgeneratorsv2 draw from global generators, which no sample's seed reaches.

Departs from nnU-Net: labels move by nearest neighbour, beyond the image its edge goes on, and 0.75 to 1.25 is uniform.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    RandAdjustContrast,
    RandGaussianSmooth,
    Randomizable,
    RandomizableTransform,
    RandScaleIntensity,
    RandScaleIntensityFixedMean,
    RandSimulateLowResolution,
    Transform,
)
from monai.transforms.utils import create_rotate
from monai.utils import convert_to_tensor
from torch.nn import functional as F

Sample = dict[str, MetaTensor]
"""What augmentations take, in its place: "image" (C, *S), "label" (1, *S), and "organ" (1, *S) where that is known."""
Augmented = dict[str, torch.Tensor]
"""The same once it was moved: no affine says where it lies."""
KEYS = ("image", "label")
LONG = 1.5
"""A 2-D sample so many times as long as wide is turned by 15° at most."""
ANISOTROPIC = 3.0
"""A 3-D sample with so many times fewer slices than its longest side has thick slices, and is turned in plane."""


def standard_augmentation(size: Sequence[int]) -> Compose:
    """The `standard` arm, on {"image": (C, *S), "label": (1, *S)} at least as large as `size`, which is cut out."""
    intensity = [
        _ByChannel(_Noise(), prob=0.1),
        _ByChannel(RandGaussianSmooth(*((0.5, 1.0),) * 3, prob=1.0), prob=0.2, channels=0.5),
        _ByChannel(RandScaleIntensity((-0.25, 0.25), prob=1.0), prob=0.15),
        _ByChannel(RandScaleIntensityFixedMean(prob=1.0, factors=(-0.25, 0.25), preserve_range=True), prob=0.15),
        _ByChannel(_low_resolution(len(size)), prob=0.25, channels=0.5),
        _ByChannel(RandAdjustContrast(1.0, (0.7, 1.5), invert_image=True, retain_stats=True), prob=0.1),
        _ByChannel(RandAdjustContrast(1.0, (0.7, 1.5), retain_stats=True), prob=0.3),
    ]
    return Compose([RandTurnScaleMirror(size), _Standardised(intensity)])


class RandTurnScaleMirror(RandomizableTransform):
    """Turns and scales a sample about its middle, mirrors it, and cuts out its middle; one interpolation in all.

    Args:
        size: of what comes out, by axis, in voxels.
        prob: of a rotation, and by itself of a scaling.
        scale: the least and the largest factor by which more, or less, of the image is seen.
    """

    def __init__(self, size: Sequence[int], prob: float = 0.2, scale: tuple[float, float] = (0.7, 1.4)):
        super().__init__(1.0)
        self.size, self.chance, self.scale = tuple(size), prob, scale
        self.angles: list[float] | None = None
        self.factor: float | None = None
        self.mirrored: list[int] = []

    def randomize(self, data: object = None) -> None:
        turned, scaled = self.R.random_sample(2) < self.chance
        angles = [float(self.R.uniform(-limit, limit)) for limit in _angle_limits(self.size)]
        factor = float(self.R.uniform(*self.scale))
        self.angles, self.factor = angles if turned else None, factor if scaled else None
        self.mirrored = [axis for axis, draw in enumerate(self.R.random_sample(len(self.size)), 1) if draw < 0.5]

    def __call__(self, data: Mapping[str, torch.Tensor]) -> Augmented:
        self.randomize()
        sample: Augmented = {**data}
        for key, mode in zip(KEYS, ("bilinear", "nearest"), strict=True):
            array = _plain(sample[key])
            if self.angles is None and self.factor is None:
                array = middle(array, self.size)
            else:
                array = self._moved(array, mode)
            sample[key] = array.flip(self.mirrored)
        return sample

    def _moved(self, array: torch.Tensor, mode: str) -> torch.Tensor:
        dims, size = len(self.size), np.array(self.size)
        matrix = create_rotate(dims, self.angles or [0.0])[:dims, :dims] * (self.factor or 1.0)
        # torch counts from -1 to 1 along each axis, the last axis first
        matrix = matrix * size / np.array(array.shape[1:])[:, None]
        theta = torch.from_numpy(np.column_stack([matrix[::-1, ::-1], np.zeros(dims)])).float()[None]
        grid = F.affine_grid(theta, [1, len(array), *self.size], align_corners=False)
        return F.grid_sample(array[None], grid, mode=mode, padding_mode="border", align_corners=False)[0]


def middle(array: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The middle of an array (C, *S), of this size by axis, at most."""
    starts = [max(0, (have - want) // 2) for have, want in zip(array.shape[1:], size, strict=True)]
    return array[(slice(None), *(slice(start, start + n) for start, n in zip(starts, size, strict=True)))]


class _Standardised(Randomizable, Transform):
    """Changes an image in z-scores, which goes back to its own mean and spread; all steps draw from one generator."""

    def __init__(self, steps: Sequence[RandomizableTransform]):
        self.steps = steps

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Self:
        super().set_random_state(seed, state)
        for step in self.steps:
            step.set_random_state(state=self.R)
        return self

    def randomize(self, data: object = None) -> None:
        """Each step draws for itself."""

    def __call__(self, data: Mapping[str, torch.Tensor]) -> Augmented:
        image = _plain(data["image"])
        axes = tuple(range(1, image.ndim))
        mean, spread = image.mean(axes, keepdim=True), image.std(axes, keepdim=True).clamp_min(1e-6)
        changed = (image - mean) / spread
        for step in self.steps:
            changed = step(changed)
        return {**data, "image": changed * spread + mean}


class _ByChannel(RandomizableTransform):
    """With probability `prob` an array transform, drawn anew for each channel; a channel takes part by `channels`."""

    def __init__(self, transform: RandomizableTransform, prob: float, channels: float = 1.0):
        super().__init__(prob)
        self.transform, self.channels = transform, channels

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Self:
        super().set_random_state(seed, state)
        self.transform.set_random_state(state=self.R)
        return self

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.randomize(None)
        if not self._do_transform:
            return image
        chosen = self.R.random_sample(len(image)) < self.channels
        return torch.cat(
            [
                _plain(self.transform(channel[None])) if takes_part else channel[None]
                for channel, takes_part in zip(image, chosen, strict=True)
            ]
        )


class _Noise(RandomizableTransform):
    """Gaussian noise of a variance from 0 to 0.1."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        spread = math.sqrt(self.R.uniform(0, 0.1))
        return image + torch.from_numpy(self.R.normal(0, spread, tuple(image.shape)).astype(np.float32))


def _low_resolution(dims: int) -> RandSimulateLowResolution:
    return RandSimulateLowResolution(1.0, upsample_mode="bilinear" if dims == 2 else "trilinear", zoom_range=(0.5, 1.0))


def _angle_limits(size: Sequence[int]) -> list[float]:
    """By axis of rotation, in radians; in 2-D the one angle there is."""
    if len(size) == 2:
        return [math.radians(15) if max(size) / min(size) > LONG else math.pi]
    if max(size) / size[-1] > ANISOTROPIC:
        return [0.0, 0.0, math.pi]
    return [math.radians(30)] * 3


def _plain(x: NdarrayOrTensor) -> torch.Tensor:
    return convert_to_tensor(x, dtype=torch.float32, track_meta=False)
