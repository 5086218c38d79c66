"""Reads one DICOM series as one volume, exactly: values in their own unit (HU for CT), geometry in mm, RAS.

`series.py` says which files, `checks.py` and `geometry.py` refuse what is no volume, `pixels.py` decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medaug.data.dicom.checks import check_hounsfield, check_plane, check_series, modality_of
from medaug.data.dicom.codestreams import declared_bytes
from medaug.data.dicom.geometry import sorted_stack
from medaug.data.dicom.pixels import padding_of, rescaled, stored_frames, without_pixels
from medaug.data.dicom.planes import Plane, read_planes
from medaug.data.dicom.series import choose_series
from medaug.data.unpacking import check_within_limit
from medaug.errors import DataError
from medaug.volumes import check_finite


@dataclass(frozen=True)
class DicomVolume:
    """One series.

    Attributes:
        array: (X, Y) for one slice, (X, Y, Z) for several: X along a row, Y along a column, Z along the normal;
            rescaled, int16 where that is exact, else float32. Padding keeps its value.
        affine: (4, 4), voxel to mm, RAS (DICOM itself is LPS).
        headers: one a slice in the order of the array's last axis, or one for a multi-frame file; no pixel data.
        modality: "CT", "MR", ...
        padding: bool, the array's shape, where nothing was measured; None if there is no such voxel.
    """

    array: np.ndarray
    affine: np.ndarray
    headers: list[Dataset] = field(repr=False)  # they hold the patient's name
    modality: str
    padding: np.ndarray | None


def read_series(path: str | Path, *, series_uid: str | None = None) -> DicomVolume:
    """Reads the images of one series.

    Args:
        path: a DICOM file (a slice, or a multi-frame image), or a folder, searched to the bottom.
        series_uid: which SeriesInstanceUID, where there are several.

    Raises:
        DataError: if there is no such series, several and no choice, or it is not one volume on a regular grid:
            damaged, of several sizes or orientations, tilted, uneven or incomplete, mixed, colour, a projection, or a
            CT without its rescale.

    Example:
        >>> volume = read_series("CT/0001")  # doctest: +SKIP
        >>> volume.array.shape, volume.modality  # doctest: +SKIP
        ((512, 512, 120), 'CT')
    """
    where = Path(path)
    planes = [plane for file in choose_series(where, series_uid).files for plane in read_planes(file)]
    for plane in planes:
        check_plane(plane)
    planes, affine = sorted_stack(planes, where)
    check_series(planes, where)
    _check_total(planes, where)
    stored = _stored(planes)
    array = _stacked([rescaled(stored[..., index], plane) for index, plane in enumerate(planes)])
    check_finite(array, str(where))
    padding = padding_of(array, stored, planes, np.linalg.norm(affine[:3, :2], axis=0))
    modality = modality_of(planes[0])
    if modality == "CT":
        check_hounsfield(array, padding, planes[0], where)
    if len(planes) == 1:
        array, padding = array[..., 0], padding[..., 0]
    headers = [plane.header for plane in planes[: None if planes[0].frame is None else 1]]
    return DicomVolume(array, affine, headers, modality, padding if padding.any() else None)


def _check_total(planes: Sequence[Plane], where: Path) -> None:
    """Refuses a series beyond the limit of one image, before any of it is decoded.

    Raises:
        DataError: with both numbers.
    """
    try:
        total = sum(declared_bytes(header) for header in {plane.file: plane.header for plane in planes}.values())
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError.about(
            where,
            f"no valid size of its pixels ({type(error).__name__})",
            "Rows, Columns and BitsAllocated",
            "Export it again.",
        ) from error
    check_within_limit(total, where)


def _stored(planes: Sequence[Plane]) -> np.ndarray:
    """(X, Y, Z) of all planes; their pixel data are taken out of the headers on the way."""
    frames: dict[Path, np.ndarray] = {}
    slices = []
    for plane in planes:
        if plane.file not in frames:
            frames = {plane.file: stored_frames(plane)}  # of one file at a time
            without_pixels(plane.header)
        slices.append(frames[plane.file][plane.frame or 0].T)
    return _stacked(slices)


def _stacked(slices: list[np.ndarray]) -> np.ndarray:
    """Slices as one volume, each contiguous in memory; of the type that holds them all."""
    kind = np.result_type(*slices)
    stack = np.empty((*slices[0].shape, len(slices)), dtype=kind, order="F")
    for index, values in enumerate(slices):
        stack[..., index] = values
    return stack
