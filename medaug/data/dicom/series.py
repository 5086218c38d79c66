"""Which DICOM files belong together: the image series of a file or a folder, found by their headers alone.

A folder is searched to the bottom; files that are no DICOM, and DICOM objects that are no scans (segmentations, doses,
reports, presentation states), do not count. Headers are read once as long as the files do not change.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pydicom
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medaug.data.cases import files_below
from medaug.data.opening import open_file, read_file
from medaug.data.suffixes import DICOM, is_dicom, suffix_of
from medaug.data.unpacking import inflates_beyond
from medaug.errors import DataError

log = logging.getLogger(__name__)

NOT_SCANS = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTIMAGE", "SR", "PR", "KO", "REG", "FID", "DOC", "ECG", "M3D")
DEFLATED_RATIO, DEFLATED_AT_LEAST = 64, 2**26
LISTED = 12  # series named in a message
_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "Modality",
    "SeriesDescription",
    "Rows",
    "Columns",
)


@dataclass(frozen=True)
class Series:
    """One image series: its tags ("" where the files have none) and its files, in natural order of their names."""

    uid: str
    study_uid: str
    patient: str
    modality: str
    description: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        """For lists of series: nothing here names the patient."""
        count = f"{len(self.files)} file{'s' if len(self.files) > 1 else ''}"
        return f"{self.uid or 'no UID'} ({self.modality or 'no modality'}, {self.description!r}, {count})"


@dataclass(frozen=True)
class _Header:
    """What groups a file."""

    sop_class: str
    sop_uid: str
    uid: str
    study_uid: str
    patient: str
    modality: str
    description: str
    has_pixels: bool

    @property
    def is_scan(self) -> bool:
        return self.has_pixels and self.modality not in NOT_SCANS

    @property
    def is_cut_off(self) -> bool:
        """An image without its size, or nothing that says what it is: not to be passed over as something else."""
        name = UID(self.sop_class).name
        return not self.has_pixels and ("Image Storage" in name or (name == self.sop_class and not self.modality))


def find_series(path: str | Path) -> list[Series]:
    """The image series of a DICOM file, or of a folder and all folders below it, in the order of their first files.

    Files without a SeriesInstanceUID count as one series a folder. Byte-for-byte copies of one image count once; a
    warning names them.

    Raises:
        DataError: if there is no such file, it is no DICOM or damaged, or there is no image series.
    """
    path = Path(path)
    headers = {file: _header_of(file) for file in _dicom_files(path)}
    scans = {file: header for file, header in headers.items() if header.is_scan}
    for file, header in headers.items():
        if header.is_cut_off:
            raise DataError.about(
                file,
                "a DICOM file that ends too early, before it says what it is",
                "a complete one",
                "Copy or export it again, or move it away.",
            )
    if not scans:
        raise _no_scan(path, headers)
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for file, header in scans.items():
        groups[header.uid, "" if header.uid else str(file.parent)].append(file)
    return [_series(files, scans) for files in groups.values()]


def choose_series(path: str | Path, series_uid: str | None = None) -> Series:
    """The only series, or the one with this SeriesInstanceUID.

    Raises:
        DataError: as `find_series`; and if there are several and no choice, or none with this UID, listing them.
    """
    found = find_series(path)
    if series_uid is not None:
        chosen = [series for series in found if series.uid == series_uid]
        if not chosen:
            raise DataError.about(
                path, f"no series {series_uid}", f"one of: {_listed(found)}", "Copy the UID from this list."
            )
        return chosen[0]
    if len(found) > 1:
        raise DataError.about(
            path,
            f"{len(found)} series: {_listed(found)}",
            "one series, or a choice",
            "Point to the folder of one, or choose one by its UID (series_uid; `medaug synth-ct --series`).",
        )
    return found[0]


def _dicom_files(path: Path) -> Iterator[Path]:
    """The file itself, or the DICOM files below a folder; a file that is named like DICOM has to be DICOM."""
    if path.is_dir():
        for file in files_below(path, tell=True):
            if file.name != "DICOMDIR" and (suffix_of(file) in DICOM or is_dicom(file) or not file.exists()):
                yield _checked(file)
        return
    yield _checked(path)


def _checked(file: Path) -> Path:
    if not file.exists():
        raise DataError.about(file, "no such file", "a DICOM file or folder", "Check the path, or mend the link.")
    if not is_dicom(file):
        size = file.stat().st_size
        raise DataError.about(
            file,
            "an empty file (0 bytes)" if size == 0 else "no DICOM file (the letters DICM are not at byte 128)",
            "a DICOM file with its file header",
            "Copy or export it again, or move it away.",
        )
    return file


def _header_of(file: Path) -> _Header:
    status = file.stat()
    return _read_header(str(file), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=200_000)
def _read_header(file: str, size: int, modified_ns: int) -> _Header:
    """Size and time are there for the cache: a file that changed is read again."""
    try:
        _check_deflated(file)
        found = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        meta = found.file_meta
        uid, study, patient = (
            str(found.get(tag) or "").strip() for tag in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID")
        )
        return _Header(
            str(found.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""),
            str(found.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or ""),
            uid,
            study,
            patient,
            str(found.get("Modality") or "").upper(),
            str(found.get("SeriesDescription") or ""),
            bool(found.get("Rows")) and bool(found.get("Columns")),
        )
    except Exception as error:  # pydicom meets damaged bytes with every kind of exception
        raise DataError.about(
            file,
            f"a damaged DICOM header ({type(error).__name__})",
            "a readable DICOM file",
            "Copy or export it again, or move it away.",
        ) from error


def _check_deflated(file: str) -> None:
    """Refuses a deflated data set (PS3.5, A.5) that unpacks to far more than images do; pydicom unpacks all of it.

    Raises:
        ValueError: if it does.
    """
    with open_file(file) as stream:
        start = stream.read(1024)
        if DeflatedExplicitVRLittleEndian.encode() not in start:
            return
        (length,) = struct.unpack("<L", start[140:144])  # (0002,0000): what follows it of the file's meta information
        stream.seek(144 + length)
        packed = stream.read()
    if inflates_beyond(packed, DEFLATED_AT_LEAST + DEFLATED_RATIO * len(packed)):
        raise ValueError("a deflated data set beyond all proportion")


def _series(files: list[Path], headers: dict[Path, _Header]) -> Series:
    files = _without_copies(files, headers)
    first = headers[files[0]]
    return Series(first.uid, first.study_uid, first.patient, first.modality, first.description, tuple(files))


def _without_copies(files: list[Path], headers: dict[Path, _Header]) -> list[Path]:
    """Copies of one image (same SOP Instance UID, same bytes) count once; what differs stays and is refused later."""
    same: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        same[headers[file].sop_uid].append(file)
    copies: set[Path] = set()
    for uid, members in same.items():
        first: dict[str, Path] = {}
        for file in members if uid and len(members) > 1 else ():
            digest = hashlib.sha256(read_file(file)).hexdigest()
            if digest in first:
                log.warning("%s: a copy of %s, byte for byte; it is read once", file, first[digest].name)
                copies.add(file)
            first.setdefault(digest, file)
    return [file for file in files if file not in copies]


def _no_scan(path: Path, headers: dict[Path, _Header]) -> DataError:
    classes = sorted({UID(header.sop_class).name or "without a SOP class" for header in headers.values()})
    found = (
        f"no scan, only DICOM objects of the kind {', '.join(classes)}" if headers else "a folder without DICOM files"
    )
    return DataError.about(path, found, "CT, MR or other images", "Point to the images of a series.")


def _listed(series: list[Series]) -> str:
    more = f"; and {len(series) - LISTED} more" if len(series) > LISTED else ""
    return "; ".join(str(one) for one in series[:LISTED]) + more
