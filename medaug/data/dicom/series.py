"""Which DICOM files belong together: the image series of a file or a folder, found by their headers alone.

A folder is searched to the bottom; files that are no DICOM, and DICOM objects that are no scans (segmentations, doses,
reports, presentation states), do not count. Headers are read once as long as the files do not change.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pydicom
from isal import isal_zlib
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medaug.data.cases import files_below
from medaug.data.opening import DICOM, is_dicom, open_file, read_file, suffix_of
from medaug.errors import DataError

log = logging.getLogger(__name__)

NOT_SCANS = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTIMAGE", "SR", "PR", "KO", "REG", "FID", "DOC", "ECG", "M3D")
DEFLATED_RATIO, DEFLATED_AT_LEAST, PIECE_BYTES = 64, 2**26, 2**20
AGAIN = "Copy or export it again, or move it away."
LISTED = 12  # series named in a message
_UIDS = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
_TAGS = [*_UIDS, "PatientID", "Modality", "SeriesDescription", "Rows", "Columns"]


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
    """What groups a file: the series that it alone would be, and what kind of object it is."""

    alone: Series
    sop_class: str
    sop_uid: str
    has_pixels: bool


def find_series(path: str | Path) -> list[Series]:
    """The image series of a DICOM file, or of a folder and all folders below it, in the order of their first files.

    Files without a SeriesInstanceUID count as one series a folder. Byte-for-byte copies of one image count once; a
    warning names them.

    Raises:
        DataError: if there is no such file, it is no DICOM or damaged, or there is no image series.
    """
    path = Path(path)
    stamps = {file: file.stat() for file in _dicom_files(path)}
    headers = {file: _read_header(file, stamp.st_size, stamp.st_mtime_ns) for file, stamp in stamps.items()}
    groups: dict[tuple[str, str], dict[Path, _Header]] = defaultdict(dict)
    for file, header in headers.items():
        name, modality = UID(header.sop_class).name, header.alone.modality
        # an image without its size, or nothing that says what it is, is not passed over as something else
        if not header.has_pixels and ("Image Storage" in name or (name == header.sop_class and not modality)):
            found = "a DICOM file that ends too early, before it says what it is"
            raise DataError.about(file, found, "a complete one", AGAIN)
        if header.has_pixels and modality not in NOT_SCANS:
            groups[header.alone.uid, "" if header.alone.uid else str(file.parent)][file] = header
    if not groups:
        classes = sorted({UID(header.sop_class).name or "without a SOP class" for header in headers.values()})
        only = f"no scan, only DICOM objects of the kind {', '.join(classes)}"
        found = only if classes else "a folder without DICOM files"
        raise DataError.about(path, found, "CT, MR or other images", "Point to the images of a series.")
    return [_together(members) for members in groups.values()]


def choose_series(path: str | Path, series_uid: str | None = None) -> Series:
    """The only series, or the one with this SeriesInstanceUID.

    Raises:
        DataError: as `find_series`; and for several and no choice, or none with this UID, listing them.
    """
    found = find_series(path)
    chosen = found if series_uid is None else [series for series in found if series.uid == series_uid]
    if len(chosen) == 1 or (chosen and series_uid is not None):
        return chosen[0]
    more = f"; and {len(found) - LISTED} more" if len(found) > LISTED else ""
    listed = "; ".join(map(str, found[:LISTED])) + more
    if series_uid is not None:
        raise DataError.about(path, f"no series {series_uid}", f"one of: {listed}", "Copy the UID from this list.")
    remedy = "Point to the folder of one, or choose one by its UID (series_uid; `medaug synth-ct --series`)."
    raise DataError.about(path, f"{len(found)} series: {listed}", "one series, or a choice", remedy)


def _dicom_files(path: Path) -> list[Path]:
    """The file itself, or the DICOM files below a folder; a file that is named like DICOM has to be DICOM."""
    files = [path]
    if path.is_dir():
        below = [file for file in files_below(path, tell=True) if file.name != "DICOMDIR"]
        files = [file for file in below if suffix_of(file) in DICOM or is_dicom(file) or not file.exists()]
    for file in files:
        if not file.exists():
            raise DataError.about(file, "no such file", "a DICOM file or folder", "Check the path, or mend the link.")
        if not is_dicom(file):
            other = "no DICOM file (the letters DICM are not at byte 128)"
            found = other if file.stat().st_size else "an empty file (0 bytes)"
            raise DataError.about(file, found, "a DICOM file with its file header", AGAIN)
    return files


@lru_cache(maxsize=200_000)
def _read_header(file: Path, size: int, modified_ns: int) -> _Header:
    """Size and time are there for the cache: a file that changed is read again."""
    try:
        _check_deflated(file)
        found = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
        meta = found.file_meta
        uid, study, patient = (
            str(found.get(tag) or "").strip() for tag in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID")
        )
        modality, description = str(found.get("Modality") or "").upper(), str(found.get("SeriesDescription") or "")
        return _Header(
            Series(uid, study, patient, modality, description, (file,)),
            str(found.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""),
            str(found.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or ""),
            bool(found.get("Rows")) and bool(found.get("Columns")),
        )
    except Exception as error:  # pydicom meets damaged bytes with every kind of exception
        damage = f"a damaged DICOM header ({type(error).__name__})"
        raise DataError.about(file, damage, "a readable DICOM file", AGAIN) from error


def _check_deflated(file: Path) -> None:
    """Refuses (ValueError) a deflated data set (PS3.5, A.5) that unpacks to more than images do: pydicom unpacks it."""
    with open_file(file) as stream:
        start = stream.read(1024)
        if DeflatedExplicitVRLittleEndian.encode() not in start:
            return
        (length,) = struct.unpack("<L", start[140:144])  # (0002,0000): what follows it of the file's meta information
        stream.seek(144 + length)
        rest = stream.read()
    most, total, unpacker = DEFLATED_AT_LEAST + DEFLATED_RATIO * len(rest), 0, isal_zlib.decompressobj(wbits=-15)
    while rest and not unpacker.eof:
        total += len(unpacker.decompress(rest, PIECE_BYTES))  # which is not kept
        rest = unpacker.unconsumed_tail
        if total > most:
            raise ValueError("a deflated data set beyond all proportion")


def _together(members: dict[Path, _Header]) -> Series:
    """The files as one series; copies of one image (same SOP Instance UID, same bytes) count once.

    What differs under one SOP Instance UID stays, and is refused later.
    """
    same: dict[str, list[Path]] = defaultdict(list)
    for file, header in members.items():
        same[header.sop_uid].append(file)
    copies: set[Path] = set()
    for uid, files in same.items():
        firsts: dict[str, Path] = {}
        for file in files if uid and len(files) > 1 else ():
            first = firsts.setdefault(hashlib.sha256(read_file(file)).hexdigest(), file)
            if first is not file:
                log.warning("%s: a copy of %s, byte for byte; it is read once", file, first.name)
                copies.add(file)
    kept = tuple(file for file in members if file not in copies)
    return replace(members[kept[0]].alone, files=kept)
