"""Remove tumors from single images, or replace them by others (array transforms; see `array`).

A removal reaches less than three voxels of the weights' grid beyond its mask, in every channel, and leaves padding and
the image's range of values alone. Where a tumor was, the label has the organ around, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor

from medaug.lesions.drawing import Shape
from medaug.lesions.geometry import equivalent_diameter_mm, labelled_parts
from medaug.models.weights import Weights
from medaug.transforms.array import ORGAN_MARGIN_MM, Insertion, RandInsertTumor
from medaug.transforms.base import Seeded, Seen, TumorTransform, Windows, left_alone, unchanged
from medaug.transforms.canvas import Limits
from medaug.transforms.containers import Bounds, changed
from medaug.transforms.engine import paint, remove_region
from medaug.transforms.planning import Style, Wanted, plan
from medaug.transforms.tumor_labels import TumorLabels, healed, with_tumor
from medaug.volumes import Window


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
        """The image without what `mask` marks (of several values, the tumors'); else equal to the input."""
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

        A label of several channels (see `label_forms`) comes back as such.

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
            return seen.image(seen.array), seen.label(seen.classes(mask), mask)
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
        return image, seen.label(healed(seen.classes(mask), region > 0, edit.mask, seen.spacing_mm), mask)


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


class RandReplaceTumor(RandInsertTumor):
    """With probability `prob`, removes one of the marked tumors and inserts another where it was.

    So scans without free room get tumors of other shapes and textures, too. Which connected tumor is replaced is drawn,
    the likelier the larger; the new one is drawn from the weights' prior, its centre lies in the old one, and all of it
    in the organ or where the old one was, clear of other tumors. Images without a tumor, with no room for another in
    its place, or that show background alone come back as they are, with their label, and are counted.

    Voxels outside the new tumor, and farther than three voxels of the weights' grid from the old one, keep their bits
    in every channel. The label has the organ around, or nothing, where the old tumor was and the new one is not.
    `lesions` as in `RandInsertTumor`; "replaced_mm" is the diameter of the tumor that was there.

    Args:
        weights: a weights folder, or loaded `Weights`.
        prob: probability of replacing at all.
        size_mm, shape, organ_margin_mm, window, style, tumor_labels: as in `RandInsertTumor`.

    Example:
        >>> replace = RandReplaceTumor("out/quickstart/train/weights", prob=1.0)   # doctest: +SKIP
        >>> image, label = replace.set_random_state(seed=3)(image, label)          # doctest: +SKIP
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        prob: float = 0.5,
        size_mm: tuple[float, float] | None = None,
        shape: Shape = "bank",
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        window: Bounds | None = None,
        style: Style | None = None,
        tumor_labels: TumorLabels | None = None,
    ):
        super().__init__(
            weights, prob, (1, 1), size_mm, shape, organ_margin_mm, window, style, tumor_labels=tumor_labels
        )

    def inserted(
        self,
        img: NdarrayTensor,
        label: NdarrayOrTensor | None = None,
        organ: NdarrayOrTensor | None = None,
        window: Windows | None = None,
        strictly_inside: bool = True,
    ) -> Insertion[NdarrayTensor]:
        """What was drawn last, in this image; arguments as of `RandInsertTumor.inserted`."""
        seen = self._seen(img)
        as_it_was = Insertion(img, seen.label(seen.classes(label), label), [])
        windows = self._windows_if_any(seen, self.domain, window) if self._do_transform else None
        if windows is None:
            return as_it_was
        parts, values = self.tumors_in(label, seen)
        if not parts.any():
            left_alone(self, "has no tumor to replace")
            return as_it_was
        rng, spacing_mm, limits = np.random.RandomState(self._seed), seen.spacing_mm, self._limits(seen, window)
        numbers, voxels = labelled_parts(parts > 0)
        old = numbers == 1 + rng.choice(len(voxels) - 1, p=voxels[1:] / voxels[1:].sum())
        allowed = self._allowed(organ, seen, windows, self.organ_margin_mm) | old
        wanted = Wanted(self.size_mm, self.shape, self.style, strictly_inside=strictly_inside and organ is not None)
        planned = plan(self.weights, allowed, (parts > 0) & ~old, rng, spacing_mm, wanted, near=old)
        if planned is None:
            left_alone(self, "has no room for another tumor where one was")
            return as_it_was
        removed = remove_region(seen.array, parts * old, windows, self.weights, spacing_mm, planned.seed, limits)
        edit = paint(removed.image, planned, windows, self.weights, limits)
        truth = with_tumor(healed(seen.classes(label), parts > 0, removed.mask, spacing_mm), edit.parts, values)
        facts = planned.facts | {"replaced_mm": round(equivalent_diameter_mm(old, spacing_mm), 2)}
        return Insertion(seen.image(edit.image), seen.label(truth, label), [facts])
