"""Samples of two domains: pairs lie on each other, the rest is drawn freely, and wrong pairs are refused by name."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from medaug.data.cache import store_array, with_array
from medaug.data.prepared import View, views_of
from medaug.data.records import PreparedCase, frozen
from medaug.errors import DataError
from medaug.training.domains import DomainSamples, Side, registered_pairs
from medaug.volumes import Window

SHAPE = (20, 16, 3)


def side(folder: Path, patients: list[str], *, gain: float, shape=SHAPE, shift_mm: float = 0.0, label=True) -> Side:
    """Volumes whose values tell patient and place; the other domain's are `gain` times these."""
    entries = []
    for patient in patients:
        values = gain * (int(patient[1:]) + np.arange(np.prod(shape)).reshape(shape) / np.prod(shape))
        arrays = {"image": store_array(folder, f"{patient}.image", values[None].astype(np.float32))}
        case = PreparedCase(
            case=patient,
            patient=patient,
            scan=patient,
            image=f"{folder.name}/{patient}.nii.gz",
            label=None,
            channel=None,
            arrays=arrays,
            voxels={},
            shape=shape,
            affine=frozen((np.eye(4) + shift_mm * np.eye(4, k=3)).tolist()),
            spacing_mm=(1.0, 1.0, 1.0),
            source_dtypes=("float32",),
            windows=(Window(0.0, 8 * gain),),
        )
        entries.append(with_array(case, folder, "label", values / gain % 1 > 0.5005) if label else case)
    return Side(views_of(entries, 2), folder)


@pytest.fixture
def a(tmp_path) -> Side:
    return side(tmp_path / "a", ["p1", "p2", "p3"], gain=1.0)


@pytest.fixture
def b(tmp_path) -> Side:
    return side(tmp_path / "b", ["p2", "p3", "p4"], gain=5.0)


def build(a: Side, b: Side, patients=("p2",), **more) -> DomainSamples:
    settings = {"share": 0.5, "crop_size": None, "seed": 0} | more
    return DomainSamples(a, b, registered_pairs(a.views, b.views, patients), **settings)


@pytest.mark.parametrize("crop_size", [None, (8, 12)])
def test_a_pair_is_cut_and_flipped_as_one(a, b, crop_size):
    samples = build(a, b, crop_size=crop_size)
    pairs = [sample for sample in map(samples.__getitem__, range(60)) if sample["paired"]]
    assert 15 < len(pairs) < 45
    for sample in pairs:
        assert sample["a"].shape == (1, *(crop_size or SHAPE[:2]))
        torch.testing.assert_close(sample["a"], sample["b"])
    assert len({round(float(sample["a"].mean()), 4) for sample in pairs}) >= (3 if crop_size is None else 10)


def test_unpaired_samples_come_from_every_patient_of_their_domain(a, b):
    samples = build(a, b, patients=())
    drawn = [samples[i] for i in range(60)]
    assert not any(sample["paired"] for sample in drawn)
    assert {int((sample["a"].mean() + 1) * 4) for sample in drawn} == {1, 2, 3}
    assert {int((sample["b"].mean() + 1) * 4) for sample in drawn} == {2, 3, 4}


def test_pairs_come_from_the_chosen_patients_only(a, b):
    samples = build(a, b, share=1.0)
    drawn = [samples[i] for i in range(20)]
    assert all(sample["paired"] and int((sample["a"].mean() + 1) * 4) == 2 for sample in drawn)


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_are_the_same_for_the_same_number_and_seed_only(a, b, workers):
    samples, other = build(a, b, crop_size=(8, 8)), build(a, b, crop_size=(8, 8), seed=1)
    batch = next(iter(DataLoader(Subset(samples, range(4)), 4, num_workers=workers)))
    for index in range(4):
        assert all(torch.equal(batch[key][index], value) for key, value in samples[index].items())
    assert not torch.equal(batch["a"][0], other[0]["a"])


def test_labels_travel_with_their_image(a, b):
    sample = build(a, b, classes=1, crop_size=(8, 8))[1]
    assert set(sample) == {"a", "b", "paired", "seed", "label_a"}
    assert torch.equal(sample["label_a"], ((sample["a"] + 1) * 4 % 1 > 0.5005).float())
    assert "label_a" not in build(a, b)[1]


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_both_domains_show_tumors_equally_often_however_rare_they_are_in_either(a, b, share):
    shown_a, shown_b = [view.patient == "p1" for view in a.views], [view.patient != "p4" for view in b.views]
    samples = build(a._replace(shows=shown_a), b._replace(shows=shown_b), patients=(), tumor_share=share)
    drawn = [samples[i] for i in range(400)]
    of_a, of_b = ([int((sample[side].mean() + 1) * 4) for sample in drawn] for side in "ab")
    assert np.mean([patient == 1 for patient in of_a]) == pytest.approx(share, abs=0.07)
    assert np.mean([patient != 4 for patient in of_b]) == pytest.approx(share, abs=0.07)
    assert set(of_a) == {1, 2, 3} and set(of_b) == {2, 3, 4}


def test_a_domain_that_shows_nothing_labelled_cannot_be_balanced(a, b):
    with pytest.raises(DataError, match="target: found 0 training images with and 9 without a tumor"):
        build(a._replace(shows=[True, False] * 4 + [True]), b._replace(shows=[False] * 9), tumor_share=0.5)


def test_an_unlabelled_domain_will_do(tmp_path, a):
    unlabelled = side(tmp_path / "b", ["p2"], gain=5.0, label=False)
    assert len(unlabelled.views) == 3 and build(a, unlabelled)[0]["b"].shape == (1, *SHAPE[:2])


def test_pairs_of_unequal_shape_are_refused_naming_both_files(tmp_path, a):
    other = side(tmp_path / "b", ["p2"], gain=5.0, shape=(20, 14, 3))
    with pytest.raises(DataError, match=r"b/p2.nii.gz: found shape \(20, 14, 3\).*\(20, 16, 3\) .*a/p2.nii.gz"):
        registered_pairs(a.views, other.views, ["p2"])


def test_pairs_that_are_not_registered_are_refused_naming_both_files(tmp_path, a):
    other = side(tmp_path / "b", ["p2"], gain=5.0, shift_mm=1.5)
    with pytest.raises(DataError, match="b/p2.nii.gz: found voxels up to 1.5 mm away.*a/p2.nii.gz"):
        registered_pairs(a.views, other.views, ["p2"])


def renamed(view: View, case: str) -> View:
    return dataclasses.replace(view, case=dataclasses.replace(view.case, case=case))


def test_cases_are_matched_by_name_unless_there_is_one_each(a, b):
    other = [renamed(view, "ct-of-p2") for view in b.views if view.patient == "p2"]
    assert len(registered_pairs(a.views, other, ["p2"])) == 3
    more = [*a.views, *(renamed(view, "p2-again") for view in a.views if view.patient == "p2")]
    with pytest.raises(DataError, match="patient p2: found cases p2-again in one domain only"):
        registered_pairs(more, b.views, ["p2"])


def test_whole_views_of_unequal_size_are_refused_and_patches_of_smaller_ones_filled_up(tmp_path, a, caplog):
    small = side(tmp_path / "b", ["p9"], gain=1.0, shape=(12, 12, 3))
    with pytest.raises(DataError, match=r"b/p9.nii.gz: found an image of \(12, 12\).*Set crop.size"):
        build(a, small, patients=())
    assert build(a, small, patients=(), crop_size=(12, 12))[0]["b"].shape == (1, 12, 12)
    assert not caplog.messages
    filled = build(a, small, patients=(), crop_size=(12, 14))[0]["b"]
    assert filled.shape == (1, 12, 14) and (filled[..., 12:] == -1).all()
    assert "smaller than crop.size (12, 14), such as b/p9.nii.gz" in caplog.text
