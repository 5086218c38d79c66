"""Insert tumors into single images, and find the organ for them (array transforms).

Images are (C, X, Y) or (C, X, Y, Z), one channel a sequence of the weights, in any unit: each channel is windowed as
the weights' domain says (percentiles for MR, HU for CT), or as `window` says. Results come back in the image's own unit
and type. Voxels outside the label of an insertion keep their bits in every channel, and padding keeps its own; no edit
leaves the range of the image's values. Labels are class maps (1, *S), or have a channel a class, part or region (see
`label_forms`); they come back in the form that they had. All constructor arguments are JSON values (weights: a folder),
so a MONAI bundle can build them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor

from medaug.errors import DataError
from medaug.lesions.drawing import Shape
from medaug.models.weights import Weights
from medaug.transforms.base import Seeded, TumorTransform, Windows, check_null, check_range, unchanged
from medaug.transforms.containers import Bounds, changed, with_dtype
from medaug.transforms.engine import Edit, Painting, paint, together
from medaug.transforms.planning import Facts, Style, Wanted, plan, plan_in
from medaug.transforms.styles import check_style
from medaug.transforms.tumor_labels import TumorLabels, with_tumor
from medaug.volumes import Window

ORGAN_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Insertion(Generic[NdarrayTensor]):
    """What `RandInsertTumor` made of an image (C, *S) and its label, and `lesions` as a manifest keeps them."""

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
            With weights of several parts: {part: values} or a value a part; "parts" or "regions" names the form of a
            label with channels, where an empty one could have either (see `label_forms`).
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
            mask: where the tumor shall be, (1, *S) of one value, or a label of several parts, which says where each is.
            label: (1, *S) or of another form, with what is there already; None: a new one of the mask's type and form.

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
        truth = with_tumor(seen.classes(label), edit.parts * (not self.null), values)
        return edited, seen.label(truth, mask if label is None else label)


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
            label: existing tumors, (1, *S) or of another form, which new ones keep clear of; None starts an empty one.
            organ: (1, *S), where tumors may lie; None finds the head or body.
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
        return together([self.insertion(img, label, organ, window, strictly_inside)], self.weights)[0]

    def insertion(
        self,
        img: NdarrayTensor,
        label: NdarrayOrTensor | None = None,
        organ: NdarrayOrTensor | None = None,
        window: Windows | None = None,
        strictly_inside: bool = False,
    ) -> Generator[Painting, Edit, Insertion[NdarrayTensor]]:
        """`inserted`, for `engine.together`: tumors of many images, each with its own draw, are painted in one pass."""
        seed = self._seed if self._do_transform else None
        return self._insertion(seed, img, label, organ, window, strictly_inside)

    def _insertion(
        self,
        seed: int | None,
        img: NdarrayTensor,
        label: NdarrayOrTensor | None,
        organ: NdarrayOrTensor | None,
        window: Windows | None,
        strictly_inside: bool,
    ) -> Generator[Painting, Edit, Insertion[NdarrayTensor]]:
        seen, rng = self._seen(img), np.random.RandomState(seed)
        edited, truth, lesions = seen.array, seen.classes(label), list[Facts]()
        limits = None if seed is None else self._limits(seen, window)
        if seed is not None and (known := self._windows_if_any(seen, self.domain, window)) is not None:
            before, values = self.tumors_in(label, seen)
            occupied, allowed = before > 0, self._allowed(organ, seen, known, self.organ_margin_mm)
            wanted = Wanted(self.size_mm, self.shape, self.style, self.null, strictly_inside and organ is not None)
            for _ in range(rng.randint(self.count[0], self.count[1] + 1)):
                planned = plan(self.weights, allowed, occupied, rng, seen.spacing_mm, wanted)
                if planned is not None:
                    edit = yield Painting(edited, planned, known, limits)
                    edited = edit.image
                    if not self.null:
                        truth = with_tumor(truth, np.where(occupied, 0, edit.parts), values)
                    occupied = occupied | edit.mask
                    lesions.append(planned.facts)
        return Insertion(seen.image(edited), seen.label(truth, label), lesions)


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
