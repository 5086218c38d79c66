"""Encoders, the other way round than `readers.py`: an array of stored values to NIfTI, PNG or TIFF, atomically."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from isal import igzip
from PIL import Image

from medaug.data.atomic import atomic_path
from medaug.data.readers import nifti_unit_mm
from medaug.data.suffixes import NIFTI, TIFF, WRITABLE, suffix_of
from medaug.errors import DataError

GZIP_LEVEL = 1  # igzip has 0 to 3; 1 is the fast one


def nifti_bytes(
    array: np.ndarray,
    affine: np.ndarray,
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    compress: bool = True,
    like: nibabel.Nifti1Header | None = None,
) -> bytes:
    """A NIfTI-1 file of an array (*S) as it is; readers see `array * slope + intercept`. Equal input, equal bytes.

    Args:
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
        header["sform_code"], header["qform_code"] = like["sform_code"], like["qform_code"]
        header["pixdim"][0] = like["pixdim"][0]  # the handedness of the qform
        for name in ("quatern_b", "quatern_c", "quatern_d"):
            header[name] = like[name]
        for name in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
            header[name] = like[name] * nifti_unit_mm(like)
        header["pixdim"][1:4] = like["pixdim"][1:4] * nifti_unit_mm(like)
    header.set_xyzt_units("mm")
    image = nibabel.Nifti1Image(array, None, header)
    image.header.set_slope_inter(slope, intercept)
    data = image.to_bytes()
    return igzip.compress(data, GZIP_LEVEL, mtime=0) if compress else data


def write_stored(
    path: Path,
    array: np.ndarray,
    affine: np.ndarray,
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    like: nibabel.Nifti1Header | None = None,
    colour: bool = False,
) -> None:
    """Writes an array (*S) of stored values in the format of the ending; see `nifti_bytes`.

    Raises:
        DataError, RunError: as `write_scan`.
    """
    suffix = suffix_of(path)
    if suffix not in WRITABLE:
        raise DataError.about(
            path, f"the ending {path.suffix!r}", f"one of {', '.join(WRITABLE)} to write", "Rename the output."
        )
    if suffix in NIFTI:
        if like is not None:  # as many axes in space as its own file has
            array = array.reshape(like.get_data_shape()[:3])
        elif array.ndim == 2:  # a slice keeps its place only as a volume
            array = array[..., None]
        data = nifti_bytes(array, affine, slope=slope, intercept=intercept, compress=suffix == ".nii.gz", like=like)
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    else:
        _write_picture(path, array, suffix, colour)


def _write_picture(path: Path, array: np.ndarray, suffix: str, colour: bool) -> None:
    kinds = ("uint8",) if colour else ("uint8", "uint16", "int32", "float32") if suffix in TIFF else ("uint8", "uint16")
    if array.ndim != (3 if colour else 2) or array.dtype.name not in kinds:
        raise DataError.about(
            path,
            f"a {array.ndim}-D {array.dtype} image to write",
            f"2-D and one of {', '.join(kinds)} for {suffix}",
            "Write NIfTI (`.nii.gz`), or name a dtype.",
        )
    with atomic_path(path) as temporary:
        options = {"compression": "tiff_lzw"} if suffix in TIFF else {}
        Image.fromarray(np.ascontiguousarray(array.swapaxes(0, 1))).save(temporary, **options)
