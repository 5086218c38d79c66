"""MetaImage (MHA, MHD), read here and not by ITK.

ITK trusts the header: other `NDims` end the interpreter, and data that are damaged or too short leave memory as it was.
Here the header is checked first, and an image is made of exactly as many bytes as it declares.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np

from medaug.data.dicom.geometry import LPS_TO_RAS
from medaug.data.nrrd_header import LENGTHS_MM
from medaug.data.opening import open_file
from medaug.data.unpacking import DEFLATE_MOST, check_declared, voxels_of

MOST_HEADER_BYTES = 2**16
FIELD = re.compile(r"\s*(\w+)\s*[=:]\s*(.*?)\s*")
ELEMENT_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""NumPy's names of them; a MET_LONG has four bytes, whatever the machine."""


def read_meta_image(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """Reads one file.

    Returns:
        The array (X, Y[, Z][, C]), its affine (4, 4) in mm (RAS), and whether it has channels.

    Raises:
        ValueError: naming what was found, for a header that does not fit together, data that are damaged or of another
            length than it declares, or data in another folder.
    """
    fields, start = _header_of(path)
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
    declared = voxels_of([channels, *sizes]) * kind.itemsize
    data = _data_of(path, fields, start, declared)
    array = np.frombuffer(data, kind).reshape((channels, *sizes), order="F").astype(kind.newbyteorder("="), copy=False)
    return np.moveaxis(array, 0, -1) if channels > 1 else array[0], _affine_of(fields, dims), channels > 1


def _header_of(path: Path) -> tuple[dict[str, str], int]:
    """The fields up to and with `ElementDataFile`, which is the last, and where the next byte lies.

    Raises:
        ValueError: if it has lines that are no fields, a field twice (programs differ in which they take), or no end.
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


def _data_of(path: Path, fields: dict[str, str], start: int, declared: int) -> bytes:
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
        raise ValueError(
            f"{'more' if len(data) > declared else 'fewer'} voxels than the {declared:,} bytes of its header"
        )
    return data


def _affine_of(fields: dict[str, str], dims: int) -> np.ndarray:
    """(4, 4), mm, RAS; the file has LPS, and one axis of the image a row of its matrix."""
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), np.ones(dims))
    if (spacing <= 0).any():
        raise ValueError(f"an ElementSpacing of {' '.join(map(str, spacing))}; expected positive numbers")
    directions = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), np.eye(dims).ravel())
    affine = np.eye(4)
    affine[:dims, :dims] = directions.reshape(dims, dims).T * spacing
    affine[:dims, 3] = _numbers(fields, ("Offset", "Position", "Origin"), np.zeros(dims))
    affine[:3] *= LENGTHS_MM.get(fields.get("DistanceUnits", "mm").lower(), 1.0)
    return LPS_TO_RAS @ affine


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
