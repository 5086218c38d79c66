"""`<patient>/<kind>/<slice>`: recognised by looking at it, one kind chosen, slices of a patient kept together."""

from pathlib import Path

import pytest

from medaug.data.layouts import find_cases, recognise
from medaug.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("p2/MRI/9.png", "p2/CT/9.png", "p10/MRI/10.png", "p10/MRI/9.png", "p10/CT/9.png", "p10/CT/10.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "README.md").touch()
    return tmp_path


def test_paired_folders_are_recognised_and_one_kind_is_chosen(folder):
    assert recognise(folder) == "paired-folders"
    cases = find_cases(folder, sequence="mri")
    assert [case.case for case in cases] == ["p2-9", "p10-9", "p10-10"]
    assert {case.patient for case in cases} == {case.scan for case in cases} == {"p2", "p10"}
    assert all("/MRI/" in case.image and case.label is None for case in cases)
    assert [case.case for case in find_cases(folder, sequence="CT")] == [case.case for case in cases]


def test_without_a_choice_the_kinds_are_listed(folder):
    with pytest.raises(ConfigError, match=r"CT \(0\), MRI \(1\)"):
        find_cases(folder)
    with pytest.raises(ConfigError, match="Did you mean CT"):
        find_cases(folder, sequence="CTT")


def test_a_patient_without_the_chosen_kind_is_refused(folder):
    (folder / "p2/CT/9.png").unlink()
    with pytest.raises(DataError, match="p2: found only MRI; expected a folder CT"):
        find_cases(folder, sequence="CT")


def test_two_files_of_one_slice_are_refused(folder):
    (folder / "p2/CT/9.tif").touch()
    with pytest.raises(DataError, match=r"9\.tif: found the same name as 9\.png"):
        find_cases(folder, sequence="CT")


def test_folders_whose_slices_do_not_pair_are_not_taken_for_pairs(tmp_path):
    for name in ("p/series_1/1.png", "p/series_2/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="no layout that medaug knows"):
        recognise(tmp_path)
