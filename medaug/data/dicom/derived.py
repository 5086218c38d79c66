"""A series that medaug derived from another one: a single-frame CT or MR file a slice, in the source's study.

Standard: DICOM PS3.3, CT Image IOD (A.3) and MR Image IOD (A.4). Patient, study and frame of reference are the
source's; geometry is the affine's; series, instances, equipment and dates are new. Whatever the scanner said about the
source's pixels (window, dose, contrast agent, private tags) is not true of the derived ones and is left out.
"""

from __future__ import annotations

import copy
import datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset, Sequence
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

import medaug
from medaug.data.atomic import atomic_path, check_new
from medaug.data.dicom.reading import DicomVolume
from medaug.data.dicom.source import Stack, coded, decimal, decimals, deidentified, patient_and_study, source_images
from medaug.errors import ConfigError, DataError
from medaug.volumes import check_finite

NOT_FOR_DIAGNOSIS = "synthetic, not for diagnosis"
LONGEST = 64
"""Characters that a SeriesDescription may have (PS3.5, LO)."""
SERIES_NUMBERS_ON = 1000
"""Added to the source's series number, so that viewers list the derived series after the scanner's own."""
TAGS: dict[str, dict[str, object]] = {
    "CT": {
        "SOPClassUID": CTImageStorage,
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        **dict.fromkeys(("KVP", "AcquisitionNumber")),
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "HU",
    },
    "MR": {
        "SOPClassUID": MRImageStorage,
        "ImageType": ["DERIVED", "SECONDARY", "OTHER"],
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        **dict.fromkeys(("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength")),
    },
}
"""What each kind of image must say besides the tags they share. MR has no rescale: its slope is 1."""
STORED_AS = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 1}
STORED_AS |= {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}


def write_derived_series(
    array: np.ndarray,
    source: DicomVolume,
    out: Path,
    *,
    modality: str,
    series_description: str,
    derivation: str,
    deidentify: bool = False,
) -> list[Path]:
    """Writes a folder of single-frame files; it appears whole or not at all.

    Args:
        array: (X, Y) or (X, Y, Z) on the source's grid, in HU for CT. Stored as int16: floats are rounded, by at
            most 0.5.
        source: what it was derived from; the grid, the patient and the study are taken from it.
        out: a folder that does not exist yet, or is empty.
        modality: "CT" or "MR", of what is written.
        series_description: what a list of series shows; "synthetic, not for diagnosis" is added to it.
        derivation: how the pixels were made, with the SHA-256 of the weights.
        deidentify: removes identity from what is written; see `deidentified`.

    Returns:
        The files, in the order of the array's last axis.

    Raises:
        ConfigError: for another modality, or a description longer than DICOM allows.
        DataError: if the array does not lie on the source's grid, is not finite or does not fit 16 bits, or the
            source's grid is sheared.
        RunError: if `out` is in use or cannot be written.
    """
    if modality not in TAGS:
        raise ConfigError(f"modality {modality!r}; expected {' or '.join(TAGS)}: other kinds of series are not derived")
    series_description = f"{series_description}, {NOT_FOR_DIAGNOSIS}"
    if len(series_description) > LONGEST:
        raise ConfigError(
            f"series description {series_description!r}: found {len(series_description)} characters; "
            f"expected at most {LONGEST}. Shorten it."
        )
    stored, stack = _stored(array, source), Stack.of(source)
    check_new(out)
    shared = _shared(source.headers[0], stack, modality, series_description, derivation)
    files = (_slice_of(shared, stored[..., index], source, stack, index) for index in range(stored.shape[-1]))
    names = [f"{number:04d}.dcm" for number in range(1, stored.shape[-1] + 1)]
    with atomic_path(out) as temporary:
        temporary.mkdir()
        for name, file in zip(names, deidentified(files) if deidentify else files, strict=True):
            file.save_as(temporary / name, enforce_file_format=True)
    return [out / name for name in names]


def _stored(array: np.ndarray, source: DicomVolume) -> np.ndarray:
    """The array as int16 (X, Y, Z), or the reason why it cannot be."""
    name = "the derived image"
    if array.shape != source.array.shape:
        found, expected = f"shape {array.shape}", f"the source's shape {source.array.shape}"
        raise DataError.about(name, found, expected, "Resample it to that grid.")
    check_finite(array, name)
    whole, limits = np.rint(array), np.iinfo(np.int16)
    if whole.min() < limits.min or whole.max() > limits.max:
        found, expected = f"values from {array.min():g} to {array.max():g}", "values that fit 16 bits (-32768 to 32767)"
        raise DataError.about(name, found, expected, "Check the unit; scale images that are not in HU.")
    return whole.astype(np.int16).reshape(*array.shape[:2], -1)


def _slice_of(shared: Dataset, stored: np.ndarray, source: DicomVolume, stack: Stack, index: int) -> Dataset:
    """One slice (X, Y) as a file."""
    file = copy.deepcopy(shared)
    file.SOPInstanceUID, file.InstanceNumber = generate_uid(prefix=None), index + 1
    file.ImagePositionPatient = decimals(stack.positions_mm[index])
    file.SliceLocation = decimal(stack.positions_mm[index] @ np.cross(*stack.orientation))
    if references := source_images(source.headers, stack.positions_mm[index], index):
        file.SourceImageSequence = references
    file.Columns, file.Rows = stored.shape
    file.PixelData = np.ascontiguousarray(stored.T, dtype="<i2").tobytes()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return file


def _shared(header: Dataset, stack: Stack, modality: str, description: str, derivation: str) -> Dataset:
    """Patient, study, series, equipment, geometry: what all files of the series say."""
    shared, now = patient_and_study(header), datetime.datetime.now()
    equipment = Dataset()  # medaug, which processed the images (PS3.3, C.12.1)
    equipment.Manufacturer = equipment.ManufacturerModelName = "medaug"
    equipment.SoftwareVersions, equipment.ContributionDescription = medaug.__version__, derivation
    equipment.PurposeOfReferenceCodeSequence = [coded(codes.DCM.ProcessingEquipment)]
    tags = TAGS[modality] | {
        "SpecificCharacterSet": "ISO_IR 192",
        "Modality": modality,
        "SeriesInstanceUID": generate_uid(prefix=None),
        "SeriesNumber": int(header.get("SeriesNumber") or 0) + SERIES_NUMBERS_ON,
        "SeriesDescription": description,
        "DerivationDescription": derivation,
        "Manufacturer": "medaug",
        "ManufacturerModelName": "medaug",
        "SoftwareVersions": medaug.__version__,
        "ContributingEquipmentSequence": Sequence([equipment]),
        "BurnedInAnnotation": "YES" if header.get("BurnedInAnnotation") == "YES" else "NO",
        "PositionReferenceIndicator": None,
        "ImageOrientationPatient": decimals(stack.orientation.ravel()),
        "PixelSpacing": decimals(stack.spacing_mm[::-1]),  # DICOM: between rows, then between columns
        "SliceThickness": decimal(stack.thickness_mm),
        **STORED_AS,
    }
    if stack.gap_mm is not None:
        tags["SpacingBetweenSlices"] = decimal(stack.gap_mm)
    for kind in ("InstanceCreation", "Series", "Content"):
        tags |= {f"{kind}Date": now.strftime("%Y%m%d"), f"{kind}Time": now.strftime("%H%M%S.%f")}
    for keyword, value in tags.items():
        setattr(shared, keyword, value)
    return shared
