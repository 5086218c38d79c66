"""Reads one DICOM series as one volume, exactly: values in their own unit (HU for CT), geometry in mm, RAS.

`series` says which files, `planes` refuses what is no volume, `pixels` decodes. highdicom's
`get_volume_from_series` is not the whole of it: it takes no multi-frame file and no file without a frame of reference,
inverts MONOCHROME1, and knows no padding; where it takes a series, the result is the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from medaug.data.dicom.pixels import PIXELS, check_proportion, declared_bytes, padding_of, rescaled, stored_frames
from medaug.data.dicom.planes import Plane, sorted_stack, telling_tags
from medaug.data.dicom.series import NOT_SCANS, choose_series
from medaug.data.opening import check_regular, check_within_limit
from medaug.errors import DataError
from medaug.volumes import check_finite

log = logging.getLogger(__name__)

ONE_WAY = ("EchoNumbers", "ContrastBolusAgent", "ConvolutionKernel", "TemporalPositionIdentifier", "DiffusionBValue")
"""Tags that have one value in a volume: slices that differ in them were acquired or reconstructed in different ways."""
NO_CROSS_SECTIONS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "PROJECTION IMAGE", "MIP", "MINIP", "MIN_IP", "MAX_IP")
RADIOGRAPHS = ("CR", "DX", "MG", "XA", "RF", "PX", "IO", "OP", "XC", "ES", "GM", "SM")
DARKEST_TISSUE_HU = -500.0  # a CT of a body has lung or air around it
WATER_HU = -100.0


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
    planes, affine = sorted_stack(planes, where)
    modalities = sorted({plane.modality for plane in planes})
    if len(modalities) > 1:
        raise DataError.about(where, f"the modalities {', '.join(modalities)}", "one", "Split the series by Modality.")
    for keyword in ONE_WAY:
        if len({str(plane.get(keyword)) for plane in planes}) > 1:
            found = f"two acquisitions mixed in one series: it differs in {telling_tags(planes)}"
            expected = "one acquisition in a series"
            raise DataError.about(where, found, expected, f"Copy the files of one {keyword} to a folder of their own.")
    try:
        total = sum(declared_bytes(header) for header in {plane.file: plane.header for plane in planes}.values())
    except (ValueError, TypeError, AttributeError) as error:
        found, expected = f"no valid size of its pixels ({type(error).__name__})", "Rows, Columns and BitsAllocated"
        raise DataError.about(where, found, expected, "Export it again.") from error
    check_within_limit(total, where)
    frames: dict[Path, np.ndarray] = {}
    slices = []
    for plane in planes:
        if plane.file not in frames:
            frames = {plane.file: stored_frames(plane)}  # of one file at a time, taken out of its header
        slices.append(frames[plane.file][plane.frame or 0].T)
    stored = _stacked(slices)
    array = _stacked([rescaled(stored[..., index], plane) for index, plane in enumerate(planes)])
    check_finite(array, str(where))
    padding = padding_of(array, stored, planes, np.linalg.norm(affine[:3, :2], axis=0))
    if modalities == ["CT"]:
        _warn_of_other_units(array[~padding], planes[0], where)
    if len(planes) == 1:
        array, padding = array[..., 0], padding[..., 0]
    headers = [plane.header for plane in planes[: None if planes[0].frame is None else 1]]
    return DicomVolume(array, affine, headers, modalities[0], padding if padding.any() else None)


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
        found = f"a damaged DICOM file ({type(error).__name__})"
        raise DataError.about(file, found, "a readable DICOM file", "Copy or export it again.") from error
    check_proportion(header, file)
    if not per_frame and frames == 1:
        planes = [Plane(file, None, header, (header,))]
    elif len(per_frame) != frames:
        found = f"{frames} frames and functional groups for {len(per_frame)} of them"
        expected = "a place in the patient for every frame (an enhanced multi-frame image)"
        remedy = "Export it as an enhanced or as a single-frame series; films and loops are no volumes."
        raise DataError.about(file, found, expected, remedy)
    else:
        common = [item for group in shared for item in _items(group)]
        planes = [Plane(file, i, header, (*_items(group), *common, header)) for i, group in enumerate(per_frame)]
    for plane in planes:
        _check_cross_section(plane)
    return planes


def _items(group: Dataset) -> list[Dataset]:
    """The first item of each functional group."""
    return [element.value[0] for element in group if element.VR == "SQ" and len(element.value)]


def _check_cross_section(plane: Plane) -> None:
    """Refuses what is no slice of a body, and values whose unit is not known."""
    header, modality = plane.header, plane.modality
    image_type = [str(value).upper() for value in np.atleast_1d(plane.get("FrameType") or plane.get("ImageType") or [])]
    projection = next((value for value in image_type if value in NO_CROSS_SECTIONS), None)
    rescale_missing = [keyword for keyword in ("RescaleSlope", "RescaleIntercept") if plane.get(keyword) is None]
    colours = str(header.get("PhotometricInterpretation") or "").upper()
    if modality in NOT_SCANS or not (header.get("Rows") and header.get("Columns")):
        kind = UID(str(header.get("SOPClassUID") or "")).name or modality or "of an unknown kind"
        found, expected = f"a DICOM object that is no scan ({kind})", "CT, MR or other images"
        remedy = "Point to the images of a series."
    elif not any(keyword in header for keyword in PIXELS):
        found, expected, remedy = "no pixel data", "a complete image", "The file is cut off: copy or export it again."
    elif modality in RADIOGRAPHS or projection:
        found = f"a projection, not a cross-section ({projection or f'Modality {modality}'})"
        expected, remedy = "slices of a volume", "Leave out localizers, radiographs and projections."
    elif int(header.get("SamplesPerPixel") or 1) != 1 or not colours.startswith("MONOCHROME"):
        found, expected = f"a colour image (PhotometricInterpretation {colours or 'missing'})", "one grey channel"
        remedy = "Use the series it was made from; colour maps and screenshots hold no measurements."
    elif modality == "CT" and rescale_missing:
        found, expected = f"a CT without {' and '.join(rescale_missing)}", "the rescale from stored values to HU"
        remedy = "Export it again with these tags; without them its values mean nothing."
    elif plane.number("RescaleSlope") == 0:
        found, expected, remedy = "a RescaleSlope of 0", "a slope other than 0", "Export the series again."
    elif plane.get("ModalityLUTSequence") is not None:
        found, expected = "a modality lookup table", "a linear rescale (slope and intercept)"
        remedy = "Export it with RescaleSlope and RescaleIntercept."
    else:
        return
    raise DataError.about(plane.file, found, expected, remedy)


def _warn_of_other_units(measured: np.ndarray, plane: Plane, where: Path) -> None:
    """Says why the values (n,) of a CT do not look like HU."""
    kind = plane.get("RescaleType")
    low, high = (float(measured.min()), float(measured.max())) if measured.size else (DARKEST_TISSUE_HU, WATER_HU)
    if kind is not None and str(kind).upper() != "HU":
        log.warning("%s: a CT whose RescaleType is %s, not HU: its values are used as they are", where, kind)
    elif low > DARKEST_TISSUE_HU:
        log.warning("%s: a CT with nothing below %g, and so no air: not HU, or cut out of the body", where, low)
    elif high < WATER_HU:
        log.warning("%s: a CT with nothing above %g, and so no tissue: not HU, or empty", where, high)


def _stacked(slices: list[np.ndarray]) -> np.ndarray:
    """Slices as one volume, each contiguous in memory; of the type that holds them all."""
    stack = np.empty((*slices[0].shape, len(slices)), dtype=np.result_type(*slices), order="F")
    for index, values in enumerate(slices):
        stack[..., index] = values
    return stack
