"""Insert and remove tumors in single images, and find the organ for them (array transforms).

Images are (C, X, Y) or (C, X, Y, Z), one channel a sequence of the weights, in any unit: each channel is windowed as
the weights' domain says (percentiles for MR, HU for CT), or as `window` says. Results come back in the image's own unit
and type. Voxels outside the label of an insertion keep their bits in every channel; a removal reaches less than three
voxels of the weights' grid beyond its mask. Neither changes padding, or leaves the range of the image's values. All
constructor arguments are JSON values (weights: a folder), so a MONAI bundle can build them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor

from medaug.errors import DataError
from medaug.lesions.drawing import Shape
from medaug.models.weights import Weights
from medaug.transforms.base import (
    Bounds,
    Seeded,
    Seen,
    TumorTransform,
    Windows,
    changed,
    check_null,
    check_range,
    empty_label,
    unchanged,
    with_dtype,
)
from medaug.transforms.engine import Facts, Limits, Style, Wanted, paint, plan, plan_in, remove_region
from medaug.transforms.styles import check_style
from medaug.transforms.tumor_labels import TumorLabels
from medaug.volumes import Window

ORGAN_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Insertion(Generic[NdarrayTensor]):
    """What `RandInsertTumor` made of an image (C, *S) and its label (1, *S), and `lesions` as a manifest keeps them."""

    image: NdarrayTensor
    label: NdarrayOrTensor
    lesions: list[Facts]


class InsertTumor(TumorTransform):
    """Inserts a tumor exactly where a mask is. Deterministic: one image, mask and seed give one result.

    The tumor is seen where the mask is and nowhere else. What the mask covers of the scan's padding stays padding, and
    is not labelled.

    Args:
        weights: a weights folder, or loaded `Weights`.
        seed: chooses the reference lesion and the translator's noise.
        reference: the number of the reference lesion; None lets the seed choose among those of like size.
        style: of methods that know styles (see `style_of`); None lets the seed draw it.
        window: (low, high) intensities mapped to [-1, 1], or one such pair a channel; None follows the weights' domain.
        tumor_labels: label values that are tumor, a new tumor's first; None: the weights', if their labels had organs
            beside them, or else the label's one value (1 in an empty one). Other values, organs, are left as they are
            and may hold new tumors; where nobody says which of several values is the tumor's, the label is refused.
        null: insert nothing, and let the translator pass over the place all the same; the label stays as it is. So
            "a generator was here" can be told from "here is a tumor" (weights with reference content only).

    Example:
        >>> insert = InsertTumor("out/quickstart/train/weights", seed=7)   # doctest: +SKIP
        >>> image, label = insert(image, mask)                             # doctest: +SKIP
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        seed: int = 0,
        reference: int | None = None,
        window: Bounds | None = None,
        style: Style | None = None,
        null: bool = False,
        tumor_labels: TumorLabels | None = None,
    ):
        super().__init__(weights, window, tumor_labels)
        check_null(null, self.weights)
        self.seed, self.reference, self.style, self.null = seed, reference, check_style(style, self.weights), null

    def __call__(
        self,
        img: NdarrayTensor,
        mask: NdarrayOrTensor,
        label: NdarrayOrTensor | None = None,
        window: Windows | None = None,
    ) -> tuple[NdarrayTensor, NdarrayOrTensor]:
        """(image with the tumor, label with the tumor's values in its voxels); inputs are not changed.

        With `null` the label is as it was, or empty.

        Args:
            mask: (1, *S) where the tumor shall be; the label values of several parts say where each of them.

        Raises:
            DataError: if the shapes do not fit, the mask is empty or in the padding, or no voxel changed.
        """
        seen = self._seen(img)
        region = self._marked(mask, seen, is_label=False)
        if not region.any():
            raise DataError("the mask is empty; mark the voxels where the tumor shall be")
        limits, windows = self._limits(seen, window), self._windows_in(seen, self.domain, window)
        wanted = Wanted(style=self.style, null=self.null)
        planned = plan_in(self.weights, region, seen.spacing_mm, self.seed, self.reference, wanted)
        edit = paint(seen.array, planned, windows, self.weights, limits)
        values = self.tumors_in(label, seen)[1]
        edited = seen.image(edit.image)
        if not self.null and not changed(edited, img):
            raise unchanged(region, edit.mask)
        return edited, seen.label(edit.parts * (not self.null), empty_label(mask) if label is None else label, values)


class RandInsertTumor(Seeded, TumorTransform):
    """With probability `prob`, inserts tumors drawn from the weights' lesion prior (sizes in mm, places in the organ).

    After a call, `lesions` says what was inserted, as a manifest keeps it (empty
    where nothing was, or where there was no room; marked `null` where the translator passed over a place alone); of
    threads that share the transform it is the last call's, and `inserted` returns it. Images that show background alone
    come back as they are, and are counted (`base.samples_left_alone`).

    Args:
        weights: a weights folder, or loaded `Weights`.
        prob: probability of inserting at all.
        count: least and most tumors.
        size_mm: least and most diameter; None draws from the training fold's sizes.
        shape: "bank" (deformed training masks), "blob" (procedural), or "mixed".
        organ_margin_mm: where no organ mask is given, the found one is shrunk by this.
        window, style, null, tumor_labels: as in `InsertTumor`; one style serves all slices of a tumor.
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        prob: float = 0.5,
        count: Sequence[int] = (1, 1),
        size_mm: tuple[float, float] | None = None,
        shape: Shape = "bank",
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        window: Bounds | None = None,
        style: Style | None = None,
        null: bool = False,
        tumor_labels: TumorLabels | None = None,
    ):
        Seeded.__init__(self, prob)
        TumorTransform.__init__(self, weights, window, tumor_labels)
        check_null(null, self.weights)
        check_range("count", count, 0)
        if size_mm is not None:
            check_range("size_mm", size_mm, 1e-3)
        self.count, self.size_mm, self.shape, self.organ_margin_mm = count, size_mm, shape, organ_margin_mm
        self.style, self.null = check_style(style, self.weights), null
        self.lesions: list[Facts] = []

    def __call__(
        self,
        img: NdarrayTensor,
        label: NdarrayOrTensor | None = None,
        organ: NdarrayOrTensor | None = None,
        randomize: bool = True,
        window: Windows | None = None,
    ) -> tuple[NdarrayTensor, NdarrayOrTensor]:
        """(image, label): with tumors, or equal to the inputs.

        Args:
            label: existing tumors, which new ones keep clear of; None starts an empty label.
            organ: where tumors may lie; None finds the head or body.
            window: of this very image, where it is known.
        """
        if randomize:
            self.randomize()
        made = self.inserted(img, label, organ, window)
        self.lesions = made.lesions
        return made.image, made.label

    def inserted(
        self,
        img: NdarrayTensor,
        label: NdarrayOrTensor | None = None,
        organ: NdarrayOrTensor | None = None,
        window: Windows | None = None,
        strictly_inside: bool = False,
    ) -> Insertion[NdarrayTensor]:
        """What was drawn last, in this image; arguments as of a call.

        Args:
            strictly_inside: no voxel of a tumor leaves the organ that is given.
        """
        seen, rng = self._seen(img), np.random.RandomState(self._seed)
        edited, lesions = seen.array, list[Facts]()
        values: tuple[int, ...] = (1,)
        occupied = seen.region(label, "label")
        new = np.zeros(occupied.shape, dtype=np.uint8)
        limits = self._limits(seen, window) if self._do_transform else None
        if self._do_transform and (known := self._windows_if_any(seen, self.domain, window)) is not None:
            before, values = self.tumors_in(label, seen)
            occupied, allowed = before > 0, self._allowed(organ, seen, known, self.organ_margin_mm)
            wanted = Wanted(self.size_mm, self.shape, self.style, self.null, strictly_inside and organ is not None)
            for _ in range(rng.randint(self.count[0], self.count[1] + 1)):
                planned = plan(self.weights, allowed, occupied, rng, seen.spacing_mm, wanted)
                if planned is not None:
                    edit = paint(edited, planned, known, self.weights, limits)
                    edited = edit.image
                    new = np.where(occupied, new, edit.parts)
                    occupied = occupied | edit.mask
                    lesions.append(planned.facts)
        return Insertion(seen.image(edited), seen.label(new * (not self.null), label, values), lesions)


class RemoveTumor(TumorTransform):
    """Replaces the marked tumor by tissue as the translator knows it from healthy crops. Deterministic.

    Every marked voxel of the body is replaced, and the blurred edge around: nothing changes three voxels of the
    weights' grid (in mm) from the mask, or farther.

    Args:
        weights: a weights folder, or loaded `Weights`.
        seed: of the fill's texture.
        window, tumor_labels: as in `InsertTumor`.
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        seed: int = 0,
        window: Bounds | None = None,
        tumor_labels: TumorLabels | None = None,
    ):
        super().__init__(weights, window, tumor_labels)
        self.seed = seed

    def __call__(self, img: NdarrayTensor, mask: NdarrayOrTensor, window: Windows | None = None) -> NdarrayTensor:
        """The image without what `mask` (1, *S) marks (of several values, the tumors'); else equal to the input."""
        return self.with_label(img, mask, window)[0]

    def with_label(
        self,
        img: NdarrayTensor,
        mask: NdarrayOrTensor,
        window: Windows | None = None,
        seed: int | None = None,
        *,
        strict: bool = True,
        is_label: bool = False,
    ) -> tuple[NdarrayTensor, NdarrayOrTensor]:
        """(image, label): the label has the organ around, or nothing, where something was replaced (not in padding).

        Args:
            seed: instead of the transform's own.
            is_label: what has one value may be an organ; else it is taken for a mask of the tumor.
            strict: refuse a mask with which no voxel changes, for example one in the padding.

        Raises:
            DataError: if something is marked, and nothing of it replaced.
        """
        seen, seed = self._seen(img), self.seed if seed is None else seed
        region = self._marked(mask, seen, is_label=is_label)
        if not region.any():
            return seen.image(seen.array), seen.label(region, mask)
        known = self._windows_in(seen, self.domain, window)
        return self._removed(seen, mask, region, known, self._limits(seen, window), seed, strict=strict)

    def _removed(
        self,
        seen: Seen[NdarrayTensor],
        mask: NdarrayOrTensor,
        region: np.ndarray,
        windows: Sequence[Window],
        limits: Sequence[Limits],
        seed: int,
        *,
        strict: bool,
    ) -> tuple[NdarrayTensor, NdarrayOrTensor]:
        edit = remove_region(seen.array, region, windows, self.weights, seen.spacing_mm, seed, limits)
        image = seen.image(edit.image)
        if strict and not changed(image, seen.source):
            raise unchanged(region, edit.mask)
        return image, seen.healed(mask, region > 0, edit.mask)


class RandRemoveTumor(Seeded, RemoveTumor):
    """With probability `prob`, removes the marked tumor, with a drawn seed for the fill.

    Images that show background alone come back as they are, with their label, and are counted.
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        prob: float = 0.5,
        window: Bounds | None = None,
        tumor_labels: TumorLabels | None = None,
    ):
        Seeded.__init__(self, prob)
        RemoveTumor.__init__(self, weights, 0, window, tumor_labels)

    def __call__(
        self, img: NdarrayTensor, mask: NdarrayOrTensor, randomize: bool = True
    ) -> tuple[NdarrayTensor, NdarrayOrTensor]:
        """(image, label): without the tumors, the organ in their place, or equal to the inputs."""
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img, mask
        seen, seed = self._seen(img), self._seed
        region = self._marked(mask, seen, is_label=True)
        windows = self._windows_if_any(seen, self.domain, None) if region.any() else None
        if windows is None:
            return img, mask
        return self._removed(seen, mask, region, windows, self._limits(seen, None), seed, strict=False)


class FindOrgan(TumorTransform):
    """Finds where tumors are put if no organ is given: brain, head or body, within a margin.

    Deterministic, so that `CacheDataset` keeps what it found: about half of the time of an insertion into a slice.

    Args:
        weights: a weights folder, or loaded `Weights`; they know how the image is windowed.
        organ_margin_mm: what is found is shrunk by this.
        window: (low, high) intensities mapped to [-1, 1], or one such pair a channel; None follows the weights' domain.
    """

    def __init__(
        self, weights: str | Path | Weights, organ_margin_mm: float = ORGAN_MARGIN_MM, window: Bounds | None = None
    ):
        super().__init__(weights, window)
        self.organ_margin_mm = organ_margin_mm

    def __call__(self, img: NdarrayTensor) -> NdarrayTensor:
        """The organ (1, *S), 0 and 1 as uint8, in the image's kind of container and on its grid."""
        return self.found(img)[0]

    def found(self, img: NdarrayTensor) -> tuple[NdarrayTensor, tuple[Window, ...]]:
        """The organ, and the windows that the image's channels were seen in.

        Raises:
            DataError: for an image without contrast, or in another unit than the weights'.
        """
        seen = self._seen(img)
        windows = self._windows_in(seen, self.domain, None)
        organ = seen.turn.back(self._allowed(None, seen, windows, self.organ_margin_mm))
        return with_dtype(organ[None].astype(np.uint8), img, np.uint8), windows
