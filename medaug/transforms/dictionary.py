"""Insert and remove tumors in dicts of images (dictionary transforms), as MONAI pipelines pass them on.

All take one image key, and the keys of label, mask and organ beside it. Inputs are not changed; affine and meta are
kept. Random ones draw in `randomize` from `self.R`, so `set_determinism`, `set_random_state` and DataLoader workers
behave as with any MONAI transform. Deterministic ones are not `Randomizable`, so `CacheDataset` caches through them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import RandomizableTransform
from monai.transforms.utils_pytorch_numpy_unification import concatenate

from medaug.lesions.drawing import Shape
from medaug.models.weights import Weights
from medaug.transforms.array import ORGAN_MARGIN_MM, InsertTumor, RandInsertTumor, RandRemoveTumor, RemoveTumor
from medaug.transforms.base import Bounds, OneImage, left_alone, with_label, with_window
from medaug.transforms.growth import GrowTumor
from medaug.transforms.organ import FindOrgan
from medaug.transforms.styles import Style
from medaug.transforms.tumor_labels import TumorLabels

Data = Mapping[Hashable, Any]


class InsertTumord(OneImage):
    """Dictionary twin of `InsertTumor`: inserts a tumor where `mask_key` is.

    Args:
        keys: the image.
        weights: a weights folder, or loaded `Weights`.
        mask_key: where the tumor shall be.
        label_key: receives the mask (added to what it holds already; with `null` nothing is).
        tumor_labels: as in `InsertTumor`, of all that follow.
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        mask_key: str = "mask",
        label_key: str = "label",
        seed: int = 0,
        reference: int | None = None,
        window: Bounds | None = None,
        allow_missing_keys: bool = False,
        style: Style | None = None,
        null: bool = False,
        tumor_labels: TumorLabels | None = None,
    ):
        super().__init__(keys, allow_missing_keys)
        self.transform = InsertTumor(weights, seed, reference, window, style, null, tumor_labels)
        self.mask_key, self.label_key = mask_key, label_key

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key], label = self.transform(d[key], d[self.mask_key], data.get(self.label_key))
            d[self.label_key] = label
        return d


class RemoveTumord(OneImage):
    """Dictionary twin of `RemoveTumor`: removes the tumors that `label_key` marks, from it too (`with_label`)."""

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        label_key: str = "label",
        seed: int = 0,
        window: Bounds | None = None,
        allow_missing_keys: bool = False,
        tumor_labels: TumorLabels | None = None,
    ):
        super().__init__(keys, allow_missing_keys)
        self.transform = RemoveTumor(weights, seed, window, tumor_labels)
        self.label_key = label_key

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key], d[self.label_key] = self.transform.with_label(d[key], data[self.label_key], is_label=True)
        return d


class FindOrgand(OneImage):
    """Dictionary twin of `FindOrgan`: writes `organ_key`, for the transforms with an `organ_key` to read.

    A case that has an organ keeps it. Put it before the first random transform, and name the organ beside the label in
    spatial ones. The image's meta gets the window of the whole scan (`medaug_window`), in which later transforms see
    crops of it, as long as nothing between them changes intensities.

    Args:
        keys: the image.
        weights: a weights folder, or loaded `Weights`.
        organ_key: receives the organ.
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        organ_key: str = "organ",
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        window: Bounds | None = None,
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, allow_missing_keys)
        self.transform = FindOrgan(weights, organ_margin_mm, window)
        self.organ_key = organ_key

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if self.organ_key in d:
                continue
            d[self.organ_key], window = self.transform.found(d[key])
            d[key] = with_window(d[key], window)
        return d


class RandInsertTumord(RandomizableTransform, OneImage):
    """Dictionary twin of `RandInsertTumor`: with probability `prob`, inserts tumors into `keys` and `label_key`.

    Args:
        keys: the image.
        weights: a weights folder, or loaded `Weights`.
        label_key: existing tumors; receives the new ones. Created where it is missing.
        organ_key: where tumors may lie; None, or missing in the data, finds the head or body.

    Example:
        >>> RandInsertTumord("image", weights="out/quickstart/train/weights", prob=0.5)   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        label_key: str = "label",
        organ_key: str | None = None,
        prob: float = 0.5,
        count: Sequence[int] = (1, 1),
        size_mm: tuple[float, float] | None = None,
        shape: Shape = "bank",
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        window: Bounds | None = None,
        allow_missing_keys: bool = False,
        style: Style | None = None,
        null: bool = False,
        tumor_labels: TumorLabels | None = None,
    ):
        OneImage.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.transform = RandInsertTumor(
            weights, 1.0, tuple(count), size_mm, shape, organ_margin_mm, window, style, null, tumor_labels
        )
        self.label_key, self.organ_key = label_key, organ_key

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandInsertTumord:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = with_label(data, self)
        self.randomize(None)
        if not self._do_transform:
            return d
        self.transform.randomize()
        organ = data.get(self.organ_key) if self.organ_key is not None else None
        for key in self.key_iterator(d):
            d[key], d[self.label_key] = self.transform(d[key], d[self.label_key], organ, randomize=False)
        return d


class RandRemoveTumord(RandomizableTransform, OneImage):
    """Dictionary twin of `RandRemoveTumor`: with probability `prob`, removes the tumors that `label_key` marks.

    Args:
        label_key: existing tumors. Created, empty, where it is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        label_key: str = "label",
        prob: float = 0.5,
        window: Bounds | None = None,
        allow_missing_keys: bool = False,
        tumor_labels: TumorLabels | None = None,
    ):
        OneImage.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.transform = RandRemoveTumor(weights, 1.0, window, tumor_labels)
        self.label_key = label_key

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandRemoveTumord:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = with_label(data, self)
        if self.label_key not in data:
            left_alone(self, f"has no {self.label_key!r} that marks a tumor")
        self.randomize(None)
        if not self._do_transform:
            return d
        self.transform.randomize()
        for key in self.key_iterator(d):
            d[key], d[self.label_key] = self.transform(d[key], d[self.label_key], randomize=False)
        return d


class GrowTumord(RandomizableTransform, OneImage):
    """Dictionary twin of `GrowTumor`: `keys` and `label_key` become (steps, *S), one channel a step.

    Later spatial transforms act on all steps alike; MONAI's `SplitDimd` makes one key of each step. Further keys, each
    (steps,): `growth_days`, `growth_diameter_mm`, and `growth_volume_ml`, or of a 2-D image `growth_area_mm2`.

    Args:
        keys: the image.
        weights: a weights folder, or loaded `Weights`.
        label_key: existing tumors; receives the growing one. Created where it is missing.
        organ_key: where the tumor may lie; None, or missing in the data, finds the head or body.

    Example:
        >>> GrowTumord("image", weights="out/quickstart/train/weights", steps=6, start_mm=8)   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        label_key: str = "label",
        organ_key: str | None = None,
        steps: int = 6,
        start_mm: float = 4.0,
        doubling_days: float = 60.0,
        interval_days: float = 30.0,
        mass_effect: float = 0.0,
        reach_mm: float = 20.0,
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        window: Bounds | None = None,
        allow_missing_keys: bool = False,
        tumor_labels: TumorLabels | None = None,
    ):
        OneImage.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, 1.0)
        self.transform = GrowTumor(
            weights,
            steps,
            start_mm,
            doubling_days,
            interval_days,
            mass_effect,
            reach_mm,
            organ_margin_mm,
            window,
            tumor_labels=tumor_labels,
        )
        self.label_key, self.organ_key = label_key, organ_key

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> GrowTumord:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = dict(data)
        self.transform.randomize()
        organ = data.get(self.organ_key) if self.organ_key is not None else None
        for key in self.key_iterator(d):
            made = list(self.transform.each_step(d[key], data.get(self.label_key), organ))
            d[key] = concatenate([step.image for step in made])
            d[self.label_key] = concatenate([step.label for step in made])
            for name in made[0].size:
                d[f"growth_{name}"] = torch.tensor([float(step.size[name]) for step in made])
        return d


FindOrganD = FindOrganDict = FindOrgand
InsertTumorD = InsertTumorDict = InsertTumord
RemoveTumorD = RemoveTumorDict = RemoveTumord
RandInsertTumorD = RandInsertTumorDict = RandInsertTumord
RandRemoveTumorD = RandRemoveTumorDict = RandRemoveTumord
GrowTumorD = GrowTumorDict = GrowTumord
