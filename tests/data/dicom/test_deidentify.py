"""De-identified files hold no identity in any byte, and still belong together."""

import sys

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag

from medaug.data.dicom.derived import write_derived_series
from medaug.data.dicom.reading import read_series
from medaug.data.dicom.segmentation import write_segmentation
from medaug.data.dicom.source import deidentified
from medaug.errors import ConfigError, DataError

WORDS = {"series_description": "CT from CT", "derivation": "by medaug, weights SHA-256 0123abcd"}
SECRETS = {
    "PN": "Secret^Jane", "LO": "secret LO", "SH": "secret SH", "ST": "secret ST", "LT": "secret LT", "UT": "secret UT",
    "UC": "secret UC", "DA": "19510203", "TM": "040506.123456", "DT": "19510203040506", "AS": "073Y", "AE": "SECRET_AE",
}  # fmt: skip
NESTED = (
    "RequestAttributesSequence", "OtherPatientIDsSequence", "ReferencedPatientSequence", "ReferencedStudySequence",
    "DeidentificationMethodCodeSequence", "SourceImageSequence",
)  # fmt: skip
NEEDED_TO_READ = ("RescaleType", "SpecificCharacterSet")


def plant(dataset):
    """An identity in every text, person, date and age tag of the standard, and a UID of the hospital."""
    for tag in DicomDictionary:
        keyword, kind = keyword_for_tag(tag), dictionary_VR(tag)
        if kind in SECRETS and keyword not in NEEDED_TO_READ and 0x0008 <= tag >> 16 < 0x7FE0 and not tag >> 16 & 1:
            dataset.add_new(tag, kind, SECRETS[kind])


@pytest.fixture
def source(dicom_series, tmp_path):
    """A CT series full of identities, in sequences of sequences as well."""
    values = np.linspace(-1000, 1500, 6 * 5 * 3).reshape(6, 5, 3).round()
    dicom_series(tmp_path / "source", values)
    volume = read_series(tmp_path / "source")
    for header in volume.headers:
        plant(header)
        inner, outer = pydicom.Dataset(), pydicom.Dataset()
        plant(inner)
        plant(outer)
        outer.PersonIdentificationCodeSequence = [inner]
        for keyword in NESTED:
            header.add_new(keyword, "SQ", [outer])
    return volume


@pytest.fixture
def written(source, tmp_path):
    """A de-identified series, its files, and the segmentation of it."""
    files = write_derived_series(source.array, source, tmp_path / "out", modality="CT", deidentify=True, **WORDS)
    series = read_series(tmp_path / "out")
    label = np.ones(source.array.shape, dtype=np.uint8)
    return files, write_segmentation(label, series, tmp_path / "seg.dcm", names={1: "liver"})


def secrets_of(source):
    header = source.headers[0]
    uids = [header[keyword].value for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")]
    return [*SECRETS.values(), "Secret", "SECRET", *uids, *(header.SOPInstanceUID for header in source.headers)]


def test_the_planted_identities_are_written_without_de_identification(source, tmp_path):
    files = write_derived_series(source.array, source, tmp_path / "plain", modality="CT", **WORDS)
    content = files[0].read_bytes()
    assert b"Secret^Jane" in content and b"19510203" in content and source.headers[0].SOPInstanceUID.encode() in content


def test_no_byte_of_series_and_segmentation_tells_the_identity(source, written):
    files, seg = written
    for file in (*files, seg):
        content = file.read_bytes()
        assert not [secret for secret in secrets_of(source) if secret.encode() in content]


def test_a_segmentation_made_of_the_source_tells_nothing_either(source, tmp_path):
    label = np.ones(source.array.shape, dtype=np.uint8)
    content = write_segmentation(label, source, tmp_path / "seg.dcm", deidentify=True).read_bytes()
    assert not [secret for secret in secrets_of(source) if secret.encode() in content]


def test_series_and_segmentation_still_belong_together(written):
    files, seg = written
    headers, seg = [pydicom.dcmread(file) for file in files], highdicom.seg.segread(seg)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert {header[keyword].value for header in (*headers, seg)} == {headers[0][keyword].value}
    assert len({header.SeriesInstanceUID for header in headers}) == 1
    assert [header.file_meta.MediaStorageSOPInstanceUID for header in headers] == [h.SOPInstanceUID for h in headers]
    known = {uids[2] for uids in seg.get_source_image_uids()}
    assert known == {header.SOPInstanceUID for header in headers}


def test_series_written_one_after_the_other_keep_one_study_and_one_frame_of_reference(source, tmp_path):
    made = [
        write_derived_series(source.array, source, tmp_path / name, modality=name, deidentify=True, **WORDS)
        for name in ("CT", "MR")
    ]
    ct, mr = (pydicom.dcmread(files[0]) for files in made)
    assert (ct.StudyInstanceUID, ct.FrameOfReferenceUID) == (mr.StudyInstanceUID, mr.FrameOfReferenceUID)
    reference = "ReferencedSOPInstanceUID"
    assert ct.SourceImageSequence[0][reference].value == mr.SourceImageSequence[0][reference].value


def test_what_medaug_says_of_the_image_stays_and_the_files_say_that_identity_was_removed(written):
    header = pydicom.dcmread(written[0][0])
    assert header.SeriesDescription.endswith("synthetic, not for diagnosis")
    assert header.DerivationDescription == WORDS["derivation"]
    assert header.PatientIdentityRemoved == "YES" and "dicom-anonymizer" in header.DeidentificationMethod
    assert [item.CodeValue for item in header.DeidentificationMethodCodeSequence] == ["113100"]


def test_voxels_and_geometry_stay(source, written):
    again = read_series(written[0][0].parent)
    np.testing.assert_array_equal(again.array, source.array)
    np.testing.assert_allclose(again.affine, source.affine, atol=1e-9)


def test_text_burned_into_the_pixels_is_refused(source, tmp_path):
    source.headers[0].BurnedInAnnotation = "YES"
    with pytest.raises(DataError, match="burned into its images"):
        write_derived_series(source.array, source, tmp_path / "out", modality="CT", deidentify=True, **WORDS)
    assert not (tmp_path / "out").exists()


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dicomanonymizer", None)
    with pytest.raises(ConfigError, match=r'pip install "medaug\[deid\]"'):
        next(deidentified([pydicom.Dataset()]))
