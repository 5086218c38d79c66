"""What the cheap rivals share: the samples they act on, and how those are read.

A sample is {"image": (C, *S) in [-1, 1], "label": (1, *S), 0 outside}; a bank or a list of references holds more of
them, of the same channels. `Sequence` is meant literally: one that reads its items when they are asked for keeps memory
small. A bank may hold `organ`, (1, *S), too. Voxel sizes are those of MetaTensors; of what has none, 1.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.utils import convert_to_numpy

from medaug.errors import ConfigError, DataError
from medaug.transforms.base import left_alone
from medaug.transforms.containers import class_numbers, empty_label, region_of
from medaug.transforms.twins import Data, RandTwin
from medaug.volumes import Window, check_finite, shows_nothing, spacing_of

Bank = Sequence[Mapping[str, Any]]
RANGE = Window(-1.0, 1.0)
RANGE_MOST = 1.5
"""Interpolation and noise lead out of [-1, 1]; what lies farther out was never normalised."""


class RandAppearanceD(RandTwin):
    """The twin of a transform of images alone: all `keys` get the same draw."""

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        return {key: self.transform(d[key], **self.options)}


class RandPasteD(RandTwin):
    """The twin of a transform of an image and its label: both change.

    Args:
        keys: the image.
        transform: the array transform, which acts always.
        label_key: its label. Created, empty, where it is missing.
        organ_key: of the organ, passed on as the third argument where the case has it.
    """

    one_key = "the one that the bank holds"

    def __init__(
        self,
        keys: KeysCollection,
        transform: Any,
        label_key: str,
        prob: float,
        organ_key: str,
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, transform, prob, allow_missing_keys)
        self.label_key, self.organ_key = label_key, organ_key

    def _complete(self, data: Data) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d.setdefault(self.label_key, empty_label(d[key]))
        return d

    def _changed(self, d: Data, key: Hashable) -> dict[Hashable, Any]:
        organ = [d[self.organ_key]] if self.organ_key in d else []
        image, label = self.transform(d[key], d[self.label_key], *organ, **self.options)
        return {key: image, self.label_key: label}


@dataclass(frozen=True)
class Donor:
    """What is pasted from: image (C, *S) float32 in [-1, 1], label (class numbers), organ bool or None, both (*S).

    `measured` says whether its voxel size is known.
    """

    image: np.ndarray
    label: np.ndarray
    organ: np.ndarray | None
    spacing_mm: tuple[float, ...]
    measured: bool
    name: str

    @classmethod
    def of(cls, bank: Bank, number: int, channels: int) -> Donor:
        """Reads this item.

        Raises:
            DataError: naming the item, if it lacks a part, image and label do not fit each other, or it has more or
                fewer channels than the image that it is for.
        """
        item, name = bank[number], f"bank item {number}"
        if missing := {"image", "label"} - set(item):
            raise DataError(f"{name}: found no {' and no '.join(sorted(missing))}; expected image and label, (1, *S)")
        image = image_array(item["image"], f"{name}, image", channels)
        shape = image.shape[1:]
        organ = region_of(item["organ"], shape, f"{name}, organ") if item.get("organ") is not None else None
        label = class_numbers(item["label"], shape, f"{name}, label")
        spacing_mm, measured = voxel_size_mm(item["image"]), isinstance(item["image"], MetaTensor)
        return cls(image, label, organ, spacing_mm, measured, name)


def donor_with_lesion(
    bank: Bank, rng: np.random.RandomState, channels: int, tumor_labels: Sequence[int] | None = None
) -> Donor:
    """A donor of so many channels, drawn among those that have a tumor marked; None: anything in a label is one.

    Raises:
        DataError: if none has.
    """
    for number in rng.permutation(len(bank)):
        donor = Donor.of(bank, int(number), channels)
        if donor.label.any() if tumor_labels is None else np.isin(donor.label, tumor_labels).any():
            return donor
    raise DataError(f"bank: found no lesion in {len(bank)} items; expected labelled ones. Give cases with a tumor.")


def check_items(name: str, items: Sequence[Any], remedy: str) -> None:
    """Refuses an empty bank or list of references.

    Raises:
        ConfigError: naming it.
    """
    if not len(items):
        raise ConfigError(f"{name}: found none; expected at least one. {remedy}")


def image_array(img: NdarrayOrTensor, name: str = "image", channels: int | None = None) -> np.ndarray:
    """A normalised image as float32 (C, X, Y[, Z]); `channels` is how many it has to have.

    Raises:
        DataError: if it has another shape, holds NaN, or is not in [-1, 1].
    """
    array = np.asarray(convert_to_numpy(img), dtype=np.float32)
    if array.ndim not in (3, 4) or (channels is not None and array.shape[0] != channels):
        first = "C" if channels is None else channels
        raise DataError(
            f"{name} of shape {array.shape}; expected ({first}, X, Y) or ({first}, X, Y, Z). Put the channels first "
            "(EnsureChannelFirstd), the same sequences in every image."
        )
    check_finite(array, name)
    if array.size and np.abs(array).max() > RANGE_MOST:
        raise DataError(
            f"{name}: found values from {array.min():g} to {array.max():g}; expected [-1, 1]. Normalise it first "
            "(ScaleIntensityRanged with b_min=-1, b_max=1, clip=True)."
        )
    return array


def leaves_alone(transform: object, image: np.ndarray) -> bool:
    """Whether an image (C, *S) shows background alone, which the rivals leave as it is, and count."""
    nothing = all(shows_nothing(channel, RANGE) for channel in image)
    if nothing:
        left_alone(transform)
    return nothing


def voxel_size_mm(img: NdarrayOrTensor) -> tuple[float, ...]:
    """Reads the voxel size of an image (C, *S) off the affine; what has none gets 1 along each axis."""
    spatial_dims = len(img.shape) - 1
    return spacing_of(img.affine, spatial_dims) if isinstance(img, MetaTensor) else (1.0,) * spatial_dims
