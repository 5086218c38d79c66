"""Labels as a DICOM segmentation (SEG) of a series, written by highdicom.

Standard: DICOM PS3.3, Segmentation IOD (A.51), one binary segment a label value. Segments are numbered from 1, as the
standard demands; a segment's description keeps the label's value.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

import medaug
from medaug.data.atomic import atomic_path
from medaug.data.dicom.reading import DicomVolume
from medaug.data.dicom.source import Stack, decimal, decimals, deidentified, instance_of, patient_and_study
from medaug.errors import DataError

SCT = codes.SCT
ABNORMAL, STRUCTURE = SCT.MorphologicallyAbnormalStructure, SCT.AnatomicalStructure
ORGANS = ("Liver", "Kidney", "Spleen", "Pancreas", "Aorta", "Lung", "Bone", "Brain")
CODES: dict[str, tuple[Code, Code]] = {
    **dict.fromkeys(("tumor", "tumour", "neoplasm"), (ABNORMAL, SCT.Neoplasm)),
    **{kind.lower(): (ABNORMAL, getattr(SCT, kind)) for kind in ("Lesion", "Edema", "Necrosis")},
    **{organ.lower(): (STRUCTURE, getattr(SCT, organ)) for organ in ORGANS},
}
"""Category and type (SNOMED CT) of the names medaug knows; a plural or a side ("left kidney") counts as the name."""
OTHER = (SCT.Tissue, SCT.Tissue)
UNKNOWN_MM = 1.0
"""The thickness of a single slice whose header does not say it; a segmentation must say one."""
PLACE = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
FRAMES = ("NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def write_segmentation(
    label: np.ndarray,
    source: DicomVolume,
    out_file: Path,
    *,
    names: dict[int, str] | None = None,
    series_description: str = "Segmentation",
    deidentify: bool = False,
) -> Path:
    """Writes a label as one SEG file that refers to the source's images.

    Args:
        label: (X, Y) or (X, Y, Z) whole numbers on the source's grid; 0 is background.
        source: the series it belongs to.
        names: what the values are, for example {1: "tumor", 2: "liver"}; others are called "label 3".
        deidentify: removes identity; see `deidentified`. Not needed where the source has none.

    Raises:
        DataError: if the label does not lie on the source's grid, is empty, or `names` names values it lacks.
    """
    names = names or {}
    values = _values(label, source, names, out_file)
    numbers, described = np.zeros(label.shape, dtype=np.uint8), []
    for number, value in enumerate(values, start=1):
        numbers[label == value] = number
        name = names.get(value, f"label {value}")
        category, kind = next((pair for word, pair in CODES.items() if word in name.lower()), OTHER)
        described.append(SegmentDescription(number, name, category, kind, SegmentAlgorithmTypeValues.MANUAL))
        described[-1].SegmentDescription = f"label value {value}"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The string .* person name")  # would print the patient's name
        file = _file(numbers, described, source, series_description)
    with atomic_path(out_file) as temporary:
        for written in deidentified([file]) if deidentify else [file]:
            written.save_as(temporary, enforce_file_format=True)
    return out_file


def _values(label: np.ndarray, source: DicomVolume, names: dict[int, str], out_file: Path) -> list[int]:
    """The label's values above the background, checked."""
    if label.shape != source.array.shape:
        found, expected = f"a label of shape {label.shape}", f"the series' shape {source.array.shape}"
        raise DataError.about(out_file, found, expected, "Resample the label onto the series' grid.")
    values = [int(value) for value in np.unique(label) if value != 0]
    if not values or len(values) > 255 or min(values) < 0:
        found = f"{len(values)} label values besides 0, the least {min(values, default=0)}"
        raise DataError.about(out_file, found, "1 to 255 values above 0", "Check the label.")
    if missing := sorted(set(names) - set(values)):
        remedy = "Check the label, or leave those names out."
        raise DataError.about(out_file, f"label values {values}", f"also {missing}, which have names", remedy)
    return values


def _file(
    numbers: np.ndarray, described: list[SegmentDescription], source: DicomVolume, series_description: str
) -> Segmentation:
    """Segment numbers (*S) as a SEG."""
    stack = Stack.of(source)
    thickness_mm = stack.thickness_mm or UNKNOWN_MM
    return Segmentation(
        source_images=_images(source, thickness_mm),
        pixel_array=numbers.reshape(*numbers.shape[:2], -1).transpose(2, 1, 0),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        plane_positions=[PlanePositionSequence("PATIENT", decimals(at)) for at in stack.positions_mm],
        plane_orientation=PlaneOrientationSequence("PATIENT", decimals(stack.orientation.ravel())),
        pixel_measures=PixelMeasuresSequence(
            decimals(stack.spacing_mm[::-1]), decimal(thickness_mm), decimal(stack.gap_mm)
        ),
        series_instance_uid=generate_uid(prefix=None),
        series_number=int(source.headers[0].get("SeriesNumber") or 0) + 1,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer="medaug",
        manufacturer_model_name="medaug",
        software_versions=medaug.__version__,
        device_serial_number="none",
        series_description=series_description,
        content_label="LABEL",
    )


def _images(source: DicomVolume, thickness_mm: float) -> list[Dataset]:
    """What highdicom reads of the source's headers, with patient and study as they may be passed on."""
    shared, images = patient_and_study(source.headers[0]), []
    shared.SliceThickness = thickness_mm
    for header in source.headers:
        image = copy.deepcopy(shared)
        for keyword in ("SeriesInstanceUID", "Modality", *PLACE, *FRAMES):
            if keyword in header:
                image[keyword] = header[keyword]
        instance = instance_of(header)
        if instance is None:
            raise DataError(
                "the series has no SOP Instance UID, which a segmentation refers to; expected one in every file. "
                "Export the series again."
            )
        image.SOPClassUID, image.SOPInstanceUID = instance
        images.append(image)
    return images
