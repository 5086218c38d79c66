"""Translate images in dicts between two domains (dictionary transforms); the labels beside them stay as they are.

A translation moves nothing, so every label keeps its place; labels under `label_keys` are checked to lie on the image
and to be the same bits afterwards. Otherwise as in `dictionary`: one image key, inputs not changed, affine and meta
kept, deterministic transforms not `Randomizable`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from monai.config import KeysCollection
from monai.transforms import RandomizableTransform
from monai.utils import convert_to_numpy, ensure_tuple

from medaug.errors import DataError
from medaug.models.base import Direction
from medaug.models.weights import Weights
from medaug.transforms.base import Bounds, OneImage
from medaug.transforms.random_translation import RandTranslateDomain
from medaug.transforms.styles import Style
from medaug.transforms.translation import SynthesizeCT, TranslateDomain

Data = Mapping[Hashable, Any]


class _Translates(OneImage):
    """One image key, its body and the labels on it."""

    transform: TranslateDomain | RandTranslateDomain

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection | None,
        label_key: str | None,
        body_key: str | None,
        allow_missing_keys: bool,
    ):
        super().__init__(keys, allow_missing_keys)
        self.label_keys, self.label_key, self.body_key = ensure_tuple(label_keys or ()), label_key, body_key

    def _translated(self, data: Data, **options: Any) -> dict[Hashable, Any]:
        d = dict(data)
        labels = {key: convert_to_numpy(d[key]).copy() for key in (*self.label_keys, self.label_key) if key in d}
        body, read = (data.get(key) if key is not None else None for key in (self.body_key, self.label_key))
        for key in self.key_iterator(d):
            for name, label in labels.items():
                if label.shape[1:] != tuple(d[key].shape[1:]):
                    raise DataError(
                        f"{name} of shape {label.shape} does not lie on {key} of shape {tuple(d[key].shape)}"
                    )
            d[key] = self.transform(d[key], body, label=read, **options)
        for name, label in labels.items():
            if not np.array_equal(convert_to_numpy(d[name]), label):
                raise DataError(f"{name}: changed while the image was translated; does it share the image's memory?")
        return d


class TranslateDomaind(_Translates):
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
        super().__init__(keys, label_keys, label_key, body_key, allow_missing_keys)
        self.transform = TranslateDomain(weights, direction, window=window, style=style, seed=seed, body=body)

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        return self._translated(data)


class SynthesizeCTd(_Translates):
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
        super().__init__(keys, label_keys, label_key, body_key, allow_missing_keys)
        self.transform = SynthesizeCT(weights, direction, window=window, style=style, seed=seed, body=body)

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        return self._translated(data)


class RandTranslateDomaind(RandomizableTransform, _Translates):
    """Dictionary twin of `RandTranslateDomain`: with probability `prob`, the image comes in the other domain.

    After a call, `drawn` says what was drawn, as in the array transform.

    Args:
        prob, direction: as in `RandTranslateDomain`; the others as in `TranslateDomaind`.

    Example:
        >>> RandTranslateDomaind("image", weights="out/ct/train/weights", label_keys="label")   # doctest: +SKIP
    """

    transform: RandTranslateDomain

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
        _Translates.__init__(self, keys, label_keys, label_key, body_key, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.transform = RandTranslateDomain(weights, 1.0, direction, window=window, style=style, body=body)
        self.drawn: dict[str, Any] | None = None

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandTranslateDomaind:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        self.drawn = None
        self.randomize(None)
        if not self._do_transform:
            return dict(data)
        self.transform.randomize()
        d = self._translated(data, randomize=False)
        self.drawn = self.transform.drawn
        return d


TranslateDomainD = TranslateDomainDict = TranslateDomaind
SynthesizeCTD = SynthesizeCTDict = SynthesizeCTd
RandTranslateDomainD = RandTranslateDomainDict = RandTranslateDomaind
