"""Insert, grow and remove tumors, and translate, in dicts of images (dictionary transforms; see `twins`).

All take one image key, and the keys of label, mask, organ or body beside it. Affine and meta are kept. Random ones draw
in `randomize` from `self.R`, so `set_determinism`, `set_random_state` and DataLoader workers behave as with any MONAI
transform. A translation moves nothing, so every label keeps its place; labels under `label_keys` are checked to lie on
the image and to be the same bits afterwards.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms.utils_pytorch_numpy_unification import concatenate
from monai.utils import convert_to_numpy, ensure_tuple

from medaug.errors import DataError
from medaug.lesions.drawing import Shape
from medaug.models.base import Direction
from medaug.models.weights import Weights
from medaug.transforms.array import (
    ORGAN_MARGIN_MM,
    FindOrgan,
    InsertTumor,
    RandInsertTumor,
    RandRemoveTumor,
    RemoveTumor,
)
from medaug.transforms.base import Bounds, left_alone, with_windows
from medaug.transforms.engine import Facts, Style
from medaug.transforms.growth import GrowTumor
from medaug.transforms.random_translation import RandTranslateDomain
from medaug.transforms.translation import SynthesizeCT, TranslateDomain
from medaug.transforms.tumor_labels import TumorLabels
from medaug.transforms.twins import Data, RandTwin, Twin, entry


class InsertTumord(Twin):
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
        transform = InsertTumor(weights, seed, reference, window, style, null, tumor_labels)
        super().__init__(keys, transform, allow_missing_keys)
        self.mask_key, self.label_key = mask_key, label_key

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        image, label = self.transform(d[key], d[self.mask_key], d.get(self.label_key))
        return {key: image, self.label_key: label}


class RemoveTumord(Twin):
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


class FindOrgand(Twin):
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
        super().__init__(keys, FindOrgan(weights, organ_margin_mm, window), allow_missing_keys)
        self.organ_key = organ_key

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        if self.organ_key in d:
            return {}
        organ, windows = self.transform.found(d[key])
        return {self.organ_key: organ, key: with_windows(d[key], windows)}


class RandInsertTumord(RandTwin):
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
        transform = RandInsertTumor(
            weights, 1.0, tuple(count), size_mm, shape, organ_margin_mm, window, style, null, tumor_labels
        )
        super().__init__(keys, transform, prob, allow_missing_keys)
        self.label_key, self.organ_key = label_key, organ_key

    def _complete(self, data: Data) -> dict[Hashable, Any]:
        return self._with_label(data, self.label_key)

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        image, label = self.transform(d[key], d[self.label_key], entry(d, self.organ_key), **self.options)
        return {key: image, self.label_key: label}


class RandRemoveTumord(RandTwin):
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
        d = self._with_label(data, self.label_key)
        if self.label_key not in data:
            left_alone(self, f"has no {self.label_key!r} that marks a tumor")
        return d

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        image, label = self.transform(d[key], d[self.label_key], **self.options)
        return {key: image, self.label_key: label}


class GrowTumord(RandTwin):
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


class _TranslatesD(Twin):
    """One image key, its body and the labels on it, which stay as they are: a translation moves nothing."""

    label_keys: tuple[Hashable, ...]
    label_key: str | None
    body_key: str | None

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        labels = {name: convert_to_numpy(d[name]).copy() for name in (*self.label_keys, self.label_key) if name in d}
        for name, label in labels.items():
            if label.shape[1:] != tuple(d[key].shape[1:]):
                raise DataError(f"{name} of shape {label.shape} does not lie on {key} of shape {tuple(d[key].shape)}")
        made = self.transform(d[key], entry(d, self.body_key), label=entry(d, self.label_key), **self.options)
        for name, label in labels.items():
            if not np.array_equal(convert_to_numpy(d[name]), label):
                raise DataError(f"{name}: changed while the image was translated; does it share the image's memory?")
        return {key: made}


class TranslateDomaind(_TranslatesD):
    """Dictionary twin of `TranslateDomain`.

    Args:
        keys: the image.
        weights: a weights folder, or loaded `Weights`.
        label_keys: checked to be the same bits afterwards, where they are there.
        label_key: class numbers that weights with `label_input` read towards domain B; checked like the others.
        body_key: what to translate; None, or missing in the data, follows `body`.

    Example:
        >>> TranslateDomaind("image", weights="out/ct/train/weights", label_keys="label")   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        direction: Direction = "a2b",
        label_keys: KeysCollection | None = None,
        body_key: str | None = None,
        window: Bounds | None = None,
        style: Style | None = None,
        seed: int = 0,
        body: Literal["auto", False] = "auto",
        allow_missing_keys: bool = False,
        label_key: str | None = None,
    ):
        transform = TranslateDomain(weights, direction, window=window, style=style, seed=seed, body=body)
        super().__init__(keys, transform, allow_missing_keys)
        self.label_keys, self.label_key, self.body_key = ensure_tuple(label_keys or ()), label_key, body_key


class SynthesizeCTd(_TranslatesD):
    """Dictionary twin of `SynthesizeCT`; arguments as in `TranslateDomaind`.

    Example:
        >>> SynthesizeCTd("image", weights="out/ct/train/weights", label_keys="label")   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        direction: Direction | None = None,
        label_keys: KeysCollection | None = None,
        body_key: str | None = None,
        window: Bounds | None = None,
        style: Style | None = None,
        seed: int = 0,
        body: Literal["auto", False] = "auto",
        allow_missing_keys: bool = False,
        label_key: str | None = None,
    ):
        transform = SynthesizeCT(weights, direction, window=window, style=style, seed=seed, body=body)
        super().__init__(keys, transform, allow_missing_keys)
        self.label_keys, self.label_key, self.body_key = ensure_tuple(label_keys or ()), label_key, body_key


class RandTranslateDomaind(RandTwin, _TranslatesD):
    """Dictionary twin of `RandTranslateDomain`: with probability `prob`, the image comes in the other domain.

    After a call, `drawn` says what was drawn, as in the array transform.

    Args:
        prob, direction: as in `RandTranslateDomain`; the others as in `TranslateDomaind`.

    Example:
        >>> RandTranslateDomaind("image", weights="out/ct/train/weights", label_keys="label")   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | Weights,
        prob: float = 0.5,
        direction: Direction | Literal["random"] = "a2b",
        label_keys: KeysCollection | None = None,
        body_key: str | None = None,
        window: Bounds | None = None,
        style: Style | None = None,
        body: Literal["auto", False] = "auto",
        allow_missing_keys: bool = False,
        label_key: str | None = None,
    ):
        transform = RandTranslateDomain(weights, 1.0, direction, window=window, style=style, body=body)
        super().__init__(keys, transform, prob, allow_missing_keys)
        self.label_keys, self.label_key, self.body_key = ensure_tuple(label_keys or ()), label_key, body_key
        self.drawn: Facts | None = None

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = super().__call__(data)
        self.drawn = self.transform.drawn if self._do_transform else None
        return d


FindOrganD = FindOrganDict = FindOrgand
InsertTumorD = InsertTumorDict = InsertTumord
RemoveTumorD = RemoveTumorDict = RemoveTumord
RandInsertTumorD = RandInsertTumorDict = RandInsertTumord
RandRemoveTumorD = RandRemoveTumorDict = RandRemoveTumord
GrowTumorD = GrowTumorDict = GrowTumord
TranslateDomainD = TranslateDomainDict = TranslateDomaind
SynthesizeCTD = SynthesizeCTDict = SynthesizeCTd
RandTranslateDomainD = RandTranslateDomainDict = RandTranslateDomaind
