"""How much memory a file may ask for: what its header declares, which is no more than the file can hold.

A kilobyte can claim 10¹² voxels, and a megabyte of gzip can unpack to a gigabyte; both are found out before anything
is allocated. The decoders of `readers.py` call this.
"""

from __future__ import annotations

import bz2
import io
import math
import os
from collections.abc import Sequence
from typing import BinaryIO, Protocol

from isal import igzip, isal_zlib

DEFLATE_MOST = 1032
"""Bytes that one byte of deflate can stand for at the most (zlib's technical details: 258 bytes for two bits)."""
BZIP2_MOST = 2**20
"""The same of bzip2: a block of 900,000 bytes stands for 46 million equal ones, and takes some 45."""
TRAILING_BYTES = 2**20
"""More than that behind the declared end is no padding."""
PIECE_BYTES = 2**20


def voxels_of(sizes: Sequence[int]) -> int:
    """How many voxels a header declares.

    Raises:
        ValueError: if a size is not positive.
    """
    if not len(sizes) or min(sizes) < 1:
        raise ValueError(f"a header that declares the sizes {', '.join(map(str, sizes))}")
    return math.prod(map(int, sizes))


class Stream(Protocol):
    """What gives bytes in order."""

    def read(self, size: int = -1, /) -> bytes: ...


def check_declared(declared: int, file: BinaryIO, ratio: int = 1) -> None:
    """Refuses a header that declares more than the file can hold.

    Args:
        declared: bytes, once unpacked.
        ratio: how many of them one byte of the file can stand for.

    Raises:
        ValueError: with both numbers.
    """
    size = os.fstat(file.fileno()).st_size
    if not 0 < declared <= size * ratio:
        raise ValueError(f"a header that declares {declared:,} bytes in a file of {size:,}")


def read_declared(stream: Stream, declared: int, start: bytes = b"") -> bytes:
    """`start` and what follows it in an unpacked stream, to its end.

    Raises:
        ValueError: if it goes on far beyond what was declared.
    """
    data = start + stream.read(declared + TRAILING_BYTES + 1 - len(start))
    if len(data) > declared + TRAILING_BYTES:
        raise ValueError(f"more data than the {declared:,} bytes that its header declares")
    return data


def gunzipped(file: BinaryIO) -> Stream:
    """The unpacked stream of a gzip file that stands at its start."""
    return igzip.GzipFile(fileobj=file)


def bunzipped(file: BinaryIO) -> Stream:
    """The same of bzip2."""
    return bz2.BZ2File(io.BytesIO(file.read()))


def inflates_beyond(data: bytes, most: int) -> bool:
    """Whether raw deflate data unpack to more than `most` bytes; they are not kept."""
    unpacker = isal_zlib.decompressobj(wbits=-15)
    total, rest = 0, data
    while rest and not unpacker.eof and total <= most:
        total += len(unpacker.decompress(rest, PIECE_BYTES))
        rest = unpacker.unconsumed_tail
    return total > most
