"""NRRD by pynrrd: its array, and the affine that its header stands for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import nrrd
import numpy as np
from nrrd.reader import _TYPEMAP_NRRD2NUMPY

from medaug.data.opening import open_file
from medaug.data.unpacking import (
    BZIP2_MOST,
    DEFLATE_MOST,
    Stream,
    bunzipped,
    check_declared,
    check_within_limit,
    gunzipped,
    read_declared,
    voxels_of,
)

LARGEST_VOXEL_BYTES = 8
LENGTHS_MM = {
    "m": 1000.0,
    "meter": 1000.0,
    "cm": 10.0,
    "centimeter": 10.0,
    "um": 1e-3,
    "µm": 1e-3,
    "μm": 1e-3,
    "micron": 1e-3,
    "micrometer": 1e-3,
}
"""Units that headers name in words; where they name none, or another, lengths are in mm."""


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray, bool, bool]:
    """Reads one file.

    Returns:
        The array (X, Y[, Z][, C]), its affine (4, 4) in mm (RAS), whether it has channels, and whether the header gives
        a voxel size.

    Raises:
        ValueError, or what pynrrd raises: for a damaged or foreign file.
    """
    with open_file(path) as file:
        header = nrrd.read_header(file)
        array = nrrd.read_data(header, _data_of(header, file))
    space = str(header.get("space", "left-posterior-superior")).lower()
    if "space directions" in header:
        rows = [np.asarray(row, dtype=np.float64) for row in header["space directions"]]
        axes = [i for i, row in enumerate(rows) if row.ndim == 1 and np.isfinite(row).all()]
        directions = np.array([rows[i] for i in axes])
    else:
        axes = [i for i, kind in enumerate(header.get("kinds", ["domain"] * array.ndim)) if kind in ("domain", "space")]
        spacings = np.asarray(header.get("spacings", np.ones(array.ndim)), dtype=np.float64)[axes]
        directions = np.diag(np.where(np.isfinite(spacings), spacings, 1.0))
    if array.ndim - len(axes) > 1 or not axes:
        raise ValueError(f"{array.ndim} axes of which {len(axes)} are spatial")
    others = [i for i in range(array.ndim) if i not in axes]
    affine = np.eye(4)
    affine[: directions.shape[1], : len(axes)] = directions.T
    origin = np.asarray(header.get("space origin", np.zeros(directions.shape[1])), dtype=np.float64)
    affine[: origin.size, 3] = origin
    units = {str(unit).strip('" ').lower() for unit in header.get("space units", [])}
    if len(units) > 1:
        raise ValueError(f"the space units {', '.join(sorted(units))}; expected one")
    to_mm = LENGTHS_MM.get(next(iter(units), ""), 1.0)
    affine = np.diag([*(to_mm * sign for sign in _ras_signs(space)), 1.0]) @ affine
    known = "space directions" in header or "spacings" in header
    return array.transpose(*axes, *others), affine, bool(others), known


def _data_of(header: dict[str, Any], file: BinaryIO) -> Stream:
    """Where the data begin, unpacked; `header` then describes them raw.

    Raises:
        ValueError: if they are in another file, or more than this one can hold.
    """
    if "datafile" in header or "data file" in header:
        raise ValueError("a header whose data are in another file; expected both in one")
    voxels, encoding = voxels_of(header["sizes"]), header["encoding"]
    kind = _TYPEMAP_NRRD2NUMPY.get(header["type"])
    if kind is None or np.dtype(kind).itemsize > LARGEST_VOXEL_BYTES:
        raise ValueError(f"voxels of the type {header['type']!r}")
    stored = voxels * np.dtype(kind).itemsize
    skipped = int(header.get("lineskip", header.get("line skip", 0)))
    check_declared(max(skipped, 1), file)
    if encoding not in ("gzip", "gz", "bzip2", "bz2"):
        is_text = encoding not in ("raw",)  # of which a voxel takes a byte at the least
        check_declared(voxels if is_text else stored, file)
        check_within_limit(stored, file.name)
        return file
    for _ in range(skipped):
        file.readline()
    packed = encoding in ("gzip", "gz")
    check_declared(stored, file, DEFLATE_MOST if packed else BZIP2_MOST)
    header |= {"encoding": "raw", "lineskip": 0}
    return io.BytesIO(read_declared(gunzipped(file) if packed else bunzipped(file), stored))


def _ras_signs(space: str) -> tuple[float, float, float]:
    """Signs that turn an NRRD `space` into RAS; without a space the file is taken as LPS, as MONAI and ITK do."""
    named = {
        "right-anterior-superior": "ras",
        "left-anterior-superior": "las",
        "left-posterior-superior": "lps",
        "ras": "ras",
        "las": "las",
        "lps": "lps",
    }.get(space)
    if named is None:
        raise ValueError(f"space {space!r}, which has no known orientation")
    return (1.0 if named[0] == "r" else -1.0, 1.0 if named[1] == "a" else -1.0, 1.0)
