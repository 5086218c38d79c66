"""Which files belong together; what is no scan does not count, and copies count once."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medaug.data.dicom.reading import read_series
from medaug.data.dicom.series import find_series
from medaug.errors import DataError

VALUES = np.random.RandomState(0).randint(-1024, 2000, size=(6, 5, 4))


def test_series_are_found_below_a_folder_with_their_tags(tmp_path, dicom_series):
    a = dicom_series(tmp_path / "p1" / "a", VALUES, uid="1.2.3", names=["1", "2", "10", "11"])
    b = dicom_series(tmp_path / "p2", VALUES[..., :1], uid="1.2.4", modality="MR", patient="P2")
    (tmp_path / "p1" / "notes.txt").write_text("not an image")
    (tmp_path / "p1" / "._1").write_bytes(a[0].read_bytes())
    first, second = find_series(tmp_path)
    assert first.files == tuple(a) and second.files == tuple(b)
    assert (first.uid, first.modality, first.patient, first.description) == ("1.2.3", "CT", "P1", "phantom")
    assert (second.uid, second.modality, second.patient) == ("1.2.4", "MR", "P2")
    assert first.study_uid == pydicom.dcmread(a[0]).StudyInstanceUID
    assert find_series(a[1])[0].files == (a[1],)


def test_a_series_spread_over_folders_is_one(tmp_path, dicom_series):
    for index, path in enumerate(dicom_series(tmp_path, VALUES)):
        (tmp_path / f"disc{index % 2}").mkdir(exist_ok=True)
        shutil.move(path, tmp_path / f"disc{index % 2}" / path.name)
    np.testing.assert_array_equal(read_series(tmp_path).array, VALUES)


def test_files_without_a_series_uid_count_as_one_series_a_folder(tmp_path, dicom_series):
    for name in ("a", "b"):
        dicom_series(tmp_path / name, VALUES, tags={"SeriesInstanceUID": None})
    assert [len(series.files) for series in find_series(tmp_path)] == [4, 4]
    np.testing.assert_array_equal(read_series(tmp_path / "a").array, VALUES)
    with pytest.raises(DataError, match=r"2 series: no UID \(CT"):
        read_series(tmp_path)


def test_copies_of_a_file_are_read_once_with_a_warning(tmp_path, dicom_series, caplog):
    (path, *_) = dicom_series(tmp_path, VALUES)
    shutil.copy(path, tmp_path / "again.dcm")
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read_series(tmp_path).array, VALUES)
    assert "a copy of again.dcm, byte for byte" in caplog.text
    changed = pydicom.dcmread(path)
    changed.PixelData = bytes(len(changed.PixelData))
    changed.save_as(tmp_path / "again.dcm")
    with pytest.raises(DataError, match="1 slices at the position of another one"):
        read_series(tmp_path)


def test_objects_that_are_no_scans_do_not_count(tmp_path, dicom_series):
    dicom_series(tmp_path / "series", VALUES)
    for name in ("rtplan.dcm", "rtdose.dcm", "test-SR.dcm", "liver_1frame.dcm"):
        shutil.copy(get_testdata_file(name, download=False), tmp_path / "series" / name)
    np.testing.assert_array_equal(read_series(tmp_path / "series").array, VALUES)
    shutil.rmtree(tmp_path / "series")
    (tmp_path / "others").mkdir()
    shutil.copy(get_testdata_file("rtplan.dcm", download=False), tmp_path / "others" / "plan")
    for source in (tmp_path / "others", tmp_path / "others" / "plan"):
        with pytest.raises(DataError, match="no scan, only DICOM objects of the kind RT Plan Storage"):
            read_series(source)


def test_a_file_that_changed_is_read_again(tmp_path, dicom_series):
    (path,) = dicom_series(tmp_path, VALUES[..., :1], uid="1.2.3")
    assert find_series(path)[0].uid == "1.2.3"
    dicom_series(tmp_path, VALUES[..., :1], uid="1.2.4567")
    assert find_series(path)[0].uid == "1.2.4567"


def test_nothing_that_is_printed_names_the_patient(tmp_path, dicom_series, caplog):
    dicom_series(tmp_path, VALUES, patient="secret")
    (series,) = find_series(tmp_path)
    volume = read_series(tmp_path)
    printed = f"{series} {volume} {caplog.text}"
    assert "Doe" not in printed and "secret" not in printed
