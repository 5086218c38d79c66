"""What the cheap rivals share: the samples they act on, and how those are read.

A sample is {"image": (1, *S) in [-1, 1], "label": (1, *S), 0 outside}; a bank or a list of references holds more of
them. `Sequence` is meant literally: one that reads its items when they are asked for keeps memory small.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_numpy

from medaug.errors import ConfigError, DataError
from medaug.volumes import check_finite

RANGE_MOST = 1.5
"""Interpolation and noise lead out of [-1, 1]; what lies farther out was never normalised."""


class RandAppearanceD(RandomizableTransform, MapTransform):
    """The dictionary twin of a transform of images alone: with probability `prob`, one draw of it for all `keys`.

    Args:
        transform: the array transform, which acts always.
    """

    def __init__(
        self, keys: KeysCollection, transform: RandomizableTransform, prob: float, allow_missing_keys: bool = False
    ):
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.transform = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandAppearanceD:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        self.transform.randomize()
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key], randomize=False)
        return d


def check_items(name: str, items: Sequence[Any], remedy: str) -> None:
    """Refuses an empty bank or list of references.

    Raises:
        ConfigError: naming it.
    """
    if not len(items):
        raise ConfigError(f"{name}: found none; expected at least one. {remedy}")


def image_array(img: NdarrayOrTensor, name: str = "image") -> np.ndarray:
    """The one channel of a normalised image as float32 (X, Y[, Z]).

    Raises:
        DataError: if it has another shape, holds NaN, or is not in [-1, 1].
    """
    array = np.asarray(convert_to_numpy(img), dtype=np.float32)
    if array.ndim not in (3, 4) or array.shape[0] != 1:
        raise DataError(
            f"{name} of shape {array.shape}; expected (1, X, Y) or (1, X, Y, Z). Choose one sequence, and put the "
            "channel first (EnsureChannelFirstd)."
        )
    check_finite(array, name)
    if array.size and np.abs(array).max() > RANGE_MOST:
        raise DataError(
            f"{name}: found values from {array.min():g} to {array.max():g}; expected [-1, 1]. Normalise it first "
            "(ScaleIntensityRanged with b_min=-1, b_max=1, clip=True)."
        )
    return array[0]
