"""The formats with a header in words: NRRD by pynrrd, and MetaImage (MHA, MHD), read here and not by ITK.

ITK trusts a MetaImage's header: other `NDims` end the interpreter, and data that are damaged or too short leave memory
as it was. Here a header is checked first, and an image is made of exactly as many bytes as it declares.
"""

from __future__ import annotations

import bz2
import io
import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nrrd
import numpy as np
from isal import igzip
from nrrd.reader import _TYPEMAP_NRRD2NUMPY

from medaug.data.dicom.planes import LPS_TO_RAS
from medaug.data.opening import (
    BZIP2_MOST,
    DEFLATE_MOST,
    Stream,
    check_declared,
    check_within_limit,
    open_file,
    read_declared,
    voxels_of,
)

LARGEST_VOXEL_BYTES = 8
LENGTHS_MM = {"m": 1000.0, "meter": 1000.0, "cm": 10.0, "centimeter": 10.0}
LENGTHS_MM |= dict.fromkeys(("um", "µm", "μm", "micron", "micrometer"), 1e-3)
"""Units that headers name in words; where they name none, or another, lengths are in mm."""
SPACES = ("ras", "las", "lps")
MOST_HEADER_BYTES = 2**16
FIELD = re.compile(r"\s*(\w+)\s*[=:]\s*(.*?)\s*")
INTEGERS = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8}
"""Bytes by the name of a MetaImage's type; a MET_LONG has four, whatever the machine."""
ELEMENT_TYPES = {f"MET_{name}": f"i{size}" for name, size in INTEGERS.items()}
ELEMENT_TYPES |= {f"MET_U{name}": f"u{size}" for name, size in INTEGERS.items()}
ELEMENT_TYPES |= {"MET_FLOAT": "f4", "MET_DOUBLE": "f8"}


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray, bool, bool]:
    """The array (X, Y[, Z][, C]), its affine (4, 4) in mm (RAS), whether it has channels, and a voxel size.

    Raises:
        ValueError, or what pynrrd raises: for a damaged or foreign file.
    """
    with open_file(path) as file:
        header = nrrd.read_header(file)
        array = nrrd.read_data(header, _nrrd_data(header, file))
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
    space = str(header.get("space", "lps")).lower()  # without one as MONAI and ITK take it
    letters = "".join(word[0] for word in re.findall(r"\w+", space)) if "-" in space else space
    if letters not in SPACES:
        raise ValueError(f"space {space!r}, which has no known orientation")
    units = {str(unit).strip('" ').lower() for unit in header.get("space units", [])}
    if len(units) > 1:
        raise ValueError(f"the space units {', '.join(sorted(units))}; expected one")
    others = [i for i in range(array.ndim) if i not in axes]
    affine = np.eye(4)
    affine[: directions.shape[1], : len(axes)] = directions.T
    origin = np.asarray(header.get("space origin", np.zeros(directions.shape[1])), dtype=np.float64)
    affine[: origin.size, 3] = origin
    to_mm = LENGTHS_MM.get(next(iter(units), ""), 1.0)
    affine = np.diag([*(to_mm if letter in "ras" else -to_mm for letter in letters), 1.0]) @ affine
    known = "space directions" in header or "spacings" in header
    return array.transpose(*axes, *others), affine, bool(others), known


def _nrrd_data(header: dict[str, Any], file: BinaryIO) -> Stream:
    """The data from their beginning, unpacked; `header` then describes them raw."""
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
        check_declared(stored if encoding == "raw" else voxels, file)  # in text a voxel takes a byte at the least
        check_within_limit(stored, file.name)
        return file
    for _ in range(skipped):
        file.readline()
    packed = encoding in ("gzip", "gz")
    check_declared(stored, file, DEFLATE_MOST if packed else BZIP2_MOST)
    header |= {"encoding": "raw", "lineskip": 0}
    unpacked = igzip.GzipFile(fileobj=file) if packed else bz2.BZ2File(io.BytesIO(file.read()))
    return io.BytesIO(read_declared(unpacked, stored))


def read_meta_image(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """The array (X, Y[, Z][, C]), its affine (4, 4) in mm (RAS), and whether it has channels.

    Raises:
        ValueError: for a header that does not fit together, data that are damaged or of another length, or in another
            folder.
    """
    fields, start = _meta_header(path)
    dims = _whole(fields, "NDims", 1)[0]
    if dims not in (2, 3):
        raise ValueError(f"a header whose NDims is {dims}; expected 2 or 3")
    if not _is_true(fields, "BinaryData", "True"):
        raise ValueError("voxels written as text (BinaryData = False); expected binary data")
    name = fields.get("ElementType", "missing")
    if name not in ELEMENT_TYPES:
        raise ValueError(f"the ElementType {name}; expected one of {', '.join(ELEMENT_TYPES)}")
    big = _is_true(fields, "BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    kind = np.dtype(ELEMENT_TYPES[name]).newbyteorder(">" if big else "<")
    sizes, channels = _whole(fields, "DimSize", dims), _whole(fields, "ElementNumberOfChannels", 1, "1")[0]
    data = _meta_data(path, fields, start, voxels_of([channels, *sizes]) * kind.itemsize)
    array = np.frombuffer(data, kind).reshape((channels, *sizes), order="F").astype(kind.newbyteorder("="), copy=False)
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), np.ones(dims))
    if (spacing <= 0).any():
        raise ValueError(f"an ElementSpacing of {' '.join(map(str, spacing))}; expected positive numbers")
    directions = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), np.eye(dims).ravel())
    affine = np.eye(4)
    affine[:dims, :dims] = directions.reshape(dims, dims).T * spacing  # the file has LPS, and an axis in each row
    affine[:dims, 3] = _numbers(fields, ("Offset", "Position", "Origin"), np.zeros(dims))
    affine[:3] *= LENGTHS_MM.get(fields.get("DistanceUnits", "mm").lower(), 1.0)
    return np.moveaxis(array, 0, -1) if channels > 1 else array[0], LPS_TO_RAS @ affine, channels > 1


def _meta_header(path: Path) -> tuple[dict[str, str], int]:
    """The fields up to and with `ElementDataFile`, which is the last, and where the next byte lies.

    A line that is no field is refused, and a field that stands twice: programs differ in which they take.
    """
    with open_file(path) as file:
        lines = file.read(MOST_HEADER_BYTES).split(b"\n")
    fields: dict[str, str] = {}
    length = 0
    for line in lines:
        match = FIELD.fullmatch(line.decode("latin-1"))
        if match is None or match[1] in fields:
            raise ValueError(f"a header with the line {line[:80]!r}")
        fields[match[1]] = match[2]
        length += len(line) + 1
        if match[1] == "ElementDataFile":
            return fields, length
    raise ValueError("a header without ElementDataFile")


def _meta_data(path: Path, fields: dict[str, str], start: int, declared: int) -> bytes:
    """The `declared` bytes of the voxels, from this file or from the one beside it."""
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    if not local and (Path(name).name != name or "%" in name or name.upper().startswith("LIST")):
        raise ValueError(f"a header whose data are in {name!r}; expected LOCAL, or one file beside it")
    packed = _is_true(fields, "CompressedData", "False")
    skipped = _whole(fields, "HeaderSize", 1, "0")[0]
    if skipped < -1 or (skipped and (local or packed)):
        raise ValueError(f"a HeaderSize of {skipped}; expected 0, or the length of a header before raw data")
    with open_file(path if local else path.with_name(name)) as file:
        check_declared(declared, file, DEFLATE_MOST if packed else 1)
        if skipped == -1:  # the data are what the file ends with
            file.seek(-declared, 2)
        else:
            file.seek(start if local else skipped)
        if not packed:
            data = file.read(declared)
        else:
            stored = _whole(fields, "CompressedDataSize", 1, "-1")[0]
            unpacker = zlib.decompressobj(wbits=47)  # zlib's or gzip's frame, whichever it is
            data = unpacker.decompress(file.read(stored if stored > 0 else -1), declared + 1)
            if len(data) <= declared and not unpacker.eof:
                raise ValueError(f"compressed data that end after {len(data):,} of {declared:,} bytes")
    if len(data) != declared:
        kind = "more" if len(data) > declared else "fewer"
        raise ValueError(f"{kind} voxels than the {declared:,} bytes of its header")
    return data


def _numbers(fields: dict[str, str], names: tuple[str, ...], default: np.ndarray) -> np.ndarray:
    """The first of these fields that is there, as many finite numbers as the default has."""
    name = next((name for name in names if name in fields), None)
    if name is None:
        return default
    values = np.array([float(text) for text in fields[name].split()])
    if values.shape != default.shape or not np.isfinite(values).all():
        raise ValueError(f"{name} = {fields[name][:80]}; expected {default.size} numbers")
    return values


def _whole(fields: dict[str, str], name: str, count: int, default: str = "") -> list[int]:
    """The whole numbers of a field."""
    texts = fields.get(name, default).split()
    if len(texts) != count or not all(re.fullmatch(r"[+-]?\d{1,18}", text) for text in texts):
        raise ValueError(f"{name} = {fields.get(name, 'missing')[:80]}; expected {count} whole number(s)")
    return [int(text) for text in texts]


def _is_true(fields: dict[str, str], name: str, default: str) -> bool:
    return fields.get(name, default)[:1].upper() in ("T", "1")
