"""What a derived DICOM file takes over from its source (patient, study, references, where slices lie), and how identity
is removed from it.

Standard: DICOM PS3.3, Patient (C.7.1), Study (C.7.2), Patient Study (C.7.2.2), General Reference (C.12.4). A value that
it does not allow is left out, or left empty where the tag must be there; a warning names the tag, never the value: it
may identify the patient. Identity is removed by dicom-anonymizer: the Basic Profile of PS3.15, Annex E (its table of
2024b), here in nested sequences too. UIDs are replaced alike within a process: files that belong together still do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset, Sequence, config
from pydicom.datadict import dictionary_VR
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import DSfloat

from medaug.data.dicom.planes import LPS_TO_RAS
from medaug.data.dicom.reading import DicomVolume
from medaug.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

EMPTY_WHERE_MISSING = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber", "PatientPosition",
)  # fmt: skip
LEFT_OUT_WHERE_MISSING = (
    "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription", "BodyPartExamined",
    "PatientIdentityRemoved", "DeidentificationMethod", "LongitudinalTemporalInformationModified",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
UNPAIRED = (
    "ABDOMEN", "ABDOMENPELVIS", "BLADDER", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "CSPINE", "HEAD",
    "HEADNECK", "HEART", "LIVER", "LSPINE", "NECK", "PANCREAS", "PELVIS", "PROSTATE", "SKULL", "SPINE", "SPLEEN",
    "TSPINE", "WHOLEBODY",
)  # fmt: skip
"""Body parts (PS3.16, Annex L) without a left and a right, so without a Laterality; elsewhere it must be there."""
ALLOWED = {
    "PatientSex": {"M", "F", "O"},
    "Laterality": {"L", "R"},
    "PatientIdentityRemoved": {"YES", "NO"},
    "LongitudinalTemporalInformationModified": {"UNMODIFIED", "MODIFIED", "REMOVED"},
    "LossyImageCompression": {"00", "01"},
}
METHOD = "Basic Application Confidentiality Profile, by dicom-anonymizer"
KEPT = ("SeriesDescription", "DerivationDescription", "ContributionDescription", "SourceImageSequence")
"""medaug's own words, and the references, whose UIDs are replaced one by one instead."""
REMOVED_TOO = ("IssuerOfPatientID", "DeidentificationMethod", "DeidentificationMethodCodeSequence")
"""Free text and origin that the table does not list."""
DUMMY_DATE = "19000101"

Rules = dict[tuple[int, ...], Callable[[Dataset, Any], None]]

SAME_PLACE_MM = 0.1
SQUARE = 1e-3
"""How far the cosine between two axes may be from what it is in a stack."""


@dataclass(frozen=True)
class Stack:
    """The slices of a stack along its normal, in LPS; array axis 0 is the column index, 1 the row, 2 the slice.

    Attributes:
        orientation: (2, 3) the directions in which columns, then rows, count up (ImageOrientationPatient).
        positions_mm: (Z, 3) the first voxel of each slice.
        spacing_mm: between columns, between rows.
        gap_mm: between slices; None for a single one.
        thickness_mm: of a slice, as the source says, else the gap; None where neither is known.
    """

    orientation: np.ndarray
    positions_mm: np.ndarray
    spacing_mm: tuple[float, float]
    gap_mm: float | None
    thickness_mm: float | None

    @classmethod
    def of(cls, source: DicomVolume) -> Stack:
        """The slices of a volume; raises DataError if its axes are not at right angles, which DICOM cannot say."""
        depth = 1 if source.array.ndim == 2 else source.array.shape[2]
        lps = LPS_TO_RAS @ source.affine  # the matrix is its own inverse
        axes = lps[:3, :3].T
        sizes = np.linalg.norm(axes, axis=1)
        columns, rows, slices = axes / sizes[:, None]
        if abs(columns @ rows) > SQUARE or (depth > 1 and abs(np.cross(columns, rows) @ slices) < 1 - SQUARE):
            raise DataError(
                "the source's affine: found axes that are not at right angles; expected a stack of slices along their "
                "normal. Resample the series onto such a grid first."
            )
        positions_mm = lps[:3, 3] + np.arange(depth)[:, None] * axes[2]
        gap_mm = float(sizes[2]) if depth > 1 else None
        header = source.headers[0]  # of a multi-frame file the thickness is among what all frames share
        shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
        measures = shared[0].get("PixelMeasuresSequence") or [header]
        stated = measures[0].get("SliceThickness") or header.get("SliceThickness")
        spacing_mm = float(sizes[0]), float(sizes[1])
        return cls(np.stack([columns, rows]), positions_mm, spacing_mm, gap_mm, float(stated) if stated else gap_mm)


def decimals(values: Iterable[float]) -> list[DSfloat]:
    """Decimal strings: the 16 characters that DICOM allows, as precise as they can be."""
    return [DSfloat(float(value) + 0.0, auto_format=True) for value in values]  # + 0.0: no "-0"


def decimal(value: float | None) -> DSfloat | None:
    return None if value is None else decimals([value])[0]


def coded(code: Code) -> Dataset:
    """A code as the item of a code sequence (PS3.3, 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def patient_and_study(header: Dataset) -> Dataset:
    """The tags that tie a derived file to the patient, study and frame of reference of the source.

    A source without a study or a frame of reference (some anonymizers empty them) gets new ones, with a warning: the
    same for all that is made from this one `patient_and_study`.
    """
    taken = Dataset()
    for keyword in EMPTY_WHERE_MISSING:
        taken.add(_valid(header, keyword) or DataElement(keyword, dictionary_VR(keyword), None))
    for keyword in LEFT_OUT_WHERE_MISSING:
        if (element := _valid(header, keyword)) is not None:
            taken.add(element)
    laterality = _valid(header, "Laterality")
    if taken.get("BodyPartExamined") not in UNPAIRED:
        taken.Laterality = None if laterality is None else laterality.value
    elif laterality is not None:
        logger.warning("the source's Laterality is left out: its BodyPartExamined has no left and right")
    if "DeidentificationMethodCodeSequence" in header:  # without what else scanners and anonymizers put there
        parts = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
        told = [[str(item.get(part, "")) for part in parts] for item in header.DeidentificationMethodCodeSequence]
        taken.DeidentificationMethodCodeSequence = Sequence([coded(Code(*texts)) for texts in told if all(texts)])
    elif taken.get("PatientIdentityRemoved") == "YES" and "DeidentificationMethod" not in taken:
        taken.DeidentificationMethod = "not stated by the source"
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if (element := _valid(header, keyword)) is None:
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
        frames = header.PerFrameFunctionalGroupsSequence
        positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
        distances_mm = np.linalg.norm(np.asarray(positions, dtype=float) - position_mm, axis=1)
        if distances_mm.min() >= SAME_PLACE_MM:  # of another file than the one whose header is known
            return Sequence()
        item.ReferencedFrameNumber = int(distances_mm.argmin()) + 1
    item.PurposeOfReferenceCodeSequence = [coded(codes.DCM.SourceImageForImageProcessingOperation)]
    return Sequence([item])


def instance_of(header: Dataset) -> tuple[UID, UID] | None:
    """SOP class and instance, from the file's meta information where the header's own were emptied."""
    meta = getattr(header, "file_meta", Dataset())
    kind = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    instance = header.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID")
    return (UID(kind), UID(instance)) if kind and instance else None


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


def deidentified(datasets: Iterable[Dataset]) -> Iterator[Dataset]:
    """Files as medaug is about to write them, without identity; changed in place, and handed on one by one.

    Raises:
        ConfigError: if dicom-anonymizer is not installed.
        DataError: if the image has text burned in, which no tag can remove.
    """
    rules = identity_rules()
    for dataset in datasets:
        if dataset.get("BurnedInAnnotation") == "YES":
            raise DataError(
                "the source says that text is burned into its images (BurnedInAnnotation YES), which may identify the "
                "patient; expected NO to de-identify. Remove the text from the pixels first."
            )
        _clean(dataset, rules)
        dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", METHOD
        dataset.DeidentificationMethodCodeSequence = [coded(codes.DCM.BasicApplicationConfidentialityProfile)]
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        yield dataset


def identity_rules() -> Rules:
    """What becomes of each tag that may name the patient; raises ConfigError without dicom-anonymizer."""
    try:
        from dicomanonymizer import simpledicomanonymizer as library
    except ImportError as error:
        found = "removing identity needs dicom-anonymizer, which is not installed"
        raise ConfigError(f'{found}: pip install "medaug[deid]"') from error
    rules = library.initialize_actions_2024b()
    own = dict.fromkeys(KEPT, library.keep) | dict.fromkeys(REMOVED_TOO, library.delete)
    return rules | {(Tag(keyword).group, Tag(keyword).element): rule for keyword, rule in own.items()}


def _clean(dataset: Dataset, rules: Rules) -> None:
    """One level by the library, then every item below it."""
    from dicomanonymizer import anonymize_dataset

    present = {key: rule for key, rule in rules.items() if len(key) > 2 or (key[0], key[1]) in dataset}
    anonymize_dataset(dataset, base_rules_gen=lambda: present)
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _clean(item, rules)
        elif element.VR in ("DA", "DT") and str(element.value).startswith("0001"):
            # the library's dummy, which DICOM validators refuse; a segmentation must have a ContentDate
            element.value = DUMMY_DATE if element.keyword == "ContentDate" else ""
