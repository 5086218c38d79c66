"""Which DICOM files belong together: the image series of a file or a folder, found by their headers, and their cases.

A folder is searched to the bottom; files that are no DICOM, and DICOM objects that are no scans (segmentations, doses,
reports, presentation states), do not count. A case is one series, or where several sequences are asked for one study,
its patient the PatientID as it stands. Labels may lie beside a tree as `labels/<case>.nii.gz`, on the grid of the
(first) series. pydicom is imported only where there is DICOM.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import attrgetter
from pathlib import Path

from isal import isal_zlib

from medaug.data.cases import Found, Lacking, files_below, lacks, make_case, natural_key
from medaug.data.opening import DICOM, is_dicom, is_scan, open_file, read_file, stem_of, suffix_of
from medaug.data.records import Case
from medaug.errors import ConfigError, DataError

log = logging.getLogger(__name__)

NOT_SCANS = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTIMAGE", "SR", "PR", "KO", "REG", "FID", "DOC", "ECG", "M3D")
DEFLATED_RATIO, DEFLATED_AT_LEAST, PIECE_BYTES = 64, 2**26, 2**20
AGAIN = "Copy or export it again, or move it away."
LABELS = "labels"  # the folder of labels beside a tree
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


def find_series(path: str | Path) -> list[Series]:
    """The image series of a DICOM file, or of a folder and all folders below it, in the order of their first files.

    Files without a SeriesInstanceUID count as one series a folder. Byte-for-byte copies of one image count once; a
    warning names them.

    Raises:
        DataError: if there is no such file, it is no DICOM or damaged, or there is no image series.
    """
    path = Path(path)
    from pydicom.uid import UID

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


def images_below(root: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder, outside its `labels/`, that are DICOM, and the images that are not."""
    dicom: list[Path] = []
    others: list[Path] = []
    for file in files_below(root) if root.is_dir() else ():
        if root / LABELS in file.parents:
            continue
        if suffix_of(file) in DICOM or (not is_scan(file) and is_dicom(file)):
            dicom.append(file)
        elif is_scan(file):
            others.append(file)
    return dicom, others


def find_dicom_cases(root: Path, labels: dict[str, Path], sequence: str | int | None = None) -> list[Case]:
    """One case for each series below `root`; a series of one slice is a 2-D case.

    A case is named after its file (one slice) or its folder, with as much of the path in front as tells it apart, and
    with a part of a hash of its UID where several series share a folder.

    Args:
        root: a folder.
        labels: by the names of their cases.
        sequence: only series with this Modality or SeriesDescription, in upper or lower case.

    Raises:
        DataError: if a series has no PatientID, or a label no series.
        ConfigError: if no series has the chosen Modality or SeriesDescription.
    """
    everything = _series_of(root)
    names = _names(root, [(_place(series.files), series.uid or str(series.files[0])) for series in everything])
    kept = everything if sequence is None else _called(everything, sequence, root)
    _refuse_orphans(labels, names, "a series")
    return [_case(name, series, labels) for name, series in zip(names, everything, strict=True) if series in kept]


def find_dicom_studies(root: Path, labels: dict[str, Path], sequence: str | int | None) -> Found:
    """One case for each study below `root`, with the one series of it that goes by `sequence`: what channels are of.

    A case is named after the deepest folder that holds all series of the study, as `find_dicom_cases` names series.

    Args:
        root, labels, sequence: as there.

    Raises:
        DataError: as there, or if two series of a study go by the sequence.
        ConfigError: as there.
    """
    studies = _studies(_series_of(root))
    places = [_place([file for series in members for file in series.files]) for members in studies]
    names = _names(root, [(place, of[0].study_uid or of[0].uid) for place, of in zip(places, studies, strict=True)])
    kept = _called([series for members in studies for series in members], sequence, root)
    _refuse_orphans(labels, names, "a study")
    cases: list[Case | Lacking] = []
    for name, place, members in zip(names, places, studies, strict=True):
        chosen = [series for series in members if series in kept]
        if len(chosen) > 1:
            found = f"{len(chosen)} series that go by {sequence!r} in one study: {'; '.join(map(str, chosen[:LISTED]))}"
            remedy = "Choose it by its SeriesDescription, or move the others away."
            raise DataError.about(place, found, "one a study", remedy)
        if chosen:
            cases.append(_case(name, chosen[0], labels))
        else:
            kinds = [series.description.strip() or series.modality for series in members]
            cases.append(Lacking(name, lacks(place, kinds, str(sequence))))
    return cases


def kinds_in_studies(root: Path) -> list[str]:
    """The sequences that most studies below `root` have one series of each: Modalities, or SeriesDescriptions.

    Empty where that are fewer than two: then each series is a case of its own.
    """
    studies = _studies(_series_of(root))
    for kind_of in (attrgetter("modality"), attrgetter("description")):
        kinds = [Counter(kind_of(series).strip() for series in members) for members in studies]
        names = dict.fromkeys(kind for counts in kinds for kind in counts if kind)
        alone = [name for name in names if all(counts[name] < 2 for counts in kinds)]
        common = [name for name in alone if 2 * sum(counts[name] for counts in kinds) > len(studies)]
        if len(common) > 1:
            return common
    return []


def _series_of(root: Path) -> list[Series]:
    """The series below a folder, without what lies in its labels."""
    return [series for series in find_series(root) if root / LABELS not in series.files[0].parents]


def _studies(found: list[Series]) -> list[list[Series]]:
    """By patient and StudyInstanceUID; a series without one is a study of its own."""
    groups: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for series in found:
        groups[series.patient, series.study_uid or series.uid or str(series.files[0])].append(series)
    return list(groups.values())


def _called(found: list[Series], sequence: str | int | None, root: Path) -> list[Series]:
    """Those of this Modality or SeriesDescription."""
    wanted = str(sequence).lower()
    kept = [s for s in found if wanted in (s.modality.lower(), s.description.strip().lower())]
    if not kept:
        kinds = sorted({kind for s in found for kind in (s.modality, s.description.strip()) if kind})
        raise ConfigError(f"{root}: no series {sequence!r}; choose a Modality or SeriesDescription: {', '.join(kinds)}")
    return kept


def _case(name: str, series: Series, labels: dict[str, Path]) -> Case:
    if not series.patient:
        found = "no PatientID"
        remedy = "Write it in (a pseudonym does), or list the series in a datalist JSON with their patients."
        raise DataError.about(series.files[0], found, "one in every file, because patients are never split", remedy)
    uid = None if len(series.files) == 1 else series.uid or None
    return make_case(name, _place(series.files), labels.get(name), patient=series.patient, series_uid=uid)


def _refuse_orphans(labels: dict[str, Path], names: list[str], image: str) -> None:
    orphans = sorted(labels.keys() - set(names), key=natural_key)
    if orphans:
        found, expected = f"{len(orphans)} label(s) without {image}", f"the names of cases, such as {names[0]}"
        raise DataError.about(labels[orphans[0]], found, expected, "Rename the label after its case, or move it away.")


def _place(files: Sequence[Path]) -> Path:
    """The file of a single slice, or the deepest folder that holds all files."""
    if len(files) == 1:
        return files[0]
    return Path(os.path.commonpath([file.parent for file in files]))


def _names(root: Path, found: Sequence[tuple[Path, str]]) -> list[str]:
    """A unique name for each (place, UID): no longer than it needs to be."""
    parts = []
    for place, _ in found:
        inside = place.relative_to(root).parts or (root.resolve().name,)
        parts.append((*inside[:-1], stem_of(inside[-1])))
    uses = Counter(parts)
    for index, (_, uid) in enumerate(found):
        if uses[parts[index]] > 1:
            digest = hashlib.sha256(uid.encode()).hexdigest()[:8]
            parts[index] = (*parts[index][:-1], f"{parts[index][-1]}-{digest}")
    short = Counter(part[-1] for part in parts)
    return [part[-1] if short[part[-1]] == 1 else "_".join(part) for part in parts]


@dataclass(frozen=True)
class _Header:
    """What groups a file: the series that it alone would be, and what kind of object it is."""

    alone: Series
    sop_class: str
    sop_uid: str
    has_pixels: bool


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
    import pydicom

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
    from pydicom.uid import DeflatedExplicitVRLittleEndian

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
