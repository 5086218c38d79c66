"""Insert, replace, grow and remove tumors in dicts of images (dictionary transforms; see `twins`).

`keys` are one image (C, *S) whose channels are the weights' sequences in order, or an image (1, *S) of each, on one
grid: one draw edits all. Beside them stand the keys of label, mask and organ. Each image keeps its own dtype, affine
and meta. Random transforms draw in `randomize` from `self.R`, so `set_determinism`, `set_random_state` and DataLoader
workers behave as with any MONAI transform.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms.utils_pytorch_numpy_unification import concatenate

from medaug.lesions.drawing import Shape
from medaug.models.weights import Weights
from medaug.transforms.array import ORGAN_MARGIN_MM, FindOrgan, InsertTumor, RandInsertTumor
from medaug.transforms.base import left_alone
from medaug.transforms.containers import Bounds, with_bounds
from medaug.transforms.growth import GrowTumor
from medaug.transforms.planning import Style
from medaug.transforms.removal import RandRemoveTumor, RandReplaceTumor, RemoveTumor
from medaug.transforms.tumor_labels import TumorLabels
from medaug.transforms.twins import Data, RandTwin, TumorTwin, entry


class InsertTumord(TumorTwin):
    """Dictionary twin of `InsertTumor`: inserts a tumor where `mask_key` is.

    Args:
        keys: the image, or its sequences.
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
        transform = InsertTumor(weights, seed, reference, window, style, null, tumor_labels)
        super().__init__(keys, transform, allow_missing_keys)
        self.mask_key, self.label_key = mask_key, label_key

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        image, label = self.transform(d[key], d[self.mask_key], d.get(self.label_key))
        return {key: image, self.label_key: label}


class RemoveTumord(TumorTwin):
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
        super().__init__(keys, RemoveTumor(weights, seed, window, tumor_labels), allow_missing_keys)
        self.label_key = label_key

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        image, label = self.transform.with_label(d[key], d[self.label_key], is_label=True)
        return {key: image, self.label_key: label}


class FindOrgand(TumorTwin):
    """Dictionary twin of `FindOrgan`: writes `organ_key`, for the transforms with an `organ_key` to read.

    A case that has an organ keeps it. Put it before the first random transform, and name the organ beside the label in
    spatial ones. The image's meta gets the window of the whole scan (`medaug_window`), in which later transforms see
    crops of it, as long as nothing between them changes intensities.

    Args:
        keys: the image, or its sequences.
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
        super().__init__(keys, FindOrgan(weights, organ_margin_mm, window), allow_missing_keys)
        self.organ_key = organ_key

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        if self.organ_key in d:
            return {}
        organ, windows = self.transform.found(d[key])
        return {self.organ_key: organ, key: with_bounds(d[key], [(window.low, window.high) for window in windows])}


class RandInsertTumord(RandTwin, TumorTwin):
    """Dictionary twin of `RandInsertTumor`: with probability `prob`, inserts tumors into `keys` and `label_key`.

    Args:
        keys: the image, or its sequences.
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
        transform = RandInsertTumor(
            weights, 1.0, tuple(count), size_mm, shape, organ_margin_mm, window, style, null, tumor_labels
        )
        super().__init__(keys, transform, prob, allow_missing_keys)
        self.label_key, self.organ_key = label_key, organ_key

    def _complete(self, data: Data) -> dict[Hashable, Any]:
        return self._labelled(data, self.label_key)

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        image, label = self.transform(d[key], d[self.label_key], entry(d, self.organ_key), **self.options)
        return {key: image, self.label_key: label}


class RandReplaceTumord(RandTwin, TumorTwin):
    """Dictionary twin of `RandReplaceTumor`: with probability `prob`, one tumor of `label_key` gives way to another.

    Args:
        keys: the image, or its sequences.
        weights: a weights folder, or loaded `Weights`.
        label_key: existing tumors; loses the old one, and receives the new one. Created, empty, where it is missing.
        organ_key: where tumors may lie; None, or missing in the data, finds the head or body.

    Example:
        >>> RandReplaceTumord(["t1", "flair"], weights="out/x/train/weights", prob=0.5)   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        label_key: str = "label",
        organ_key: str | None = None,
        prob: float = 0.5,
        size_mm: tuple[float, float] | None = None,
        shape: Shape = "bank",
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        window: Bounds | None = None,
        allow_missing_keys: bool = False,
        style: Style | None = None,
        tumor_labels: TumorLabels | None = None,
    ):
        transform = RandReplaceTumor(weights, 1.0, size_mm, shape, organ_margin_mm, window, style, tumor_labels)
        super().__init__(keys, transform, prob, allow_missing_keys)
        self.label_key, self.organ_key = label_key, organ_key

    def _complete(self, data: Data) -> dict[Hashable, Any]:
        return self._labelled(data, self.label_key)

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        image, label = self.transform(d[key], d[self.label_key], entry(d, self.organ_key), **self.options)
        return {key: image, self.label_key: label}


class RandRemoveTumord(RandTwin, TumorTwin):
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
        super().__init__(keys, RandRemoveTumor(weights, 1.0, window, tumor_labels), prob, allow_missing_keys)
        self.label_key = label_key

    def _complete(self, data: Data) -> dict[Hashable, Any]:
        d = self._labelled(data, self.label_key)
        if self.label_key not in data:
            left_alone(self, f"has no {self.label_key!r} that marks a tumor")
        return d

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        image, label = self.transform(d[key], d[self.label_key], **self.options)
        return {key: image, self.label_key: label}


class GrowTumord(RandTwin, TumorTwin):
    """Dictionary twin of `GrowTumor`: `keys` and `label_key` become (steps, *S), one channel a step.

    A key of several channels becomes (steps · C, *S), all channels step by step. Later spatial transforms act on all
    steps alike; MONAI's `SplitDimd` makes one key of each channel. Further keys, each
    (steps,): `growth_days`, `growth_diameter_mm`, and `growth_volume_ml`, or of a 2-D image `growth_area_mm2`.

    Args:
        keys: the image, or its sequences.
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
        transform = GrowTumor(
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
        super().__init__(keys, transform, 1.0, allow_missing_keys)
        self.label_key, self.organ_key = label_key, organ_key

    def randomize(self, data: Any = None) -> None:
        """Nothing is drawn here: it acts always."""

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        made = list(self.transform.each_step(d[key], d.get(self.label_key), entry(d, self.organ_key)))
        changed: dict[Hashable, Any] = {}
        for name in made[0].size:
            changed[f"growth_{name}"] = torch.tensor([float(step.size[name]) for step in made])
        images, labels = concatenate([step.image for step in made]), concatenate([step.label for step in made])
        return changed | {key: images, self.label_key: labels}


FindOrganD = FindOrganDict = FindOrgand
InsertTumorD = InsertTumorDict = InsertTumord
RemoveTumorD = RemoveTumorDict = RemoveTumord
RandInsertTumorD = RandInsertTumorDict = RandInsertTumord
RandReplaceTumorD = RandReplaceTumorDict = RandReplaceTumord
RandRemoveTumorD = RandRemoveTumorDict = RandRemoveTumord
GrowTumorD = GrowTumorDict = GrowTumord
