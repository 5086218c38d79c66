"""Translate single images between two domains (array transforms): MR to CT, contrast to non-contrast, T2 to FLAIR.

Images are (C, X, Y) or (C, X, Y, Z), a channel a sequence of the source domain in its own unit; affine and meta are
kept. What comes back has the sequences of the target domain (T1 and T2 to CT: one channel), in their units:

| domains | result |
|---|---|
| one modality and unit (CT → CT in HU, MR → MR) | the input plus the change, in the input's own scale: where nothing \
changes it keeps its bits, also beyond the window; HU as int16, else the input's type. A CT's padding stays, and \
nothing goes below the least value that was measured |
| MR → CT in HU | HU, int16, within the target's window; -1024 beyond `DIM_MM` from the body |
| to MR (percentiles) | au in [0, 1], float32; 0 there |
| to another fixed window in au (8-bit grey levels) | that window, float32; its low end there |

Domains share a modality and unit where each channel does with the channel of its number. Results of several channels
are HU as int16 where all of them are HU. The body is found in the first channel.

Weights of another voxel size are met by resampling, which is logged and stands in `Translation.resampled_from_mm`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, get_args
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.data import MetaTensor
from scipy import ndimage

from medaug.errors import ConfigError, DataError, WeightsError
from medaug.lesions.anatomy import body_of
from medaug.models.base import Direction, Translator
from medaug.models.weights import Weights
from medaug.transforms.base import Seen, WeightsTransform, Windows, check_translates
from medaug.transforms.canvas import PLATEAU
from medaug.transforms.containers import Bounds, as_hu, with_dtype
from medaug.transforms.planning import Style
from medaug.transforms.styles import fitting_style
from medaug.transforms.windows import BACKGROUND, Resampling, change_of, resampling_for
from medaug.volumes import HU_OF_AIR, Domain, Unit, Window, padding_in

logger = logging.getLogger(__name__)

BODIES = ("auto", False)
AIR_HU = -1024.0
DIM_MM = 20.0
"""The body of another kind of image may reach so much further along each axis: far from the coil skin and fat are dim.
Of 31 limbs in T1 8.2 % of the CT's body lay outside what was found, less than 0.6 % further (no voxel size: 1 mm)."""
RELATIVE = Window(0.0, 1.0)
"""The window of results in a domain whose scans have a window each: there is no scan to take one from."""
_told: WeakSet[Translator] = WeakSet()
"""Those of which it was said that images are resampled for them."""


class _Last(threading.local):
    """What the last call of each transform found, in each thread."""

    def __init__(self) -> None:
        self.found: WeakKeyDictionary[Translates, tuple[np.ndarray | None, tuple[float, ...] | None]]
        self.found = WeakKeyDictionary()


_last = _Last()


@dataclass(frozen=True)
class Translation(Generic[NdarrayTensor]):
    """A translated image, and how it came about.

    Attributes:
        image: (C', *S).
        body: what was translated, found or given, bool (*S) as the image is stored; None: all of it.
        resampled_from_mm: the image's voxel size, turned (see `orientation`), where it is not that of the weights.
    """

    image: NdarrayTensor
    body: np.ndarray | None
    resampled_from_mm: tuple[float, ...] | None


class Translates(WeightsTransform):
    """What a call of this very thread found: `body` and `resampled_from_mm` as in `Translation`, None before one."""

    @property
    def body(self) -> np.ndarray | None:
        return _last.found.get(self, (None, None))[0]

    @property
    def resampled_from_mm(self) -> tuple[float, ...] | None:
        return _last.found.get(self, (None, None))[1]

    def _note(self, body: np.ndarray | None, resampled_from_mm: tuple[float, ...] | None) -> None:
        _last.found[self] = (body, resampled_from_mm)


class TranslateDomain(Translates):
    """Translates an image to the other domain of the weights. Deterministic.

    After a call, `body` and `resampled_from_mm` say what it found in the thread that made it; nothing stays on the
    transform, which threads may share. `translated` returns them with the image.

    Args:
        weights: a weights folder, or loaded `Weights`, of a plain translator (`medaug train-cycle --domain ct`).
        direction: "a2b", from the weights' domain A to B, or "b2a".
        window: (low, high) intensities mapped to [-1, 1], or a pair a channel; None follows the source domain. Of an
            image that is not in its domain's unit, say one that is normalised already; between domains of one unit it
            keeps that scale.
        style: of methods that know styles; None lets `seed` draw it. One serves all slices of a volume.
        body: "auto" finds the body and leaves what is outside alone (see the module); False translates everything.

    Example:
        >>> translate = TranslateDomain("out/ct/train/weights", "a2b")   # doctest: +SKIP
        >>> ct = translate(mr)                                           # doctest: +SKIP
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        direction: Direction = "a2b",
        *,
        window: Bounds | None = None,
        style: Style | None = None,
        seed: int = 0,
        body: Literal["auto", False] = "auto",
    ):
        WeightsTransform.__init__(self, weights, window)
        check_translates(self.weights)
        if direction not in get_args(Direction):
            raise ConfigError(f"direction: found {direction!r}; expected one of {', '.join(get_args(Direction))}")
        if body not in BODIES:
            raise ConfigError(f"body: found {body!r}; expected 'auto' or False (a mask is given with the image)")
        self.direction, self.seed, self.finds_body = direction, seed, body == "auto"
        self.style = None if style is None else fitting_style(style, self.weights)

    @property
    def source(self) -> Domain:
        return self._domains()[0]

    @property
    def target(self) -> Domain:
        return self._domains()[1]

    @property
    def sequences(self) -> tuple[str, ...]:
        return self.weights.sequences if self.direction == "a2b" else self.weights.target_sequences

    @property
    def shares_unit(self) -> bool:
        """Whether source and target are measured on one scale, so that the change can be added to the image."""
        a, b = self.source.channels, self.target.channels
        return len(a) == len(b) and all(map(_alike, a, b))

    @property
    def label_classes(self) -> int:
        """How many classes of the source's labels these weights read beside the image; 0 none."""
        return getattr(self.weights.translator.config, "label_input", 0) if self.direction == "a2b" else 0

    def windows_of_result(self, windows: Sequence[Window]) -> tuple[Window, ...]:
        """By channel the window, in the result's unit, of the translation of an image that was seen in `windows`."""
        targets = [channel.window for channel in self.target.channels]
        if not self.shares_unit:
            return tuple(target if isinstance(target, Window) else RELATIVE for target in targets)
        return tuple(
            target if isinstance(target, Window) and window == source.window else window
            for source, target, window in zip(self.source.channels, targets, windows, strict=True)
        )

    def __call__(
        self,
        img: NdarrayTensor,
        body: NdarrayOrTensor | None = None,
        window: Windows | None = None,
        label: NdarrayOrTensor | None = None,
    ) -> NdarrayTensor:
        """The image in the target domain; the input is not changed.

        Args:
            body: (1, *S), what to translate; None finds it (`body="auto"`) or takes everything.
            window: of this very image, where it is known; of several channels one each.
            label: (1, *S) class numbers, for weights that read them (`label_classes`).

        Raises:
            DataError: if the image is of another modality or unit than the source domain, or is a single slice where
                the weights read several, if the body mask is empty or does not fit, or labels are missing that are
                read.
        """
        made = self.translated(img, body, window, label)
        self._note(made.body, made.resampled_from_mm)
        return made.image

    def translated(
        self,
        img: NdarrayTensor,
        body: NdarrayOrTensor | None = None,
        window: Windows | None = None,
        label: NdarrayOrTensor | None = None,
    ) -> Translation[NdarrayTensor]:
        """The image in the target domain, and how it came about; arguments as of a call."""
        seen = self._seen(img)
        return self._translated(seen, body, self._windows_in(seen, self.source, window), label)

    @torch.inference_mode()
    def _translated(
        self,
        seen: Seen[NdarrayTensor],
        body: NdarrayOrTensor | None,
        source: tuple[Window, ...],
        label: NdarrayOrTensor | None,
    ) -> Translation[NdarrayTensor]:
        before = np.stack([w.normalize(c) for w, c in zip(source, seen.array, strict=True)]).astype(np.float32)
        region, resampling = self._body(body, seen, source[0]), self._resampling(seen)
        shown = before if resampling is None else resampling.there(before)
        change = change_of(
            torch.from_numpy(shown),
            self.weights,
            self.direction,
            seed=self.seed,
            style=self.style,
            label=self._one_hot(label, seen, resampling),
        ).numpy()
        start = shown if self.weights.translator.same_channels else np.float32(BACKGROUND)
        made = change if self.shares_unit else start + change
        made = made if resampling is None else resampling.back(made)
        image = (
            self._added(seen, before, made, source, region)
            if self.shares_unit
            else self._replaced(seen, made, self.windows_of_result(source), region)
        )
        resampled_from_mm = None if resampling is None else resampling.from_mm
        return Translation(image, None if region is None else seen.turn.back(region), resampled_from_mm)

    def _one_hot(self, label: NdarrayOrTensor | None, seen: Seen, resampling: Resampling | None) -> torch.Tensor | None:
        """(K, *S) of 0 and 1 on the translator's grid; None where no labels are read."""
        if not self.label_classes:
            return None
        if label is None:
            raise DataError(
                f"these weights read labels of {self.label_classes} class(es) beside the image; found none. Give "
                "label=(1, *S) class numbers (label_key in dictionaries), or train without translator.label_input."
            )
        values = seen.classes(label, "label")
        numbers = np.arange(1, self.label_classes + 1)
        if unknown := sorted(set(np.unique(values).tolist()) - {0, *numbers.tolist()}):
            raise DataError(
                f"label: found the values {unknown}; expected class numbers 0 to {self.label_classes}, in the order of "
                "the data.classes that the weights learnt from. Map the label's values to them."
            )
        classes = (values == numbers.reshape(-1, *[1] * values.ndim)).astype(np.float32)
        if resampling is not None:
            classes = resampling.there(classes).round()
        return torch.from_numpy(classes)

    def _domains(self) -> tuple[Domain, Domain]:
        a, b = self.weights.translator.domain_a, self.weights.translator.domain_b
        return (a, b) if self.direction == "a2b" else (b, a)

    def _unit_of_own(self, domain: Domain) -> Unit:
        return "au"

    def room_of(self, body: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
        """What is translated (bool, *S) of an image in which this body was found."""
        room = body.astype(np.uint8)
        for axis, size_mm in enumerate(() if self.shares_unit else spacing_mm[: body.ndim]):
            room = ndimage.maximum_filter1d(room, 2 * int(DIM_MM / size_mm) + 1, axis)
        return room > 0

    def _body(self, body: NdarrayOrTensor | None, seen: Seen, window: Window) -> np.ndarray | None:
        if body is None:
            found = body_of(seen.array[0], window, seen.spacing_mm) if self.finds_body else None
            return None if found is None else self.room_of(found, seen.spacing_mm)
        region = seen.region(body, "body mask")
        if not region.any():
            raise DataError("the body mask is empty; mark what is to be translated, or leave the mask out")
        return region

    def _resampling(self, seen: Seen) -> Resampling | None:
        """None as well for images that do not know their voxel size."""
        known = isinstance(seen.source, MetaTensor) and seen.source.meta.get("spacing_known", True)
        own, unit = self.weights.spacing_mm, self.weights.length_unit
        resampling = resampling_for(seen.array[0].shape, seen.spacing_mm, own, unit) if known else None
        if resampling is not None and self.weights.translator not in _told:
            _told.add(self.weights.translator)
            logger.warning("an image with %s: it is resampled to those for the translation, and back", resampling)
        return resampling

    def _added(
        self,
        seen: Seen[NdarrayTensor],
        before: np.ndarray,
        change: np.ndarray,
        sources: tuple[Window, ...],
        body: np.ndarray | None,
    ) -> NdarrayTensor:
        """The image plus the change, which is zero outside the body; all (C, *S), turned."""
        targets, edited = self.windows_of_result(sources), np.empty_like(seen.array)
        for number, (scan, source, target) in enumerate(zip(seen.array, sources, targets, strict=True)):
            shift = change[number] * np.float32((target.high - target.low) / 2)
            if target != source:
                shift += target.denormalize(before[number]) - source.denormalize(before[number])
            if body is not None:
                shift[~body] = 0
            edited[number] = scan + shift
            if self.target.channels[number].modality == "CT":
                padding, floor = ct_floor(scan, target)
                edited[number] = np.where(padding | (shift == 0), scan, np.maximum(edited[number], floor))
        in_hu = all(target.unit == "HU" for target in targets)
        return as_hu(_stored(edited, seen), seen.source) if in_hu else seen.image(edited)

    def _replaced(
        self, seen: Seen[NdarrayTensor], translated: np.ndarray, windows: tuple[Window, ...], body: np.ndarray | None
    ) -> NdarrayTensor:
        """The translation (C', *S, turned) in [-1, 1] in the target's units, and their background outside the body."""
        values = np.stack([w.denormalize(c) for w, c in zip(windows, translated.clip(-1, 1), strict=True)])
        if body is not None:
            for channel, window in zip(values, windows, strict=True):
                channel[~body] = AIR_HU if window.unit == "HU" else window.low
        stored = _stored(values, seen)
        if all(window.unit == "HU" for window in windows):
            return as_hu(stored, seen.source)
        return with_dtype(stored, seen.source, np.float32)


class SynthesizeCT(TranslateDomain):
    """`TranslateDomain` to the CT side of the weights, whichever that is.

    Args:
        direction: only where both sides are CT (contrast and non-contrast).

    Raises:
        WeightsError: if neither side is CT, or both are and `direction` does not choose.
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        direction: Direction | None = None,
        *,
        window: Bounds | None = None,
        style: Style | None = None,
        seed: int = 0,
        body: Literal["auto", False] = "auto",
    ):
        super().__init__(weights, direction or "a2b", window=window, style=style, seed=seed, body=body)
        if direction is None:
            self.direction = self._towards_ct()
        if not _is_ct(self.target):
            raise WeightsError(f"direction: found {direction}, which leads to {_named(self.target)}; expected CT")

    def _towards_ct(self) -> Direction:
        a, b = self.weights.translator.domain_a, self.weights.translator.domain_b
        ways: dict[Direction, Domain] = {"a2b": b, "b2a": a}
        to_ct = [way for way, domain in ways.items() if _is_ct(domain)]
        if len(to_ct) != 1:
            remedy = "say direction='a2b' or 'b2a'" if to_ct else "give weights of a translation to CT"
            raise WeightsError(f"found weights between {_named(a)} and {_named(b)}; expected CT on one side: {remedy}")
        return to_ct[0]


def ct_floor(scan: np.ndarray, window: Window) -> tuple[np.ndarray, float]:
    """Tells where a CT (*S) is padding (bool, *S), and the value below which nothing may be written into it.

    That is the least value which was measured. Nothing measured is darker than air: a lower value that a hundredth of
    the voxels have is padding, too. A part of a scan without air has no floor of its own, but the window's.
    """
    found = padding_in(scan)
    padding = np.zeros(scan.shape, dtype=bool) if found is None or found.all() else found
    low = float(scan.min(where=~padding, initial=np.inf))
    darkest = scan == low
    if low < AIR_HU and PLATEAU * scan.size <= np.count_nonzero(darkest) < scan.size - np.count_nonzero(padding):
        padding |= darkest
        low = float(scan.min(where=~padding, initial=np.inf))
    return padding, low if low < HU_OF_AIR else min(low, window.low)


def _alike(a: Domain, b: Domain) -> bool:
    """Whether two channels have one modality and unit, and windows of one kind."""
    fixed = isinstance(a.window, Window) == isinstance(b.window, Window)
    return fixed and (a.modality, a.unit) == (b.modality, b.unit)


def _is_ct(domain: Domain) -> bool:
    return all(channel.modality == "CT" for channel in domain.channels)


def _stored(turned: np.ndarray, seen: Seen) -> np.ndarray:
    """(C, *S) with its axes as the source has them."""
    return np.stack([seen.turn.back(channel) for channel in turned])


def _named(domain: Domain) -> str:
    return f"{domain.name} ({domain.modality})"
