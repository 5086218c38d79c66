"""Translate single images between two domains (array transforms): MR to CT, contrast to non-contrast, T2 to FLAIR.

Images are (1, X, Y) or (1, X, Y, Z) in the source domain's unit; affine and meta are kept. What comes back:

| domains | result |
|---|---|
| one modality and unit (CT → CT in HU, MR → MR) | the input plus the change, in the input's own scale: where nothing \
changes it keeps its bits, also beyond the window; HU as int16, else the input's type |
| MR → CT in HU | HU, int16, within the target's window; -1024 outside the body |
| to MR (percentiles) | au in [0, 1], float32; 0 outside the body |
| to another fixed window in au (8-bit grey levels) | that window, float32; its low end outside the body |

Weights of another voxel size are met by resampling, which is logged and stands in `resampled_from_mm`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.data import MetaTensor

from medaug.errors import ConfigError, DataError, WeightsError
from medaug.lesions import body_of
from medaug.transforms.base import (
    Bounds,
    WeightsTransform,
    as_hu,
    check_translates,
    class_numbers,
    like_source,
    region_of,
    with_dtype,
)  # fmt: skip
from medaug.transforms.resampling import Resampling, resampling_for
from medaug.transforms.styles import Style, fitting_style
from medaug.transforms.windows import change_of
from medaug.translators import Direction
from medaug.translators.weights import Weights
from medaug.volumes import Domain, Window, check_modality

logger = logging.getLogger(__name__)

BODIES = ("auto", False)
AIR_HU = -1024.0
RELATIVE = Window(0.0, 1.0)
"""Of results in a domain whose scans have a window each: there is no scan to take one from."""


class TranslateDomain(WeightsTransform):
    """Translates an image to the other domain of the weights. Deterministic.

    After a call, `body` is the mask that was found or given (bool, *S; None without one), and `resampled_from_mm` the
    image's voxel size where it is not that of the weights.

    Args:
        weights: a weights folder, or loaded `Weights`, of a plain translator (`medaug train-cycle --domain ct`).
        direction: "a2b", from the weights' domain A to B, or "b2a".
        window: (low, high) intensities mapped to [-1, 1]; None follows the source domain. Of an image that is not in
            its domain's unit, say one that is normalised already; between domains of one unit it keeps that scale.
        style: of methods that know styles; None lets `seed` draw it. One serves all slices of a volume.
        body: "auto" finds the body and leaves what is outside alone (see the module); False translates everything.

    Example:
        >>> translate = TranslateDomain("out/ct/train/weights", "a2b")   # doctest: +SKIP
        >>> ct = translate(mr)                                           # doctest: +SKIP
    """

    def __init__(
        self, weights: str | Path | Weights, direction: Direction = "a2b", *, window: Bounds | None = None,
        style: Style | None = None, seed: int = 0, body: Literal["auto", False] = "auto",
    ):  # fmt: skip
        WeightsTransform.__init__(self, weights, window)
        check_translates(self.weights)
        if direction not in get_args(Direction):
            raise ConfigError(f"direction: found {direction!r}; expected one of {', '.join(get_args(Direction))}")
        if body not in BODIES:
            raise ConfigError(f"body: found {body!r}; expected 'auto' or False (a mask is given with the image)")
        self.direction, self.seed, self.finds_body = direction, seed, body == "auto"
        self.style = None if style is None else fitting_style(style, self.weights)
        self.body: np.ndarray | None = None
        self.resampled_from_mm: tuple[float, ...] | None = None
        self._told = False

    @property
    def source(self) -> Domain:
        return self._domains()[0]

    @property
    def target(self) -> Domain:
        return self._domains()[1]

    @property
    def shares_unit(self) -> bool:
        """Whether source and target are measured on one scale, so that the change can be added to the image."""
        a, b = self.source, self.target
        fixed = isinstance(a.window, Window) == isinstance(b.window, Window)
        return fixed and (a.modality, a.unit) == (b.modality, b.unit)

    @property
    def label_classes(self) -> int:
        """How many classes of the source's labels these weights read beside the image; 0 none."""
        return getattr(self.weights.translator.config, "label_input", 0) if self.direction == "a2b" else 0

    def window_of_result(self, window: Window) -> Window:
        """The window, in the result's unit, of the translation of an image that was seen in `window`."""
        target = self.target.window
        if not self.shares_unit:
            return target if isinstance(target, Window) else RELATIVE
        return target if isinstance(target, Window) and window == self.source.window else window

    @torch.inference_mode()
    def __call__(
        self, img: NdarrayTensor, body: NdarrayOrTensor | None = None, window: Window | None = None,
        label: NdarrayOrTensor | None = None,
    ) -> NdarrayTensor:  # fmt: skip
        """The image in the target domain; the input is not changed.

        Args:
            body: (1, *S), what to translate; None finds it (`body="auto"`) or takes everything.
            window: of this very image, where it is known.
            label: (1, *S) class numbers, for weights that read them (`label_classes`).

        Raises:
            DataError: if the image is of another modality than the source domain, or is a single slice where the
                weights read several, if the body mask is empty or does not fit, or labels are missing that are read.
        """
        array = self._to_array(img)
        source = window or self._window(array)
        before = source.normalize(array).astype(np.float32)
        spacing_mm = self._spacing_mm(img, array.ndim)
        self.body = self._body(body, array, source, spacing_mm)
        resampling = self._resampling(img, array.shape, spacing_mm)
        seen = before if resampling is None else resampling.there(before)
        classes = self._one_hot(label, before.shape, resampling)
        change = change_of(
            torch.from_numpy(seen), self.weights, self.direction, seed=self.seed, style=self.style, label=classes
        ).numpy()
        if self.shares_unit:
            change = change if resampling is None else resampling.back(change)
            return self._added(img, array, before, change, source)
        translated = seen + change
        translated = translated if resampling is None else resampling.back(translated)
        return self._replaced(img, translated, self.window_of_result(source))

    def _one_hot(
        self, label: NdarrayOrTensor | None, shape: tuple[int, ...], resampling: Resampling | None
    ) -> torch.Tensor | None:
        """(K, *S) of 0 and 1 on the translator's grid; None where no labels are read."""
        if not self.label_classes:
            return None
        if label is None:
            raise DataError(
                f"these weights read labels of {self.label_classes} class(es) beside the image; found none. Give "
                "label=(1, *S) class numbers (label_key in dictionaries), or train without translator.label_input."
            )
        values = class_numbers(label, shape, "label")
        numbers = np.arange(1, self.label_classes + 1)
        if unknown := sorted(set(np.unique(values).tolist()) - {0, *numbers.tolist()}):
            raise DataError(
                f"label: found the values {unknown}; expected class numbers 0 to {self.label_classes}, in the order of "
                "the data.classes that the weights learnt from. Map the label's values to them."
            )
        classes = (values == numbers.reshape(-1, *[1] * len(shape))).astype(np.float32)
        if resampling is not None:
            classes = np.stack([resampling.there(channel) for channel in classes]).round()
        return torch.from_numpy(classes)

    def _domains(self) -> tuple[Domain, Domain]:
        a, b = self.weights.translator.domain_a, self.weights.translator.domain_b
        return (a, b) if self.direction == "a2b" else (b, a)

    def _window(self, array: np.ndarray) -> Window:
        if self.window is not None:
            low, high = self.window
            return Window(low, high)
        check_modality(array, self.source, "image")
        return self.source.window_of(array, "image")

    def _body(
        self, body: NdarrayOrTensor | None, array: np.ndarray, window: Window, spacing_mm: tuple[float, ...]
    ) -> np.ndarray | None:
        if body is None:
            return body_of(array, window, spacing_mm) if self.finds_body else None
        region = region_of(body, array.shape, "body mask")
        if not region.any():
            raise DataError("the body mask is empty; mark what is to be translated, or leave the mask out")
        return region

    def _resampling(self, img: Any, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Resampling | None:
        """None as well for images that do not know their voxel size."""
        known = isinstance(img, MetaTensor) and img.meta.get("spacing_known", True)
        resampling = resampling_for(shape, spacing_mm, self.weights.spacing_mm) if known else None
        self.resampled_from_mm = None if resampling is None else resampling.from_mm
        if resampling is not None and not self._told:
            self._told = True
            logger.warning("an image with %s: it is resampled to those for the translation, and back", resampling)
        return resampling

    def _added(
        self, img: NdarrayTensor, array: np.ndarray, before: np.ndarray, change: np.ndarray, source: Window
    ) -> NdarrayTensor:
        """The image plus the change, which is zero outside the body; all (*S)."""
        target = self.window_of_result(source)
        shift = change * np.float32((target.high - target.low) / 2)
        if target != source:
            shift += target.denormalize(before) - source.denormalize(before)
        if self.body is not None:
            shift[~self.body] = 0
        if target.unit == "HU":
            return as_hu(array + shift, img)
        return like_source(array + shift, array, img)

    def _replaced(self, img: NdarrayTensor, translated: np.ndarray, window: Window) -> NdarrayTensor:
        """The translation (*S) in [-1, 1] in the target's unit, and its background outside the body."""
        values = window.denormalize(translated.clip(-1, 1))
        if self.body is not None:
            values[~self.body] = AIR_HU if window.unit == "HU" else window.low
        return as_hu(values, img) if window.unit == "HU" else with_dtype(values[None], img, np.float32)


class SynthesizeCT(TranslateDomain):
    """`TranslateDomain` to the CT side of the weights, whichever that is.

    Args:
        direction: only where both sides are CT (contrast and non-contrast).

    Raises:
        WeightsError: if neither side is CT, or both are and `direction` does not choose.
    """

    def __init__(
        self, weights: str | Path | Weights, direction: Direction | None = None, *, window: Bounds | None = None,
        style: Style | None = None, seed: int = 0, body: Literal["auto", False] = "auto",
    ):  # fmt: skip
        super().__init__(weights, direction or "a2b", window=window, style=style, seed=seed, body=body)
        if direction is None:
            self.direction = self._towards_ct()
        if self.target.modality != "CT":
            raise WeightsError(f"direction: found {direction}, which leads to {_named(self.target)}; expected CT")

    def _towards_ct(self) -> Direction:
        a, b = self.weights.translator.domain_a, self.weights.translator.domain_b
        ways: dict[Direction, Domain] = {"a2b": b, "b2a": a}
        to_ct = [way for way, domain in ways.items() if domain.modality == "CT"]
        if len(to_ct) != 1:
            remedy = "say direction='a2b' or 'b2a'" if to_ct else "give weights of a translation to CT"
            raise WeightsError(f"found weights between {_named(a)} and {_named(b)}; expected CT on one side: {remedy}")
        return to_ct[0]


def _named(domain: Domain) -> str:
    return f"{domain.name} ({domain.modality})"
