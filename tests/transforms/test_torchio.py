"""Our dictionary transforms in TorchIO pipelines, on real subjects."""

import numpy as np
import pytest
import torch
import torchio as tio
from monai.data import MetaTensor

from medaug.errors import ConfigError
from medaug.transforms import InsertTumor, InsertTumord, RandInsertTumor, RandInsertTumord, RemoveTumord
from medaug.transforms.torchio import to_torchio


@pytest.fixture
def subject(head):
    return tio.Subject(
        mri=tio.ScalarImage(tensor=torch.from_numpy(head.image[None]), affine=head.affine),
        tumor=tio.LabelMap(tensor=torch.from_numpy(head.label[None]).to(torch.uint8), affine=head.affine),
        age=61,
    )


def rand_insert(weights, seed, **options):
    return RandInsertTumord("mri", weights=weights, prob=1.0, **options).set_random_state(seed=seed)


def test_a_compose_gives_what_the_transform_gives_and_keeps_affine_and_label_type(subject, weights, head):
    pipeline = tio.Compose([to_torchio(rand_insert(weights, 3, label_key="tumor")), tio.RandomFlip(axes=(0,), p=0)])
    edited = pipeline(subject)
    scan = MetaTensor(torch.from_numpy(head.image[None]), affine=torch.from_numpy(head.affine))
    label = torch.from_numpy(head.label[None]).to(torch.uint8)
    expected = rand_insert(weights, 3, label_key="tumor")({"mri": scan, "tumor": label})
    np.testing.assert_array_equal(edited.mri.data, expected["mri"])
    np.testing.assert_array_equal(edited.tumor.data, expected["tumor"])
    assert (edited.mri.data != subject.mri.data).any() and edited.tumor.data.sum() > subject.tumor.data.sum()
    assert isinstance(edited.tumor, tio.LabelMap) and edited.tumor.data.dtype == torch.uint8
    np.testing.assert_array_equal(edited.mri.affine, head.affine)
    assert edited.age == 61


def test_the_subject_that_goes_in_is_not_changed(subject, weights):
    before = subject.mri.data.clone(), subject.tumor.data.clone()
    to_torchio(rand_insert(weights, 1, label_key="tumor"))(subject)
    assert torch.equal(subject.mri.data, before[0]) and torch.equal(subject.tumor.data, before[1])


def test_a_label_that_is_made_is_a_label_map_of_whole_numbers(subject, weights, head):
    subject.remove_image("tumor")
    edited = to_torchio(rand_insert(weights, 2))(subject)
    assert isinstance(edited["label"], tio.LabelMap) and edited["label"].data.dtype == torch.uint8
    assert set(edited["label"].data.unique().tolist()) == {0, 1}
    np.testing.assert_array_equal(edited["label"].affine, head.affine)
    resampled = tio.Resample((12, 12, 10))(edited)  # interpolates a ScalarImage, and never a LabelMap
    assert set(resampled["label"].data.unique().tolist()) <= {0, 1}


def test_insertion_into_a_mask_and_removal_work_too(subject, weights, disk, head):
    where = torch.zeros(subject.shape)
    where[..., head.level] = torch.from_numpy(disk)
    subject.add_image(tio.LabelMap(tensor=where, affine=head.affine), "where")
    edited = to_torchio(InsertTumord("mri", weights=weights, mask_key="where", label_key="tumor", seed=4))(subject)
    image, _ = InsertTumor(weights, seed=4)(torch.from_numpy(head.image[None]), where)
    assert (edited.tumor.data[where > 0] == 1).all() and torch.equal(edited.mri.data, image)
    emptied = to_torchio(RemoveTumord("mri", weights=weights, label_key="tumor"))(subject)
    assert not emptied.tumor.data.any() and (emptied.mri.data != subject.mri.data).any()


def test_workers_draw_different_tumors_and_the_same_with_the_same_seed(subject, weights_folder):
    def images(seed):
        torch.manual_seed(seed)
        transform = to_torchio(rand_insert(weights_folder, 0, label_key="tumor"))
        loader = tio.SubjectsLoader(
            tio.SubjectsDataset([subject] * 4, transform=transform), batch_size=1, num_workers=2
        )
        return [batch["mri"][tio.DATA] for batch in loader]

    first, again = images(5), images(5)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1]), "case 0 and 1 come from different workers"
    assert not torch.equal(first[0], first[2])


def test_an_array_transform_is_refused(weights):
    with pytest.raises(ConfigError, match="expected a dictionary transform"):
        to_torchio(RandInsertTumor(weights))
