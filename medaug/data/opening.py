"""Files opened for reading: regular ones alone, known by their endings, and never for more memory than they can fill.

A named pipe never ends, a device such as /dev/zero is never short, and a link may lead to either. A kilobyte can claim
10¹² voxels, and a megabyte of gzip can unpack to a gigabyte; both are found out before anything is allocated.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Protocol

from medaug.errors import ConfigError, DataError

SPECIAL = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

NIFTI = (".nii.gz", ".nii")
NRRD = (".nrrd",)
META_IMAGE = (".mha", ".mhd")
LOSSY = (".jpg", ".jpeg")
TIFF = (".tif", ".tiff")
PICTURES = (".png", *LOSSY, *TIFF)
DICOM = (".dcm", ".dicom", ".ima")
READABLE = (*NIFTI, *NRRD, *META_IMAGE, *PICTURES, *DICOM)
WRITABLE = (*NIFTI, ".png", *TIFF)

LIMIT = "MEDAUG_MAX_IMAGE_BYTES"
"""The environment variable that sets how many bytes an image may have."""
DEFAULT_LIMIT = 4 * 2**30
"""A CT of 512 × 512 × 4000 voxels in 32 bits."""
DEFLATE_MOST = 1032
"""Bytes that one byte of deflate can stand for at the most (zlib's technical details: 258 bytes for two bits)."""
BZIP2_MOST = 2**20
"""The same of bzip2: a block of 900,000 bytes stands for 46 million equal ones, and takes some 45."""
TRAILING_BYTES = 2**20
"""More than that behind the declared end is no padding."""


class Stream(Protocol):
    """What gives bytes in order."""

    def read(self, size: int = -1, /) -> bytes: ...


def check_regular(path: str | Path) -> Path:
    """Refuses what is neither a file on the disk nor a folder, wherever a link leads; returns the path.

    Raises:
        DataError: naming what it is.
        OSError: if there is nothing at this path.
    """
    kind = SPECIAL.get(stat.S_IFMT(os.stat(path).st_mode))
    if kind is not None:
        remedy = "Give the file itself, or move this away: nothing is read from it."
        raise DataError.about(path, kind, "a file on the disk", remedy)
    return Path(path)


def open_file(path: str | Path) -> BufferedReader:
    """Opens a file for reading bytes; errors as in `check_regular`."""

    def without_waiting(name: str, flags: int) -> int:
        """A pipe that took the file's place meanwhile gives no bytes; a regular file does not mind."""
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    check_regular(path)
    return open(path, "rb", opener=without_waiting)


def read_file(path: str | Path) -> bytes:
    """All bytes of a file; errors as in `check_regular`."""
    with open_file(path) as file:
        return file.read()


def read_png(path: str | Path) -> bytes:
    """The bytes of a picture that a run keeps; raises DataError if it is missing, or no PNG."""
    try:
        content = read_file(path)
    except OSError as error:
        found, remedy = f"no readable file ({error.strerror})", "Run the command that draws it again."
        raise DataError.about(path, found, "a PNG picture", remedy) from error
    if not content.startswith(PNG_SIGNATURE + b"\0\0\0\rIHDR") or len(content) < 33:
        remedy = "Delete it, and run the command that draws it again."
        raise DataError.about(path, "something else than a picture", "a PNG", remedy)
    return content


def suffix_of(path: str | Path) -> str:
    """The known ending of a file name in lower case (`.nii.gz` is one), or "" if medaug cannot read such a file."""
    name = Path(path).name.lower()
    return next((suffix for suffix in READABLE if name.endswith(suffix)), "")


def stem_of(path: str | Path) -> str:
    """The file name without its known ending: `scan.nii.gz` → `scan`."""
    name = Path(path).name
    return name[: len(name) - len(suffix_of(name))]


def is_scan(path: str | Path) -> bool:
    """Whether a file name looks like an image; names that start with a dot never do (`._scan.nii.gz` of macOS)."""
    return bool(suffix_of(path)) and not Path(path).name.startswith(".")


def is_dicom(path: str | Path) -> bool:
    """Whether a file holds DICOM, whatever its name: often it has no ending, or a part of a UID."""
    try:
        with open_file(path) as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def voxels_of(sizes: Sequence[int]) -> int:
    """How many voxels a header declares; raises ValueError if a size is not positive."""
    if not len(sizes) or min(sizes) < 1:
        raise ValueError(f"a header that declares the sizes {', '.join(map(str, sizes))}")
    return math.prod(map(int, sizes))


def most_bytes() -> int:
    """The limit of one image, in bytes as stored, unpacked; raises ConfigError if the setting is no such number."""
    text = os.environ.get(LIMIT, "").strip() or str(DEFAULT_LIMIT)
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise ConfigError(f"{LIMIT}: found {text:.40}; expected a number of bytes, such as {DEFAULT_LIMIT}")
    return int(text)


def check_declared(declared: int, file: BinaryIO | int, ratio: int = 1, at_least: int = 0) -> None:
    """Refuses a header that declares more than the file can hold, or (of a file) more than the limit.

    Args:
        declared: bytes, once unpacked.
        file: the file, or how many bytes of one hold the data.
        ratio: how many bytes one byte of the file can stand for.
        at_least: bytes that any file may declare.

    Raises:
        ValueError: with both numbers.
        DataError: if it is beyond the limit.
    """
    size = file if isinstance(file, int) else os.fstat(file.fileno()).st_size
    if not 0 < declared <= max(size * ratio, at_least):
        raise ValueError(f"a header that declares {declared:,} bytes in a file of {size:,}")
    if not isinstance(file, int):
        check_within_limit(declared, file.name)


def check_within_limit(declared: int, path: str | Path) -> None:
    """Refuses an image of more bytes than the limit, by a DataError that says how to raise it."""
    if declared > (most := most_bytes()):
        setting = f"set the environment variable {LIMIT} higher; it needs a few times that memory."
        found, expected = f"an image of {declared:,} bytes", f"at most {most:,}"
        raise DataError.about(path, found, expected, f"If the file is sound, {setting}")


def read_declared(stream: Stream, declared: int, start: bytes = b"") -> bytes:
    """`start` and the rest of an unpacked stream; raises ValueError if that is far beyond what was declared."""
    data = start + stream.read(declared + TRAILING_BYTES + 1 - len(start))
    if len(data) > declared + TRAILING_BYTES:
        raise ValueError(f"more data than the {declared:,} bytes that its header declares")
    return data
