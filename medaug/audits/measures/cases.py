"""What audits look at: lesions in held-out images, real ones and inserted ones, as arrays.

Images are float32 (*S) in [-1, 1], masks bool (*S), S = (X, Y) or (X, Y, Z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medaug.lesions.geometry import box_around, extract


@dataclass(frozen=True)
class LesionView:
    """One lesion in one view (a slice or a volume).

    Attributes:
        name, patient: of the view.
        image: the view, normalised.
        mask: the lesion.
        organ: where tissue is.
        spacing_mm: by axis.
    """

    name: str
    patient: str
    image: np.ndarray
    mask: np.ndarray
    organ: np.ndarray
    spacing_mm: tuple[float, ...]

    def crop(self, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(image, mask) of this size around the lesion; air (-1) where that leaves the view."""
        return cropped(self.image, self.mask, size), cropped(self.mask, self.mask, size)


@dataclass(frozen=True)
class Insertion(LesionView):
    """An edit of a held-out view: `image` is the view after it, `mask` what is newly labelled.

    Attributes:
        before: the view as it was, normalised.
        label: all real tumors of the view.
        changed: voxels whose value in the scan's own unit is not the same, bit for bit.
        reference_patient: whose lesion was the reference; None without one.
        seed: of the transform.
    """

    before: np.ndarray
    label: np.ndarray
    changed: np.ndarray
    reference_patient: str | None
    seed: int

    def crop_before(self, size: Sequence[int]) -> np.ndarray:
        """The untouched image of the crop that `crop` takes."""
        return cropped(self.before, self.mask, size)


def cropped(array: np.ndarray, mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The part of `array` of this size around the centre of `mask`: outside the array air, or False."""
    box = box_around(np.argwhere(mask).mean(axis=0).round().astype(int), size)
    return extract(array, box, False if array.dtype == bool else -1.0)
