"""What a network and a reader outlined in one picture or volume, and how far the two surfaces are apart.

Every score and every count begins here. A tumor fills little of a scan: arrays are cut to the box of all that either
outlined, and what scores share (the surfaces, the distances between them) is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from medaug.lesions.geometry import box_around_mask


@dataclass(frozen=True)
class Region:
    """One region in one picture or volume, as a network and as a reader outlined it.

    Attributes:
        prediction, truth: masks (bool, *S), of all of it or of a box that holds both.
        spacing_mm: by axis.
        shape: of the whole picture or volume, in voxels.
        scan: which scan it is (a part) of.
    """

    prediction: np.ndarray
    truth: np.ndarray
    spacing_mm: tuple[float, ...]
    shape: tuple[int, ...]
    scan: str = ""

    @cached_property
    def voxels(self) -> tuple[int, int, int]:
        """How many there are of the prediction, of the truth, and of both at once."""
        counted = (self.prediction, self.truth, self.prediction & self.truth)
        return tuple(int(np.count_nonzero(mask)) for mask in counted)  # type: ignore[return-value]  # three of them

    @cached_property
    def distances_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """From each surface voxel of the prediction to the truth's surface, and the other way round, in mm.

        A surface voxel has a face neighbour outside its mask, as has one at the image's border. Both must have one.
        The nearest one is found in a k-d tree of the other surface, which is several times faster in a volume than a
        distance transform of the box.
        """
        box, spacing_mm = box_around_mask(self.prediction | self.truth), np.array(self.spacing_mm)
        surfaces = [np.argwhere(mask[box] & ~binary_erosion(mask[box])) for mask in (self.prediction, self.truth)]

        def distances_mm(own: np.ndarray, other: np.ndarray) -> np.ndarray:
            _, nearest = cKDTree(other * spacing_mm).query(own * spacing_mm)
            return np.linalg.norm((own - other[nearest]) * spacing_mm, axis=1)

        predicted, labelled = surfaces
        return distances_mm(predicted, labelled), distances_mm(labelled, predicted)


@dataclass(frozen=True)
class Outlined:
    """A volume or picture as a network and a reader see it: class numbers (X, Y[, Z]), 0 where there is nothing."""

    scan: str
    prediction: np.ndarray
    truth: np.ndarray
    spacing_mm: Sequence[float]

    @cached_property
    def box(self) -> tuple[slice, ...]:
        """Around all that either outlined; one voxel where neither did."""
        anything = (self.prediction > 0) | (self.truth > 0)
        return box_around_mask(anything) if anything.any() else (slice(0, 1),) * anything.ndim

    def region(self, classes: Sequence[int]) -> Region:
        """These classes together, cut to the box."""
        prediction, truth = (np.isin(array[self.box], classes) for array in (self.prediction, self.truth))
        return Region(prediction, truth, tuple(self.spacing_mm)[: truth.ndim], self.truth.shape, self.scan)
