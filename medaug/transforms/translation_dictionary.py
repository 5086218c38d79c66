"""Translate images in dicts between two domains (dictionary transforms; see `twins`).

All take one image key, and the keys of body and labels beside it. Affine and meta are kept. A translation moves
nothing, so every label keeps its place; labels under `label_keys` are checked to lie on the image and to be the same
bits afterwards.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from monai.config import KeysCollection
from monai.utils import convert_to_numpy, ensure_tuple

from medaug.errors import DataError
from medaug.models.base import Direction
from medaug.models.weights import Weights
from medaug.transforms.containers import Bounds
from medaug.transforms.planning import Facts, Style
from medaug.transforms.random_translation import RandTranslateDomain
from medaug.transforms.translation import SynthesizeCT, TranslateDomain
from medaug.transforms.twins import Data, RandTwin, Twin, entry


class _TranslatesD(Twin):
    """One image key, its body and the labels on it, which stay as they are: a translation moves nothing."""

    one_key = "one image. Weights know one sequence: use one transform, with its own weights, for each."
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


TranslateDomainD = TranslateDomainDict = TranslateDomaind
SynthesizeCTD = SynthesizeCTDict = SynthesizeCTd
RandTranslateDomainD = RandTranslateDomainDict = RandTranslateDomaind
