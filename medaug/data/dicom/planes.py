"""One plane of a series, whether it is a file of its own or a frame of a multi-frame file, and what it has to be.

An enhanced (multi-frame) object keeps what changes in per-frame functional groups and the rest in the shared groups or
beside them (DICOM PS3.3 C.7.6.16); a classic object has one data set a slice. `Plane.get` looks in that order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from medaug.data.dicom.pixels import PIXELS, check_proportion
from medaug.data.dicom.series import NOT_SCANS
from medaug.data.opening import check_regular
from medaug.errors import DataError

LARGEST_MM = 1e6
"""No scanner is a kilometre wide."""
NO_CROSS_SECTIONS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "PROJECTION IMAGE", "MIP", "MINIP", "MIN_IP", "MAX_IP")
RADIOGRAPHS = ("CR", "DX", "MG", "XA", "RF", "PX", "IO", "OP", "XC", "ES", "GM", "SM")


@dataclass(frozen=True)
class Plane:
    """A plane's tags and where it stands.

    Attributes:
        file: the file it is in.
        frame: its index in a multi-frame file, None in a classic one.
        header: the file's data set.
        groups: the data sets that hold its tags, the most specific first.
    """

    file: Path
    frame: int | None
    header: Dataset = field(repr=False)  # holds the patient's name
    groups: tuple[Dataset, ...] = field(repr=False)

    @property
    def name(self) -> str:
        return self.file.name if self.frame is None else f"{self.file.name}, frame {self.frame + 1}"

    @property
    def modality(self) -> str:
        return str(self.get("Modality") or "").upper()

    def get(self, keyword: str) -> Any:
        """The value of a tag, or None if it is missing or empty."""
        for group in self.groups:
            value = group.get(keyword)
            if value is not None and value != "" and not (hasattr(value, "__len__") and len(value) == 0):
                return value
        return None

    @cached_property
    def position_mm(self) -> np.ndarray:
        """(3,) the centre of the first voxel, LPS."""
        return self._numbers("ImagePositionPatient", 3)

    @cached_property
    def orientation(self) -> np.ndarray:
        """(2, 3) unit vectors along a row (to the next column) and along a column (to the next row), LPS."""
        return self._numbers("ImageOrientationPatient", 6).reshape(2, 3)

    @cached_property
    def spacing_mm(self) -> np.ndarray:
        """(2,) between rows, between columns."""
        return self._numbers("PixelSpacing", 2)

    def number(self, keyword: str) -> float | None:
        """A tag with one number; None if it is missing.

        Raises:
            DataError: if it is not a finite number.
        """
        return None if self.get(keyword) is None else float(self._numbers(keyword, 1)[0])

    def _numbers(self, keyword: str, count: int) -> np.ndarray:
        value = self.get(keyword)
        if value is None:
            raise DataError.about(
                self.file,
                f"no {keyword}",
                "its place in the patient (position, orientation and spacing)",
                "medaug reads cross-sectional images; leave out radiographs, screenshots and results pages.",
            )
        try:
            numbers = np.array(value, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        bound = np.inf if keyword.startswith(("Rescale", "PixelPadding")) else LARGEST_MM
        if numbers.shape != (count,) or not np.isfinite(numbers).all() or np.abs(numbers).max() > bound:
            raise DataError.about(
                self.file,
                f"a {keyword} that is not {count} finite number(s) of ordinary size",
                "valid geometry and rescale tags",
                "Export the series again, or correct the tag.",
            )
        return numbers


def read_planes(file: Path) -> list[Plane]:
    """The planes of one file, with its pixel data still in the header.

    Raises:
        DataError: if the file is damaged, has several frames that no functional groups describe, or holds something
            else than whole, single-channel cross-sections with known units; naming the file and the tag.
    """
    try:
        header = pydicom.dcmread(check_regular(file))
        frames = int(header.get("NumberOfFrames") or 1)
        per_frame = list(header.get("PerFrameFunctionalGroupsSequence") or ())
        shared = list(header.get("SharedFunctionalGroupsSequence") or ())
    except Exception as error:  # pydicom meets damaged bytes with every kind of exception
        raise DataError.about(
            file, f"a damaged DICOM file ({type(error).__name__})", "a readable DICOM file", "Copy or export it again."
        ) from error
    check_proportion(header, file)
    if not per_frame and frames == 1:
        planes = [Plane(file, None, header, (header,))]
    elif len(per_frame) != frames:
        raise DataError.about(
            file,
            f"{frames} frames and functional groups for {len(per_frame)} of them",
            "a place in the patient for every frame (an enhanced multi-frame image)",
            "Export it as an enhanced or as a single-frame series; films and loops are no volumes.",
        )
    else:
        common = [item for group in shared for item in _items(group)]
        planes = [Plane(file, i, header, (*_items(group), *common, header)) for i, group in enumerate(per_frame)]
    for plane in planes:
        _check_cross_section(plane)
        _check_rescale(plane)
    return planes


def _items(group: Dataset) -> list[Dataset]:
    """The first item of each functional group."""
    return [element.value[0] for element in group if element.VR == "SQ" and len(element.value)]


def _check_cross_section(plane: Plane) -> None:
    header, modality = plane.header, plane.modality
    image_type = [str(value).upper() for value in np.atleast_1d(plane.get("FrameType") or plane.get("ImageType") or [])]
    projection = next((value for value in image_type if value in NO_CROSS_SECTIONS), None)
    colours = str(header.get("PhotometricInterpretation") or "").upper()
    if modality in NOT_SCANS or not (header.get("Rows") and header.get("Columns")):
        kind = UID(str(header.get("SOPClassUID") or "")).name or modality or "of an unknown kind"
        found, expected = f"a DICOM object that is no scan ({kind})", "CT, MR or other images"
        remedy = "Point to the images of a series."
    elif not any(keyword in header for keyword in PIXELS):
        found, expected = "no pixel data", "a complete image"
        remedy = "The file is cut off: copy or export it again."
    elif modality in RADIOGRAPHS or projection:
        found = f"a projection, not a cross-section ({projection or f'Modality {modality}'})"
        expected, remedy = "slices of a volume", "Leave out localizers, radiographs and projections."
    elif int(header.get("SamplesPerPixel") or 1) != 1 or not colours.startswith("MONOCHROME"):
        found = f"a colour image (PhotometricInterpretation {colours or 'missing'})"
        expected = "one grey channel"
        remedy = "Use the series it was made from; colour maps and screenshots hold no measurements."
    else:
        return
    raise DataError.about(plane.file, found, expected, remedy)


def _check_rescale(plane: Plane) -> None:
    missing = [keyword for keyword in ("RescaleSlope", "RescaleIntercept") if plane.get(keyword) is None]
    if plane.modality == "CT" and missing:
        raise DataError.about(
            plane.file,
            f"a CT without {' and '.join(missing)}",
            "the rescale from stored values to HU",
            "Export it again with these tags; without them its values mean nothing.",
        )
    if plane.number("RescaleSlope") == 0:
        raise DataError.about(plane.file, "a RescaleSlope of 0", "a slope other than 0", "Export the series again.")
    if plane.get("ModalityLUTSequence") is not None:
        expected = "a linear rescale (slope and intercept)"
        remedy = "Export it with RescaleSlope and RescaleIntercept."
        raise DataError.about(plane.file, "a modality lookup table", expected, remedy)
