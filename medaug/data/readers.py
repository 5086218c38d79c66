"""Decoders, one for each family of formats: bytes on disk to an array, its affine in mm (RAS), and its channels.

NIfTI (gzip by isal, then nibabel), NRRD and MetaImage (`text_headers`), PNG/JPEG/TIFF (Pillow), DICOM files and folders
(`dicom/`). Anything a decoder refuses becomes a DataError; nothing is repaired silently. `files` turns the result into
a MetaTensor.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from isal import igzip
from PIL import Image

from medaug.data.dicom.reading import read_series
from medaug.data.opening import (
    DEFLATE_MOST,
    DICOM,
    META_IMAGE,
    NIFTI,
    NRRD,
    READABLE,
    Stream,
    check_declared,
    check_regular,
    check_within_limit,
    is_dicom,
    open_file,
    read_declared,
    suffix_of,
    voxels_of,
)
from medaug.data.text_headers import read_meta_image, read_nrrd
from medaug.errors import DataError, MedaugError

PICTURE_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I": 32, "F": 32}
"""A pixel, by mode; 8 bits a channel where none is named."""
PICTURE_MOST = {"raw": 1, "packbits": 64, "tiff_lzw": 4096, **dict.fromkeys(("JPEG", "jpeg"), 2048)}
PICTURE_MOST |= dict.fromkeys(("PNG", "tiff_deflate", "tiff_adobe_deflate"), DEFLATE_MOST)
"""Bytes that one byte can stand for at the most, by format, of TIFF by compression; others have no such bound."""
_STDERR_LOCK = threading.Lock()  # one decoder at a time may own file descriptor 2
_DECODER_NOISE = re.compile(r"^(\w*(LZW|ZIP|Fax|TIFF|JPEG|Predictor)\w*:|tempfile\.tif:|\s+ideal = ).*")


@dataclass(frozen=True)
class RawImage:
    """One file as it is stored: (X, Y), (X, Y, Z), or with a last axis of channels if `has_channels`."""

    array: np.ndarray
    affine: np.ndarray  # (4, 4), mm, RAS
    has_channels: bool = False
    spacing_known: bool = True
    modality: str | None = None  # where the file says it
    slope: float = 1.0  # values are array * slope + intercept
    intercept: float = 0.0
    nifti: nibabel.Nifti1Header | None = None  # of a NIfTI file

    def in_unit(self, stored: np.ndarray) -> np.ndarray:
        """Stored values in the file's own unit; float64 where that is not what they are."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return stored
        return stored * np.float64(self.slope) + np.float64(self.intercept)

    def one_channel(self, path: str | Path, channel: int | None = None) -> np.ndarray:
        """The chosen channel as it is stored, (X, Y) or (X, Y, Z); trailing axes of length one are dropped.

        Raises:
            DataError: naming the file, for several channels and no choice, or values that are no real numbers.
        """
        array, count = self.array, self.array.shape[-1] if self.has_channels else 1
        if np.iscomplexobj(array):
            raise DataError.about(path, "complex values", "real intensities", "Save the magnitude image.")
        if array.dtype.kind not in "biuf":
            raise DataError.about(path, f"values of the type {array.dtype}", "numbers", "Save them as numbers.")
        listed = ", ".join(map(str, range(count)))
        if channel is not None and not 0 <= channel < count:
            expected = f"at least {channel + 1}, because channel {channel} was chosen"
            raise DataError.about(path, f"{count} channel(s)", expected, f"Choose one of {listed} (`--sequence`).")
        if self.has_channels:
            if channel is None and (array != array[..., :1]).any():
                found = f"{count} different channels ({listed}; shape {array.shape})"
                remedy = "Choose one with `--sequence`, by number or by name where the data set names them."
                raise DataError.about(path, found, "one channel, or a choice", remedy)
            array = array[..., channel or 0]
        while array.ndim > 2 and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim not in (2, 3) or array.size == 0:
            found = f"{array.ndim} dimensions (shape {array.shape})"
            raise DataError.about(path, found, "a 2-D or 3-D image", "Save one image per file.")
        return array


def decode(path: str | Path, palette_as_index: bool = False, series_uid: str | None = None) -> RawImage:
    """Decodes one image: a file, or the folder of a DICOM series.

    Args:
        path: the file or folder; DICOM is also known by its content.
        palette_as_index: keep the numbers of a palette picture (labels) and not its colours.
        series_uid: which DICOM series of a folder that holds several.

    Raises:
        DataError: for a missing, empty, damaged or foreign file, or a folder that is not one DICOM series.
    """
    path = Path(path)
    suffix = suffix_of(path)
    try:
        if path.is_dir() or suffix in DICOM or (not suffix and is_dicom(path)):
            volume = read_series(path, series_uid=series_uid)
            return RawImage(volume.array, volume.affine, modality=volume.modality or None)
        if not path.exists():
            raise DataError.about(path, "no such file", "an image file", "Check the path.")
        if not suffix:
            found, expected = f"an unknown file ending {path.suffix!r}", f"one of {', '.join(READABLE)}"
            raise DataError.about(path, found, expected, "Convert it, for example to NIfTI.")
        if check_regular(path).stat().st_size == 0:
            raise DataError.about(path, "an empty file (0 bytes)", f"a {suffix} image", "Copy or download it again.")
        if suffix in NIFTI:
            return _decode_nifti(path)
        if suffix in NRRD:
            return RawImage(*read_nrrd(path))
        if suffix in META_IMAGE:
            return RawImage(*read_meta_image(path))
        return _decode_picture(path, palette_as_index)
    except MedaugError:
        raise
    except Exception as error:  # third-party decoders meet damaged bytes with every kind of exception
        reason = str(error).strip().splitlines() or [type(error).__name__]
        found = f"a damaged or foreign file ({reason[-1]})"
        remedy = "Copy or download it again, or leave it out (`--skip-unreadable`)."
        raise DataError.about(path, found, f"a readable {suffix} image", remedy) from error


def _decode_nifti(path: Path) -> RawImage:
    with open_file(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: Stream = igzip.GzipFile(fileobj=file) if packed else file
        start = stream.read(540)
        header_size = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
        kind: Any = nibabel.Nifti1Image if 348 in header_size else nibabel.Nifti2Image if 540 in header_size else None
        if kind is None:
            raise ValueError("no NIfTI header")
        header = kind.header_class(start[: kind.header_class.sizeof_hdr])  # without its extensions, of any length
        voxel_bytes = voxels_of(header.get_data_shape()) * header.get_data_dtype().itemsize
        declared = int(header.get_data_offset()) + voxel_bytes
        check_declared(declared, file, DEFLATE_MOST if packed else 1)
        image = kind.from_bytes(read_declared(stream, declared, start))
    array = np.asanyarray(image.dataobj.get_unscaled())
    while array.ndim > 3 and array.shape[3] == 1:  # (X, Y, Z, 1, C): no time, vector last
        array = array[:, :, :, 0]
    has_channels = array.ndim > 3
    if array.dtype.names:  # colour voxels
        array, has_channels = np.stack([array[name] for name in array.dtype.names], axis=-1), True
    affine = np.diag([*[nifti_unit_mm(image.header)] * 3, 1.0]) @ image.affine
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    return RawImage(array, affine, has_channels, slope=slope, intercept=intercept, nifti=image.header)


def nifti_unit_mm(header: nibabel.Nifti1Header) -> float:
    """What a header's unit of length is in mm; one that does not say it means mm."""
    return {1: 1000.0, 3: 0.001}.get(int(header["xyzt_units"]) % 8, 1.0)


def _decode_picture(path: Path, palette_as_index: bool) -> RawImage:
    with open_file(path) as file, Image.open(file) as picture:
        # grey levels and palettes may take a bit a pixel
        bits = sum(PICTURE_BITS.get(band, 8) for band in [picture.mode, *picture.getbands()[1:]])
        declared = picture.width * picture.height * bits // 8
        packing = str(picture.info.get("compression", picture.format)) if picture.format == "TIFF" else picture.format
        ratio = PICTURE_MOST.get(packing or "")
        if ratio is not None:
            check_declared(max(1, declared // (8 if bits == 8 else 1)), file, ratio)
        check_within_limit(declared, file.name)
        if (pages := getattr(picture, "n_frames", 1)) > 1:
            remedy = "Save it as a NIfTI volume, or as one file per slice."
            raise DataError.about(path, f"a stack of {pages} pages", "one picture a file", remedy)
        with _quiet_stderr():
            picture.load()
        as_colours = picture.mode in ("P", "PA") and not palette_as_index
        shown = picture.convert("RGB") if as_colours else picture
        array = np.asarray(shown)
        if shown.mode in ("LA", "RGBA", "PA") and array[..., -1].min() == array[..., -1].max():
            array = array[..., :-1]  # an alpha channel without content
    if array.dtype == bool:
        array = array.astype(np.uint8)
    array = array.swapaxes(0, 1)  # (row, column[, C]) → (X, Y[, C])
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return RawImage(array, np.eye(4), has_channels=array.ndim == 3, spacing_known=False)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keeps the decoders' lines about a damaged file off the terminal; other lines are passed on when the block ends.

    Raises:
        ValueError: with the decoder's words, in place of its own error; also where it printed an error and went on.
    """
    printed: list[str] = []
    failure: Exception | None = None
    with _STDERR_LOCK, tempfile.TemporaryFile() as caught:
        try:
            original = os.dup(2)
        except OSError:  # a process without a standard error
            yield
            return
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except Exception as error:
            failure = error
        finally:
            os.dup2(original, 2)
            os.close(original)
        caught.seek(0)
        for line in caught.read().splitlines(keepends=True):
            if _DECODER_NOISE.match(line.decode(errors="replace")):
                printed.append(line.decode(errors="replace").strip())
            else:
                os.write(2, line)
    if printed and (failure or any("warning" not in line.lower() for line in printed)):
        raise ValueError(" ".join(printed)) from failure
    if failure is not None:
        raise failure
