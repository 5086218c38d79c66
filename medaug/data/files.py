"""One scan in, one scan out: files as MetaTensors (1, X, Y) or (1, X, Y, Z) with an affine in mm (RAS).

Pictures (PNG, JPEG, TIFF) come as X = column, Y = row and have no spacing. A file of several channels (colour, 4-D) is
read one channel at a time. What the formats hold is decoded in `readers.py`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.data.dicom.geometry import SHEAR_TOLERANCE
from medaug.data.encoding import write_stored
from medaug.data.readers import Decoded, decode
from medaug.data.suffixes import LOSSY, NIFTI, suffix_of
from medaug.errors import DataError
from medaug.volumes import check_finite, padding_in

log = logging.getLogger(__name__)

LARGEST_MM = 1e6
"""No scanner is a kilometre wide."""
_STORABLE = {"bool": "uint8", "int64": "int32", "uint64": "uint32", "float64": "float32", "float16": "float32"}


def read_scan(path: str | Path, *, channel: int | None = None, series_uid: str | None = None) -> MetaTensor:
    """Reads one image.

    Args:
        path: NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF or DICOM; or the folder of a DICOM series.
        channel: which channel or volume of a file that has several; not needed where all channels are equal.
        series_uid: which DICOM series of a folder that holds several.

    Returns:
        (1, X, Y) or (1, X, Y, Z) float32 in the file's own unit; `.meta` has "path", "dtype" (that of the values on
        disk, float64 where they are scaled), "spacing_known" (False for pictures, whose affine is the identity),
        "modality" (None where it is not stored), and the "channel" and "series_uid" that were asked for.

    Raises:
        DataError: for a missing, damaged or foreign file, NaN or infinity, several channels or series and no choice,
            or dimensions other than two or three.

    Padding (`volumes.padding_in`) is read as the lowest value that was measured, with a warning.
    """
    decoded = decode(path, series_uid=series_uid)
    array = scaled(one_channel(decoded, path, channel), decoded)
    check_finite(array, str(path))
    array = _without_padding(array, path)
    chosen = {"channel": channel, "series_uid": series_uid}
    return _as_metatensor(array.astype(np.float32), array.dtype.name, decoded, path, chosen)


def read_label(path: str | Path) -> MetaTensor:
    """Reads one label map; the stored values stay (a mask of 0 and 255 is not turned into 0 and 1).

    Returns:
        (1, X, Y) or (1, X, Y, Z) uint8, or int16 where the values need it; `.meta` as in `read_scan`.

    Raises:
        DataError: as `read_scan`, and for values that are not whole numbers, and for JPEG (which changes values).
    """
    if suffix_of(path) in LOSSY:
        raise DataError.about(
            path,
            "a label stored as JPEG, which changes its values",
            "a lossless label",
            "Save it as PNG, TIFF or NIfTI from the original.",
        )
    decoded = decode(path, palette_as_index=True)
    array = scaled(one_channel(decoded, path), decoded)
    check_finite(array, str(path))
    whole = np.rint(array) if np.issubdtype(array.dtype, np.floating) else array
    if whole is not array and np.abs(array - whole).max() > 1e-4:
        raise DataError.about(
            path,
            f"label values that are not whole numbers ({array.min():g} to {array.max():g})",
            "whole numbers",
            "Threshold the probability map, or check that the file is a label.",
        )
    low, high = float(whole.min()), float(whole.max())
    if low < -32768 or high > 32767:
        raise DataError.about(
            path,
            f"label values from {low:g} to {high:g}",
            "values that fit 16 bits",
            "Renumber the labels, or check that the file is a label.",
        )
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
    array = to_numpy(image)
    if array.ndim not in (3, 4) or array.shape[0] != 1:
        raise DataError.about(
            path,
            f"an image of shape {array.shape} to write",
            "(1, X, Y) or (1, X, Y, Z)",
            "Write one channel at a time, or use write_channels.",
        )
    write_stored(Path(path), to_dtype(array[0], dtype, path), _affine_to_write(image, affine))


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
    array = to_numpy(image)
    picture = suffix_of(path) not in NIFTI
    if array.ndim != (3 if picture else 4) or (picture and array.shape[0] != 3):
        raise DataError.about(
            path,
            f"channels of shape {array.shape} to write",
            "(3, X, Y) for a picture, (C, X, Y, Z) for NIfTI",
            "Write the channels one by one with write_scan.",
        )
    stored = to_dtype(np.moveaxis(array, 0, -1), dtype, path)
    write_stored(Path(path), stored, _affine_to_write(image, affine), colour=picture)


def _without_padding(array: np.ndarray, path: str | Path) -> np.ndarray:
    """Padding as background: float32 does not hold all of it, and no interpolation survives it."""
    padding = padding_in(array)
    if padding is None:
        return array
    if padding.all():
        raise DataError.about(path, "nothing but padding", "an image with contrast", "Check the file, or leave it out.")
    background = array[~padding].min()
    log.warning(
        "%s: %d voxels of padding (%g) are read as background (%g, the lowest of the others)",
        path,
        np.count_nonzero(padding),
        array[padding][0],
        background,
    )
    return np.where(padding, background, array)


def scaled(stored: np.ndarray, decoded: Decoded) -> np.ndarray:
    """Stored values in the file's own unit; float64 where that is not what they are."""
    if (decoded.slope, decoded.intercept) == (1.0, 0.0):
        return stored
    return stored * np.float64(decoded.slope) + np.float64(decoded.intercept)


def one_channel(decoded: Decoded, path: str | Path, channel: int | None = None) -> np.ndarray:
    """The chosen channel as it is stored, (X, Y) or (X, Y, Z); trailing axes of length one are dropped."""
    array = decoded.array
    if np.iscomplexobj(array):
        raise DataError.about(path, "complex values", "real intensities", "Save the magnitude image.")
    if array.dtype.kind not in "biuf":
        raise DataError.about(path, f"values of the type {array.dtype}", "numbers", "Save them as numbers.")
    count = array.shape[-1] if decoded.has_channels else 1
    if channel is not None and not 0 <= channel < count:
        raise DataError.about(
            path,
            f"{count} channel(s)",
            f"at least {channel + 1}, because channel {channel} was chosen",
            f"Choose one of {', '.join(map(str, range(count)))} (`--sequence`).",
        )
    if decoded.has_channels:
        if channel is None and (array != array[..., :1]).any():
            listed = ", ".join(map(str, range(count)))
            raise DataError.about(
                path,
                f"{count} different channels ({listed}; shape {array.shape})",
                "one channel, or a choice",
                "Choose one with `--sequence`, by number or by name where the data set names them.",
            )
        array = array[..., channel or 0]
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError.about(
            path, f"{array.ndim} dimensions (shape {array.shape})", "a 2-D or 3-D image", "Save one image per file."
        )
    return array


def _as_metatensor(
    array: np.ndarray, dtype_on_disk: str, decoded: Decoded, path: str | Path, chosen: dict[str, Any] | None = None
) -> MetaTensor:
    affine = np.asarray(decoded.affine, dtype=np.float64)
    _check_affine(affine, array.shape, path)
    meta = {
        "path": str(path),
        "dtype": dtype_on_disk,
        "spacing_known": decoded.spacing_known,
        "modality": decoded.modality,
        **(chosen or {}),
    }
    return MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine), meta=meta)


def _check_affine(affine: np.ndarray, shape: tuple[int, ...], path: str | Path) -> None:
    """Refuses axes along which nothing has a length, and a shear: all sizes in mm are taken along the axes."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / np.where(sizes > 0, sizes, 1)
    if (
        not np.isfinite(affine).all()
        or np.abs(affine).max() > LARGEST_MM
        or not sizes.all()
        or abs(np.linalg.det(axes)) < 1e-6
    ):
        raise DataError.about(
            path,
            "a header whose voxel-to-mm matrix cannot be inverted",
            "a valid affine",
            "Correct the spacing and orientation in the header.",
        )
    long = [axis for axis, size in enumerate(shape) if size > 1]
    shear = np.abs(np.triu((axes.T @ axes)[np.ix_(long, long)], 1)).max(initial=0)
    if shear > SHEAR_TOLERANCE:
        raise DataError.about(
            path,
            f"axes that stand {90 - np.degrees(np.arcsin(shear)):.1f} degrees to each other (a shear)",
            "axes at right angles",
            "Resample it onto such a grid, or correct its header (sform or qform).",
        )


def to_numpy(image: MetaTensor | torch.Tensor | np.ndarray) -> np.ndarray:
    if isinstance(image, MetaTensor):
        image = image.as_tensor()
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        return (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    return np.asarray(image)


def to_dtype(array: np.ndarray, dtype: str | np.dtype | type | None, path: str | Path) -> np.ndarray:
    """Rounds and clips to a whole-number type; without a type, 64-bit values are narrowed where they fit."""
    check_finite(array, str(path))
    name = array.dtype.name
    target: np.dtype = np.dtype(dtype if dtype is not None else _STORABLE.get(name, name))
    if not np.issubdtype(target, np.integer):
        return array.astype(target)
    limits = np.iinfo(target)
    if dtype is None and array.size and (array.min() < limits.min or array.max() > limits.max):
        raise DataError.about(path, f"values beyond {target}", f"values that fit {target}", "Name a dtype.")
    if not np.issubdtype(array.dtype, np.floating):
        return np.clip(array, limits.min, limits.max).astype(target)
    whole = np.rint(array.astype(np.float64))
    high = float(limits.max)  # of 64 bits the next power of two, which does not fit
    return np.where(whole >= high, limits.max, np.clip(whole, limits.min, np.nextafter(high, 0)).astype(target))


def _affine_to_write(image: object, affine: np.ndarray | torch.Tensor | None) -> np.ndarray:
    if affine is None:
        affine = image.affine if isinstance(image, MetaTensor) else np.eye(4)
    return np.asarray(affine, dtype=np.float64)
