"""Identity removed from DICOM files, by dicom-anonymizer: the Basic Profile of PS3.15, Annex E (its 2024b table).

The library goes over the tags of a file; here it also goes over every nested sequence. UIDs are replaced
consistently within one process, so a series, its references and its segmentation still belong together. What medaug
itself wrote (description, derivation, version) names no one and is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.tag import Tag

from medaug.data.dicom.source import coded
from medaug.errors import ConfigError, DataError

METHOD = "Basic Application Confidentiality Profile, by dicom-anonymizer"
KEPT = ("SeriesDescription", "DerivationDescription", "ContributionDescription", "SourceImageSequence")
"""medaug's own words, and the references, whose UIDs are replaced one by one instead."""
REMOVED_TOO = ("IssuerOfPatientID", "DeidentificationMethod", "DeidentificationMethodCodeSequence")
"""Free text and origin that the table does not list."""
DUMMY_DATE = "19000101"

Rules = dict[tuple[int, ...], Callable[[Dataset, Any], None]]


def deidentified(datasets: Iterable[Dataset]) -> Iterator[Dataset]:
    """Files as medaug is about to write them, without identity; changed in place, and handed on one by one.

    Raises:
        ConfigError: if dicom-anonymizer is not installed.
        DataError: if the image has text burned in, which no tag can remove.
    """
    rules = _rules()
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


def check_deidentifies() -> None:
    """Says before the work is done that it cannot end without identity.

    Raises:
        ConfigError: if dicom-anonymizer is not installed.
    """
    _rules()


def _rules() -> Rules:
    try:
        from dicomanonymizer import simpledicomanonymizer as library
    except ImportError as error:
        raise ConfigError(
            'removing identity needs dicom-anonymizer, which is not installed: pip install "medaug[deid]"'
        ) from error
    rules = library.initialize_actions_2024b()
    rules |= {_key(keyword): library.keep for keyword in KEPT}
    rules |= {_key(keyword): library.delete for keyword in REMOVED_TOO}
    return rules


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


def _key(keyword: str) -> tuple[int, int]:
    tag = Tag(keyword)
    return tag.group, tag.element
