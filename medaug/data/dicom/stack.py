"""Where the slices of a volume lie, as DICOM files say it: in mm (LPS), from the affine (RAS)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from medaug.data.dicom.geometry import LPS_TO_RAS
from medaug.data.dicom.reading import DicomVolume
from medaug.errors import DataError

SQUARE = 1e-3
"""How far the cosine between two axes may be from what it is in a stack."""


@dataclass(frozen=True)
class Stack:
    """The slices of a stack along its normal; array axis 0 is the column index, 1 the row, 2 the slice.

    Attributes:
        orientation: (2, 3) the directions in which columns, then rows, count up (ImageOrientationPatient).
        positions_mm: (Z, 3) the first voxel of each slice.
        spacing_mm: between columns, between rows.
        gap_mm: between slices; None for a single one.
        thickness_mm: of a slice, as the source says, else the gap; None where neither is known.
    """

    orientation: np.ndarray
    positions_mm: np.ndarray
    spacing_mm: tuple[float, float]
    gap_mm: float | None
    thickness_mm: float | None

    @classmethod
    def of(cls, source: DicomVolume) -> Stack:
        """The slices of a volume.

        Raises:
            DataError: if the axes are not at right angles, which DICOM cannot say.
        """
        depth = 1 if source.array.ndim == 2 else source.array.shape[2]
        lps = LPS_TO_RAS @ source.affine  # the matrix is its own inverse
        axes = lps[:3, :3].T
        sizes = np.linalg.norm(axes, axis=1)
        columns, rows, slices = axes / sizes[:, None]
        normal = np.cross(columns, rows)
        if abs(columns @ rows) > SQUARE or (depth > 1 and abs(normal @ slices) < 1 - SQUARE):
            raise DataError(
                "the source's affine: found axes that are not at right angles; expected a stack of slices along their "
                "normal. Resample the series onto such a grid first."
            )
        positions_mm = lps[:3, 3] + np.arange(depth)[:, None] * axes[2]
        gap_mm = float(sizes[2]) if depth > 1 else None
        spacing_mm = float(sizes[0]), float(sizes[1])
        return cls(
            np.stack([columns, rows]), positions_mm, spacing_mm, gap_mm, _thickness_mm(source.headers[0]) or gap_mm
        )

    @property
    def locations_mm(self) -> np.ndarray:
        """(Z,) along the normal (SliceLocation)."""
        return self.positions_mm @ np.cross(*self.orientation)


def decimals(values: Iterable[float]) -> list[DSfloat]:
    """Decimal strings: the 16 characters that DICOM allows, as precise as they can be."""
    return [DSfloat(float(value) + 0.0, auto_format=True) for value in values]  # + 0.0: no "-0"


def _thickness_mm(header: Dataset) -> float | None:
    """SliceThickness, in multi-frame files among what all frames share."""
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    measures = shared[0].get("PixelMeasuresSequence") or [header]
    thickness_mm = measures[0].get("SliceThickness") or header.get("SliceThickness")
    return float(thickness_mm) if thickness_mm else None
