"""What the transforms share: weights and windows, images to arrays (C, *S) and back to the source's own type."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

import numpy as np
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.data import MetaTensor
from monai.transforms import RandomizableTransform, Transform

from medaug.errors import ConfigError, DataError, NoContrastError, WeightsError
from medaug.lesions.anatomy import find_organ
from medaug.models.weights import Weights, load_weights
from medaug.orientation import Turn, no_turn
from medaug.transforms.canvas import limits_of
from medaug.transforms.containers import (
    WINDOW_META,
    Bounds,
    empty_label,
    like_source,
    on_grid,
    pairs_in,
    plain,
    region_of,
    with_dtype,
)
from medaug.transforms.label_forms import ENCODED, LabelForms
from medaug.transforms.tumor_labels import TumorLabels, checked_labels, new_values, numbers_of, tumor_values
from medaug.volumes import Domain, Percentiles, Unit, Window, check_finite, check_modality, shows_nothing, spacing_of

logger = logging.getLogger(__name__)

Windows = Window | Sequence[Window]
"""Of the one channel, or a channel each."""


@dataclass(frozen=True)
class Seen(Generic[NdarrayTensor]):
    """An image as weights look at it, whatever the order in which its axes are stored (see `orientation`).

    Attributes:
        array: float32 (C, *S), turned.
        spacing_mm: along its spatial axes.
        source: (C, *S) as it came, whose type, affine and meta results have.
        forms: of labels that come with it.
    """

    array: np.ndarray
    spacing_mm: tuple[float, ...]
    turn: Turn
    source: NdarrayTensor
    forms: LabelForms = LabelForms()

    @property
    def shape(self) -> tuple[int, ...]:
        """(*S) as it is stored."""
        return tuple(self.source.shape[1:])

    def region(self, mask: NdarrayOrTensor | None, name: str) -> np.ndarray:
        """A (1, *S) mask on the source as bool, turned; all zero where there is none."""
        if mask is None:
            return np.zeros(self.array.shape[1:], dtype=bool)
        return self.turn.there(region_of(mask, self.shape, name))

    def classes(self, label: NdarrayOrTensor | None, name: str = "label") -> np.ndarray:
        """A label on the source as label values (*S), turned; all zero where there is none."""
        if label is None:
            return np.zeros(self.array.shape[1:], dtype=np.int32)
        return self.turn.there(self.forms.classes(on_grid(label, self.shape, name)))

    def image(self, edited: np.ndarray) -> NdarrayTensor:
        """A turned (C, *S) like the source; voxels that are as they were keep the source's bits."""
        now, before = (np.stack([self.turn.back(channel) for channel in array]) for array in (edited, self.array))
        return like_source(now, before, self.source)

    def label(self, classes: np.ndarray, label: NdarrayOrTensor | None) -> NdarrayOrTensor:
        """Label values (*S), turned, in the type and form of `label`; None begins one of the image's type."""
        given = empty_label(self.source, self.forms.empty_channels) if label is None else label
        return with_dtype(self.forms.channels(self.turn.back(classes), plain(given)), given)


class WeightsTransform(Transform):
    """What all have in common: weights, the window, the voxel size. A call leaves nothing behind on the transform."""

    def __init__(self, weights: str | Path | Weights, window: Bounds | None = None):
        self.weights = weights if isinstance(weights, Weights) else load_weights(weights)
        self.window = window

    @property
    def sequences(self) -> tuple[str, ...]:
        """The names of the channels that an image has to have, in order."""
        return self.weights.sequences

    def _seen(self, img: NdarrayTensor) -> Seen[NdarrayTensor]:
        """The image (C, *S), checked and turned; voxels without an affine have the weights' size (else 1 mm)."""
        array, dims, own = plain(img), self.weights.translator.spatial_dims, self.weights.spacing_mm
        names = self.sequences
        if array.ndim not in (dims + 1, 4) or array.shape[0] != len(names):
            count, ordered = len(names), ", ".join(names)
            remedy = (
                ". Choose one sequence, and put the channel first (EnsureChannelFirstd)."
                if count == 1
                else f", of the sequences {ordered} in this order. Give all of them: as several keys of a dictionary "
                "transform, or as channels (LoadImaged of a list of files, and EnsureChannelFirstd)."
            )
            raise DataError(
                f"image of shape {array.shape}; expected ({count}, X, Y) or ({count}, X, Y, Z) with {dims}-D weights"
                f"{remedy}"
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
        parts = self.weights.facts.parts
        values = tuple(part[0] for part in self.tumor_labels or parts.values())
        self.label_forms = LabelForms(tuple(parts), values, tumor_labels if tumor_labels in ENCODED else None)

    def _seen(self, img: NdarrayTensor) -> Seen[NdarrayTensor]:
        return replace(super()._seen(img), forms=self.label_forms)

    def empty_label(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """A label without anything marked, of the type and on the grid of an image (C, *S)."""
        return empty_label(img, self.label_forms.empty_channels)

    def tumors_marked(self, img: NdarrayOrTensor, label: NdarrayOrTensor | None) -> np.ndarray:
        """The tumors that a label marks on an image, part numbers (*S) as it is stored; none without a label."""
        seen = self._seen(img)
        return seen.turn.back(self.tumors_in(label, seen)[0])

    def tumors_in(self, label: NdarrayOrTensor | None, seen: Seen) -> tuple[np.ndarray, tuple[int, ...]]:
        """(the tumors that a label marks, part numbers (*S) turned; by part, the value of a new one).

        Raises:
            DataError: if nobody says which of several values that is.
        """
        values = None if label is None else seen.classes(label)
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


def unchanged(asked: np.ndarray, edited: np.ndarray) -> DataError:
    """The error of an edit of a mask (bool) that changed no voxel of the image; `edited` is what it could change."""
    return DataError(
        f"mask: found {np.count_nonzero(asked)} voxels, {np.count_nonzero(edited)} of them outside the scan's padding, "
        "and no change of the image after the edit; expected one. Mark tissue, not padding, or train longer."
    )
