"""Pixel data as numbers: decompressed by pydicom's codecs, rescaled plane by plane, and where the padding is.

Values are kept exactly: padding keeps its value (-3024 HU, say) and is told apart by a mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from medaug.data.dicom.codestreams import PIXELS, oversized
from medaug.data.dicom.planes import Plane
from medaug.errors import DataError

INT16 = np.iinfo(np.int16)
LOWEST_HU = -1024.0  # air is at -1000; scanners store nothing below this but padding and noise
NEVER_MEASURED_HU = -2000.0  # -2000, -2048 and -3024 are what scanners put where they did not measure


def stored_frames(plane: Plane) -> np.ndarray:
    """The stored values of a plane's file: (frames, Rows, Columns), also of a single frame.

    Raises:
        DataError: if the codec is not installed, or the pixel data are cut off, damaged or of another size.
    """
    _check_codec(plane)
    try:
        other = oversized(plane.header)
        array = None if other else pixel_array(plane.header)
    except Exception as error:  # the codecs meet damaged bytes with every kind of exception
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError.about(
            plane.file,
            f"pixel data that cannot be decoded ({reason[0]})",
            "complete pixel data",
            "The file is cut off or damaged: copy or export it again.",
        ) from error
    if array is None:
        rows, columns = plane.header.Rows, plane.header.Columns
        raise DataError.about(
            plane.file,
            f"compressed pixel data of {other} pixels",
            f"({rows}, {columns}), its Rows and Columns",
            "The file is damaged or was made to exhaust memory: export it again.",
        )
    return array if array.ndim == 3 else array[None]


def rescaled(stored: np.ndarray, plane: Plane) -> np.ndarray:
    """One plane in its own unit: stored · RescaleSlope + RescaleIntercept.

    Returns:
        int16 where that is exact, else float32; the shape of `stored`.
    """
    slope, intercept = plane.number("RescaleSlope"), plane.number("RescaleIntercept")
    values = stored * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)
    whole = (values == np.rint(values)).all() and values.min() >= INT16.min and values.max() <= INT16.max
    return values.astype(np.int16 if whole else np.float32)


def padding_of(array: np.ndarray, stored: np.ndarray, planes: Sequence[Plane], spacing_mm: np.ndarray) -> np.ndarray:
    """Where voxels hold no measurement: bool, the shape of `array`.

    That is PixelPaddingValue (to PixelPaddingRangeLimit) in the stored values; and in CT what is -2000 HU or less, or
    below -1024 HU and outside the circle that a scanner reconstructs, inscribed in the image.

    Args:
        array: (X, Y, Z) rescaled.
        stored: (X, Y, Z) before the rescale.
        planes: by the last axis.
        spacing_mm: (2,) along X and Y.
    """
    padding = np.zeros(array.shape, dtype=bool)
    for index, plane in enumerate(planes):
        value, limit = _as_stored(plane, "PixelPaddingValue"), _as_stored(plane, "PixelPaddingRangeLimit")
        if value is not None:
            low, high = sorted((value, value if limit is None else limit))
            padding[..., index] = (stored[..., index] >= low) & (stored[..., index] <= high)
    if str(planes[0].get("Modality")).upper() == "CT":
        outside = _outside_the_circle(array.shape[:2], spacing_mm)
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


def _outside_the_circle(shape: tuple[int, int], spacing_mm: np.ndarray) -> np.ndarray:
    """(X, Y) bool: beyond the inscribed circle."""
    x, y = ((np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing_mm, strict=True))
    radius = min(size * step for size, step in zip(shape, spacing_mm, strict=True)) / 2
    return x[:, None] ** 2 + y[None, :] ** 2 > radius**2


def _check_codec(plane: Plane) -> None:
    syntax: UID = plane.header.file_meta.get("TransferSyntaxUID", UID(""))
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise DataError.about(
            plane.file,
            f"the transfer syntax {syntax.name or 'missing'}",
            "one that pydicom decodes",
            "Decompress it elsewhere, for example with gdcmconv or dcmconv.",
        ) from None
    if not available:
        raise DataError.about(
            plane.file,
            f"pixel data compressed as {syntax.name}, and no codec for it is installed",
            "a codec",
            'Run `pip install "medaug[codecs]"`, or decompress the series.',
        )


def without_pixels(header: Dataset) -> Dataset:
    """The same data set without its pixel data (changed in place, to hold a large series once in memory)."""
    for keyword in PIXELS:
        if keyword in header:
            delattr(header, keyword)
    return header
