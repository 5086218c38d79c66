"""Dictionary twins of array transforms, with MONAI's interface: what all of them do with keys, dicts and chance.

A twin names the entries that its array transform reads and says in `_changed` which it writes. Inputs are not changed.
Twins of tumor transforms take the sequences of an image under one key, as channels, or under a key each: these are
stacked into one image for one draw, and come back each with its own dtype, affine and meta.
Random twins draw once a sample, from `self.R`, whatever the number of keys; deterministic ones are not `Randomizable`,
so `CacheDataset` caches through them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.transforms.utils_pytorch_numpy_unification import concatenate

from medaug.errors import ConfigError, DataError
from medaug.orientation import check_same_grid
from medaug.transforms.containers import WINDOW_META, like_source, pairs_in, plain, with_bounds

Data = Mapping[Hashable, Any]


class Twin(MapTransform):
    """The dictionary twin of a deterministic array transform, which acts on each key alike.

    Args:
        keys: the image, or all images where one draw serves several.
        transform: the array transform.
    """

    options: ClassVar[dict[str, bool]] = {}
    """What a call of the array transform is given besides its entries."""
    one_key: ClassVar[str | None] = None
    """Of transforms that take one key alone, what a message about several says is expected."""

    def __init__(self, keys: KeysCollection, transform: Any, allow_missing_keys: bool):
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transform = transform
        self._check_keys([str(key) for key in self.keys])

    def _check_keys(self, keys: list[str]) -> None:
        """Refuses keys that the transform cannot take."""
        if self.one_key is not None and len(keys) != 1:
            raise ConfigError(f"found the keys {', '.join(keys)}; expected {self.one_key}")

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = self._complete(data)
        return d | self._acted(d)

    def _complete(self, data: Data) -> dict[Hashable, Any]:
        """A copy, with what every sample of a batch has to have, whatever is drawn."""
        return dict(data)

    def _acted(self, d: Data) -> dict[Hashable, Any]:
        """The entries that change."""
        changed: dict[Hashable, Any] = {}
        for key in self.key_iterator(d):
            changed |= self._changed({**d, **changed}, key)
        return changed

    @abstractmethod
    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        """The entries that the transform changes for this key."""


class TumorTwin(Twin):
    """The twin of a `TumorTransform`: `keys` are one image of all sequences, or one of each.

    Raises:
        ConfigError: if there are several keys, and fewer or more than sequences, or in another order.
    """

    def _check_keys(self, keys: list[str]) -> None:
        sequences = self.transform.weights.sequences
        places = {name.lower(): place for place, name in enumerate(sequences)}
        misplaced = any(places.get(key.lower(), place) != place for place, key in enumerate(keys))
        if len(keys) > 1 and (misplaced or len(keys) != len(sequences)):
            raise ConfigError(
                f"keys: found {', '.join(keys)}; expected one image whose channels are the weights' sequences, or a "
                f"key for each of them in their order: {', '.join(sequences)}"
            )

    def _labelled(self, data: Data, label_key: str) -> dict[Hashable, Any]:
        """A copy in which the image has a label: an empty one where it had none."""
        d = dict(data)
        for key in self.key_iterator(d):
            d.setdefault(label_key, self.transform.empty_label(d[key]))
        return d

    def _acted(self, d: Data) -> dict[Hashable, Any]:
        there = tuple(self.key_iterator(d))
        if len(self.keys) == 1 or not there:
            return super()._acted(d)
        if lacking := [str(key) for key in self.keys if key not in there]:
            raise DataError(
                f"sample: found no {', '.join(lacking)} beside {', '.join(map(str, there))}; expected all sequences of "
                "the weights. Leave the sample out, or fill what is lacking with zeros."
            )
        images = {key: d[key] for key in there}
        stack = stacked(images)
        changed = self._changed({**d, there: stack}, there)
        return changed | (unstacked(changed.pop(there), stack, images) if there in changed else {})


class RandTwin(RandomizableTransform, Twin):
    """The dictionary twin of a random array transform, which acts with probability `prob`.

    Args:
        transform: the array transform, which acts always.
    """

    options: ClassVar[dict[str, bool]] = {"randomize": False}

    def __init__(self, keys: KeysCollection, transform: Any, prob: float, allow_missing_keys: bool = False):
        Twin.__init__(self, keys, transform, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Self:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        d = self._complete(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        self.transform.randomize()
        return d | self._acted(d)


def entry(d: Data, key: str | None) -> Any:
    """What stands under a key that may be None, or missing."""
    return None if key is None else d.get(key)


def stacked(images: Mapping[Hashable, NdarrayOrTensor]) -> NdarrayOrTensor:
    """Images (1, *S) on one grid as one, (C, *S) float32, with the affine and meta of the first that has any.

    Raises:
        DataError: naming two keys that are on different grids, or one that has several channels.
    """
    arrays = {key: plain(img) for key, img in images.items()}
    for key, array in arrays.items():
        if array.ndim < 3 or len(array) != 1:
            raise DataError(
                f"{key}: found an image of shape {array.shape}; expected (1, *S), one sequence a key. Put the channel "
                "first (EnsureChannelFirstd), or give one key with all channels."
            )
    known = {key: img for key, img in images.items() if isinstance(img, MetaTensor)}
    first = next(iter(known or images))
    for key, array in arrays.items():
        check_same_grid(
            arrays[first].shape[1:],
            array.shape[1:],
            np.asarray(known[first].affine) if known else np.eye(4),
            np.asarray(known.get(key, known[first]).affine) if known else np.eye(4),
            str(first),
            str(key),
            "Resample one onto the other (ResampleToMatchd).",
        )
    stack = np.concatenate(list(arrays.values())).astype(np.float32)
    if not known:
        return stack if isinstance(images[first], np.ndarray) else torch.from_numpy(stack)
    bounds = {key: img.meta[WINDOW_META] for key, img in known.items() if WINDOW_META in img.meta}
    if bounds and len(bounds) < len(images):
        lacking = ", ".join(str(key) for key in images if key not in bounds)
        raise DataError(
            f"{lacking}: found no {WINDOW_META} in the meta, as the other sequences have; expected it of all or none. "
            "Note it for each (FindOrgand)."
        )
    whole = MetaTensor(torch.from_numpy(stack), meta=dict(known[first].meta))
    return with_bounds(whole, [pairs_in(pair, 1)[0] for pair in bounds.values()]) if bounds else whole


def unstacked(
    edited: NdarrayOrTensor, stack: NdarrayOrTensor, images: Mapping[Hashable, NdarrayOrTensor]
) -> dict[Hashable, NdarrayOrTensor]:
    """An edited stack (C, *S) as the images that `stack` was made of; of a series (steps · C, *S), each (steps, *S)."""
    after, before, count = plain(edited), plain(stack), len(images)
    noted = edited.meta.get(WINDOW_META) if isinstance(edited, MetaTensor) else None
    single: dict[Hashable, NdarrayOrTensor] = {}
    for channel, (key, img) in enumerate(images.items()):
        steps = [like_source(step[None], before[[channel]], img) for step in after[channel::count]]
        single[key] = steps[0] if len(steps) == 1 else concatenate(steps)
        if noted is not None:
            single[key] = with_bounds(single[key], [pairs_in(noted, count)[channel]])
    return single
