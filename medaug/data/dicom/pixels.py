"""Pixel data as numbers: their size checked before anything is decoded, decompressed by pydicom's codecs, rescaled
plane by plane, and where the padding is.

A codec allocates what its own stream declares, not what Rows and Columns say: a few bytes can ask for gigabytes. Values
are kept exactly: padding keeps its value (-3024 HU, say) and is told apart by a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments, generate_frames
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from medaug.data.opening import check_declared
from medaug.errors import DataError

if TYPE_CHECKING:
    from medaug.data.dicom.planes import Plane

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
PACKED_RATIO, PACKED_AT_LEAST = 1032, 2**26
"""Decoded bytes that one byte of compressed pixels may stand for, and what any file may: empty slices pack well."""
J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ (ISO/IEC 15444-1, annex A)
J2K_BOXES = 1024  # within so many bytes the codestream begins where a file has JP2's boxes around it
JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF of JPEG and of JPEG-LS

INT16 = np.iinfo(np.int16)
LOWEST_HU = -1024.0  # air is at -1000; scanners store nothing below this but padding and noise
NEVER_MEASURED_HU = -2000.0  # -2000, -2048 and -3024 are what scanners put where they did not measure


def declared_bytes(header: Dataset) -> int:
    """What the pixels of all frames take once decoded, by the header; any error rises where it holds no numbers."""
    frames, samples = int(header.get("NumberOfFrames") or 1), int(header.get("SamplesPerPixel") or 1)
    return frames * samples * int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) // 8


def check_proportion(header: Dataset, file: Path) -> None:
    """Refuses more pixels than the data can stand for, and frames without data, by a DataError with the numbers."""
    data = None
    try:
        data = next((header[keyword].value for keyword in PIXELS if keyword in header), None)
        if data is None or not (header.get("Rows") and header.get("Columns")):
            return  # which is told later
        packed = header.file_meta.TransferSyntaxUID.is_encapsulated
        check_declared(declared_bytes(header), len(data), *((PACKED_RATIO, PACKED_AT_LEAST) if packed else (1, 0)))
        frames = int(header.get("NumberOfFrames") or 1)
        if packed and frames > 1 and sum(1 for _ in generate_fragments(data)) < frames:
            raise ValueError(f"a header that declares {frames} frames, and fewer pieces of pixel data")
    except Exception as error:  # pydicom meets damaged bytes with every kind of exception
        raise _undecodable(file, error) from error


def stored_frames(plane: Plane) -> np.ndarray:
    """Takes the stored values out of a plane's header: (frames, Rows, Columns), also of a single frame.

    Raises:
        DataError: if the codec is not installed, or the pixel data are cut off, damaged or of another size.
    """
    header, file = plane.header, plane.file
    syntax = header.file_meta.get("TransferSyntaxUID", UID(""))
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        found, expected = f"the transfer syntax {syntax.name or 'missing'}", "one that pydicom decodes"
        remedy = "Decompress it elsewhere, for example with gdcmconv or dcmconv."
        raise DataError.about(file, found, expected, remedy) from None
    if not available:
        found = f"pixel data compressed as {syntax.name}, and no codec for it is installed"
        remedy = 'Run `pip install "medaug[codecs]"`, or decompress the series.'
        raise DataError.about(file, found, "a codec", remedy)
    try:
        other = _oversized(header)
        array = None if other else pixel_array(header)
    except Exception as error:  # the codecs meet damaged bytes with every kind of exception
        raise _undecodable(file, error) from error
    if array is None:
        found = f"compressed pixel data of {other} pixels"
        remedy = "The file is damaged or was made to exhaust memory: export it again."
        raise DataError.about(file, found, f"({header.Rows}, {header.Columns}), its Rows and Columns", remedy)
    for keyword in PIXELS:
        if keyword in header:
            delattr(header, keyword)  # a large series is in memory once
    return array if array.ndim == 3 else array[None]


def rescaled(stored: np.ndarray, plane: Plane) -> np.ndarray:
    """One plane in its own unit, stored · RescaleSlope + RescaleIntercept: int16 where that is exact, else float32."""
    slope, intercept = plane.number("RescaleSlope"), plane.number("RescaleIntercept")
    values = stored * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)
    whole = (values == np.rint(values)).all() and values.min() >= INT16.min and values.max() <= INT16.max
    return values.astype(np.int16 if whole else np.float32)


def padding_of(array: np.ndarray, stored: np.ndarray, planes: Sequence[Plane], spacing_mm: np.ndarray) -> np.ndarray:
    """Finds the voxels that hold no measurement: bool, the shape of `array`.

    That is PixelPaddingValue (to PixelPaddingRangeLimit) in the stored values; and in CT what is -2000 HU or less, or
    below -1024 HU and outside the circle that a scanner reconstructs, inscribed in the image.

    Args:
        array, stored: (X, Y, Z) after and before the rescale, of these planes by the last axis.
        spacing_mm: (2,) along X and Y.
    """
    padding = np.zeros(array.shape, dtype=bool)
    for index, plane in enumerate(planes):
        value, limit = _as_stored(plane, "PixelPaddingValue"), _as_stored(plane, "PixelPaddingRangeLimit")
        if value is not None:
            low, high = sorted((value, value if limit is None else limit))
            padding[..., index] = (stored[..., index] >= low) & (stored[..., index] <= high)
    if planes[0].modality == "CT":
        sizes_mm = array.shape[:2] * spacing_mm
        x, y = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(array.shape, spacing_mm, strict=False))
        outside = x[:, None] ** 2 + y**2 > (min(sizes_mm) / 2) ** 2
        padding |= (array <= NEVER_MEASURED_HU) | ((array < LOWEST_HU) & outside[..., None])
    return padding


def _as_stored(plane: Plane, keyword: str) -> int | None:
    """A padding tag in the sign of the pixels: many files write it in the other one."""
    value = plane.number(keyword)
    if value is None:
        return None
    bits = int(plane.header.BitsAllocated)
    signed = plane.header.get("PixelRepresentation", 0) == 1
    wrapped = int(value) % (1 << bits)
    return wrapped - (1 << bits) if signed and wrapped >= 1 << (bits - 1) else wrapped


def _undecodable(file: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    remedy = "The file is cut off or damaged: copy or export it again."
    return DataError.about(file, f"pixel data that cannot be decoded ({reason[0]})", "complete pixel data", remedy)


def _oversized(header: Dataset) -> tuple[int, int] | None:
    """(rows, columns) of the first frame that declares others than the header; None if none does, or none says."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax in JPEG2000TransferSyntaxes:
        size_of = _j2k_size
    elif syntax in [*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes]:
        size_of = _jpeg_size
    else:
        return None
    expected, count = (header.Rows, header.Columns), int(header.get("NumberOfFrames") or 1)
    for frame in generate_frames(header.PixelData, number_of_frames=count):
        found = size_of(frame)
        if found is not None and found != expected:
            return found
    return None


def _j2k_size(frame: bytes) -> tuple[int, int] | None:
    """Ysiz − YOsiz and Xsiz − XOsiz of the SIZ segment."""
    start = frame[:J2K_BOXES].find(J2K_START)
    if start < 0 or len(frame) < start + 24:
        return None
    fields = frame[start + 8 : start + 24]  # behind Lsiz and Rsiz
    x, y, left, top = (int.from_bytes(fields[i : i + 4], "big") for i in range(0, 16, 4))
    return y - top, x - left


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """The lines and samples of the first start-of-frame segment."""
    place = 2  # behind SOI
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker in JPEG_FRAMES:
            size = frame[place + 5 : place + 9]
            return int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
        place += 1 if marker == 0xFF else 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None
