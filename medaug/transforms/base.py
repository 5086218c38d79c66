"""What the transforms share: weights and windows, images to arrays (C, *S) and back to the source's own type."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import RandomizableTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from scipy import ndimage

from medaug.errors import ConfigError, DataError, NoContrastError, WeightsError
from medaug.lesions.anatomy import find_organ
from medaug.models.weights import Weights, load_weights
from medaug.orientation import Turn, no_turn
from medaug.transforms.engine import limits_of
from medaug.transforms.tumor_labels import TumorLabels, checked_labels, new_values, numbers_of, tumor_values
from medaug.volumes import Domain, Percentiles, Unit, Window, check_finite, check_modality, shows_nothing, spacing_of

logger = logging.getLogger(__name__)

Bounds = Sequence[float] | Sequence[Sequence[float]]
"""(low, high), or one such pair a channel."""
Windows = Window | Sequence[Window]
"""Of the one channel, or a channel each."""
WINDOW_META = "medaug_window"
"""Entry of a MetaTensor's meta: `Bounds` of the whole scan, which crops of it are then seen in (percentiles)."""


@dataclass(frozen=True)
class Seen(Generic[NdarrayTensor]):
    """An image as weights look at it, whatever the order in which its axes are stored (see `orientation`).

    Attributes:
        array: float32 (C, *S), turned.
        spacing_mm: along its spatial axes.
        source: (C, *S) as it came, whose type, affine and meta results have.
    """

    array: np.ndarray
    spacing_mm: tuple[float, ...]
    turn: Turn
    source: NdarrayTensor

    def region(self, mask: NdarrayOrTensor | None, name: str) -> np.ndarray:
        """A (1, *S) mask on the source as bool, turned; all zero where there is none."""
        if mask is None:
            return np.zeros(self.array.shape[1:], dtype=bool)
        return self.classes(mask, name) > 0

    def classes(self, label: NdarrayOrTensor, name: str) -> np.ndarray:
        """A (1, *S) label on the source, its values as they are, turned."""
        return self.turn.there(class_numbers(label, tuple(self.source.shape[1:]), name))

    def image(self, edited: np.ndarray) -> NdarrayTensor:
        """A turned (C, *S) like the source; voxels that are as they were keep the source's bits."""
        now, before = (np.stack([self.turn.back(channel) for channel in array]) for array in (edited, self.array))
        return like_source(now, before, self.source)

    def label(self, parts: np.ndarray, label: NdarrayOrTensor | None, values: Sequence[int] = (1,)) -> NdarrayOrTensor:
        """Turned part numbers (*S; bool: the first) marked by their values in `label`, or in an empty one."""
        blank = self.source[:1] if label is None else label
        numbers = np.array((0, *values))[parts.astype(np.uint8)]
        return marked_label(self.turn.back(numbers), blank, keep=label is not None)

    def healed(self, label: NdarrayOrTensor, tumors: np.ndarray, replaced: np.ndarray) -> NdarrayOrTensor:
        """`label` with what lies nearest outside of `tumors` in `replaced`: the organ, or 0; both bool, turned."""
        values = self.classes(label, "label").copy()
        others = np.where(tumors, 0, values)
        if others.any():
            nearest = ndimage.distance_transform_edt(
                tumors, sampling=self.spacing_mm, return_distances=False, return_indices=True
            )
            others = others[tuple(nearest)]
        values[replaced] = others[replaced]
        return _as_source(self.turn.back(values)[None], label)


class WeightsTransform(Transform):
    """What all have in common: weights, the window, the voxel size. A call leaves nothing behind on the transform."""

    def __init__(self, weights: str | Path | Weights, window: Bounds | None = None):
        self.weights = weights if isinstance(weights, Weights) else load_weights(weights)
        self.window = window

    def _seen(self, img: NdarrayTensor) -> Seen[NdarrayTensor]:
        """The image (C, *S), checked and turned; voxels without an affine have the weights' size (else 1 mm)."""
        array, dims, own = _plain(img), self.weights.translator.spatial_dims, self.weights.spacing_mm
        names = self.weights.sequences
        if array.ndim not in (dims + 1, 4) or array.shape[0] != len(names):
            channels = len(names)
            raise DataError(
                f"image of shape {array.shape}; expected ({channels}, X, Y) or ({channels}, X, Y, Z) with {dims}-D "
                f"weights"
                + (
                    ". Choose one sequence, and put the channel first (EnsureChannelFirstd)."
                    if channels == 1
                    else f" of the sequences {', '.join(names)}, in this order. Give all of them as channels "
                    "(several keys, or LoadImaged of a list and EnsureChannelFirstd)."
                )
            )
        check_finite(array, "image")
        axes = array.ndim - 1
        if isinstance(img, MetaTensor):
            turn, spacing_mm = self.weights.turn(img.affine, axes), spacing_of(img.affine, axes)
        else:
            turn, spacing_mm = no_turn(axes), (*own[:axes], *([1.0] * (axes - len(own))))
        turned_mm = tuple(spacing_mm[axis] for axis in turn.order)
        return Seen(np.stack([turn.there(c.astype(np.float32)) for c in array]), turned_mm, turn, img)

    def _windows_in(self, seen: Seen, domain: Domain, given: Windows | None) -> tuple[Window, ...]:
        """By channel, the window that is given with the image, or to the transform, or in its meta, or the domain's.

        Raises:
            DataError: for an image in another unit than the domain's, where no window says its unit.
            ConfigError: for more or fewer windows than channels.
        """
        channels = domain.channels
        if given is not None:
            return (given,) if isinstance(given, Window) else tuple(given)
        if self.window is not None:
            return tuple(
                Window(low, high, self._unit_of_own(channel))
                for channel, (low, high) in zip(channels, pairs_in(self.window, len(channels)), strict=True)
            )
        noted = self._noted(seen, domain)
        windows: list[Window] = []
        for channel, array in zip(channels, seen.array, strict=True):
            check_modality(array, channel, "image")
            windows.append(channel.window_of(array, "image") if noted is None else noted[len(windows)])
        return tuple(windows)

    def _noted(self, seen: Seen, domain: Domain) -> tuple[Window, ...] | None:
        """The windows in the image's meta, for domains whose scans have some of their own."""
        noted = seen.source.meta.get(WINDOW_META) if isinstance(seen.source, MetaTensor) else None
        if noted is None or not any(isinstance(channel.window, Percentiles) for channel in domain.channels):
            return None
        pairs = zip(domain.channels, pairs_in(noted, len(domain.channels)), strict=True)
        return tuple(
            channel.window if isinstance(channel.window, Window) else Window(float(low), float(high), channel.unit)
            for channel, (low, high) in pairs
        )

    def _unit_of_own(self, domain: Domain) -> Unit:
        """The unit of `window`, where that is given."""
        return domain.unit

    def _windows_if_any(self, seen: Seen, domain: Domain, given: Windows | None) -> tuple[Window, ...] | None:
        """The windows; None for an image of background alone, which random transforms leave as it is, and count."""
        try:
            windows = self._windows_in(seen, domain, given)
        except NoContrastError:
            windows = ()
        if all(shows_nothing(channel, window) for channel, window in zip(seen.array, windows, strict=False)):
            left_alone(self)
            return None
        return windows


class Seeded(RandomizableTransform):
    """Draws whether to act, and one seed from which everything else follows."""

    def __init__(self, prob: float = 1.0):
        super().__init__(prob)
        self._seed = 0

    def randomize(self, data: Any = None) -> None:
        """Draws whether to act, and the seed."""
        super().randomize(None)
        self._seed = int(self.R.randint(2**31))


class TumorTransform(WeightsTransform):
    """What those that insert and remove tumors have in common; `tumor_labels` as in `InsertTumor`."""

    def __init__(
        self, weights: str | Path | Weights, window: Bounds | None = None, tumor_labels: TumorLabels | None = None
    ):
        super().__init__(weights, window)
        self.weights.check_inserts()
        self.domain = self.weights.translator.domain_a
        self.tumor_labels = checked_labels(tumor_labels, self.weights)

    def tumors_marked(self, img: NdarrayOrTensor, label: NdarrayOrTensor | None) -> np.ndarray:
        """The tumors that a label marks on an image, part numbers (*S) as it is stored; none without a label."""
        seen = self._seen(img)
        return seen.turn.back(self.tumors_in(label, seen)[0])

    def tumors_in(self, label: NdarrayOrTensor | None, seen: Seen) -> tuple[np.ndarray, tuple[int, ...]]:
        """(the tumors that a label (1, *S) marks, part numbers (*S) turned; by part, the value of a new one).

        Raises:
            DataError: if nobody says which of several values that is.
        """
        values = None if label is None else seen.classes(label, "label")
        parts = tumor_values(values, self.weights, self.tumor_labels, seen.spacing_mm)
        new = new_values(values, parts, self.tumor_labels)
        shape = seen.array.shape[1:]
        return np.zeros(shape, dtype=np.uint8) if values is None else numbers_of(values, parts), new

    def _marked(self, mask: NdarrayOrTensor, seen: Seen, *, is_label: bool) -> np.ndarray:
        """The tumors of a label (part numbers, *S, turned), or all of a mask that has one value (bool)."""
        values = seen.classes(mask, "label" if is_label else "mask")
        if not is_label and len(np.unique(values[values > 0])) < 2:
            return values > 0
        return numbers_of(values, tumor_values(values, self.weights, self.tumor_labels, seen.spacing_mm))

    def _limits(self, seen: Seen, given: Windows | None) -> tuple[tuple[float, float], ...]:
        """By channel, what an edit may write: the range of the image's values, padding apart (see `limits_of`).

        A window that was given, here, to the transform or in the meta, is of the whole scan; the image may be a part.
        """
        known = given is not None or self.window is not None or self._noted(seen, self.domain) is not None
        windows = self._windows_in(seen, self.domain, given) if known else [None] * len(seen.array)
        return tuple(limits_of(channel, window) for channel, window in zip(seen.array, windows, strict=True))

    def _allowed(
        self, organ: NdarrayOrTensor | None, seen: Seen, windows: Sequence[Window], margin_mm: float
    ) -> np.ndarray:
        """The mask of where tumors may lie (bool, *S, turned): the organ given or found, shrunk by the margin.

        It is found in the first channel.
        """
        if organ is not None:
            return seen.region(organ, "organ mask")
        return find_organ(windows[0].normalize(seen.array[0]), seen.spacing_mm, margin_mm=margin_mm)


BACKGROUND = "shows background alone (a constant slice or crop)"
_left_alone: Counter[str] = Counter()
_counting = threading.Lock()


def left_alone(transform: object, why: str = BACKGROUND) -> None:
    """Counts, by kind of transform, the samples of this process that come back as they were; logs the 1st, 10th, ..."""
    name = type(transform).__name__
    with _counting:
        _left_alone[name] += 1
        count = _left_alone[name]
    if str(count).rstrip("0") == "1":
        logger.warning("%s: %d sample(s) so far come back as they were; this one %s", name, count, why)


def samples_left_alone() -> dict[str, int]:
    """How many samples of this process random transforms left as they were: nothing is to be seen in them."""
    with _counting:
        return dict(_left_alone)


def pairs_in(bounds: Bounds, channels: int) -> list[tuple[float, float]]:
    """`Bounds` as one (low, high) a channel.

    Raises:
        ConfigError: if they are not.
    """
    flat = np.ravel(np.asarray(bounds, dtype=float)).tolist()
    if len(flat) != 2 * channels:
        raise ConfigError(f"window: found {bounds}; expected (low, high) for each of {channels} channel(s)")
    return list(zip(flat[::2], flat[1::2], strict=True))


def with_windows(img: NdarrayOrTensor, windows: Sequence[Window]) -> NdarrayOrTensor:
    """An image whose meta has these windows; the image itself where it has no meta."""
    if isinstance(img, MetaTensor):
        pairs = [(window.low, window.high) for window in windows]
        meta = img.meta | {WINDOW_META: pairs[0] if len(pairs) == 1 else pairs}
        return MetaTensor(img.as_tensor(), meta=meta, applied_operations=img.applied_operations)
    return img


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


def check_null(null: bool, weights: Weights) -> None:
    """Refuses null insertions by weights that cannot pass over a place without painting a tumor.

    Raises:
        ConfigError: for free content.
    """
    if null and not weights.uses_references:
        raise ConfigError(
            "null: found true with weights that paint a tumor from a mask alone; expected weights with "
            "reference content (translator.content=reference), which can be given nothing to insert"
        )


def check_range(name: str, values: Sequence[float], least: float) -> None:
    if len(values) != 2 or not least <= values[0] <= values[1]:
        raise ConfigError(f"{name}: found {tuple(values)}; expected (least, most), for example (5, 20) for size_mm")


def region_of(mask: NdarrayOrTensor, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A (1, *S) mask as bool (*S)."""
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
    """(C, *S) back as the source's type, dtype, affine and meta.

    Voxels that `edited` has as `before` keep the source's bits; others are rounded and clipped for whole-number dtypes.
    """
    array = _plain(source).copy()
    changed = edited != before
    values = edited[changed]
    if np.issubdtype(array.dtype, np.integer):
        values = np.clip(np.rint(values), np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
    array[changed] = values
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


def marked_label(numbers: np.ndarray, source: NdarrayTensor, *, keep: bool) -> NdarrayTensor:
    """A label of the source's type with the values above 0 of `numbers` (*S), else the source's (`keep`) or 0."""
    array = _plain(source).copy() if keep else np.zeros_like(_plain(source))
    array[0][numbers > 0] = numbers[numbers > 0]
    return _as_source(array, source)


def _plain(source: NdarrayOrTensor) -> np.ndarray:
    """The same values as an array of the same dtype (bfloat16, which NumPy does not have, as float32)."""
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


def empty_label(label: NdarrayOrTensor) -> NdarrayOrTensor:
    """A label (1, *S) of the same type without anything marked; of an image (C, *S), one on its grid."""
    blank = np.zeros_like(_plain(label)[:1])
    return with_dtype(blank, label[:1], None)


def changed(edited: NdarrayOrTensor, source: NdarrayOrTensor) -> bool:
    """Whether any voxel is another after an edit."""
    return bool((_plain(edited) != _plain(source)).any())


def unchanged(asked: np.ndarray, edited: np.ndarray) -> DataError:
    """The error of an edit of a mask (bool) that changed no voxel of the image; `edited` is what it could change."""
    return DataError(
        f"mask: found {np.count_nonzero(asked)} voxels, {np.count_nonzero(edited)} of them outside the scan's padding, "
        "and no change of the image after the edit; expected one. Mark tissue, not padding, or train longer."
    )
