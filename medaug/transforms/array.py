"""Insert and remove tumors in single images (array transforms).

Images are (1, X, Y) or (1, X, Y, Z) in any unit: each is windowed as the weights' domain says (percentiles for MR, HU
for CT), or as `window` says. Results come back in the image's own unit and type; voxels away from the edit keep their
bits. All constructor arguments are JSON values (weights: a folder), so a MONAI bundle can build them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import RandomizableTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor

from medaug.errors import ConfigError, DataError
from medaug.lesions import Lesion, find_organ, lesion_for_mask, sections
from medaug.transforms.editing import insert_lesion, insert_stack, remove_region, with_room
from medaug.transforms.whole import translate_whole
from medaug.translators.weights import Weights, load_weights
from medaug.volumes import Window, check_finite, spacing_of

Bounds = Sequence[float]
ORGAN_MARGIN_MM = 6.0


class _TumorTransform(Transform):
    """What the four have in common: weights, the window, the voxel size."""

    def __init__(self, weights: str | Path | Weights, window: Bounds | None = None):
        self.weights = weights if isinstance(weights, Weights) else load_weights(weights)
        self.window = tuple(window) if window is not None else None

    def _window(self, array: np.ndarray) -> Window:
        domain = self.weights.translator.domain_a
        if self.window is not None:
            return Window(*self.window, unit=domain.unit)
        return domain.window_of(array, "image")

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


def _check_range(name: str, values: Sequence[float], least: float) -> None:
    if len(values) != 2 or not least <= values[0] <= values[1]:
        raise ConfigError(f"{name}: found {tuple(values)}; expected (least, most), for example (5, 20) for size_mm")


def _region(mask: NdarrayOrTensor | None, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A (1, *S) mask as bool (*S); all zero where there is none."""
    if mask is None:
        return np.zeros(shape, dtype=bool)
    array = _plain(mask)
    if array.shape != (1, *shape):
        raise DataError(f"{name} of shape {array.shape} does not lie on the image (1, {', '.join(map(str, shape))})")
    return array[0] > 0


def _like(edited: np.ndarray, before: np.ndarray, source: NdarrayOrTensor) -> NdarrayOrTensor:
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


def _marked(region: np.ndarray, source: NdarrayOrTensor, *, keep: bool) -> NdarrayOrTensor:
    """A label of the source's type with 1 in `region`, and elsewhere the source's values (`keep`) or 0."""
    array = _plain(source).copy() if keep else np.zeros_like(_plain(source))
    array[0][region] = 1
    return _as_source(array, source)


def _plain(source: NdarrayOrTensor) -> np.ndarray:
    """As an array of the same dtype (bfloat16, which NumPy does not have, as float32)."""
    if isinstance(source, np.ndarray):
        return source
    tensor = convert_to_tensor(source, track_meta=False).detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _as_source(array: np.ndarray, source: NdarrayOrTensor) -> NdarrayOrTensor:
    img = convert_to_tensor(source, track_meta=get_track_meta()) if torch.is_tensor(source) else source
    return convert_to_dst_type(array, img)[0]


class InsertTumor(_TumorTransform):
    """Inserts a tumor exactly where a mask is. Deterministic: one image, mask and seed give one result.

    Args:
        weights: a weights folder, or loaded `Weights`.
        seed: chooses the reference lesion and the translator's noise.
        reference: the number of the reference lesion; None lets the seed choose among those of like size.
        window: (low, high) intensities mapped to [-1, 1]; None follows the weights' domain.

    Example:
        >>> insert = InsertTumor("out/quickstart/train/weights", seed=7)   # doctest: +SKIP
        >>> image, label = insert(image, mask)                             # doctest: +SKIP
    """

    def __init__(
        self, weights: str | Path | Weights, seed: int = 0, reference: int | None = None, window: Bounds | None = None
    ):
        super().__init__(weights, window)
        if self.weights.prior is None:
            raise DataError(
                "these weights are of a plain translator, which puts tumors where it likes; inserting into a mask "
                "needs mask-guided ones (translator.mask_guided=true)"
            )
        self.seed, self.reference = seed, reference

    def __call__(
        self, img: NdarrayOrTensor, mask: NdarrayOrTensor, label: NdarrayOrTensor | None = None
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor]:
        """(image with the tumor, label with the mask's voxels set to 1); inputs are not changed.

        Raises:
            DataError: if the shapes do not fit, or the mask is empty.
        """
        array = self._to_array(img)
        region = _region(mask, array.shape, "mask")
        if not region.any():
            raise DataError("the mask is empty; mark the voxels where the tumor shall be")
        window, spacing_mm = self._window(array), self._spacing_mm(img, array.ndim)
        noise_seed = int(np.random.RandomState(self.seed).randint(2**31))
        if self.weights.translator.spatial_dims == array.ndim:
            lesion = self._lesion(region, spacing_mm)
            edited = insert_lesion(array, lesion, window, self.weights, seed=noise_seed).image
        else:
            levels = np.flatnonzero(region.any(axis=(0, 1)))
            stack = [(int(z), self._lesion(region[..., z], spacing_mm[:2])) for z in levels]
            edited = insert_stack(array, stack, window, self.weights, seed=noise_seed).image
        _region(label, array.shape, "label")
        blank = mask if label is None else label
        return _like(edited, array, img), _marked(region, blank, keep=label is not None)

    def _lesion(self, region: np.ndarray, spacing_mm: tuple[float, ...]) -> Lesion:
        rng = np.random.RandomState(self.seed)
        return lesion_for_mask(self.weights.prior, region, spacing_mm, rng, reference=self.reference)


class RandInsertTumor(RandomizableTransform, _TumorTransform):
    """With probability `prob`, inserts tumors drawn from the weights' lesion prior (sizes in mm, places in the organ).

    Weights of a plain translator change the whole image; the label is then where they changed it, and `count`,
    `size_mm` and `shape` do not apply. After a call, `lesions` says what was inserted, as a manifest keeps it (empty
    where nothing was, or where there was no room).

    Args:
        weights: a weights folder, or loaded `Weights`.
        prob: probability of inserting at all.
        count: least and most tumors.
        size_mm: least and most diameter; None draws from the training fold's sizes.
        shape: "bank" (deformed training masks), "blob" (procedural), or "mixed".
        organ_margin_mm: where no organ mask is given, the found one is shrunk by this.
        window: as in `InsertTumor`.
    """

    def __init__(
        self, weights: str | Path | Weights, prob: float = 0.5, count: tuple[int, int] = (1, 1),
        size_mm: tuple[float, float] | None = None, shape: str = "bank", organ_margin_mm: float = ORGAN_MARGIN_MM,
        window: Bounds | None = None,
    ):  # fmt: skip
        RandomizableTransform.__init__(self, prob)
        _TumorTransform.__init__(self, weights, window)
        _check_range("count", count, 0)
        if size_mm is not None:
            _check_range("size_mm", size_mm, 1e-3)
        self.count, self.size_mm, self.shape, self.organ_margin_mm = count, size_mm, shape, organ_margin_mm
        self.lesions: list[dict[str, Any]] = []
        self._seed = 0

    def randomize(self, data: Any = None) -> None:
        """Draws whether to insert, and one seed from which everything else follows."""
        super().randomize(None)
        self._seed = int(self.R.randint(2**31))

    def __call__(
        self, img: NdarrayOrTensor, label: NdarrayOrTensor | None = None, organ: NdarrayOrTensor | None = None,
        randomize: bool = True, window: Window | None = None,
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor]:  # fmt: skip
        """(image, label): with tumors, or equal to the inputs.

        Args:
            label: existing tumors, which new ones keep clear of; None starts an empty label.
            organ: where tumors may lie; None finds the head or body.
            window: of this very image, where it is known.
        """
        if randomize:
            self.randomize()
        self.lesions = []
        array = edited = self._to_array(img)
        before = truth = _region(label, array.shape, "label")
        if self._do_transform:
            window = window or self._window(array)
            spacing_mm = self._spacing_mm(img, array.ndim)
            allowed = (
                _region(organ, array.shape, "organ mask") if organ is not None
                else find_organ(window.normalize(array), spacing_mm, margin_mm=self.organ_margin_mm)
            )  # fmt: skip
            edited, truth = self._inserted(array, truth, allowed, window, spacing_mm)
        blank = img if label is None else label
        return _like(edited, array, img), _marked(truth & ~before, blank, keep=label is not None)

    def _inserted(
        self, array: np.ndarray, truth: np.ndarray, organ: np.ndarray, window: Window, spacing_mm: tuple[float, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.weights.prior is None:
            edit = translate_whole(array, window, self.weights, "a2b")
            mask = edit.mask & organ & ~truth
            self.lesions = [{"patient": None, "voxels": int(mask.sum())}] if mask.any() else []
            return edit.image, truth | mask
        rng = np.random.RandomState(self._seed)
        dims, stacked = self.weights.translator.spatial_dims, self.weights.translator.spatial_dims < array.ndim
        for _ in range(rng.randint(self.count[0], self.count[1] + 1)):
            level = _draw_level(organ, rng) if stacked else None
            place = (organ, truth) if level is None else (organ[..., level], truth[..., level])
            lesion = self.weights.prior.sample(
                *place, rng, spacing_mm=spacing_mm[:dims], size_mm=self.size_mm, shape=self.shape
            )
            if lesion is None:
                continue
            noise_seed = int(rng.randint(2**31))
            if level is None:
                edit = insert_lesion(array, lesion, window, self.weights, seed=noise_seed)
            else:
                drawn = sections(lesion, array.shape[-1], level, spacing_mm[-1], flatness=rng.uniform(0.7, 1.1))
                stack = with_room(drawn, level, organ, truth)
                edit = insert_stack(array, stack, window, self.weights, seed=noise_seed)
            array, truth = edit.image, truth | edit.mask
            self.lesions.append(lesion.provenance())
        return array, truth


class RemoveTumor(_TumorTransform):
    """Replaces the marked tumor by tissue as the translator knows it from healthy crops. Deterministic.

    Args:
        weights: a weights folder, or loaded `Weights`.
        seed: of the fill's texture.
        window: as in `InsertTumor`.
    """

    def __init__(self, weights: str | Path | Weights, seed: int = 0, window: Bounds | None = None):
        super().__init__(weights, window)
        self.seed = seed

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor, window: Window | None = None) -> NdarrayOrTensor:
        """The image without what `mask` (1, *S) marks; equal to the input where nothing is marked."""
        array = edited = self._to_array(img)
        region = _region(mask, array.shape, "mask")
        if region.any():
            window = window or self._window(array)
            if self.weights.prior is None:
                edited = translate_whole(array, window, self.weights, "b2a").image
            else:
                edited = remove_region(array, region, window, self.weights, seed=self.seed).image
        return _like(edited, array, img)


class RandRemoveTumor(RandomizableTransform, RemoveTumor):
    """With probability `prob`, removes the marked tumor, with a drawn seed for the fill."""

    def __init__(self, weights: str | Path | Weights, prob: float = 0.5, window: Bounds | None = None):
        RandomizableTransform.__init__(self, prob)
        RemoveTumor.__init__(self, weights, 0, window)

    def randomize(self, data: Any = None) -> None:
        """Draws whether to remove, and the fill's seed."""
        super().randomize(None)
        self.seed = int(self.R.randint(2**31))

    def __call__(
        self, img: NdarrayOrTensor, mask: NdarrayOrTensor, randomize: bool = True
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor]:
        """(image, label): without the tumor and an empty label, or equal to the inputs."""
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img, mask
        return RemoveTumor.__call__(self, img, mask), empty_label(mask)


def empty_label(label: NdarrayOrTensor) -> NdarrayOrTensor:
    """A label of the same type without anything marked."""
    return _as_source(np.zeros_like(_plain(label)), label)


def _draw_level(organ: np.ndarray, rng: np.random.RandomState) -> int:
    """A slice, the likelier the more organ it has."""
    area = organ.reshape(-1, organ.shape[-1]).sum(axis=0).astype(float)
    if not area.any():
        return organ.shape[-1] // 2
    return int(rng.choice(len(area), p=area / area.sum()))
