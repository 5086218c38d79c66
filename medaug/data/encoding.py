"""Encoders, the other way round than `readers`: an array of stored values to NIfTI, PNG or TIFF, atomically; and what
is made of a single scan, written as the scan is stored: on its grid, its own values where none changed.

A scan is worked on in float32, which does not hold what files of float64, int32 or scaled whole numbers do. So the file
is read again when an edit of it is written, and only voxels that changed are replaced in what is stored there.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
import torch
from isal import igzip
from monai.data import MetaTensor
from PIL import Image

from medaug.data.atomic import atomic_path
from medaug.data.readers import RawImage, decode, nifti_unit_mm
from medaug.data.suffixes import NIFTI, TIFF, WRITABLE, suffix_of
from medaug.errors import DataError
from medaug.volumes import check_finite

GZIP_LEVEL = 1  # igzip has 0 to 3; 1 is the fast one
NOT_STORABLE = {"bool": "uint8", "float16": "float32"}
"""Types of other formats that NIfTI does not have, and those that hold their values."""
NARROWED = NOT_STORABLE | {"int64": "int32", "uint64": "uint32", "float64": "float32"}

AnyArray = MetaTensor | torch.Tensor | np.ndarray


class StoredScan:
    """The file behind a scan (1, *S) of `read_scan`."""

    def __init__(self, image: MetaTensor):
        self.image = image
        self.path = Path(image.meta["path"])

    def write(self, path: Path, image: AnyArray, dtype: str | None = None) -> None:
        """Writes an image of new values (1, *S) on the scan's grid, a label for example.

        A NIfTI file gets the forms and codes of a NIfTI scan, and its axes: one slice of a volume stays a volume, and
        (X, Y, Z, 1) is (X, Y, Z).

        Raises:
            DataError, RunError: as `write_scan`.
        """
        like = self._raw.nifti if suffix_of(self.path) in NIFTI else None
        write_stored(path, to_dtype(to_numpy(image)[0], dtype, path), self.image.affine.numpy(), like=like)

    def write_edited(self, path: Path, edited: AnyArray) -> None:
        """Writes the scan with the voxels in which `edited` (1, *S) differs from it.

        All others keep the stored value, whatever its type and scaling; changed ones are rounded to what the type and
        the scaling can hold.

        Raises:
            DataError, RunError: as `write_scan`.
        """
        raw, after = self._raw, to_numpy(edited)[0]
        changed = after != to_numpy(self.image)[0]
        stored = raw.one_channel(self.path, self.image.meta["channel"])
        kind = np.dtype(NOT_STORABLE.get(stored.dtype.name, stored.dtype.name))
        stored = stored.astype(kind)
        stored[changed] = to_dtype((after[changed].astype(np.float64) - raw.intercept) / raw.slope, kind, path)
        affine, scaling = self.image.affine.numpy(), (raw.slope, raw.intercept)
        write_stored(path, stored, affine, scaling=scaling, like=raw.nifti)

    @cached_property
    def _raw(self) -> RawImage:
        return decode(self.path, series_uid=self.image.meta["series_uid"])


def write_stored(
    path: Path,
    array: np.ndarray,
    affine: np.ndarray,
    *,
    scaling: tuple[float, float] = (1.0, 0.0),
    like: nibabel.Nifti1Header | None = None,
    colour: bool = False,
) -> None:
    """Writes an array (*S) of stored values in the format of the ending; see `nifti_bytes`.

    Raises:
        DataError, RunError: as `write_scan`.
    """
    suffix = suffix_of(path)
    if suffix not in WRITABLE:
        expected = f"one of {', '.join(WRITABLE)} to write"
        raise DataError.about(path, f"the ending {path.suffix!r}", expected, "Rename the output.")
    if suffix in NIFTI:
        if like is not None:  # as many axes in space as its own file has
            array = array.reshape(like.get_data_shape()[:3])
        elif array.ndim == 2:  # a slice keeps its place only as a volume
            array = array[..., None]
        data = nifti_bytes(array, affine, scaling=scaling, compress=suffix == ".nii.gz", like=like)
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
        return
    kinds = ("uint8",) if colour else ("uint8", "uint16", "int32", "float32") if suffix in TIFF else ("uint8", "uint16")
    if array.ndim != (3 if colour else 2) or array.dtype.name not in kinds:
        found, expected = f"a {array.ndim}-D {array.dtype} image to write", f"2-D and one of {', '.join(kinds)}"
        raise DataError.about(path, found, f"{expected} for {suffix}", "Write NIfTI (`.nii.gz`), or name a dtype.")
    with atomic_path(path) as temporary:
        options = {"compression": "tiff_lzw"} if suffix in TIFF else {}
        Image.fromarray(np.ascontiguousarray(array.swapaxes(0, 1))).save(temporary, **options)


def nifti_bytes(
    array: np.ndarray,
    affine: np.ndarray,
    *,
    scaling: tuple[float, float] = (1.0, 0.0),
    compress: bool = True,
    like: nibabel.Nifti1Header | None = None,
) -> bytes:
    """A NIfTI-1 file of an array (*S) as it is. Equal input, equal bytes.

    Args:
        scaling: slope and intercept; readers see `array * slope + intercept`.
        like: a header whose sform and qform, with their codes, this file gets (in mm), in place of the affine. Nothing
            else of it is taken over: its texts may name a patient.
    """
    header = nibabel.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    if like is None:
        header.set_sform(affine, code="scanner")
        header.set_qform(affine, code="scanner")
    else:
        header["pixdim"][0] = like["pixdim"][0]  # the handedness of the qform
        for name in ("sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d"):
            header[name] = like[name]
        for name in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
            header[name] = like[name] * nifti_unit_mm(like)
        header["pixdim"][1:4] = like["pixdim"][1:4] * nifti_unit_mm(like)
    header.set_xyzt_units("mm")
    image = nibabel.Nifti1Image(array, None, header)
    image.header.set_slope_inter(*scaling)
    data = image.to_bytes()
    return igzip.compress(data, GZIP_LEVEL, mtime=0) if compress else data


def to_numpy(image: AnyArray) -> np.ndarray:
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
