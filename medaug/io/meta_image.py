"""MetaImage (MHA, MHD) by ITK, once the header is checked: ITK allocates what it declares, and opens what it names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from medaug.io.unpacking import DEFLATE_MOST, check_declared, voxels_of

MOST_HEADER_BYTES = 2**16
FIELD = re.compile(r"\s*(\w+)\s*[=:]\s*(.*?)\s*")


def read_meta_image(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """Reads one file.

    Returns:
        The array (X, Y[, Z][, C]), its affine (4, 4) in mm (RAS), and whether it has channels.

    Raises:
        ImportError: where ITK is not installed.
        ValueError, or what ITK raises: for a damaged or foreign file.
    """
    import itk  # noqa: F401  # which MONAI's reader asks for only when it reads
    from monai.data import ITKReader

    _check(_header_of(path), path)
    reader = ITKReader()
    array, meta = reader.get_data(reader.read(path))
    small = np.asarray(meta["affine"], dtype=np.float64)  # (3, 3) for 2-D files
    dims = small.shape[0] - 1
    affine = np.eye(4)
    affine[:dims, :dims], affine[:dims, 3] = small[:dims, :dims], small[:dims, dims]
    return np.array(array), affine, array.ndim > dims


def _header_of(path: Path) -> dict[str, str]:
    """The fields up to and with `ElementDataFile`, which is the last.

    Raises:
        ValueError: if it has lines that are no fields, a field twice (ITK might take the other), or no end.
    """
    with path.open("rb") as file:
        lines = file.read(MOST_HEADER_BYTES).split(b"\n")
    fields: dict[str, str] = {}
    for line in lines:
        match = FIELD.fullmatch(line.decode("latin-1"))
        if match is None or match[1] in fields:
            raise ValueError(f"a header with the line {line[:80]!r}")
        fields[match[1]] = match[2]
        if match[1] == "ElementDataFile":
            return fields
    raise ValueError("a header without ElementDataFile")


def _check(fields: dict[str, str], path: Path) -> None:
    """Refuses data in another folder, and a header that declares more than the file of the data can hold.

    Raises:
        ValueError: naming what was found.
    """
    name = fields["ElementDataFile"]
    if name.upper() not in ("LOCAL", Path(name).name.upper()) or "%" in name or name.upper().startswith("LIST"):
        raise ValueError(f"a header whose data are in {name!r}; expected LOCAL, or one file beside it")
    sizes = [int(size) for size in fields["DimSize"].split()]
    voxels = voxels_of([*sizes, int(fields.get("ElementNumberOfChannels", 1))])
    packed = fields.get("CompressedData", "False").lower() == "true"
    with (path if name.upper() == "LOCAL" else path.with_name(name)).open("rb") as data:
        check_declared(voxels, data, DEFLATE_MOST if packed else 1)  # a byte a voxel, at the least
