"""The file name endings medaug knows, and names without them (`.nii.gz` counts as one ending).

DICOM files often have none, or a part of a UID; they are known by the letters DICM at byte 128.
"""

from __future__ import annotations

from pathlib import Path

from medaug.data.opening import open_file

NIFTI = (".nii.gz", ".nii")
NRRD = (".nrrd",)
META_IMAGE = (".mha", ".mhd")
LOSSY = (".jpg", ".jpeg")
TIFF = (".tif", ".tiff")
PICTURES = (".png", *LOSSY, *TIFF)
DICOM = (".dcm", ".dicom", ".ima")
READABLE = (*NIFTI, *NRRD, *META_IMAGE, *PICTURES, *DICOM)
WRITABLE = (*NIFTI, ".png", *TIFF)


def suffix_of(path: str | Path) -> str:
    """The known ending of a file name in lower case, or "" if medaug cannot read such a file."""
    name = Path(path).name.lower()
    return next((suffix for suffix in READABLE if name.endswith(suffix)), "")


def stem_of(path: str | Path) -> str:
    """The file name without its known ending: `scan.nii.gz` → `scan`."""
    name = Path(path).name
    return name[: len(name) - len(suffix_of(name))]


def is_scan(path: str | Path) -> bool:
    """Whether a file name looks like an image; names that start with a dot never do (`._scan.nii.gz` of macOS)."""
    return bool(suffix_of(path)) and not Path(path).name.startswith(".")


def is_dicom(path: str | Path) -> bool:
    """Whether a file holds DICOM, whatever its name.

    Raises:
        DataError: if it is a pipe, a socket or a device.
    """
    try:
        with open_file(path) as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
