"""One scan in, one scan out: files as MetaTensors (1, X, Y) or (1, X, Y, Z) with an affine in mm (RAS).

Pictures (PNG, JPEG, TIFF) come as X = column, Y = row and have no spacing. A file of several channels (colour, 4-D) is
read one channel at a time. What the formats hold is decoded in `readers`.

A scan is worked on in float32, which does not hold what files of float64, int32 or scaled whole numbers do. So the file
is read again when an edit of it is written (`StoredScan`), and only voxels that changed are replaced in it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
import torch
from isal import igzip
from monai.data import MetaTensor
from PIL import Image

from medaug.data.atomic import atomic_path
from medaug.data.dicom.planes import LARGEST_MM, SHEAR_TOLERANCE
from medaug.data.opening import LOSSY, NIFTI, TIFF, WRITABLE, suffix_of
from medaug.data.readers import RawImage, decode, nifti_unit_mm
from medaug.errors import DataError
from medaug.volumes import check_finite, padding_in

log = logging.getLogger(__name__)

GZIP_LEVEL = 1  # igzip has 0 to 3; 1 is the fast one
NOT_STORABLE = {"bool": "uint8", "float16": "float32"}
"""Types of other formats that NIfTI does not have, and those that hold their values."""
NARROWED = NOT_STORABLE | {"int64": "int32", "uint64": "uint32", "float64": "float32"}

AnyArray = MetaTensor | torch.Tensor | np.ndarray
Affine = np.ndarray | torch.Tensor | None
AnyType = str | np.dtype | type | None


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
        DataError: as `read_scan`, and for values that are not whole numbers, for several channels (one-hot), and for
            JPEG (which changes values).
    """
    if suffix_of(path) in LOSSY:
        found, remedy = "a label stored as JPEG, which changes its values", "Save it as PNG, TIFF or NIfTI"
        raise DataError.about(path, found, "a lossless label", f"{remedy} from the original.")
    raw = decode(path, palette_as_index=True)
    if raw.has_channels and (raw.array != raw.array[..., :1]).any():
        found = f"a label of {raw.array.shape[-1]} channels (shape {raw.array.shape}): one-hot regions, or colours"
        remedy = "Write one; where regions overlap, the smaller over the larger."
        raise DataError.about(path, found, "a class map, one whole number a voxel", remedy)
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


def write_scan(path: str | Path, image: AnyArray, affine: Affine = None, dtype: AnyType = None) -> None:
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
    write_stored(Path(path), RawImage(to_dtype(array[0], dtype, path), _affine_to_write(image, affine)))


def write_channels(path: str | Path, image: AnyArray, affine: Affine = None, dtype: AnyType = None) -> None:
    """Writes several channels in one file: (C, X, Y, Z) as a 4-D NIfTI, (3, X, Y) as a colour PNG or TIFF (uint8).

    Errors as in `write_scan`.
    """
    array = to_numpy(image)
    picture = suffix_of(path) not in NIFTI
    if array.ndim != (3 if picture else 4) or (picture and array.shape[0] != 3):
        found, expected = f"channels of shape {array.shape} to write", "(3, X, Y) for a picture, (C, X, Y, Z) for NIfTI"
        raise DataError.about(path, found, expected, "Write the channels one by one with write_scan.")
    stored = to_dtype(np.moveaxis(array, 0, -1), dtype, path)
    write_stored(Path(path), RawImage(stored, _affine_to_write(image, affine), has_channels=True))


def _as_metatensor(array: np.ndarray, dtype_on_disk: str, raw: RawImage, path: str | Path) -> MetaTensor:
    affine = np.asarray(raw.affine, dtype=np.float64)
    # axes along which nothing has a length, and a shear: all sizes in mm are taken along the axes
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / np.where(sizes > 0, sizes, 1)
    ordinary = np.isfinite(affine).all() and np.abs(affine).max() <= LARGEST_MM and sizes.all()
    if not ordinary or abs(np.linalg.det(axes)) < 1e-6:
        found, remedy = "a header whose voxel-to-mm matrix cannot be inverted", "Correct the spacing and orientation"
        raise DataError.about(path, found, "a valid affine", f"{remedy} in the header.")
    long = [axis for axis, size in enumerate(array.shape) if size > 1]
    shear = np.abs(np.triu((axes.T @ axes)[np.ix_(long, long)], 1)).max(initial=0)
    if shear > SHEAR_TOLERANCE:
        found = f"axes that stand {90 - np.degrees(np.arcsin(shear)):.1f} degrees to each other (a shear)"
        remedy = "Resample it onto such a grid, or correct its header (sform or qform)."
        raise DataError.about(path, found, "axes at right angles", remedy)
    meta = {"path": str(path), "dtype": dtype_on_disk, "spacing_known": raw.spacing_known, "modality": raw.modality}
    return MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine), meta=meta)


def _affine_to_write(image: object, affine: Affine) -> np.ndarray:
    if affine is None:
        affine = image.affine if isinstance(image, MetaTensor) else np.eye(4)
    return np.asarray(affine, dtype=np.float64)


class StoredScan:
    """The file behind a scan (1, *S) of `read_scan`."""

    def __init__(self, image: MetaTensor):
        self.image = image
        self.path = Path(image.meta["path"])

    def write(self, path: Path, image: AnyArray, dtype: str | None = None) -> None:
        """Writes an image of new values (1, *S) on the scan's grid, a label for example; errors as in `write_scan`.

        A NIfTI file gets the forms and codes of a NIfTI scan, and its axes: one slice of a volume stays a volume, and
        (X, Y, Z, 1) is (X, Y, Z).
        """
        stored = RawImage(to_dtype(to_numpy(image)[0], dtype, path), self.image.affine.numpy())
        like = self._raw.nifti if suffix_of(self.path) in NIFTI else None
        write_stored(path, replace(stored, nifti=like))

    def write_edited(self, path: Path, edited: AnyArray) -> None:
        """Writes the scan with the voxels in which `edited` (1, *S) differs from it; errors as in `write_scan`.

        All others keep the stored value, whatever its type and scaling; changed ones are rounded to what the type and
        the scaling can hold.
        """
        raw, after = self._raw, to_numpy(edited)[0]
        changed = after != to_numpy(self.image)[0]
        stored = raw.one_channel(self.path, self.image.meta["channel"])
        kind = np.dtype(NOT_STORABLE.get(stored.dtype.name, stored.dtype.name))
        stored = stored.astype(kind)
        stored[changed] = to_dtype((after[changed].astype(np.float64) - raw.intercept) / raw.slope, kind, path)
        write_stored(path, replace(raw, array=stored, affine=self.image.affine.numpy(), has_channels=False))

    @cached_property
    def _raw(self) -> RawImage:
        return decode(self.path, series_uid=self.image.meta["series_uid"])


def write_stored(path: Path, image: RawImage) -> None:
    """Writes stored values in the format of the ending, see `nifti_bytes`; errors as in `write_scan`."""
    suffix, array = suffix_of(path), image.array
    if suffix not in WRITABLE:
        expected = f"one of {', '.join(WRITABLE)} to write"
        raise DataError.about(path, f"the ending {path.suffix!r}", expected, "Rename the output.")
    if suffix in NIFTI:
        if image.nifti is not None:  # as many axes in space as its own file has
            array = array.reshape(image.nifti.get_data_shape()[:3])
        elif array.ndim == 2:  # a slice keeps its place only as a volume
            array = array[..., None]
        data = nifti_bytes(replace(image, array=array), compress=suffix == ".nii.gz")
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
        return
    kinds = ("uint8", "uint16", "int32", "float32")[: 1 if image.has_channels else 4 if suffix in TIFF else 2]
    if array.ndim != (3 if image.has_channels else 2) or array.dtype.name not in kinds:
        found, expected = f"a {array.ndim}-D {array.dtype} image to write", f"2-D and one of {', '.join(kinds)}"
        raise DataError.about(path, found, f"{expected} for {suffix}", "Write NIfTI (`.nii.gz`), or name a dtype.")
    with atomic_path(path) as temporary:
        options = {"compression": "tiff_lzw"} if suffix in TIFF else {}
        Image.fromarray(np.ascontiguousarray(array.swapaxes(0, 1))).save(temporary, **options)


def nifti_bytes(stored: RawImage, compress: bool = True) -> bytes:
    """A NIfTI-1 file of an array (*S) as it is stored. Equal input, equal bytes.

    Of a NIfTI header that comes along it gets sform and qform, with their codes, in mm, in place of the affine. Nothing
    else is taken over: its texts may name a patient.
    """
    header, like = nibabel.Nifti1Header(), stored.nifti
    header.set_data_dtype(stored.array.dtype)
    header.set_data_shape(stored.array.shape)
    if like is None:
        header.set_sform(stored.affine, code="scanner")
        header.set_qform(stored.affine, code="scanner")
    else:
        header["pixdim"][0] = like["pixdim"][0]  # the handedness of the qform
        for name in ("sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d"):
            header[name] = like[name]
        for name in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
            header[name] = like[name] * nifti_unit_mm(like)
        header["pixdim"][1:4] = like["pixdim"][1:4] * nifti_unit_mm(like)
    header.set_xyzt_units("mm")
    image = nibabel.Nifti1Image(stored.array, None, header)
    image.header.set_slope_inter(stored.slope, stored.intercept)
    data = image.to_bytes()
    return igzip.compress(data, GZIP_LEVEL, mtime=0) if compress else data


def to_numpy(image: AnyArray) -> np.ndarray:
    if isinstance(image, MetaTensor):
        image = image.as_tensor()
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        return (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    return np.asarray(image)


def to_dtype(array: np.ndarray, dtype: AnyType, path: str | Path) -> np.ndarray:
    """Rounds and clips to a whole-number type; without a type, 64-bit values are narrowed where they fit."""
    check_finite(array, str(path))
    name = array.dtype.name
    target: np.dtype = np.dtype(dtype if dtype is not None else NARROWED.get(name, name))
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
