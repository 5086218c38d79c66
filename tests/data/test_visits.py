"""Visits of one patient are one patient in every layout; what is not clear is said, and not guessed."""

import json
import logging

import pytest

from medaug.data.layouts import find_cases
from medaug.errors import ConfigError, DataError

VISITS = {
    "sub-01": ["sub-01_ses-1", "sub-01_ses-2_T1w"],
    "patient001": ["patient001_frame01", "patient001_frame12"],
    "BraTS-GLI-00001": ["BraTS-GLI-00001-000", "BraTS-GLI-00001-001"],
    "UPENN-GBM-00001": ["UPENN-GBM-00001_11", "UPENN-GBM-00001_21"],
    "TCGA_CS_4941": ["TCGA_CS_4941_19960909", "TCGA_CS_4941_19970101"],
    "P01": ["P01_t1", "P01_visit2", "P01-pre", "P01_follow-up", "P01 2019-03-28", "P01_6months"],
    "PatientID_0003": ["PatientID_0003_Timepoint_1", "PatientID_0003_Timepoint_2"],
    "Patient-001": ["Patient-001_week-000-1", "Patient-001_week-012"],
}
PLAIN = ["BRATS_001", "hippocampus_003", "liver_12", "case_00001", "LGG_001", "volume-0", "phantom-000",
         "sub-01", "Brats18_CBICA_ALU_1", "BraTS2021_00001", "1BA001", "A0S9V9", "patient_5", "s0011"]  # fmt: skip


def folder_of(root, layout, names):
    for name in names:
        image, label = {
            "msd": (f"imagesTr/{name}_0000.nii.gz", f"labelsTr/{name}.nii.gz"),
            "images-labels": (f"images/{name}.png", f"labels/{name}.png"),
            "datalist": (f"{name}.nii.gz", f"{name}_seg.nii.gz"),
            "brats": (f"{name}/{name}_flair.nii.gz", f"{name}/{name}_seg.nii.gz"),
            "kaggle-lgg": (f"{name}/{name}_1.tif", f"{name}/{name}_1_mask.tif"),
        }[layout]
        for file in (root / image, root / label):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    if layout == "msd":
        (root / "dataset.json").write_text("{}")
    if layout == "datalist":
        (root / "datalist.json").write_text(json.dumps({"training": [{"image": f"{name}.nii.gz"} for name in names]}))
    return root


@pytest.mark.parametrize("layout", ["msd", "images-labels", "datalist", "brats", "kaggle-lgg"])
def test_clear_visits_are_one_patient_in_every_layout_and_it_is_said(tmp_path, layout, caplog):
    root = folder_of(tmp_path, layout, [name for names in VISITS.values() for name in names])
    sequence = "flair" if layout in ("brats", "kaggle-lgg") else None
    cases = find_cases(root, layout=layout, sequence=sequence)
    found = {case.scan: case.patient for case in cases}
    assert found == {name: patient for patient, names in VISITS.items() for name in names}
    assert f"{len(found)} scans are of {len(VISITS)} patients" in caplog.text


def test_plainly_numbered_cases_stay_one_patient_each(tmp_path, caplog):
    cases = find_cases(folder_of(tmp_path, "msd", PLAIN))
    assert {case.patient for case in cases} == set(PLAIN) and not caplog.text
    many = find_cases(folder_of(tmp_path / "many", "msd", [f"BRATS_{n:03d}" for n in range(30)]))
    assert len({case.patient for case in many}) == 30 and not caplog.text


@pytest.mark.parametrize("names", [("x1_1 x1_2 x2_1 x2_2"), ("x1_a x1_b x2_a x2_b"), ("x1L x1R x2"), ("x1 x1_old x2")])
def test_names_that_only_look_like_visits_are_told_and_not_grouped(tmp_path, names, caplog):
    root = folder_of(tmp_path, "images-labels", names.split())
    assert len({case.patient for case in find_cases(root)}) == len(names.split())
    assert "look like visits" in caplog.text and "--patient-regex" in caplog.text
    caplog.clear()
    cases = find_cases(root, patient_regex="^(x[0-9])")
    assert {case.patient for case in cases} == {"x1", "x2"} and not caplog.text
    (root / "patients.json").write_text(json.dumps(dict.fromkeys(names.split(), "one")))
    assert {case.patient for case in find_cases(root)} == {"one"}
    with pytest.raises(ConfigError, match="leave out one of them"):
        find_cases(root, patient_regex="^(x[0-9])")


def test_names_that_differ_in_spelling_alone_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        find_cases(folder_of(tmp_path, "images-labels", ["anna-1", "Anna 1", "b_1_1", "b_11"]))
    assert "Anna 1 and anna-1 differ in case, spaces, _ or - alone" in caplog.text and "b_11 " not in caplog.text


def test_an_expression_that_is_none_or_finds_nobody_is_refused(tmp_path):
    root = folder_of(tmp_path, "images-labels", ["a_1", "b"])
    for regex in ("(", "a", "(a)(b)"):
        with pytest.raises(ConfigError, match="one group"):
            find_cases(root, patient_regex=regex)
    with pytest.raises(DataError, match="no patient in the name 'b'"):
        find_cases(root, patient_regex="^(.+)_")


def test_what_a_datalist_says_of_patients_stands(tmp_path):
    root = folder_of(tmp_path, "datalist", ["P01_t1", "P01_t2"])
    entries = [{"image": f"P01_t{n}.nii.gz", "patient": f"twin {n} of P01"} for n in (1, 2)]
    (root / "datalist.json").write_text(json.dumps({"training": entries}))
    assert [case.patient for case in find_cases(root)] == ["twin 1 of P01", "twin 2 of P01"]
