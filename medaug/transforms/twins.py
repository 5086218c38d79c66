"""Dictionary twins of array transforms, with MONAI's interface: what all of them do with keys, dicts and chance.

A twin names the entries that its array transform reads and says in `_changed` which it writes. Inputs are not changed.
Random twins draw once a sample, from `self.R`, whatever the number of keys; deterministic ones are not `Randomizable`,
so `CacheDataset` caches through them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from medaug.errors import ConfigError
from medaug.transforms.base import empty_label

Data = Mapping[Hashable, Any]
ONE_SEQUENCE = "one image. Weights know one sequence: use one transform, with its own weights, for each."


class Twin(MapTransform):
    """The dictionary twin of a deterministic array transform.

    Args:
        keys: the image, or all images where one draw serves several.
        transform: the array transform.
        expected: of transforms that take one key alone, what a message about several says; None takes several.
    """

    options: ClassVar[dict[str, bool]] = {}
    """What a call of the array transform is given besides its entries."""

    def __init__(
        self, keys: KeysCollection, transform: Any, allow_missing_keys: bool, expected: str | None = ONE_SEQUENCE
    ):
        MapTransform.__init__(self, keys, allow_missing_keys)
        if expected is not None and len(self.keys) != 1:
            raise ConfigError(f"found the keys {', '.join(map(str, self.keys))}; expected {expected}")
        self.transform = transform

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = self._complete(data)
        for key in self.key_iterator(d):
            d |= self._changed(d, key)
        return d

    def _complete(self, data: Data) -> dict[Hashable, Any]:
        """A copy, with what every sample of a batch has to have, whatever is drawn."""
        return dict(data)

    def _with_label(self, data: Data, label_key: str) -> dict[Hashable, Any]:
        """A copy in which the image has a label: an empty one where it had none."""
        d = dict(data)
        for key in self.key_iterator(d):
            d.setdefault(label_key, empty_label(d[key]))
        return d

    @abstractmethod
    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        """The entries that the transform changes for this key."""


class RandTwin(RandomizableTransform, Twin):
    """The dictionary twin of a random array transform, which acts with probability `prob`.

    Args:
        transform: the array transform, which acts always.
    """

    options: ClassVar[dict[str, bool]] = {"randomize": False}

    def __init__(
        self,
        keys: KeysCollection,
        transform: Any,
        prob: float,
        allow_missing_keys: bool,
        expected: str | None = ONE_SEQUENCE,
    ):
        Twin.__init__(self, keys, transform, allow_missing_keys, expected)
        RandomizableTransform.__init__(self, prob)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Self:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = self._complete(data)
        self.randomize(None)
        if self._do_transform:
            self.transform.randomize()
            for key in self.key_iterator(d):
                d |= self._changed(d, key)
        return d


def entry(d: Data, key: str | None) -> Any:
    """What stands under a key that may be None, or missing."""
    return None if key is None else d.get(key)
