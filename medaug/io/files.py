"""One scan in, one scan out: files as MetaTensors (1, X, Y) or (1, X, Y, Z) with an affine in mm (RAS).

Pictures (PNG, JPEG, TIFF) come as X = column, Y = row and have no spacing. A file of several channels (colour, 4-D) is
read one channel at a time. What the formats hold is decoded in `readers.py`.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import torch
from isal import igzip
from monai.data import MetaTensor
from PIL import Image

from medaug.errors import DataError
from medaug.io.atomic import atomic_path
from medaug.io.readers import Decoded, decode
from medaug.io.suffixes import LOSSY, NIFTI, TIFF, WRITABLE, suffix_of
from medaug.volumes import check_finite

GZIP_LEVEL = 1  # igzip has 0 to 3; 1 is the fast one
_STORABLE = {"bool": "uint8", "int64": "int32", "uint64": "uint32", "float64": "float32", "float16": "float32"}


def read_scan(path: str | Path, *, channel: int | None = None, series_uid: str | None = None) -> MetaTensor:
    """Reads one image.

    Args:
        path: NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF or DICOM; or the folder of a DICOM series.
        channel: which channel or volume of a file that has several; not needed where all channels are equal.
        series_uid: which DICOM series of a folder that holds several.

    Returns:
        (1, X, Y) or (1, X, Y, Z) float32 in the file's own unit; `.meta` has "path", "dtype" (on disk),
        "spacing_known" (False for pictures, whose affine is the identity) and "modality" (None where it is not stored).

    Raises:
        DataError: for a missing, damaged or foreign file, NaN or infinity, several channels or series and no choice,
            or dimensions other than two or three.
    """
    decoded = decode(path, series_uid=series_uid)
    array = _one_channel(decoded, path, channel)
    check_finite(array, str(path))
    return _as_metatensor(array.astype(np.float32), array.dtype.name, decoded, path)


def read_label(path: str | Path) -> MetaTensor:
    """Reads one label map; the stored values stay (a mask of 0 and 255 is not turned into 0 and 1).

    Returns:
        (1, X, Y) or (1, X, Y, Z) uint8, or int16 where the values need it; `.meta` as in `read_scan`.

    Raises:
        DataError: as `read_scan`, and for values that are not whole numbers, and for JPEG (which changes values).
    """
    if suffix_of(path) in LOSSY:
        raise DataError.about(
            path, "a label stored as JPEG, which changes its values", "a lossless label",
            "Save it as PNG, TIFF or NIfTI from the original.",
        )  # fmt: skip
    decoded = decode(path, palette_as_index=True)
    array = _one_channel(decoded, path, None)
    check_finite(array, str(path))
    whole = np.rint(array) if np.issubdtype(array.dtype, np.floating) else array
    if whole is not array and np.abs(array - whole).max() > 1e-4:
        raise DataError.about(
            path, f"label values that are not whole numbers ({array.min():g} to {array.max():g})", "whole numbers",
            "Threshold the probability map, or check that the file is a label.",
        )  # fmt: skip
    low, high = float(whole.min()), float(whole.max())
    if low < -32768 or high > 32767:
        raise DataError.about(
            path, f"label values from {low:g} to {high:g}", "values that fit 16 bits",
            "Renumber the labels, or check that the file is a label.",
        )  # fmt: skip
    kind = np.uint8 if low >= 0 and high <= 255 else np.int16
    return _as_metatensor(whole.astype(kind), array.dtype.name, decoded, path)


def write_scan(
    path: str | Path,
    image: MetaTensor | torch.Tensor | np.ndarray,
    affine: np.ndarray | torch.Tensor | None = None,
    dtype: str | np.dtype | type | None = None,
) -> None:
    """Writes one image atomically: NIfTI (`.nii`, `.nii.gz`), and PNG or TIFF for 2-D.

    Args:
        path: its ending chooses the format.
        image: (1, X, Y) or (1, X, Y, Z).
        affine: (4, 4), mm, RAS; by default the MetaTensor's own, else the identity. Pictures do not store it.
        dtype: the type on disk; by default the image's own. For a whole-number type the values are rounded and
            clipped to its range.

    Raises:
        DataError: if the shape, the type or the ending does not fit, or values are NaN or infinite.
        RunError: if the file cannot be written.
    """
    array = _to_numpy(image)
    if array.ndim not in (3, 4) or array.shape[0] != 1:
        raise DataError.about(
            path, f"an image of shape {array.shape} to write", "(1, X, Y) or (1, X, Y, Z)",
            "Write one channel at a time, or use write_channels.",
        )  # fmt: skip
    _write(Path(path), array[0], _affine_to_write(image, affine), dtype)


def write_channels(
    path: str | Path,
    image: MetaTensor | torch.Tensor | np.ndarray,
    affine: np.ndarray | torch.Tensor | None = None,
    dtype: str | np.dtype | type | None = None,
) -> None:
    """Writes several channels in one file: (C, X, Y, Z) as a 4-D NIfTI, (3, X, Y) as a colour PNG or TIFF (uint8).

    Raises:
        DataError, RunError: as `write_scan`.
    """
    array = _to_numpy(image)
    picture = suffix_of(path) not in NIFTI
    if array.ndim != (3 if picture else 4) or (picture and array.shape[0] != 3):
        raise DataError.about(
            path, f"channels of shape {array.shape} to write", "(3, X, Y) for a picture, (C, X, Y, Z) for NIfTI",
            "Write the channels one by one with write_scan.",
        )  # fmt: skip
    _write(Path(path), np.moveaxis(array, 0, -1), _affine_to_write(image, affine), dtype, colour=picture)


def nifti_bytes(
    array: np.ndarray, affine: np.ndarray, *, slope: float = 1.0, intercept: float = 0.0, compress: bool = True
) -> bytes:
    """A NIfTI-1 file of an array (*S) as it is; readers see `array * slope + intercept`. Equal input, equal bytes."""
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, intercept)
    data = image.to_bytes()
    return igzip.compress(data, GZIP_LEVEL, mtime=0) if compress else data


def _one_channel(decoded: Decoded, path: str | Path, channel: int | None) -> np.ndarray:
    """The chosen channel as (X, Y) or (X, Y, Z); trailing axes of length one are dropped."""
    array = decoded.array
    if np.iscomplexobj(array):
        raise DataError.about(path, "complex values", "real intensities", "Save the magnitude image.")
    if array.dtype.kind not in "biuf":
        raise DataError.about(path, f"values of the type {array.dtype}", "numbers", "Save them as numbers.")
    count = array.shape[-1] if decoded.has_channels else 1
    if channel is not None and not 0 <= channel < count:
        raise DataError.about(
            path, f"{count} channel(s)", f"at least {channel + 1}, because channel {channel} was chosen",
            f"Choose one of {', '.join(map(str, range(count)))} (`--sequence`).",
        )  # fmt: skip
    if decoded.has_channels:
        if channel is None and (array != array[..., :1]).any():
            listed = ", ".join(map(str, range(count)))
            raise DataError.about(
                path, f"{count} different channels ({listed}; shape {array.shape})", "one channel, or a choice",
                "Choose one with `--sequence`, by number or by name where the data set names them.",
            )  # fmt: skip
        array = array[..., channel or 0]
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError.about(
            path, f"{array.ndim} dimensions (shape {array.shape})", "a 2-D or 3-D image", "Save one image per file."
        )
    return array


def _as_metatensor(array: np.ndarray, dtype_on_disk: str, decoded: Decoded, path: str | Path) -> MetaTensor:
    affine = np.asarray(decoded.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError.about(
            path, "a header whose voxel-to-mm matrix cannot be inverted", "a valid affine",
            "Correct the spacing and orientation in the header.",
        )  # fmt: skip
    meta = {
        "path": str(path), "dtype": dtype_on_disk, "spacing_known": decoded.spacing_known, "modality": decoded.modality,
    }  # fmt: skip
    return MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine), meta=meta)


def _to_numpy(image: MetaTensor | torch.Tensor | np.ndarray) -> np.ndarray:
    if isinstance(image, MetaTensor):
        image = image.as_tensor()
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        return (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    return np.asarray(image)


def _to_dtype(array: np.ndarray, dtype: str | np.dtype | type | None, path: str) -> np.ndarray:
    """Rounds and clips to a whole-number type; without a type, 64-bit values are narrowed where they fit."""
    check_finite(array, path)
    name = array.dtype.name
    target: np.dtype = np.dtype(dtype if dtype is not None else _STORABLE.get(name, name))
    if not np.issubdtype(target, np.integer):
        return array.astype(target)
    limits = np.iinfo(target)
    if dtype is None and array.size and (array.min() < limits.min or array.max() > limits.max):
        raise DataError.about(path, f"values beyond {target}", f"values that fit {target}", "Name a dtype.")
    if np.issubdtype(array.dtype, np.floating):
        array = np.rint(array)
    return np.clip(array, limits.min, limits.max).astype(target)


def _affine_to_write(image: object, affine: np.ndarray | torch.Tensor | None) -> np.ndarray:
    if affine is None:
        affine = image.affine if isinstance(image, MetaTensor) else np.eye(4)
    return np.asarray(affine, dtype=np.float64)


def _write(
    path: Path, array: np.ndarray, affine: np.ndarray, dtype: str | np.dtype | type | None, colour: bool = False
) -> None:
    """Writes (X, Y), (X, Y, Z), or with a last axis of channels, in the format of the ending."""
    suffix = suffix_of(path)
    if suffix not in WRITABLE:
        raise DataError.about(
            path, f"the ending {path.suffix!r}", f"one of {', '.join(WRITABLE)} to write", "Rename the output."
        )
    stored = _to_dtype(array, dtype, str(path))
    if suffix in NIFTI:
        _write_nifti(path, stored, affine, compress=suffix == ".nii.gz")
    else:
        _write_picture(path, stored, suffix, colour)


def _write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, compress: bool) -> None:
    data = nifti_bytes(array, affine, compress=compress)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _write_picture(path: Path, array: np.ndarray, suffix: str, colour: bool) -> None:
    kinds = ("uint8",) if colour else ("uint8", "uint16", "float32") if suffix in TIFF else ("uint8", "uint16")
    if array.ndim != (3 if colour else 2) or array.dtype.name not in kinds:
        raise DataError.about(
            path, f"a {array.ndim}-D {array.dtype} image to write", f"2-D and one of {', '.join(kinds)} for {suffix}",
            "Write NIfTI (`.nii.gz`), or name a dtype.",
        )  # fmt: skip
    with atomic_path(path) as temporary:
        options = {"compression": "tiff_lzw"} if suffix in TIFF else {}
        Image.fromarray(np.ascontiguousarray(array.swapaxes(0, 1))).save(temporary, **options)
