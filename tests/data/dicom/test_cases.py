"""A tree of DICOM files is a data set: one case a series, split by PatientID."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest

from medaug.data.cache import open_array, prepare_cases
from medaug.data.dicom.reading import read_series
from medaug.data.files import write_scan
from medaug.data.layouts import find_cases, recognise
from medaug.errors import ConfigError, DataError
from medaug.examination.examination import examine

from ...stored import is_current, prepare_case

VALUES = np.random.RandomState(0).randint(-1024, 2000, size=(6, 5, 4))


@pytest.fixture
def tree(tmp_path, dicom_series):
    """Two patients: a volume each in a folder, and a slice of the second one."""
    for number in (2, 10):
        dicom_series(
            tmp_path / "ct" / f"scan{number}", VALUES + number, patient=f"P{number}", names=["1", "2", "3", "4"]
        )
    dicom_series(tmp_path / "ct", VALUES[..., :1], patient="P10", names=["single.dcm"])
    return tmp_path / "ct"


def test_every_series_is_a_case_of_its_patient(tree):
    assert recognise(tree) == "dicom"
    cases = find_cases(tree)
    assert [(case.case, case.patient, case.label) for case in cases] == [
        ("scan2", "P2", None), ("scan10", "P10", None), ("single", "P10", None),
    ]  # fmt: skip
    entries, _ = prepare_cases(cases, tree.parent / "prepared", spatial_dims=2)
    assert [entry.shape for entry in entries] == [(6, 5, 4), (6, 5, 4), (6, 5)]
    stored = open_array(tree.parent / "prepared", entries[1].arrays["image"])[0]
    np.testing.assert_array_equal(stored, VALUES + 10)


def test_series_behind_links_are_cases_too_and_circles_are_told(tree, caplog):
    linked = tree.parent / "linked"
    linked.mkdir()
    shutil.move(tree / "single.dcm", linked / "single.dcm")
    for name in ("scan2", "scan10"):
        (linked / name).symlink_to(tree / name)
    assert recognise(linked) == "dicom"
    assert [case.case for case in find_cases(linked)] == ["scan2", "scan10", "single"]
    assert not caplog.records
    for name, target in (("twice", linked / "scan2"), ("round", linked), ("up", tree.parent)):
        (linked / name).symlink_to(target)
    assert [case.case for case in find_cases(linked)] == ["scan2", "scan10", "single"]
    assert all(f"linked/{name}: a link to" in caplog.text for name in ("twice", "round", "up"))
    case = find_cases(linked)[0]
    prepare_case(case, tree.parent / "p", spatial_dims=3)
    (tree / "scan2" / "1").touch()
    assert not is_current(case, tree.parent / "p", spatial_dims=3)
    (linked / "scan3").symlink_to(tree / "moved away")
    with pytest.raises(DataError, match="linked/scan3: found no such file"):
        find_cases(linked)


def test_labels_lie_beside_the_tree_under_the_names_of_the_cases(tree):
    label = (VALUES > 0).astype(np.uint8)
    write_scan(tree / "labels" / "scan2.nii.gz", label[None], read_series(tree / "scan2").affine)
    cases = find_cases(tree)
    assert [case.label and case.label.rsplit("/")[-1] for case in cases] == ["scan2.nii.gz", None, None]
    entry = prepare_case(cases[0], tree.parent / "prepared", spatial_dims=3)
    np.testing.assert_array_equal(open_array(tree.parent / "prepared", entry.arrays["label"]), label)
    shutil.move(tree / "labels" / "scan2.nii.gz", tree / "labels" / "scan3.nii.gz")
    with pytest.raises(DataError, match=r"scan3.nii.gz: found 1 label\(s\) without a series"):
        find_cases(tree)


def test_a_series_without_a_patient_is_refused_by_its_file(tree, dicom_series):
    dicom_series(tree / "odd", VALUES, tags={"PatientID": ""})
    with pytest.raises(DataError, match="odd/slice_1.dcm: found no PatientID"):
        find_cases(tree)


def test_series_in_one_folder_and_equal_names_stay_apart(tmp_path, dicom_series):
    dicom_series(tmp_path / "all", VALUES, uid="1.2.3", names=[f"a{k}" for k in range(4)])
    dicom_series(tmp_path / "all", VALUES + 5, uid="1.2.4", names=[f"b{k}" for k in range(4)])
    for place in ("x", "y"):
        dicom_series(tmp_path / place / "series", VALUES + 7)
    cases = find_cases(tmp_path)
    names = [case.case for case in cases]
    assert len(set(names)) == 4 and {"x_series", "y_series"} < set(names)
    assert sum(name.startswith("all-") for name in names) == 2 and names == [c.case for c in find_cases(tmp_path)]
    entries, _ = prepare_cases(cases, tmp_path / "prepared", spatial_dims=3)
    lowest = {float(open_array(tmp_path / "prepared", entry.arrays["image"])[0].min()) for entry in entries}
    assert lowest == {VALUES.min(), VALUES.min() + 5, VALUES.min() + 7}


def test_a_slice_that_changes_is_prepared_again(tree, dicom_series):
    case = find_cases(tree)[0]
    prepare_case(case, tree.parent / "prepared", spatial_dims=3)
    assert is_current(case, tree.parent / "prepared", spatial_dims=3)
    (tree / "scan2" / "3").write_bytes((tree / "scan2" / "3").read_bytes() + b"\0\0")
    assert not is_current(case, tree.parent / "prepared", spatial_dims=3)


def test_other_images_in_the_tree_are_left_out_with_a_warning(tree, caplog):
    write_scan(tree / "z" / "volume.nii.gz", VALUES[None].astype(np.int16))
    with caplog.at_level(logging.WARNING):
        assert len(find_cases(tree)) == 3
    assert "1 image(s) that are no DICOM, such as volume.nii.gz" in caplog.text


def test_dicom_beside_nifti_is_no_pair_of_folders_whichever_comes_first(tmp_path, dicom_series, caplog):
    for patient in ("P1", "P2"):
        dicom_series(tmp_path / "dicom" / patient, VALUES, patient=patient, names=["1.dcm", "2.dcm", "3.dcm", "4.dcm"])
    write_scan(tmp_path / "converted" / "P1" / "flair.nii.gz", VALUES[None].astype(np.int16))
    write_scan(tmp_path / "a.nii.gz", VALUES[None].astype(np.int16))
    assert recognise(tmp_path) == "dicom"
    assert [(case.case, case.patient) for case in find_cases(tmp_path)] == [("P1", "P1"), ("P2", "P2")]
    assert "8 DICOM file(s) and 2 image(s) that are no DICOM, such as a.nii.gz" in caplog.text
    found = examine(tmp_path)
    (layout,) = (check for check in found.checks if check.name == "layout")
    assert layout.verdict == "warn" and "the layout dicom does not read these" in layout.sentence
    assert found.data.layout == "dicom" and found.data.patients == 2


def test_a_labelled_layout_is_read_beside_dicom_and_says_so(tmp_path, dicom_series, caplog):
    for kind in ("images", "labels"):
        write_scan(tmp_path / kind / "p.nii.gz", VALUES[None].clip(0, 1).astype(np.uint8))
    dicom_series(tmp_path / "a_raw" / "P1", VALUES)
    assert recognise(tmp_path) == "images-labels"
    assert [case.case for case in find_cases(tmp_path)] == ["p"]
    assert "the layout images-labels does not read the DICOM" in caplog.text


def test_series_are_chosen_by_modality_or_description(tree, dicom_series):
    dicom_series(tree / "mr", VALUES, modality="MR", patient="P2", tags={"SeriesDescription": "T2 Axial"})
    for sequence in ("MR", "t2 axial"):
        assert [case.case for case in find_cases(tree, sequence=sequence)] == ["mr"]
    assert len(find_cases(tree, sequence="CT")) == 3 and len(find_cases(tree)) == 4
    with pytest.raises(ConfigError, match="no series 'flair'.*: CT, MR, T2 Axial, phantom"):
        find_cases(tree, sequence="flair")


def test_damaged_files_named_like_dicom_are_refused_by_name(tmp_path):
    (tmp_path / "scan.dcm").write_bytes(b"broken")
    with pytest.raises(DataError, match="scan.dcm: found no DICOM file"):
        find_cases(tmp_path)


def test_listing_other_layouts_does_not_import_pydicom():
    code = "import sys, medaug.data.layouts; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
