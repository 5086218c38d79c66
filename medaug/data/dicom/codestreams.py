"""What pixel data take once decoded, by the header and by their own streams, checked before anything is decoded.

A codec allocates what its own stream declares, not what Rows and Columns say: a few bytes can ask for gigabytes.
"""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments, generate_frames
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from medaug.data.unpacking import check_declared
from medaug.errors import DataError

J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ (ISO/IEC 15444-1, annex A)
J2K_BOXES = 1024  # within so many bytes the codestream begins where a file has JP2's boxes around it
JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF of JPEG and of JPEG-LS

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
PACKED_RATIO, PACKED_AT_LEAST = 1032, 2**26
"""Decoded bytes that one byte of compressed pixels may stand for, and what any file may: empty slices pack well."""


def declared_bytes(header: Dataset) -> int:
    """What the pixels of all frames take once decoded, by the header.

    Raises:
        Exception: any kind, where the header holds something else than numbers.
    """
    frames, samples = int(header.get("NumberOfFrames") or 1), int(header.get("SamplesPerPixel") or 1)
    return frames * samples * int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) // 8


def check_proportion(header: Dataset, file: Path) -> None:
    """Refuses more pixels than the file's data can stand for, and frames that have no data.

    Raises:
        DataError: with the numbers.
    """
    try:
        _check_proportion(header)
    except Exception as error:  # pydicom meets damaged bytes with every kind of exception
        raise DataError.about(
            file,
            f"pixel data that cannot be decoded ({error})",
            "complete pixel data",
            "The file is cut off or damaged: copy or export it again.",
        ) from error


def _check_proportion(header: Dataset) -> None:
    data = next((header[keyword].value for keyword in PIXELS if keyword in header), None)
    if data is None or not (header.get("Rows") and header.get("Columns")):
        return  # which is told later
    packed = header.file_meta.TransferSyntaxUID.is_encapsulated
    ratio, at_least = (PACKED_RATIO, PACKED_AT_LEAST) if packed else (1, 0)
    check_declared(declared_bytes(header), len(data), ratio, at_least)
    frames = int(header.get("NumberOfFrames") or 1)
    if packed and frames > 1 and sum(1 for _ in generate_fragments(data)) < frames:
        raise ValueError(f"a header that declares {frames} frames, and fewer pieces of pixel data")


def oversized(header: Dataset) -> tuple[int, int] | None:
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
    """Of the first start-of-frame segment."""
    place = 2  # behind SOI
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker in JPEG_FRAMES:
            return int.from_bytes(frame[place + 5 : place + 7], "big"), int.from_bytes(
                frame[place + 7 : place + 9], "big"
            )
        place += 1 if marker == 0xFF else 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None
