"""Folders are recognised by looking, and listed in a fixed order; what is incomplete is refused."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medaug.data.files import read_label, read_scan
from medaug.data.layouts import LAYOUTS, find_cases, recognise
from medaug.data.writers import ScanRecord, write_layout
from medaug.errors import ConfigError, DataError, RunError

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


def records(sequences=("flair", "t1"), count=3):
    rng = np.random.RandomState(0)
    for number in range(1, count + 1):
        label = np.zeros((6, 5, 4), np.uint8)
        label[2:4, 2:4, 1:3] = 1
        images = {name: rng.randint(0, 900, size=(6, 5, 4)).astype(np.int16) for name in sequences}
        yield ScanRecord(f"patient_{number * 5}", images, label, AFFINE)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


@pytest.mark.parametrize("sequences", [("flair",), ("flair", "t1")])
@pytest.mark.parametrize("layout", ["brats", "msd", "datalist", "images-labels"])
def test_volumes_come_back_as_written(tmp_path, layout, sequences):
    written = list(records(sequences))
    assert write_layout(written, tmp_path / "d", layout) == 3
    assert recognise(tmp_path / "d") == layout
    cases = find_cases(tmp_path / "d", sequence=sequences[-1])
    assert [case.patient for case in cases] == ["patient_5", "patient_10", "patient_15"]
    for case, record in zip(cases, written, strict=True):
        scan, label = read_scan(case.image, channel=case.channel), read_label(case.label)
        np.testing.assert_array_equal(scan.as_tensor()[0].numpy(), record.images[sequences[-1]])
        np.testing.assert_array_equal(label.as_tensor()[0].numpy(), record.label)
        np.testing.assert_allclose(scan.affine.numpy(), AFFINE)
        assert case.scan == case.case == record.patient


def test_lgg_slices_come_back_as_eight_bit_with_their_masks(tmp_path):
    written = list(records(("flair", "t1ce")))
    assert write_layout(written, tmp_path / "d", "kaggle-lgg") == 3
    assert recognise(tmp_path / "d") == "kaggle-lgg"
    cases = find_cases(tmp_path / "d", sequence="post")
    assert len(cases) == 12 and cases[0].case == "patient_5_1" and cases[-1].case == "patient_15_4"
    assert cases[0].channel == 2 and cases[0].scan == cases[0].patient == "patient_5"
    image = read_scan(cases[1].image, channel=2).as_tensor()[0].numpy()
    assert np.corrcoef(image.ravel(), written[0].images["t1ce"][:, :, 1].ravel())[0, 1] > 0.99
    filled = [read_scan(cases[1].image, channel=c).as_tensor() for c in (0, 1)]
    assert (filled[0] == filled[1]).all()  # no pre-contrast sequence: filled with FLAIR
    np.testing.assert_array_equal(read_label(cases[1].label)[0].numpy(), written[0].label[:, :, 1] * 255)


def test_lgg_leaves_out_blank_slices(tmp_path):
    record = next(records(("flair",)))
    record.images["flair"][:, :, 0] = 0
    write_layout([record], tmp_path / "d", "kaggle-lgg")
    assert [case.case for case in find_cases(tmp_path / "d", sequence=1)] == [f"patient_5_{z}" for z in (2, 3, 4)]


def test_writing_refuses_a_folder_in_use_and_records_that_do_not_fit(tmp_path):
    touch(tmp_path, "d/file")
    with pytest.raises(RunError, match="holds files"):
        write_layout(records(), tmp_path / "d", "msd")
    with pytest.raises(ConfigError, match="unknown layout"):
        write_layout(records(), tmp_path / "e", "bids")
    with pytest.raises(ConfigError, match="not 'ct'"):
        write_layout(records(("ct",)), tmp_path / "f", "brats")
    with pytest.raises(ConfigError, match="all records need"):
        write_layout([*records(("t1",), 1), *records(("t2",), 1)], tmp_path / "g", "msd")
    with pytest.raises(ConfigError, match="unique"):
        write_layout([*records(("t1",), 1), *records(("t1",), 1)], tmp_path / "h", "msd")


@pytest.mark.parametrize("layout", ["brats", "kaggle-lgg", "msd", "datalist", "images-labels"])
def test_several_sequences_need_a_choice_among_the_valid_ones(tmp_path, layout):
    write_layout(records(), tmp_path / "d", layout)
    with pytest.raises(ConfigError, match=r"choose one.*flair \("):
        find_cases(tmp_path / "d")
    with pytest.raises(ConfigError, match=r"'flai'.*Did you mean flair\?"):
        find_cases(tmp_path / "d", sequence="flai")
    with pytest.raises(ConfigError, match="no channel 9"):
        find_cases(tmp_path / "d", sequence=9)
    assert find_cases(tmp_path / "d", sequence="FLAIR") == find_cases(tmp_path / "d", sequence="flair")


def test_newer_brats_names_and_visits(tmp_path):
    for visit in ("000", "001"):
        stem = f"BraTS-GLI-00007-{visit}"
        touch(tmp_path, *[f"{stem}/{stem}-{kind}.nii.gz" for kind in ("t2f", "t1c", "t1n", "t2w", "seg")])
    cases = find_cases(tmp_path, sequence="flair")
    assert [case.case for case in cases] == ["BraTS-GLI-00007-000", "BraTS-GLI-00007-001"]
    assert {case.patient for case in cases} == {"BraTS-GLI-00007"}  # more in test_visits.py
    assert cases[0].image.endswith("-t2f.nii.gz") and cases[0].label.endswith("-seg.nii.gz")
    assert find_cases(tmp_path, sequence="t1c") == find_cases(tmp_path, sequence="t1ce")


def test_brats_in_grade_folders_and_an_incomplete_case(tmp_path):
    touch(tmp_path, "HGG/a/a_flair.nii.gz", "HGG/a/a_t1.nii.gz", "LGG/b/b_flair.nii.gz", "LGG/b/._b_t1.nii.gz")
    assert [case.label for case in find_cases(tmp_path, sequence="flair")] == [None, None]
    with pytest.raises(DataError, match="expected the sequence t1"):
        find_cases(tmp_path, sequence="t1")
    touch(tmp_path, "HGG/a/a_flair.nii")
    with pytest.raises(DataError, match="two files for flair"):
        find_cases(tmp_path, sequence="flair")


def test_lgg_images_without_mask_stay_and_masks_without_image_are_refused(tmp_path):
    touch(tmp_path, "p/p_1.tif", "p/p_1_mask.tif", "p/p_2.tif", "README.md")
    assert [case.label is None for case in find_cases(tmp_path, sequence=0)] == [False, True]
    touch(tmp_path, "p/p_3_mask.tif")
    with pytest.raises(DataError, match=r"p_3_mask\.tif: found a mask without its image"):
        find_cases(tmp_path, sequence=0)


def test_the_decathlon_names_volumes_of_four_dimensional_files(tmp_path):
    touch(tmp_path, "imagesTr/b_10.nii.gz", "imagesTr/b_9.nii.gz", "labelsTr/b_10.nii.gz", "labelsTr/b_9.nii.gz")
    entries = [{"image": f"./imagesTr/b_{n}.nii.gz", "label": f"./labelsTr/b_{n}.nii.gz"} for n in (10, 9)]
    description = {"modality": {"0": "FLAIR", "1": "T1w"}, "training": entries}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    cases = find_cases(tmp_path, sequence="t1w")
    assert [case.case for case in cases] == ["b_9", "b_10"] and cases[0].channel == 1
    assert find_cases(tmp_path / "dataset.json", sequence="t1w") == cases


def test_nnunet_of_both_versions(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "FLAIR"}}))
    (case,) = find_cases(tmp_path, sequence="FLAIR")
    assert case.case == "a" and case.image.endswith("a_0001.nii.gz") and case.channel is None
    entry = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    old = {"modality": {"0": "T1", "1": "FLAIR"}, "training": [entry]}
    (tmp_path / "dataset.json").write_text(json.dumps(old))
    assert find_cases(tmp_path, sequence="FLAIR") == [case]
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "FLAIR", "2": "T2"}}))
    with pytest.raises(DataError, match="a_0002"):
        find_cases(tmp_path, sequence="T2")


def write_datalist(folder: Path, *entries: object) -> Path:
    (folder / "datalist.json").write_text(json.dumps({"training": list(entries)}))
    return folder / "datalist.json"


def test_a_datalist_names_patients_cases_and_channels(tmp_path):
    touch(tmp_path, "x/a.nii.gz", "x/b.nii.gz", "x/l.nii.gz")
    path = write_datalist(
        tmp_path,
        {"image": "x/a.nii.gz", "label": "x/l.nii.gz", "subject": 7, "case": "first", "channel": 1},
        {"image": str(tmp_path / "x" / "b.nii.gz")},
    )
    b, first = find_cases(path)
    assert first.patient == "7" and first.channel == 1 and first.scan == "first"
    assert b.case == b.patient == "b" and b.label is None
    assert find_cases(tmp_path) == find_cases(path)


@pytest.mark.parametrize("outside", ["../secret.nii.gz", "x/../../secret.nii.gz", "/etc/passwd"])
@pytest.mark.parametrize("key", ["image", "label"])
def test_a_datalist_may_not_leave_its_folder(tmp_path, outside, key):
    touch(tmp_path, "secret.nii.gz", "d/x/a.nii.gz")
    path = write_datalist(tmp_path / "d", {"image": "x/a.nii.gz", "label": "x/a.nii.gz"} | {key: outside})
    with pytest.raises(DataError, match="leaves the folder"):
        find_cases(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"validation": []}', 'no list "training"'),
        ('{"training": []}', "no cases"),
        ('{"training": ["a.nii.gz"]}', "entry 0"),
        ('{"training": [{"image": "a.nii.gz"}, {"image": 3}]}', "entry 1"),
        ('{"training": [{"image": "missing.nii.gz"}]}', "missing.nii.gz listed"),
        ('{"training": [{"image": "a.nii.gz"}, {"image": "a.nii.gz"}]}', 'two cases named a.*its own "case"'),
        ('{"training": [{"image": "a.nii.gz",}]}', "line 1"),
        (
            '{"channel_names": {"0": "t1"}, "training": [{"image": ["a.nii.gz", "b.nii.gz"]}]}',
            "entry 0: found 2 images",
        ),
    ],
)
def test_a_bad_datalist_says_what_is_wrong(tmp_path, content, message):
    touch(tmp_path, "a.nii.gz")
    (tmp_path / "datalist.json").write_text(content)
    with pytest.raises(DataError, match=message):
        find_cases(tmp_path)


def test_images_and_labels_match_by_name_and_take_patients_from_json(tmp_path, caplog):
    touch(tmp_path, *[f"images/{p}_{n}.png" for p in "ab" for n in range(3)], "labels/a_1.tif", "images/.hidden.png")
    with caplog.at_level(logging.WARNING):
        cases = find_cases(tmp_path)
    assert len(cases) == 6 == len({case.patient for case in cases})
    assert "a_0, a_1 and 1 more share" in caplog.text and "patients.json" in caplog.text
    assert {case.patient for case in find_cases(tmp_path, patient_regex="^(.)_")} == {"a", "b"}
    assert [case.case for case in cases if case.label] == ["a_1"]
    patients = {f"{p}_{n}": p for p in "ab" for n in range(3)}
    (tmp_path / "patients.json").write_text(json.dumps(patients))
    assert {case.patient for case in find_cases(tmp_path)} == {"a", "b"}
    del patients["b_2"]
    (tmp_path / "patients.json").write_text(json.dumps(patients))
    with pytest.raises(DataError, match="no patient for b_2"):
        find_cases(tmp_path)


def test_labels_without_image_and_two_files_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "images/a.png", "labels/a.png", "labels/b.png")
    with pytest.raises(DataError, match=r"b\.png: found 1 label"):
        find_cases(tmp_path)
    touch(tmp_path, "images/a.tif", "images/b.png")
    with pytest.raises(DataError, match="the same name as"):
        find_cases(tmp_path)
    with pytest.raises(ConfigError, match="by number"):
        (tmp_path / "images" / "a.tif").unlink()
        find_cases(tmp_path, sequence="flair")


def test_a_folder_of_no_layout_lists_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match="an empty folder") as error:
        find_cases(tmp_path)
    assert all(name in str(error.value) for name in LAYOUTS)
    with pytest.raises(DataError, match="no such folder"):
        find_cases(tmp_path / "missing")
    with pytest.raises(ConfigError, match="unknown layout 'zip'"):
        find_cases(tmp_path, layout="zip")
    for layout in LAYOUTS:
        with pytest.raises(DataError):
            find_cases(tmp_path, layout=layout, sequence=0)


@pytest.mark.parametrize(
    ("files", "layout", "sequence", "cases"),
    [
        ("sub-1/anat/sub-1_FLAIR.nii.gz derivatives/x/sub-1/anat/sub-1_FLAIR_seg.nii.gz", "bids", None, "sub-1"),
        (
            "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz "
            "sub-01/ses-2/anat/sub-01_ses-2_label-lesion_mask.nii.gz "
            "derivatives/bet/sub-01/ses-2/sub-01_ses-2_desc-brain_mask.nii.gz",
            "bids", "flair", "sub-01_ses-2",
        ),
        (
            "P_1/Timepoint_1/P_1_Timepoint_1_t2f.nii.gz P_1/Timepoint_1/P_1_Timepoint_1_seg.nii.gz "
            "P_2/Timepoint_2/P_2_Timepoint_2_t2f.nii.gz P_2/Timepoint_2/P_2_Timepoint_2_seg.nii.gz",
            "brats", "flair", "P_1_Timepoint_1 P_2_Timepoint_2",
        ),
        ("case_00000/imaging.nii.gz case_00000/segmentation.nii.gz", "case-folders", None, "case_00000"),
        ("batch 1/volume-0.nii batch 1/segmentation-0.nii", "side-by-side", None, "volume-0"),
        ("x/LIDC-IDRI-0001_n0.png x/LIDC-IDRI-0001_n0_mask.png", "side-by-side", None, "LIDC-IDRI-0001_n0"),
    ],
)  # fmt: skip
def test_public_folders_are_read_as_downloaded(tmp_path, files, layout, sequence, cases):
    touch(tmp_path, *files.replace("batch 1", "batch-1").split())
    assert recognise(tmp_path) == layout
    found = find_cases(tmp_path, sequence=sequence)
    assert [case.case for case in found] == cases.split() and all(case.label for case in found)


def test_a_mask_beside_mr_and_ct_is_the_body(tmp_path):
    touch(tmp_path, *[f"1BA00{n}/{kind}.nii.gz" for n in (1, 2) for kind in ("mr", "ct", "mask")])
    cases = find_cases(tmp_path, sequence="mr")
    assert [(case.case, case.label) for case in cases] == [("1BA001", None), ("1BA002", None)]


def test_files_of_one_name_in_a_datalist_are_told_apart_by_their_folders(tmp_path):
    touch(tmp_path, *[f"p{n}/{kind}.nii.gz" for n in (1, 2) for kind in ("mr", "ct")])
    path = write_datalist(tmp_path, {"image": "p1/mr.nii.gz"}, {"image": "p2/mr.nii.gz"})
    assert [case.case for case in find_cases(path)] == ["p1", "p2"]
    path = write_datalist(tmp_path, *[{"image": f"p{n}/{kind}.nii.gz"} for n in (1, 2) for kind in ("mr", "ct")])
    cases = find_cases(path)
    assert [case.case for case in cases] == ["p1_ct", "p1_mr", "p2_ct", "p2_mr"]
    assert [case.patient for case in cases] == ["p1", "p1", "p2", "p2"]


def test_a_folder_of_no_layout_shows_a_datalist_that_works(tmp_path):
    touch(tmp_path, *[f"{kind}/deep/p{n}.png" for n in (1, 2) for kind in ("pictures", "masks")])
    with pytest.raises(DataError, match="nearest is a datalist") as error:
        find_cases(tmp_path)
    (tmp_path / "datalist.json").write_text(str(error.value)[str(error.value).index('{"training"') :])
    cases = find_cases(tmp_path)
    assert [(case.patient, Path(case.label).parts[-3:]) for case in cases] == [
        (f"p{n}", ("masks", "deep", f"p{n}.png")) for n in (1, 2)
    ]
    touch(tmp_path / "up", "data/images/a.png", "data/labels/a.png")
    with pytest.raises(DataError, match=r"Point to .*data, which is in the layout images-labels"):
        find_cases(tmp_path / "up")


def test_listing_cases_needs_no_heavy_library():
    code = "import sys, medaug.data.layouts; sys.exit(bool({'torch', 'monai', 'nibabel'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
