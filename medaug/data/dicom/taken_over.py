"""What a derived DICOM file takes over from its source: patient and study, and references to the source's images.

Standard: DICOM PS3.3, Patient (C.7.1), Study (C.7.2), Patient Study (C.7.2.2), General Reference (C.12.4). A value that
the standard does not allow is not passed on: it is left out, or left empty where the tag must be there, and a warning
names the tag (never the value, which may identify the patient).
"""

from __future__ import annotations

import logging

import numpy as np
from pydicom import DataElement, Dataset, Sequence, config
from pydicom.datadict import dictionary_VR
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

logger = logging.getLogger(__name__)

EMPTY_WHERE_MISSING = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "PatientPosition",
)
LEFT_OUT_WHERE_MISSING = (
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDescription",
    "BodyPartExamined",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "LongitudinalTemporalInformationModified",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
UNPAIRED = (
    "ABDOMEN",
    "ABDOMENPELVIS",
    "BLADDER",
    "BRAIN",
    "CHEST",
    "CHESTABDOMEN",
    "CHESTABDPELVIS",
    "CSPINE",
    "HEAD",
    "HEADNECK",
    "HEART",
    "LIVER",
    "LSPINE",
    "NECK",
    "PANCREAS",
    "PELVIS",
    "PROSTATE",
    "SKULL",
    "SPINE",
    "SPLEEN",
    "TSPINE",
    "WHOLEBODY",
)
"""Body parts (PS3.16, Annex L) without a left and a right, so without a Laterality; elsewhere it must be there."""
SAME_PLACE_MM = 0.1
ALLOWED = {
    "PatientSex": {"M", "F", "O"},
    "Laterality": {"L", "R"},
    "PatientIdentityRemoved": {"YES", "NO"},
    "LongitudinalTemporalInformationModified": {"UNMODIFIED", "MODIFIED", "REMOVED"},
    "LossyImageCompression": {"00", "01"},
}


def patient_and_study(header: Dataset) -> Dataset:
    """The tags that tie a derived file to the patient, study and frame of reference of the source.

    A source without a study or a frame of reference (some anonymizers empty them) gets new ones, with a warning: the
    same for all that is made from this one `patient_and_study`.
    """
    taken = Dataset()
    for keyword in EMPTY_WHERE_MISSING:
        taken.add(_valid(header, keyword) or DataElement(keyword, dictionary_VR(keyword), None))
    for keyword in LEFT_OUT_WHERE_MISSING:
        element = _valid(header, keyword)
        if element is not None:
            taken.add(element)
    laterality = _valid(header, "Laterality")
    if taken.get("BodyPartExamined") not in UNPAIRED:
        taken.Laterality = None if laterality is None else laterality.value
    elif laterality is not None:
        logger.warning("the source's Laterality is left out: its BodyPartExamined has no left and right")
    if "DeidentificationMethodCodeSequence" in header:
        taken.DeidentificationMethodCodeSequence = _codes(header.DeidentificationMethodCodeSequence)
    elif taken.get("PatientIdentityRemoved") == "YES" and "DeidentificationMethod" not in taken:
        taken.DeidentificationMethod = "not stated by the source"
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        element = _valid(header, keyword)
        if element is None:
            logger.warning("the source has no valid %s: the derived files get a new one", keyword)
        setattr(taken, keyword, generate_uid(prefix=None) if element is None else element.value)
    return taken


def source_images(headers: list[Dataset], position_mm: np.ndarray, index: int) -> Sequence:
    """A reference to the image that slice `index` was derived from; empty where the source has no SOP Instance UID.

    Args:
        headers: of the source: one a slice, or the one of a multi-frame file.
        position_mm: (3,) LPS, of the slice's first voxel, by which its frame is found.
    """
    header = headers[index if len(headers) > 1 else 0]
    instance = instance_of(header)
    if instance is None:
        if index == 0:
            logger.warning("the source has no SOP Instance UID: the derived files do not refer to their source images")
        return Sequence()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance
    if "PerFrameFunctionalGroupsSequence" in header:
        frame = _frame_at(header, position_mm)
        if frame is None:  # of another file than the one whose header is known
            return Sequence()
        item.ReferencedFrameNumber = frame
    item.PurposeOfReferenceCodeSequence = [coded(codes.DCM.SourceImageForImageProcessingOperation)]
    return Sequence([item])


def instance_of(header: Dataset) -> tuple[UID, UID] | None:
    """SOP class and instance, from the file's meta information where the header's own were emptied."""
    meta = getattr(header, "file_meta", Dataset())
    kind = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    instance = header.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID")
    return (UID(kind), UID(instance)) if kind and instance else None


def coded(code: Code) -> Dataset:
    """A code as the item of a code sequence (PS3.3, 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _valid(header: Dataset, keyword: str) -> DataElement | None:
    """The header's element, or None where it is missing, empty, or not as the standard allows (then with a warning)."""
    if keyword not in header:
        return None
    try:
        with config.disable_value_validation():  # which would log the value
            value = header[keyword].value
        if value is None or str(value) in ("", "[]"):
            return None
        plain = str(value) if isinstance(value, str) or header[keyword].VR == "PN" else value
        element = DataElement(keyword, dictionary_VR(keyword), plain, validation_mode=config.RAISE)
        if str(value) not in ALLOWED.get(keyword, {str(value)}):
            raise ValueError(keyword)
    except (ValueError, TypeError, AttributeError, OverflowError):
        logger.warning("the source's %s is not a value DICOM allows there: it is not passed on", keyword)
        return None
    return element


def _codes(items: Sequence) -> Sequence:
    """A code sequence without what else scanners and anonymizers put there."""
    told = [
        [str(item.get(part, "")) for part in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")] for item in items
    ]
    return Sequence([coded(Code(*parts)) for parts in told if all(parts)])


def _frame_at(header: Dataset, position_mm: np.ndarray) -> int | None:
    """The number, from 1, of a multi-frame file's frame at this position; None if it has none there."""
    frames = header.PerFrameFunctionalGroupsSequence
    positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    distances_mm = np.linalg.norm(np.asarray(positions, dtype=float) - position_mm, axis=1)
    nearest = int(distances_mm.argmin())
    return nearest + 1 if distances_mm[nearest] < SAME_PLACE_MM else None
