"""Labels as DICOM SEG: highdicom reads back every voxel, and the file refers to the series' images."""

from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedCTImageStorage

from medaug.data.dicom.derived import write_derived_series
from medaug.data.dicom.reading import read_series
from medaug.data.dicom.segmentation import write_segmentation
from medaug.errors import DataError

from .validation import errors_of, real_series

NAMES = {1: "left kidney", 4: "liver tumor"}


@pytest.fixture
def source(dicom_series, tmp_path):
    values = np.linspace(-1000, 1500, 7 * 5 * 4).reshape(7, 5, 4).round()
    dicom_series(tmp_path / "source", values, spacing_mm=(0.7, 1.3, 2.5))
    return read_series(tmp_path / "source")


@pytest.fixture
def label(source):
    """Values 1, 4 and 7; nothing in the second slice."""
    drawn = np.random.RandomState(0).choice([0, 1, 4, 7], source.array.shape).astype(np.uint8)
    drawn[..., 1] = 0
    return drawn


def read_label(file, source):
    """The label as highdicom reads it on the source's images, each value again as its segment's description says."""
    seg = highdicom.seg.segread(file)
    uids = [header.SOPInstanceUID for header in source.headers]
    pixels = seg.get_pixels_by_source_instance(uids, combine_segments=True, ignore_spatial_locations=False,
                                               assert_missing_frames_are_empty=True)  # fmt: skip
    values = np.array([0] + [int(s.SegmentDescription.removeprefix("label value ")) for s in seg.SegmentSequence])
    return values[pixels].transpose(2, 1, 0), seg


def test_every_voxel_comes_back_by_its_value(source, label, tmp_path):
    file = write_segmentation(label, source, tmp_path / "seg.dcm", names=NAMES)
    again, seg = read_label(file, source)
    np.testing.assert_array_equal(again, label)
    assert seg.StudyInstanceUID == source.headers[0].StudyInstanceUID
    assert seg.FrameOfReferenceUID == source.headers[0].FrameOfReferenceUID


def test_the_geometry_is_that_of_the_series(source, label, tmp_path):
    volume = highdicom.seg.segread(write_segmentation(label, source, tmp_path / "seg.dcm")).get_volume()
    lps = volume.flip_spatial(0).affine[:, [2, 1, 0, 3]]  # highdicom counts slices from the other end
    np.testing.assert_allclose(np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps, source.affine, atol=1e-9)


def test_names_become_codes(source, label, tmp_path):
    _, seg = read_label(write_segmentation(label, source, tmp_path / "seg.dcm", names=NAMES), source)
    kidney, tumor, other = seg.SegmentSequence
    assert kidney.SegmentLabel == "left kidney"
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    assert tumor.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"
    assert tumor.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Morphologically Abnormal Structure"
    assert other.SegmentLabel == "label 7"


@pytest.mark.parametrize("deidentify", [False, True])
@pytest.mark.parametrize("single", [False, True])
def test_dciodvfy_finds_no_error(source, label, tmp_path, single, deidentify):
    if single:
        source, label = replace(source, array=source.array[..., 0], headers=source.headers[:1]), label[..., 0]
    file = write_segmentation(label, source, tmp_path / "seg.dcm", names=NAMES, deidentify=deidentify)
    assert errors_of(file) == []


def test_the_label_of_a_multi_frame_series_refers_to_its_frames(source, label, tmp_path):
    series = multi_frame(source, order=[2, 0, 3, 1])
    file = write_segmentation(label, series, tmp_path / "seg.dcm", names=NAMES)
    pixels = highdicom.seg.segread(file).get_pixels_by_source_frame(
        series.headers[0].SOPInstanceUID, [2, 4, 1, 3], combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(np.array([0, 1, 4, 7])[pixels].transpose(2, 1, 0), label)
    assert errors_of(file) == []


def multi_frame(source, order):
    """The series as an enhanced multi-frame file holds it, with its frames in this order."""
    first = source.headers[0]
    header, shared, measures, orientation = (pydicom.Dataset() for _ in range(4))
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
                    "SOPInstanceUID", "Modality", "Rows", "Columns"):  # fmt: skip
        header[keyword] = first[keyword]
    header.SOPClassUID, header.NumberOfFrames = EnhancedCTImageStorage, len(order)
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [shared], []
    for index in order:
        position, frame = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = source.headers[index].ImagePositionPatient
        frame.PlanePositionSequence = [position]
        header.PerFrameFunctionalGroupsSequence.append(frame)
    return replace(source, headers=[header])


@pytest.mark.parametrize("name", ["ct_abdomen_j2k", "odd/ge_anatomical/001", "ct_contrast"])
def test_labels_of_series_derived_from_real_ones_are_valid(tmp_path, name):
    source = read_series(real_series(name))
    write_derived_series(source.array, source, tmp_path / "out", modality="CT", series_description="a", derivation="b")
    derived = read_series(tmp_path / "out")
    label = (derived.array > np.percentile(derived.array, 90)).astype(np.uint8)
    file = write_segmentation(label, derived, tmp_path / "seg.dcm", names={1: "bone"})
    assert errors_of(file) == []
    np.testing.assert_array_equal(read_label(file, derived)[0].reshape(label.shape), label)


@pytest.mark.parametrize(
    ("change", "names", "words"),
    [
        (lambda x: x[1:], {}, "a label of shape"),
        (lambda x: x * 0, {}, "0 label values"),
        (lambda x: -x.astype(int), {}, "the least -7"),
        (lambda x: x, {2: "liver"}, r"also \[2\], which have names"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(source, label, tmp_path, change, names, words):
    with pytest.raises(DataError, match=words):
        write_segmentation(change(label), source, tmp_path / "seg.dcm", names=names)
    assert not (tmp_path / "seg.dcm").exists()
