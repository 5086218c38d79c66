"""Phantoms as files: what their labels hold, and patients without a tumor in a folder beside the others."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from medaug.data.atomic import read_json
from medaug.data.layouts import find_cases
from medaug.data.records import prepared_cases
from medaug.data.writers import healthy_beside, write_phantoms
from medaug.errors import ConfigError
from medaug.stages.pipeline import run_pipeline

SHAPE = (40, 40, 12)


def written(folder, **options):
    count = write_phantoms(folder, "msd", **{"anatomy": "head", "patients": 2, "seed": 5, "shape": SHAPE} | options)
    assert count == len(list((folder / "labelsTr").iterdir())) + options.get("healthy", 0)
    return {path.name: nibabel.load(path).get_fdata() for path in sorted(folder.glob("*Tr/*.nii.gz"))}


def test_parts_are_written_as_brats_numbers_them_with_their_names_and_four_sequences(tmp_path):
    files, again = (written(tmp_path / name, label="parts") for name in "ab")
    assert all(np.array_equal(files[name], again[name]) for name in files)
    described = read_json(tmp_path / "a" / "dataset.json")
    assert list(described["channel_names"].values()) == ["t1", "t1ce", "t2", "flair"]
    assert described["labels"] == {"background": 0, "core": 1, "edema": 2, "enhancing": 4}
    assert set(np.unique(files["phantom-000.nii.gz"])) == {0, 1, 2, 4}
    found = find_cases(tmp_path / "a", sequences=("flair", "t1ce"))
    assert [[sequence.image[-12:] for sequence in case.sequences] for case in found] == [
        ["_0003.nii.gz", "_0001.nii.gz"]
    ] * 2


def test_the_labelled_liver_holds_the_tumor(tmp_path):
    files = written(tmp_path / "abdomens", anatomy="abdomen", label="organ")
    assert read_json(tmp_path / "abdomens" / "dataset.json")["labels"] == {"background": 0, "liver": 1, "tumor": 2}
    for name in ("phantom-000.nii.gz", "phantom-001.nii.gz"):
        liver, tumor = files[name] == 1, files[name] == 2
        assert set(np.unique(files[name])) == {0, 1, 2} and liver.sum() > tumor.sum()
        around = ndimage.binary_dilation(tumor) & ~tumor
        assert liver[around].mean() > 0.5


def test_healthy_phantoms_are_other_patients_in_a_folder_of_their_own(tmp_path):
    alone = written(tmp_path / "alone")
    files = written(tmp_path / "heads", healthy=1)
    assert alone.keys() == files.keys() and all(np.array_equal(alone[name], files[name]) for name in files)
    (label,) = (healthy_beside(tmp_path / "heads") / "labelsTr").iterdir()
    assert label.name == "phantom-002.nii.gz" and not nibabel.load(label).get_fdata().any()


@pytest.mark.parametrize(
    ("tumor_values", "settings"),
    [
        ({1, 2}, ("data.sequence=flair",)),
        ({1, 2, 4}, (
            "data.phantoms.label=parts", "data.sequences=[flair,t1ce]", "data.tumor={edema: 2, core: 1, enhancing: 4}",
        )),
        ({2}, (
            "data.phantoms={anatomy: abdomen, label: organ, patients: 5, shape: [32,32,8], healthy: 2}",
            "data.modality=CT", "data.sequence=contrast", "data.organ=[1]",
        )),
    ],
    ids=["tumor", "parts", "organ"],
)  # fmt: skip
def test_a_run_takes_healthy_phantoms_for_its_healthy_pool(tmp_path, tiny_config, tumor_values, settings):
    run = run_pipeline(tiny_config("data.phantoms.healthy=2", *settings), tmp_path / "run", until="prepare")
    cases, pool = prepared_cases(run.datalist), read_json(run.split)["healthy"]
    assert pool == sorted(case.patient for case in cases)[-2:]
    assert not any(case.labelled for case in cases if case.patient in pool)
    assert {value for case in cases if case.patient not in pool for value in case.tumor_values} == tumor_values


def test_labels_that_a_phantom_does_not_have_are_refused(tmp_path, tiny_config):
    for label, anatomy in (("parts", "abdomen"), ("bones", "head")):
        with pytest.raises(ConfigError, match=f"{label}.*{anatomy}"):
            write_phantoms(tmp_path / "new", "msd", anatomy=anatomy, patients=1, seed=0, label=label)
    with pytest.raises(ConfigError, match="parts of the anatomy abdomen"):
        tiny_config("data.phantoms.label=parts", "data.phantoms.anatomy=abdomen")
    assert not (tmp_path / "new").exists()
