"""The one place that opens files for reading: regular files alone, so that nothing waits for a pipe or reads a device.

A named pipe never ends, a device such as /dev/zero is never short, and a link may lead to either. Whoever hands a path
to a library calls `check_regular` first.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from medaug.errors import DataError

SPECIAL = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def check_regular(path: str | Path) -> Path:
    """Refuses what is neither a file on the disk nor a folder, wherever a link leads; returns the path.

    Raises:
        DataError: naming what it is.
        OSError: if there is nothing at this path.
    """
    kind = SPECIAL.get(stat.S_IFMT(os.stat(path).st_mode))
    if kind is not None:
        raise DataError.about(
            path, kind, "a file on the disk", "Give the file itself, or move this away: nothing is read from it."
        )
    return Path(path)


def open_file(path: str | Path) -> BinaryIO:
    """Opens a file for reading bytes.

    Raises:
        DataError: if it is a pipe, a socket or a device.
        OSError: if it cannot be opened.
    """
    check_regular(path)
    return open(path, "rb", opener=_without_waiting)


def read_file(path: str | Path) -> bytes:
    """All bytes of a file; errors as in `open_file`."""
    with open_file(path) as file:
        return file.read()


def read_png(path: str | Path) -> bytes:
    """The bytes of a picture that a run keeps.

    Raises:
        DataError: if it is missing, or no PNG.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise DataError.about(
            path, f"no readable file ({error.strerror})", "a PNG picture", "Run the command that draws it again."
        ) from error
    if not content.startswith(PNG_SIGNATURE + b"\0\0\0\rIHDR") or len(content) < 33:
        raise DataError.about(
            path, "something else than a picture", "a PNG", "Delete it, and run the command that draws it again."
        )
    return content


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that took the file's place after it was looked at gives no bytes; a regular file does not mind."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
