"""Writes small DICOM series, one file a slice, with whatever is to be wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def write_dicom_series(
    folder: Path, values: np.ndarray, *, orientation: Any = AXIAL, spacing_mm: Sequence[float] = (1.0, 1.0, 2.0),
    origin_mm: Sequence[float] = (-10.0, -20.0, 30.0), modality: str = "CT", slope: float = 1.0,
    intercept: float = -1024.0, stored_type: str = "int16", tags: dict[str, Any] | None = None,
    by_slice: Sequence[dict[str, Any]] | None = None, names: Sequence[str] | None = None, uid: str | None = None,
    patient: str = "P1",
) -> list[Path]:  # fmt: skip
    """Writes `values` as a series; returns its files in the order of the last axis.

    Args:
        folder: made if it is missing.
        values: (X, Y, Z) rescaled, X along a row and Y along a column; stored · slope + intercept.
        orientation: (2, 3) unit vectors along a row and along a column, LPS.
        spacing_mm: along X, Y, Z.
        origin_mm: centre of voxel (0, 0, 0), LPS.
        tags: set in all slices; None removes a tag.
        by_slice: the same slice by slice.
        names: of the files.
        uid: of the series; drawn if not given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    along_row, along_column = np.asarray(orientation, dtype=np.float64)
    step = np.cross(along_row, along_column) * spacing_mm[2]
    study, series, frame = generate_uid(), uid or generate_uid(), generate_uid()
    paths = []
    for index in range(values.shape[2]):
        stored = np.rint((values[:, :, index] - intercept) / slope).astype(stored_type)
        header = _header(stored, modality)
        header.PatientID, header.PatientName = patient, "Doe^Jane"
        header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = study, series, frame
        header.InstanceNumber, header.SliceThickness = index + 1, float(spacing_mm[2])
        header.PixelSpacing = [_ds(spacing_mm[1]), _ds(spacing_mm[0])]
        header.ImageOrientationPatient = [_ds(x) for x in (*along_row, *along_column)]
        header.ImagePositionPatient = [_ds(x) for x in np.asarray(origin_mm) + index * step]
        if modality == "CT":
            header.RescaleSlope, header.RescaleIntercept, header.RescaleType = _ds(slope), _ds(intercept), "HU"
        change_tags(header, tags or {})
        change_tags(header, by_slice[index] if by_slice else {})
        paths.append(folder / (names[index] if names else f"slice_{index + 1}.dcm"))
        header.save_as(paths[-1], enforce_file_format=True)
    return paths


def change_tags(header: Dataset, tags: dict[str, Any]) -> None:
    """Sets tags by keyword; None removes one."""
    for keyword, value in tags.items():
        if value is not None:
            setattr(header, keyword, value)
        elif keyword in header:
            delattr(header, keyword)


def _header(stored: np.ndarray, modality: str) -> Dataset:
    """A data set with the pixels of one slice."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    header.SOPInstanceUID = generate_uid()
    header.Modality, header.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    header.SeriesDescription = "phantom"
    header.PatientBirthDate, header.PatientSex = "19700101", "O"
    header.StudyDate, header.StudyTime, header.StudyID, header.AccessionNumber = "20240101", "120000", "1", ""
    header.ReferringPhysicianName, header.Manufacturer = "", "medaug tests"
    header.SeriesNumber, header.PatientPosition, header.PositionReferenceIndicator = 1, "HFS", ""
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Columns, header.Rows = stored.shape
    header.BitsAllocated = header.BitsStored = 8 * stored.dtype.itemsize
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(stored.dtype.kind == "i")
    header.PixelData = np.ascontiguousarray(stored.T).tobytes()
    if modality == "CT":
        header.KVP, header.AcquisitionNumber = None, 1
    return header


def _ds(value: float) -> str:
    """A decimal string: at most 16 characters, as many digits as fit."""
    return next(text for text in (f"{value:.{digits}g}" for digits in range(16, 0, -1)) if len(text) <= 16)
