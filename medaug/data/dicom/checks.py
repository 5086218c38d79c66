"""What a DICOM image has to be before its planes are put together: a cross-section of one channel, with known units."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.uid import UID

from medaug.data.dicom.codestreams import PIXELS
from medaug.data.dicom.geometry import telling_tags
from medaug.data.dicom.planes import Plane
from medaug.data.dicom.series import NOT_SCANS
from medaug.errors import DataError

log = logging.getLogger(__name__)

NO_CROSS_SECTIONS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "PROJECTION IMAGE", "MIP", "MINIP", "MIN_IP", "MAX_IP")
RADIOGRAPHS = ("CR", "DX", "MG", "XA", "RF", "PX", "IO", "OP", "XC", "ES", "GM", "SM")
ONE_WAY = ("EchoNumbers", "ContrastBolusAgent", "ConvolutionKernel", "TemporalPositionIdentifier", "DiffusionBValue")
"""Tags that have one value in a volume: slices that differ in them were acquired or reconstructed in different ways."""
DARKEST_TISSUE_HU = -500.0  # a CT of a body has lung or air around it
WATER_HU = -100.0


def check_plane(plane: Plane) -> None:
    """Refuses what is no whole, single-channel cross-section, or a CT without its rescale.

    Raises:
        DataError: naming the file and the tag.
    """
    header, modality = plane.header, modality_of(plane)
    if modality in NOT_SCANS or not (header.get("Rows") and header.get("Columns")):
        kind = UID(str(header.get("SOPClassUID") or "")).name or modality or "of an unknown kind"
        raise DataError.about(
            plane.file,
            f"a DICOM object that is no scan ({kind})",
            "CT, MR or other images",
            "Point to the images of a series.",
        )
    if not any(keyword in header for keyword in PIXELS):
        raise DataError.about(
            plane.file, "no pixel data", "a complete image", "The file is cut off: copy or export it again."
        )
    image_type = [str(value).upper() for value in np.atleast_1d(plane.get("FrameType") or plane.get("ImageType") or [])]
    projection = next((value for value in image_type if value in NO_CROSS_SECTIONS), None)
    if modality in RADIOGRAPHS or projection:
        raise DataError.about(
            plane.file,
            f"a projection, not a cross-section ({projection or f'Modality {modality}'})",
            "slices of a volume",
            "Leave out localizers, radiographs and projections.",
        )
    colours = str(header.get("PhotometricInterpretation") or "").upper()
    if int(header.get("SamplesPerPixel") or 1) != 1 or not colours.startswith("MONOCHROME"):
        raise DataError.about(
            plane.file,
            f"a colour image (PhotometricInterpretation {colours or 'missing'})",
            "one grey channel",
            "Use the series it was made from; colour maps and screenshots hold no measurements.",
        )
    _check_rescale(plane, modality)


def check_series(planes: Sequence[Plane], where: Path) -> None:
    """Refuses planes of different modalities, or acquired in different ways.

    Raises:
        DataError: naming the tag and its values.
    """
    modalities = sorted({modality_of(plane) for plane in planes})
    if len(modalities) > 1:
        raise DataError.about(where, f"the modalities {', '.join(modalities)}", "one", "Split the series by Modality.")
    for keyword in ONE_WAY:
        if len({str(plane.get(keyword)) for plane in planes}) > 1:
            raise DataError.about(
                where,
                f"two acquisitions mixed in one series: it differs in {telling_tags(planes)}",
                "one acquisition in a series",
                f"Copy the files of one {keyword} to a folder of their own.",
            )


def check_hounsfield(values: np.ndarray, padding: np.ndarray | None, plane: Plane, where: Path) -> None:
    """Warns of a CT whose values do not look like HU, with the reason; `values` and `padding` are of one shape."""
    kind = plane.get("RescaleType")
    measured = values if padding is None else values[~padding]
    if kind is not None and str(kind).upper() != "HU":
        log.warning("%s: a CT whose RescaleType is %s, not HU: its values are used as they are", where, kind)
    elif measured.size and measured.min() > DARKEST_TISSUE_HU:
        log.warning(
            "%s: a CT with nothing below %g, and so no air: not HU, or cut out of the body",
            where,
            float(measured.min()),
        )
    elif measured.size and measured.max() < WATER_HU:
        log.warning("%s: a CT with nothing above %g, and so no tissue: not HU, or empty", where, float(measured.max()))


def modality_of(plane: Plane) -> str:
    return str(plane.get("Modality") or "").upper()


def _check_rescale(plane: Plane, modality: str) -> None:
    missing = [keyword for keyword in ("RescaleSlope", "RescaleIntercept") if plane.get(keyword) is None]
    if modality == "CT" and missing:
        raise DataError.about(
            plane.file,
            f"a CT without {' and '.join(missing)}",
            "the rescale from stored values to HU",
            "Export it again with these tags; without them its values mean nothing.",
        )
    if plane.number("RescaleSlope") == 0:
        raise DataError.about(plane.file, "a RescaleSlope of 0", "a slope other than 0", "Export the series again.")
    if plane.get("ModalityLUTSequence") is not None:
        raise DataError.about(
            plane.file,
            "a modality lookup table",
            "a linear rescale (slope and intercept)",
            "Export it with RescaleSlope and RescaleIntercept.",
        )
