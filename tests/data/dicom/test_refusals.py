"""What is not one volume is refused with what was found, what was expected, and the remedy."""

from __future__ import annotations

import logging

import numpy as np
import pydicom
import pytest

from medaug.data.dicom.reading import read_series
from medaug.errors import DataError

VALUES = np.random.RandomState(0).randint(-1024, 2000, size=(6, 5, 4))


def positions(*z: float, x: float = 0.0) -> list[dict]:
    return [{"ImagePositionPatient": [x, 0, level]} for level in z]


@pytest.mark.parametrize(
    ("by_slice", "words"),
    [
        ([{"ImagePositionPatient": [0, 0.5 * k, 2 * k]} for k in range(4)], "14.0 degrees: a gantry tilt.*Undo"),
        (positions(0, 2, 4, 7), "uneven slice increments, from 2 to 3 mm"),
        (positions(0, 2, 4.2, 6), "uneven slice increments"),
        (positions(0, 2, 4, 10), r"2 missing slice\(s\), the first between slice_3.dcm and slice_4.dcm"),
        (positions(0, 2, 6, 10), r"2 missing slice\(s\), the first between slice_2.dcm and slice_3.dcm"),
        (positions(5, 5, 5, 5), "4 slices at one position, which is not a volume"),
        ([{}, {}, {}, {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}], r"2 orientations \(3 × .*1 × "),
        ([{}, {}, {}, {"PixelSpacing": [1.0, 1.1]}], "different PixelSpacing.*1 × 1.1"),
        ([{}, {}, {}, {"Rows": 3, "PixelData": b"\0" * 36}], r"different sizes \(Rows × Columns: 3 × 6, 5 × 6"),
        ([{}, {}, {}, {"Modality": "MR"}], "the modalities CT, MR"),
        ([{}, {}, {}, {"ImagePositionPatient": None}], "slice_4.dcm.*no ImagePositionPatient"),
        ([{}, {}, {}, {"RescaleSlope": None, "RescaleIntercept": None}], "CT without RescaleSlope and RescaleInt"),
        ([{}, {}, {}, {"RescaleSlope": 0}], "RescaleSlope of 0"),
        ([{"ContrastBolusAgent": "iodine"}, {}, {}, {}], "two acquisitions mixed.*ContrastBolusAgent"),
        ([{}, {}, {}, {"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]}], "perpendicular unit vectors"),
        ([{}, {}, {}, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}], r"not a cross-section \(LOCALIZER\)"),
        ([{}, {}, {}, {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}], r"\(PROJECTION IMAGE\)"),
        ([{"PixelSpacing": [0, 0]}] * 4, "PixelSpacing of 0 mm"),
    ],
)  # fmt: skip
def test_what_is_no_regular_grid_is_refused(tmp_path, dicom_series, by_slice, words):
    dicom_series(tmp_path, VALUES, by_slice=by_slice)
    with pytest.raises(DataError, match=words) as error:
        read_series(tmp_path)
    message = str(error.value)
    assert message.startswith(str(tmp_path)) and "; expected " in message and "Doe" not in message


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", (1, 2)),
        ("EchoTime", (4.6, 9.2)),
        ("ContrastBolusAgent", ("", "iodine")),
        ("ConvolutionKernel", ("B30f", "B70f")),
    ],
)
def test_two_acquisitions_at_the_same_positions_are_told_apart_by_a_tag(tmp_path, dicom_series, keyword, values):
    for index, value in enumerate(values):
        dicom_series(tmp_path, VALUES, uid="1.2.3", tags={keyword: value}, names=[f"{index}{k}.dcm" for k in range(4)])
    with pytest.raises(DataError, match=rf"4 slices at the position of another one.*{keyword} \(.*{values[1]}"):
        read_series(tmp_path)


def test_interleaved_echoes_are_refused_although_they_are_evenly_spaced(tmp_path, dicom_series):
    dicom_series(
        tmp_path, VALUES, modality="MR", intercept=-1024, by_slice=[{"EchoNumbers": 1 + k % 2} for k in range(4)]
    )
    with pytest.raises(DataError, match=r"two acquisitions mixed.*EchoNumbers \(1, 2\)"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("tags", "accepted"),
    [
        ({}, True),
        ({"SliceThickness": None}, False),
        ({"SliceThickness": 1.0}, False),
        ({"SliceThickness": None, "SpacingBetweenSlices": 2.0}, True),
        ({"SliceThickness": 1.0, "SpacingBetweenSlices": 1.0}, False),
    ],
)
def test_two_slices_need_a_tag_that_says_none_is_missing_between(tmp_path, dicom_series, tags, accepted):
    dicom_series(tmp_path, VALUES[..., :2], tags=tags)
    if accepted:
        assert read_series(tmp_path).array.shape == (6, 5, 2)
    else:
        with pytest.raises(DataError, match="two slices 2 mm apart.*none is missing"):
            read_series(tmp_path)


def test_positions_rounded_by_the_scanner_are_no_tilt_and_not_uneven(tmp_path, dicom_series):
    rounded = [{"ImagePositionPatient": [round(0.001 * (-1) ** k, 3), 0, round(0.625 * k, 2)]} for k in range(4)]
    dicom_series(tmp_path, VALUES, by_slice=rounded)
    assert read_series(tmp_path).array.shape == (6, 5, 4)


def test_several_series_need_a_choice_and_are_listed(tmp_path, dicom_series):
    dicom_series(tmp_path / "a", VALUES, uid="1.2.3", tags={"SeriesDescription": "arterial"})
    dicom_series(tmp_path / "b", VALUES[..., :3] + 1, uid="1.2.4", modality="MR")
    with pytest.raises(DataError, match=r"2 series: 1.2.3 \(CT, 'arterial', 4 files\); 1.2.4 \(MR, 'phantom', 3 files"):
        read_series(tmp_path)
    with pytest.raises(DataError, match="no series 1.2.5; expected one of: 1.2.3"):
        read_series(tmp_path, series_uid="1.2.5")
    assert read_series(tmp_path, series_uid="1.2.4").array.shape == (6, 5, 3)


def test_colour_is_refused(tmp_path, dicom_series):
    (path, *_) = dicom_series(tmp_path, VALUES)
    header = pydicom.dcmread(path)
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PlanarConfiguration = 3, "RGB", 0
    header.BitsAllocated = header.BitsStored = 8
    header.PixelData = bytes(6 * 5 * 3)
    header.save_as(path)
    with pytest.raises(DataError, match=r"slice_1.dcm: found a colour image \(PhotometricInterpretation RGB\)"):
        read_series(tmp_path)


def test_files_that_are_cut_off_or_no_dicom_are_refused_by_name(tmp_path, dicom_series):
    paths = dicom_series(tmp_path / "cut", VALUES)
    whole = paths[2].read_bytes()
    for kept in (len(whole) - 20, len(whole) - 120, 700, 400, 200, 133):
        paths[2].write_bytes(whole[:kept])
        for source in (paths[2], tmp_path / "cut"):
            with pytest.raises(
                DataError, match="slice_3.dcm: found .*(no pixel data|cannot be decoded|too early|damaged)"
            ):
                read_series(source)
    paths[2].write_bytes(b"")
    with pytest.raises(DataError, match="slice_3.dcm: found an empty file"):
        read_series(tmp_path / "cut")
    paths[2].write_bytes(b"something else" * 40)
    for source in (paths[2], tmp_path / "cut"):
        with pytest.raises(DataError, match="slice_3.dcm: found no DICOM file"):
            read_series(source)
    with pytest.raises(DataError, match="missing: found no such file"):
        read_series(tmp_path / "missing")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match="a folder without DICOM files"):
        read_series(tmp_path / "text")


@pytest.mark.parametrize(
    ("values", "tags", "words"),
    [
        (VALUES, {"RescaleType": "US"}, "RescaleType is US, not HU"),
        (np.abs(VALUES) % 256, {}, "nothing below 0, and so no air"),
        (VALUES % 300 - 1000, {}, "nothing above -701, and so no tissue"),
    ],
)
def test_a_ct_that_is_not_in_hu_is_warned_of(tmp_path, dicom_series, caplog, values, tags, words):
    dicom_series(tmp_path, values, tags=tags)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read_series(tmp_path).array, values)
    assert words in caplog.text and "Doe" not in caplog.text


def test_a_ct_in_hu_is_read_without_a_warning(tmp_path, dicom_series, caplog):
    dicom_series(tmp_path, VALUES)
    with caplog.at_level(logging.WARNING):
        read_series(tmp_path)
    assert not caplog.text
