"""Images and labels of every kind (NumPy arrays, tensors, MetaTensors) as arrays, and back as what they came as."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.data import MetaTensor, get_track_meta
from monai.utils import convert_to_dst_type, convert_to_tensor

from medaug.errors import ConfigError, DataError

Bounds = Sequence[float] | Sequence[Sequence[float]]
"""(low, high), or one such pair a channel."""
WINDOW_META = "medaug_window"
"""Entry of a MetaTensor's meta: `Bounds` of the whole scan, which crops of it are then seen in (percentiles)."""


def region_of(mask: NdarrayOrTensor, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A (1, *S) mask as bool (*S)."""
    return class_numbers(mask, shape, name) > 0


def class_numbers(label: NdarrayOrTensor, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A (1, *S) label as (*S), values as they are.

    Raises:
        DataError: if it does not lie on an image of this `shape`.
    """
    array = on_grid(label, shape, name)
    if len(array) != 1:
        raise DataError(f"{name}: found {len(array)} channels; expected one, (1, {', '.join(map(str, shape))})")
    return array[0]


def on_grid(label: NdarrayOrTensor, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A label (K, *S) as an array.

    Raises:
        DataError: if it does not lie on an image of this `shape`.
    """
    array = plain(label)
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape or not len(array):
        raise DataError(f"{name} of shape {array.shape} does not lie on the image (1, {', '.join(map(str, shape))})")
    return array


def like_source(edited: np.ndarray, before: np.ndarray, source: NdarrayTensor) -> NdarrayTensor:
    """(C, *S) back as the source's type, dtype, affine and meta.

    Voxels that `edited` has as `before` keep the source's bits; others are rounded and clipped for whole-number dtypes.
    """
    array = plain(source).copy()
    changed = edited != before
    values = edited[changed]
    if np.issubdtype(array.dtype, np.integer):
        values = np.clip(np.rint(values), np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
    array[changed] = values
    return with_dtype(array, source)


def as_hu(values: np.ndarray, source: NdarrayTensor) -> NdarrayTensor:
    """(C, *S) in HU, rounded, as int16 in the source's kind of container.

    Raises:
        DataError: for values that int16 cannot hold.
    """
    whole, limits = np.rint(values), np.iinfo(np.int16)
    if whole.min() < limits.min or whole.max() > limits.max:
        raise DataError(
            f"image: found values from {whole.min():g} to {whole.max():g}; expected HU, which fit 16 bits. Check the "
            "scan's rescale slope and intercept."
        )
    return with_dtype(whole.astype(np.int16), source, np.int16)


def marked_label(numbers: np.ndarray, source: NdarrayTensor, *, keep: bool) -> NdarrayTensor:
    """A label of the source's type with the values above 0 of `numbers` (*S), else the source's (`keep`) or 0."""
    array = plain(source).copy() if keep else np.zeros_like(plain(source))
    array[0][numbers > 0] = numbers[numbers > 0]
    return with_dtype(array, source)


def plain(source: NdarrayOrTensor) -> np.ndarray:
    """The same values as an array of the same dtype (bfloat16, which NumPy does not have, as float32)."""
    if isinstance(source, np.ndarray):
        return source
    tensor = convert_to_tensor(source, track_meta=False).detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def with_dtype(array: np.ndarray, source: NdarrayTensor, dtype: type[np.generic] | None = None) -> NdarrayTensor:
    """(C, *S) as the source's kind of container, with its affine and meta; `dtype` None is the source's own."""
    img = convert_to_tensor(source, track_meta=get_track_meta()) if torch.is_tensor(source) else source
    return convert_to_dst_type(array, img, dtype=dtype)[0]


def empty_label(img: NdarrayOrTensor, channels: int = 1) -> NdarrayOrTensor:
    """A label (`channels`, *S) without anything marked, of the type and on the grid of an image (C, *S)."""
    blank = np.zeros_like(plain(img)[:1])
    return with_dtype(np.repeat(blank, channels, axis=0), img[:1])


def changed(edited: NdarrayOrTensor, source: NdarrayOrTensor) -> bool:
    """Whether any voxel is another after an edit."""
    return bool((plain(edited) != plain(source)).any())


def with_bounds(img: NdarrayOrTensor, bounds: Sequence[tuple[float, float]]) -> NdarrayOrTensor:
    """An image whose meta has these bounds, a pair a channel (`WINDOW_META`); the image itself where it has no meta."""
    if isinstance(img, MetaTensor):
        meta = img.meta | {WINDOW_META: bounds[0] if len(bounds) == 1 else list(bounds)}
        return MetaTensor(img.as_tensor(), meta=meta, applied_operations=img.applied_operations)
    return img


def pairs_in(bounds: Bounds, channels: int) -> list[tuple[float, float]]:
    """`Bounds` as one (low, high) a channel.

    Raises:
        ConfigError: if they are not.
    """
    flat = np.ravel(np.asarray(bounds, dtype=float)).tolist()
    if len(flat) != 2 * channels:
        raise ConfigError(f"window: found {bounds}; expected (low, high) for each of {channels} channel(s)")
    return list(zip(flat[::2], flat[1::2], strict=True))
