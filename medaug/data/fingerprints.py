"""What tells that two images are copies of one another, and that a file is still the one that was written.

A fingerprint is a hash of an image's voxels that the format, the type of number, flips and exchanged axes leave alone:
each voxel's value becomes a mixed 64-bit number, those are summed over the lines (planes) across each axis, and of the
resulting profiles, read in the direction that sorts first, a hash is taken. Nobody reads an image in them.
A seal is [bytes, SHA-256, time of the last change (ns), that of the last change of anything (ns)].
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from medaug.data.opening import open_file
from medaug.errors import DataError

LEAST_SHOWN = 0.02
"""A slice that shows less than this part of itself beside its most central value is blank: many patients have it."""
SAMPLED = 1000
"""Voxels of a slice that its central value is taken from."""
LETTERS = 12
"""48 bits: two of a million slices are alike by chance in one of 500 data sets."""
LARGE_BYTES = 2**20
Seal = list[int | str]


def fingerprints_of(image: np.ndarray) -> list[str]:
    """Of the whole volume (X, Y, Z), and of each of its slices (X, Y) that is not blank; of a picture its own."""
    if image.ndim == 2:
        return [] if _is_blank(image) else [_hashed(_profiles(image))]
    image = np.asfortranarray(image)
    planes = [_profiles(image[..., z]) for z in range(image.shape[2])]
    whole = [np.stack([plane[axis] for plane in planes]).sum(axis=0, dtype=np.uint64) for axis in (0, 1)]
    across = np.stack([plane[0] for plane in planes]).sum(axis=1, dtype=np.uint64)
    shown = [_hashed(plane) for z, plane in enumerate(planes) if not _is_blank(image[..., z])]
    return list(dict.fromkeys([_hashed([*whole, across]), *shown]))


def holders_of(images: Iterable[Iterable[str]]) -> list[list[int]]:
    """The numbers of images that share a fingerprint, one list for each set of them.

    Args:
        images: the fingerprints of each.
    """
    holders: dict[str, list[int]] = defaultdict(list)
    for number, prints in enumerate(images):
        for fingerprint in set(prints):
            holders[fingerprint].append(number)
    return [list(numbers) for numbers in sorted({tuple(numbers) for numbers in holders.values() if len(numbers) > 1})]


def _is_blank(plane: np.ndarray) -> bool:
    some = np.sort(plane.reshape(-1)[:: max(1, plane.size // SAMPLED)])
    return bool(np.count_nonzero(plane != some[some.size // 2]) < LEAST_SHOWN * plane.size)


def _profiles(plane: np.ndarray) -> list[np.ndarray]:
    """(X,) and (Y,): sums of the voxels' mixed bits (after Steele 2014's SplitMix64), exact in any order."""
    bits = (plane.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)  # -0 counts as 0
    bits = (bits + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return [bits.sum(axis=1, dtype=np.uint64), bits.sum(axis=0, dtype=np.uint64)]


def _hashed(profiles: Sequence[np.ndarray]) -> str:
    texts = [np.ascontiguousarray(profile, dtype=">u8").tobytes() for profile in profiles]
    backwards = [np.ascontiguousarray(profile[::-1], dtype=">u8").tobytes() for profile in profiles]
    ordered = sorted(map(min, texts, backwards))
    return hashlib.sha256(repr([len(text) for text in ordered]).encode() + b"".join(ordered)).hexdigest()[:LETTERS]


def seal(path: Path) -> Seal:
    """The seal of a file as it is now."""
    before = path.stat()
    return [before.st_size, _sha256_of(path), before.st_mtime_ns, before.st_ctime_ns]


def renewed(path: Path, sealed: Seal) -> Seal | None:
    """The seal, of a large file with today's times; None if the file is not what was sealed.

    A large file whose size and both times are the same is not read again: no ordinary program changes a file and keeps
    the second time. After a copy the times differ, and the hash decides.
    """
    try:
        found = path.stat()
        times = [found.st_mtime_ns, found.st_ctime_ns]
        large = found.st_size > LARGE_BYTES
        if large and [found.st_size, *times] == [sealed[0], *sealed[2:]]:
            return sealed
        if found.st_size != sealed[0] or _sha256_of(path) != sealed[1]:
            return None
        return [*sealed[:2], *times] if large else sealed
    except (OSError, DataError, TypeError, IndexError):
        return None


def _sha256_of(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
