"""What the transforms share: weights and windows, images to arrays (*S) and back to the source's own type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from scipy import ndimage

from medaug.errors import ConfigError, DataError, WeightsError
from medaug.lesions import find_organ
from medaug.transforms.editing import limits_of
from medaug.transforms.tumor_labels import TumorLabels, checked_labels, new_value, tumor_values
from medaug.translators.weights import Weights, load_weights
from medaug.volumes import Window, check_finite, spacing_of

Bounds = Sequence[float]


class WeightsTransform(Transform):
    """What all have in common: weights, the window, the voxel size."""

    def __init__(self, weights: str | Path | Weights, window: Bounds | None = None):
        self.weights = weights if isinstance(weights, Weights) else load_weights(weights)
        self.window = tuple(window) if window is not None else None

    def _spacing_mm(self, img: Any, spatial_dims: int) -> tuple[float, ...]:
        """From the affine; without one, the weights' own (and 1 mm for axes they do not have)."""
        if isinstance(img, MetaTensor):
            return spacing_of(img.affine, spatial_dims)
        own = self.weights.spacing_mm
        return (*own[:spatial_dims], *([1.0] * (spatial_dims - len(own))))

    def _to_array(self, img: NdarrayOrTensor) -> np.ndarray:
        """The one channel as float32 (X, Y[, Z]), checked."""
        array = _plain(img)
        dims = self.weights.translator.spatial_dims
        if array.ndim not in (dims + 1, 4) or array.shape[0] != 1:
            raise DataError(
                f"image of shape {array.shape}; expected (1, X, Y) or (1, X, Y, Z) with {dims}-D weights. Choose one "
                "sequence, and put the channel first (EnsureChannelFirstd)."
            )
        check_finite(array, "image")
        return np.ascontiguousarray(array[0], dtype=np.float32)


class TumorTransform(WeightsTransform):
    """What those that insert and remove tumors have in common; `tumor_labels` as in `InsertTumor`."""

    def __init__(
        self, weights: str | Path | Weights, window: Bounds | None = None, tumor_labels: TumorLabels | None = None
    ):
        super().__init__(weights, window)
        check_edits_tumors(self.weights)
        self.tumor_labels = checked_labels(tumor_labels)

    def tumors_in(
        self, label: NdarrayOrTensor | None, shape: tuple[int, ...], spacing_mm: tuple[float, ...]
    ) -> tuple[np.ndarray, int]:
        """(the tumors that a label (1, *S) marks, bool (*S); the value of a new one).

        Raises:
            DataError: if nobody says which of several values that is.
        """
        values = None if label is None else class_numbers(label, shape, "label")
        tumors = tumor_values(values, self.weights, self.tumor_labels, spacing_mm)
        value = new_value(values, tumors, self.tumor_labels)
        return np.zeros(shape, dtype=bool) if values is None else np.isin(values, tumors), value

    def _marked(
        self, mask: NdarrayOrTensor, shape: tuple[int, ...], spacing_mm: tuple[float, ...], *, is_label: bool
    ) -> np.ndarray:
        """What is to be removed (bool, *S): the tumors of a label, or all of a mask that has one value."""
        values = class_numbers(mask, shape, "label" if is_label else "mask")
        if not is_label and len(np.unique(values[values > 0])) < 2:
            return values > 0
        return np.isin(values, tumor_values(values, self.weights, self.tumor_labels, spacing_mm))

    def _window(self, array: np.ndarray) -> Window:
        domain = self.weights.translator.domain_a
        if self.window is not None:
            low, high = self.window
            return Window(low, high, unit=domain.unit)
        return domain.window_of(array, "image")

    def _limits(self, array: np.ndarray, window: Window | None) -> tuple[float, float]:
        """What an edit may write: the range of the image's values, padding apart (see `limits_of`).

        A window that was given, here or to the transform, is of the whole scan, of which the image may be a slice.
        """
        return limits_of(array, window or (self._window(array) if self.window is not None else None))

    def _allowed(
        self, organ: NdarrayOrTensor | None, array: np.ndarray, window: Window, spacing_mm: tuple[float, ...],
        margin_mm: float,
    ) -> np.ndarray:  # fmt: skip
        """Where tumors may lie (bool, *S): the given organ, or the found one, shrunk by the margin."""
        if organ is not None:
            return region_of(organ, array.shape, "organ mask")
        return find_organ(window.normalize(array), spacing_mm, margin_mm=margin_mm)


class OneImage(MapTransform):
    """One image key: weights know one kind of image, and one label cannot hold for two."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool):
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ConfigError(
                f"found the keys {', '.join(map(str, self.keys))}; expected one image. Weights know one sequence: use "
                "one transform, with its own weights, for each."
            )


def check_edits_tumors(weights: Weights) -> None:
    """Refuses weights of the other kind of pipeline.

    Raises:
        WeightsError: for those that translate between two kinds of image.
    """
    if weights.facts.get("domain", "tumor") != "tumor":
        a, b = weights.translator.domain_a.name, weights.translator.domain_b.name
        raise WeightsError(
            f"found weights that translate {a} to {b}; expected weights that insert and remove tumors. Train them with "
            "medaug train-cycle --domain tumor."
        )


def check_translates(weights: Weights) -> None:
    """Refuses weights that do not translate whole images.

    Raises:
        WeightsError: for mask-guided ones.
    """
    if weights.translator.mask_guided:
        raise WeightsError(
            f"found weights of '{weights.translator.name}', which edit inside a mask; expected those of a translation "
            "between two kinds of image. Train them with medaug train-cycle --domain ct."
        )


def check_inserts(weights: Weights) -> None:
    """Refuses weights that cannot insert into a mask.

    Raises:
        DataError: for those of a plain translator.
    """
    if weights.prior is None:
        raise DataError(
            "these weights are of a plain translator, which puts tumors where it likes; inserting into a mask needs "
            "mask-guided ones (translator.mask_guided=true)"
        )


def check_null(null: bool, weights: Weights) -> None:
    """Refuses null insertions by weights that cannot pass over a place without painting a tumor.

    Raises:
        ConfigError: for free content and plain translators.
    """
    if null and not weights.uses_references:
        raise ConfigError(
            "null: found true with weights that paint a tumor from a mask or an image alone; expected weights with "
            "reference content (translator.content=reference), which can be given nothing to insert"
        )


def check_range(name: str, values: Sequence[float], least: float) -> None:
    if len(values) != 2 or not least <= values[0] <= values[1]:
        raise ConfigError(f"{name}: found {tuple(values)}; expected (least, most), for example (5, 20) for size_mm")


def region_of(mask: NdarrayOrTensor | None, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A (1, *S) mask as bool (*S); all zero where there is none."""
    if mask is None:
        return np.zeros(shape, dtype=bool)
    return class_numbers(mask, shape, name) > 0


def class_numbers(label: NdarrayOrTensor, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A (1, *S) label as (*S), values as they are.

    Raises:
        DataError: if it does not lie on an image of this `shape`.
    """
    array = _plain(label)
    if array.shape != (1, *shape):
        raise DataError(f"{name} of shape {array.shape} does not lie on the image (1, {', '.join(map(str, shape))})")
    return array[0]


def like_source(edited: np.ndarray, before: np.ndarray, source: NdarrayTensor) -> NdarrayTensor:
    """(*S) back as (1, *S) of the source's type, dtype, affine and meta.

    Voxels that `edited` has as `before` keep the source's bits; others are rounded and clipped for whole-number dtypes.
    """
    array = _plain(source).copy()
    changed = edited != before
    values = edited[changed]
    if np.issubdtype(array.dtype, np.integer):
        values = np.clip(np.rint(values), np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
    array[0][changed] = values
    return _as_source(array, source)


def as_hu(values: np.ndarray, source: NdarrayTensor) -> NdarrayTensor:
    """(*S) in HU, rounded, as (1, *S) int16 in the source's kind of container.

    Raises:
        DataError: for values that int16 cannot hold.
    """
    whole, limits = np.rint(values), np.iinfo(np.int16)
    if whole.min() < limits.min or whole.max() > limits.max:
        raise DataError(
            f"image: found values from {whole.min():g} to {whole.max():g}; expected HU, which fit 16 bits. Check the "
            "scan's rescale slope and intercept."
        )
    return with_dtype(whole[None].astype(np.int16), source, np.int16)


def marked_label(region: np.ndarray, source: NdarrayTensor, *, keep: bool, value: int = 1) -> NdarrayTensor:
    """A label of the source's type with `value` in `region`, and elsewhere the source's values (`keep`) or 0."""
    array = _plain(source).copy() if keep else np.zeros_like(_plain(source))
    array[0][region] = value
    return _as_source(array, source)


def _plain(source: NdarrayOrTensor) -> np.ndarray:
    """As an array of the same dtype (bfloat16, which NumPy does not have, as float32)."""
    if isinstance(source, np.ndarray):
        return source
    tensor = convert_to_tensor(source, track_meta=False).detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _as_source(array: np.ndarray, source: NdarrayTensor) -> NdarrayTensor:
    return with_dtype(array, source, None)


def with_dtype(array: np.ndarray, source: NdarrayTensor, dtype: type[np.generic] | None) -> NdarrayTensor:
    """(1, *S) as the source's kind of container, with its affine and meta; `dtype` None is the source's own."""
    img = convert_to_tensor(source, track_meta=get_track_meta()) if torch.is_tensor(source) else source
    return convert_to_dst_type(array, img, dtype=dtype)[0]


def empty_label(label: NdarrayTensor) -> NdarrayTensor:
    """A label of the same type without anything marked."""
    return _as_source(np.zeros_like(_plain(label)), label)


def healed_label(
    label: NdarrayTensor, tumors: np.ndarray, replaced: np.ndarray, spacing_mm: tuple[float, ...]
) -> NdarrayTensor:
    """A label of the same type that says in `replaced` (*S) what lies nearest outside of `tumors`: the organ, or 0."""
    array = _plain(label).copy()
    others = np.where(tumors, 0, array[0])
    if others.any():
        nearest = ndimage.distance_transform_edt(
            tumors, sampling=spacing_mm, return_distances=False, return_indices=True
        )
        others = others[tuple(nearest)]
    array[0][replaced] = others[replaced]
    return _as_source(array, label)


def changed(edited: NdarrayOrTensor, source: NdarrayOrTensor) -> bool:
    """Whether any voxel is another after an edit."""
    return bool((_plain(edited) != _plain(source)).any())


def unchanged(asked: np.ndarray, edited: np.ndarray) -> DataError:
    """The error of an edit of a mask (bool) that changed no voxel of the image; `edited` is what it could change."""
    return DataError(
        f"mask: found {np.count_nonzero(asked)} voxels, {np.count_nonzero(edited)} of them outside the scan's padding, "
        "and no change of the image after the edit; expected one. Mark tissue, not padding, or train longer."
    )
