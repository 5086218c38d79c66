"""What a file was when its writer was done with it, so that a cut, changed or missing one is noticed later.

A seal is [bytes, SHA-256, time of the last change (ns), that of the last change of anything (ns)]. A file of more than
a megabyte whose size and both times are the same is not read again: no ordinary program changes a file and keeps the
second time. After a copy the times differ, and the hash decides.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from medaug.data.opening import open_file
from medaug.errors import DataError

Seal = list[int | str]
LARGE_BYTES = 2**20


def seal(path: Path) -> Seal:
    """The seal of a file as it is now."""
    before = path.stat()
    return [before.st_size, sha256_of(path), before.st_mtime_ns, before.st_ctime_ns]


def renewed(path: Path, sealed: Seal) -> Seal | None:
    """The seal, of a large file with today's times; None if the file is not what was sealed."""
    try:
        found = path.stat()
        times = [found.st_mtime_ns, found.st_ctime_ns]
        if found.st_size != sealed[0]:
            return None
        large = found.st_size > LARGE_BYTES
        if large and times == sealed[2:]:
            return sealed
        if sha256_of(path) != sealed[1]:
            return None
        return [*sealed[:2], *times] if large else sealed
    except (OSError, DataError, TypeError, IndexError):
        return None


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes, in hex; the file is not held in memory."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while piece := file.read(LARGE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
