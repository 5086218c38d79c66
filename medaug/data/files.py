"""One scan in, one scan out: files as MetaTensors (1, X, Y) or (1, X, Y, Z) with an affine in mm (RAS).

Pictures (PNG, JPEG, TIFF) come as X = column, Y = row and have no spacing. A file of several channels (colour, 4-D) is
read one channel at a time. What the formats hold is decoded in `readers`, and encoded in `encoding`.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.data.dicom.geometry import SHEAR_TOLERANCE
from medaug.data.dicom.planes import LARGEST_MM
from medaug.data.encoding import AnyArray, to_dtype, to_numpy, write_stored
from medaug.data.readers import RawImage, decode
from medaug.data.suffixes import LOSSY, NIFTI, suffix_of
from medaug.errors import DataError
from medaug.volumes import check_finite, padding_in

log = logging.getLogger(__name__)


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
    raw = decode(path, series_uid=series_uid)
    array = raw.in_unit(raw.one_channel(path, channel))
    check_finite(array, str(path))
    dtype, padding = array.dtype.name, padding_in(array)
    if padding is not None:  # float32 does not hold all of it, and no interpolation survives it
        if padding.all():
            found, remedy = "nothing but padding", "Check the file, or leave it out."
            raise DataError.about(path, found, "an image with contrast", remedy)
        value, background = array[padding][0], array[~padding].min()
        said = "%s: %d voxels of padding (%g) are read as background (%g, the lowest of the others)"
        log.warning(said, path, np.count_nonzero(padding), value, background)
        array = np.where(padding, background, array)
    scan = _as_metatensor(array.astype(np.float32), dtype, raw, path)
    scan.meta |= {"channel": channel, "series_uid": series_uid}
    return scan


def read_label(path: str | Path) -> MetaTensor:
    """Reads one label map; the stored values stay (a mask of 0 and 255 is not turned into 0 and 1).

    Returns:
        (1, X, Y) or (1, X, Y, Z) uint8, or int16 where the values need it; `.meta` as in `read_scan`.

    Raises:
        DataError: as `read_scan`, and for values that are not whole numbers, and for JPEG (which changes values).
    """
    if suffix_of(path) in LOSSY:
        found, remedy = "a label stored as JPEG, which changes its values", "Save it as PNG, TIFF or NIfTI"
        raise DataError.about(path, found, "a lossless label", f"{remedy} from the original.")
    raw = decode(path, palette_as_index=True)
    array = raw.in_unit(raw.one_channel(path))
    check_finite(array, str(path))
    whole = np.rint(array) if np.issubdtype(array.dtype, np.floating) else array
    if whole is not array and np.abs(array - whole).max() > 1e-4:
        found = f"label values that are not whole numbers ({array.min():g} to {array.max():g})"
        remedy = "Threshold the probability map, or check that the file is a label."
        raise DataError.about(path, found, "whole numbers", remedy)
    low, high = float(whole.min()), float(whole.max())
    if low < -32768 or high > 32767:
        remedy = "Renumber the labels, or check that the file is a label."
        raise DataError.about(path, f"label values from {low:g} to {high:g}", "values that fit 16 bits", remedy)
    kind = np.uint8 if low >= 0 and high <= 255 else np.int16
    return _as_metatensor(whole.astype(kind), array.dtype.name, raw, path)


def write_scan(
    path: str | Path,
    image: AnyArray,
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
        found, remedy = f"an image of shape {array.shape} to write", "Write one channel at a time, or"
        raise DataError.about(path, found, "(1, X, Y) or (1, X, Y, Z)", f"{remedy} use write_channels.")
    write_stored(Path(path), to_dtype(array[0], dtype, path), _affine_to_write(image, affine))


def write_channels(
    path: str | Path,
    image: AnyArray,
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
        found, expected = f"channels of shape {array.shape} to write", "(3, X, Y) for a picture, (C, X, Y, Z) for NIfTI"
        raise DataError.about(path, found, expected, "Write the channels one by one with write_scan.")
    stored = to_dtype(np.moveaxis(array, 0, -1), dtype, path)
    write_stored(Path(path), stored, _affine_to_write(image, affine), colour=picture)


def _as_metatensor(array: np.ndarray, dtype_on_disk: str, raw: RawImage, path: str | Path) -> MetaTensor:
    affine = np.asarray(raw.affine, dtype=np.float64)
    _check_affine(affine, array.shape, path)
    meta = {"path": str(path), "dtype": dtype_on_disk, "spacing_known": raw.spacing_known, "modality": raw.modality}
    return MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine), meta=meta)


def _check_affine(affine: np.ndarray, shape: tuple[int, ...], path: str | Path) -> None:
    """Refuses axes along which nothing has a length, and a shear: all sizes in mm are taken along the axes."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / np.where(sizes > 0, sizes, 1)
    ordinary = np.isfinite(affine).all() and np.abs(affine).max() <= LARGEST_MM and sizes.all()
    if not ordinary or abs(np.linalg.det(axes)) < 1e-6:
        found, remedy = "a header whose voxel-to-mm matrix cannot be inverted", "Correct the spacing and orientation"
        raise DataError.about(path, found, "a valid affine", f"{remedy} in the header.")
    long = [axis for axis, size in enumerate(shape) if size > 1]
    shear = np.abs(np.triu((axes.T @ axes)[np.ix_(long, long)], 1)).max(initial=0)
    if shear > SHEAR_TOLERANCE:
        found = f"axes that stand {90 - np.degrees(np.arcsin(shear)):.1f} degrees to each other (a shear)"
        remedy = "Resample it onto such a grid, or correct its header (sform or qform)."
        raise DataError.about(path, found, "axes at right angles", remedy)


def _affine_to_write(image: object, affine: np.ndarray | torch.Tensor | None) -> np.ndarray:
    if affine is None:
        affine = image.affine if isinstance(image, MetaTensor) else np.eye(4)
    return np.asarray(affine, dtype=np.float64)
