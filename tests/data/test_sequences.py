"""Several sequences as channels: in every layout, on one grid, with one that a case lacks, and DICOM by study."""

import json
import re
import shutil

import nibabel
import numpy as np
import pytest

from medaug.config.files import load_config
from medaug.data.cache import open_array
from medaug.data.layouts import find_cases, recognise, sequences_in
from medaug.data.writers import ScanRecord, write_layout
from medaug.errors import ConfigError, DataError
from medaug.examination.examination import examine

from ..stored import prepare_case

AFFINE = np.diag([-1.0, -2.0, 3.0, 1.0])
SHAPE = (8, 6, 4)


def records(sequences, count=2):
    rng = np.random.RandomState(1)
    for number in range(count):
        label = np.zeros(SHAPE, np.uint8)
        label[2:5, 2:4, 1:3] = 1
        label[3, 3, 1:3] = 2
        images = {name: rng.randint(1, 900, size=SHAPE).astype(np.int16) for name in sequences}
        yield ScanRecord(f"P{number}", images, label, AFFINE)


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def channels_of(case, folder):
    entry = prepare_case(case, folder, spatial_dims=2)
    return np.asarray(open_array(folder, entry.arrays["image"]))


def brats_2018(root, written):
    write_layout(written, root, "brats")


def brats_2023(root, written):
    for record in written:
        stem = f"BraTS-GLI-0000{record.patient[1:]}-000"
        for kind, name in (("t2f", "flair"), ("t1c", "t1ce"), ("seg", None)):
            save(root / stem / f"{stem}-{kind}.nii.gz", record.label if name is None else record.images[name])


def brats_radiotherapy(root, written):
    for record in written:
        stem = f"BraTS-MEN-RT-000{record.patient[1:]}-1"
        for kind, name in (("flair", "flair"), ("t1c", "t1ce"), ("gtv", None)):
            save(root / stem / f"{stem}_{kind}.nii.gz", record.label if name is None else record.images[name])


def nnunet(root, written):
    write_layout(written, root, "msd")


def decathlon(root, written):
    entries = []
    for record in written:
        save(root / "imagesTr" / f"{record.patient}.nii.gz", np.stack([*record.images.values()], axis=-1))
        save(root / "labelsTr" / f"{record.patient}.nii.gz", record.label)
        entries.append({kind: f"./{kind}sTr/{record.patient}.nii.gz" for kind in ("image", "label")})
    described = {"modality": {"0": "flair", "1": "t1ce"}, "training": entries}
    (root / "dataset.json").write_text(json.dumps(described))


def datalist(root, written):
    write_layout(written, root, "datalist")


def four_dimensional(root, written):
    write_layout(written, root, "images-labels")


LAYOUTS = [
    (brats_2018, "brats"), (brats_2023, "brats"), (brats_radiotherapy, "brats"), (nnunet, "msd"), (decathlon, "msd"),
    (datalist, "datalist"), (four_dimensional, "images-labels"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "layout"), LAYOUTS, ids=[write.__name__ for write, _ in LAYOUTS])
def test_two_sequences_are_the_channels_of_one_image_in_the_order_asked_for(tmp_path, write, layout):
    written = list(records(("flair", "t1ce")))
    write(tmp_path / "d", written)
    assert recognise(tmp_path / "d") == layout and sequences_in(tmp_path / "d", layout) == ["flair", "t1ce"]
    for order in (("t1ce", "flair"), ("flair", "t1ce")):
        cases = find_cases(tmp_path / "d", sequences=order)
        assert len(cases) == 2 and all(case.label for case in cases)
        for case, record in zip(cases, written, strict=True):
            expected = np.stack([record.images[name] for name in order])
            np.testing.assert_array_equal(channels_of(case, tmp_path / "_".join(order)), expected)


def test_the_channels_of_kaggle_lgg_are_sequences(tmp_path):
    write_layout(records(("pre", "flair", "post")), tmp_path / "d", "kaggle-lgg")
    assert sequences_in(tmp_path / "d", "kaggle-lgg") == ["pre", "flair", "post"]
    case = find_cases(tmp_path / "d", sequences=("post", "flair"))[0]
    both = channels_of(case, tmp_path / "both")
    for channel, name in enumerate(("post", "flair")):
        (alone,) = find_cases(tmp_path / "d", sequence=name)[:1]
        np.testing.assert_array_equal(both[channel], channels_of(alone, tmp_path / name)[0])


def test_channels_that_nobody_names_go_by_number(tmp_path):
    nnunet(tmp_path / "d", records(("flair", "t1ce")))
    (tmp_path / "d" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tumor": 1, "rim": 2}}))
    with pytest.raises(ConfigError, match=r"holds several sequences; choose one .*0 \(0\), 1 \(1\)"):
        find_cases(tmp_path / "d")
    assert len(find_cases(tmp_path / "d", sequences=(0, 1))[0].sequences) == 2


@pytest.mark.parametrize("lacking", [0, 1], ids=["the first", "another"])
@pytest.mark.parametrize("layout", ["brats", "msd", "datalist"])
def test_a_sequence_that_a_case_lacks_is_refused_or_filled_with_zeros(tmp_path, layout, lacking):
    names = ("flair", "t1ce")
    written = list(records(names))
    write_layout(written, tmp_path / "d", layout)
    if layout == "datalist":
        path = tmp_path / "d" / "datalist.json"
        content = json.loads(path.read_text())
        content["training"][1]["image"][lacking] = None
        path.write_text(json.dumps(content))
    else:
        path = f"P1/P1_{names[lacking]}" if layout == "brats" else f"imagesTr/P1_000{lacking}"
        (tmp_path / "d" / f"{path}.nii.gz").unlink()
    with pytest.raises(DataError, match=rf"found only .*expected the sequence {names[lacking]}.*data.missing=zero"):
        find_cases(tmp_path / "d", sequences=names)
    _, case = find_cases(tmp_path / "d", sequences=names, missing="zero")
    assert case.case == "P1" and case.label and not case.sequences[lacking].image
    image = channels_of(case, tmp_path / "p")
    assert (image[lacking] == 0).all()
    np.testing.assert_array_equal(image[1 - lacking], written[1].images[names[1 - lacking]])


def test_a_case_without_any_of_the_sequences_is_refused_also_where_zeros_may_stand_in(tmp_path):
    write_layout(records(("flair", "t1ce", "t2")), tmp_path / "d", "brats")
    for name in ("flair", "t1ce"):
        (tmp_path / "d" / "P1" / f"P1_{name}.nii.gz").unlink()
    with pytest.raises(DataError, match="P1: found only"):
        find_cases(tmp_path / "d", sequences=("flair", "t1ce"), missing="zero")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda array: (array, AFFINE + np.diag([0, 0, 0.3, 0])), r"found voxels up to 0.9 mm away .* to 0.1 mm"),
        (lambda array: (array[:-1], AFFINE), r"found shape \(7, 6, 4\); expected the shape \(8, 6, 4\)"),
    ],
    ids=["affine", "shape"],
)
def test_sequences_of_one_case_on_two_grids_are_refused_and_the_tolerance_is_said(tmp_path, change, words):
    write_layout(records(("flair", "t1ce")), tmp_path / "d", "brats")
    path = tmp_path / "d" / "P1" / "P1_t1ce.nii.gz"
    save(path, *change(np.asarray(nibabel.load(path).dataobj)))
    _, case = find_cases(tmp_path / "d", sequences=("flair", "t1ce"))
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: {words}.*Resample it"):
        prepare_case(case, tmp_path / "p", spatial_dims=2)
    assert not list((tmp_path / "p").glob("*"))


def test_a_shift_within_the_tolerance_is_the_same_grid(tmp_path):
    write_layout(records(("flair", "t1ce")), tmp_path / "d", "brats")
    path = tmp_path / "d" / "P1" / "P1_t1ce.nii.gz"
    shifted = AFFINE.copy()
    shifted[0, 3] = 0.09
    save(path, np.asarray(nibabel.load(path).dataobj), shifted)
    _, case = find_cases(tmp_path / "d", sequences=("flair", "t1ce"))
    assert channels_of(case, tmp_path / "p").shape == (2, *SHAPE)


VALUES = np.random.RandomState(0).randint(0, 900, size=(6, 5, 4))
TO_ORIGIN = np.array([[0, 0, 0, 10.0], [0, 0, 0, 20.0], [0, 0, 0, 30.0], [0, 0, 0, 0]])
"""Where `dicom_series` puts the first voxel, in RAS."""
OF_STUDY = {"CT": "thorax", "PT": "whole body"}


@pytest.fixture
def studies(tmp_path, dicom_series):
    """Two patients with a study each, CT and PET on one grid; of both the CT has a scout, of another description."""
    for number in (1, 2):
        study = {"StudyInstanceUID": f"1.2.{number}"}
        for offset, (modality, description) in enumerate(OF_STUDY.items()):
            folder = tmp_path / "tree" / f"P{number}" / "visit" / modality
            tags = study | {"SeriesDescription": description}
            values = VALUES + number + 100 * offset
            dicom_series(folder, values, modality=modality, patient=f"P{number}", intercept=0, tags=tags)
    return tmp_path / "tree"


@pytest.mark.parametrize("wanted", [("PT", "CT"), ("whole body", "Thorax")])
def test_the_series_of_a_dicom_study_are_sequences_by_modality_or_description(studies, tmp_path, wanted):
    assert sequences_in(studies, "dicom") == ["CT", "PT"]
    cases = find_cases(studies, sequences=wanted)
    assert [(case.case, case.patient) for case in cases] == [("P1_visit", "P1"), ("P2_visit", "P2")]
    for number, case in enumerate(cases, start=1):
        expected = np.stack([VALUES + number + 100, VALUES + number])
        np.testing.assert_array_equal(channels_of(case, tmp_path / "p"), expected)


def test_doctor_takes_the_sequences_of_labelled_studies(studies):
    for name in ("P1_visit", "P2_visit"):
        label = np.zeros(VALUES.shape, np.uint8)
        label[1:5, 1:4] = 1
        save(studies / "labels" / f"{name}.nii.gz", label, np.diag([-1.0, -1.0, 2.0, 1.0]) + TO_ORIGIN)
    found = examine(studies)
    assert [(one.name, one.modality) for one in found.data.sequences] == [("CT", "CT"), ("PT", "PET")]
    assert not found.refusals and "sequences: [CT, PT]" in found.suggestion


def test_a_study_without_a_sequence_or_with_two_that_could_be_meant_is_refused(studies, dicom_series):
    (studies / "labels").mkdir()
    save(studies / "labels" / "P1_visit.nii.gz", (VALUES > 100).astype(np.uint8))
    first, second = find_cases(studies, sequences=("CT", "PT"))
    assert first.label.endswith("P1_visit.nii.gz") and second.label is None
    scout = {"StudyInstanceUID": "1.2.2", "SeriesDescription": "scout"}
    dicom_series(studies / "P2" / "visit" / "scout", VALUES, patient="P2", tags=scout)
    with pytest.raises(DataError, match="P2/visit: found 2 series that go by 'CT'.*SeriesDescription"):
        find_cases(studies, sequences=("CT", "PT"))
    assert sequences_in(studies, "dicom") == ["thorax", "whole body"]
    assert len(find_cases(studies, sequences=("thorax", "PT"))) == 2
    shutil.rmtree(studies / "P2" / "visit" / "PT")
    with pytest.raises(DataError, match="P2/visit: found only thorax, scout; expected the sequence PT"):
        find_cases(studies, sequences=("thorax", "PT"))
    assert not find_cases(studies, sequences=("thorax", "PT"), missing="zero")[1].others[0].image


@pytest.mark.parametrize("key", ["window={pet: [0, 20]}", "modality={pet: PET}"])
def test_a_window_and_a_modality_are_of_a_sequence_that_there_is(key):
    assert load_config(None, ["data.sequences=[ct,pet]", f"data.{key}"]).data.modalities == ("CT", "PET")
    with pytest.raises(ConfigError, match=r"found pet; expected names of sequences: ct, t1"):
        load_config(None, ["data.sequences=[ct,t1]", f"data.{key}"])
