"""How a volume is looked at, whatever the order and sense in which its axes are stored; and when two are one grid.

Every volume is turned before anything looks at it: axes towards the patient's left, back and head (L, P, S, as DICOM
has them, and pictures show them), and slices last. Slices run along the thick axis of the acquisition, the one with
clearly the largest voxels; where none is, along the axis that the weights were trained along, else from feet to head.
What has two axes (pictures, slices) and what stores no directions (plain arrays) is as it is. A turn permutes and flips
axes: no voxel changes, and the way back is exact. Data are prepared, and transforms and commands work, on turned
volumes; results come back as the scan was stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import io_orientation

from medaug.errors import DataError
from medaug.volumes import spacing_of

LPS = "LPS"
_SENSE = {"L": -1, "P": -1, "S": 1}
"""Which way the axes of an affine run, whose mm run to the right, front and head."""
RESAMPLE = "Resample it onto that grid, or correct its header; medaug does not do it silently."
SAME_PLACE = 0.1
THICK = 1.25
"""Slices are thick if their distance is more than this many times the voxel size along either other axis."""


@dataclass(frozen=True)
class Turn:
    """A permutation of axes, then flips.

    Attributes:
        order: the stored axis that each turned axis is.
        flipped: which turned axes run the other way.
        axes: letters of the turned axes: "LPS", "LSP" where slices run from front to back, "LP" of what is not turned.
    """

    order: tuple[int, ...]
    flipped: tuple[int, ...]
    axes: str

    def there(self, array: np.ndarray) -> np.ndarray:
        """(*S) as stored, turned; in one piece."""
        return np.ascontiguousarray(np.flip(array.transpose(self.order), self.flipped))

    def back(self, array: np.ndarray) -> np.ndarray:
        """The inverse."""
        return np.ascontiguousarray(np.flip(array, self.flipped).transpose(np.argsort(self.order)))

    def affine(self, affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The (4, 4) affine of the turned array, from that of the stored one and its shape."""
        turned = np.array(affine, dtype=np.float64)
        turned[:, : len(self.order)] = turned[:, list(self.order)]
        for axis in self.flipped:
            turned[:, 3] += (shape[self.order[axis]] - 1) * turned[:, axis]
            turned[:, axis] *= -1
        return turned


def no_turn(spatial_dims: int) -> Turn:
    """The turn of what is looked at as it is stored."""
    return Turn(tuple(range(spatial_dims)), (), LPS[:spatial_dims])


def turn_of(affine: np.ndarray, spatial_dims: int, *, axes: str = LPS, slicewise: bool = True) -> Turn:
    """How to turn an image of this (4, 4) affine.

    Args:
        axes: of the scans that the weights were trained on, slices last.
        slicewise: whether volumes are looked at slice by slice; else their axes come in the order of `axes`.
    """
    if spatial_dims < 3:
        return no_turn(spatial_dims)
    found = io_orientation(np.asarray(affine, dtype=np.float64))
    stored = [LPS[int(axis)] for axis in found[:, 0]]
    wanted = axes
    if slicewise:
        sizes_mm = dict(zip(stored, spacing_of(affine, 3), strict=True))
        thick = [a for a in LPS if all(sizes_mm[a] > THICK * sizes_mm[b] for b in LPS if b != a)]
        last = thick[0] if thick else axes[-1]
        wanted = LPS.replace(last, "") + last
    order = tuple(stored.index(letter) for letter in wanted)
    flipped = tuple(i for i, axis in enumerate(order) if found[axis, 1] != _SENSE[wanted[i]])
    return Turn(order, flipped, wanted)


def check_same_grid(
    image_shape: tuple[int, ...],
    label_shape: tuple[int, ...],
    image_affine: np.ndarray,
    label_affine: np.ndarray,
    image_path: str,
    label_path: str,
    remedy: str = RESAMPLE,
) -> None:
    """Refuses an image and a label that do not lie on one grid: other sizes, or voxels in other places.

    Raises:
        DataError: naming both files and what differs.
    """
    if tuple(image_shape) != tuple(label_shape):
        raise DataError.about(
            label_path, f"shape {tuple(label_shape)}", f"the shape {tuple(image_shape)} of {image_path}", remedy
        )
    apart, most = displacement_mm(image_affine, label_affine, image_shape), same_place_mm(image_affine, image_shape)
    if not apart <= most:  # also where it is NaN
        raise DataError.about(
            label_path,
            f"voxels up to {apart:.3g} mm away from those of {image_path}",
            f"the same places, to {most:.2g} mm (a tenth of a voxel)",
            remedy,
        )


def displacement_mm(ours: np.ndarray, theirs: np.ndarray, shape: tuple[int, ...]) -> float:
    """How far apart two affines (4, 4) put the voxels of an array (*S), at the most: it is one of the corners.

    A difference between two entries says little: 0.01 in a rotation are 5 mm at the far end of 512 voxels.
    """
    ends = [(0, size - 1) for size in (*shape, 1, 1)[:3]]
    corners = np.array([(*corner, 1.0) for corner in itertools.product(*ends)])
    apart = (np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64))[:3] @ corners.T
    return float(np.linalg.norm(apart, axis=0).max())


def same_place_mm(affine: np.ndarray, shape: tuple[int, ...]) -> float:
    """What `displacement_mm` may be of two headers that mean one grid: a tenth of the smallest voxel edge."""
    return SAME_PLACE * min(spacing_of(affine, len(shape)))
