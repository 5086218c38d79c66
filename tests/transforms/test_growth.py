"""Growth series as MONAI transforms: growing labels, untouched surroundings, workers, types."""

import copy

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, RandFlipd, SplitDimd
from scipy import ndimage

from medaug.errors import DataError
from medaug.models.weights import load_weights
from medaug.transforms import GrowTumor, GrowTumorD, GrowTumord, GrowTumorDict

PLAN = {"steps": 3, "start_mm": 14.0, "doubling_days": 30.0}
KINDS = ("array", "tensor", "metatensor")


@pytest.fixture(scope="module")
def grow(weights):
    return GrowTumor(weights, **PLAN)


@pytest.fixture(scope="module")
def pushing(weights):
    return GrowTumor(weights, **PLAN, mass_effect=1.0, reach_mm=30.0)


@pytest.fixture(scope="module")
def volume(head):
    return MetaTensor(torch.from_numpy(head.image[None]), affine=torch.from_numpy(head.affine))


def edited_voxels(mask: np.ndarray) -> np.ndarray:
    """A mask grown by one voxel and softened over another."""
    return ndimage.binary_dilation(mask, np.ones((3,) * mask.ndim), iterations=2)


def test_labels_grow_strictly_and_nothing_else_changes(grow, head):
    images, labels = grow.set_random_state(seed=1)(head.slice, head.slice_label, head.slice_organ)
    assert images.shape == labels.shape == (3, 32, 32)
    new = (labels > 0) & (head.slice_label == 0)
    for k in range(3):
        assert (images[k] != head.slice[0])[new[k]].any()
        np.testing.assert_array_equal(images[k][~edited_voxels(new[k])], head.slice[0][~edited_voxels(new[k])])
        assert (labels[k][head.slice_label[0] > 0] == 1).all()
        assert new[k].sum() * 36 == pytest.approx(np.pi / 4 * 14**2 * 2 ** (2 / 3 * k), abs=18.1)
        assert grow.series[k]["area_mm2"] == new[k].sum() * 36 and grow.series[k]["days"] == 30 * k
    assert not (new[0] & ~new[1]).any() and not (new[1] & ~new[2]).any()
    assert new[2].sum() > new[1].sum() > new[0].sum()
    assert grow.lesion["patient"]


def test_mass_effect_stays_within_its_reach_and_in_the_organ(pushing, head):
    images, labels = pushing.set_random_state(seed=1)(head.slice, None, head.slice_organ)
    moved = images != head.slice
    for k in range(3):
        away = ndimage.distance_transform_edt(labels[k] == 0, sampling=6.0)
        edited = edited_voxels(labels[k] > 0)
        assert not moved[k][(away > 36) & ~edited].any()
        assert not moved[k][(head.slice_organ[0] == 0) & ~edited].any()
    assert moved[2][~edited_voxels(labels[2] > 0)].any()


def test_existing_tumors_are_carried_along(weights, head):
    existing = head.slice_label * 3
    grow = GrowTumor(weights, **PLAN, tumor_labels=[1, 3])
    pushing = GrowTumor(weights, **PLAN, mass_effect=1.0, reach_mm=30.0, tumor_labels=[1, 3])
    _, still = grow.set_random_state(seed=4)(head.slice, existing, head.slice_organ)
    _, moved = pushing.set_random_state(seed=4)(head.slice, existing, head.slice_organ)
    assert set(np.unique(moved)) == {0, 1, 3}
    np.testing.assert_array_equal(moved == 1, still == 1)
    assert (moved[2] == 3).sum() == pytest.approx((existing == 3).sum(), rel=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_types_grids_and_inputs_are_kept(pushing, head, as_kind, kind):
    image, label = as_kind(head.slice, kind), as_kind(head.slice_label.astype(np.uint8), kind)
    before = copy.deepcopy((image, label))
    images, labels = pushing.set_random_state(seed=2)(image, label, head.slice_organ)
    assert isinstance(images, type(image)) and images.dtype == image.dtype and labels.dtype == label.dtype
    for after, was in zip((image, label), before, strict=True):
        np.testing.assert_array_equal(after, was)
    if kind == "metatensor":
        np.testing.assert_array_equal(images.affine, image.affine)
        assert images.meta["filename_or_obj"] == "head.nii.gz"


def test_a_slice_translator_grows_a_stack_in_a_volume(weights, volume, head):
    grow = GrowTumor(weights, steps=3, start_mm=20.0, doubling_days=30.0).set_random_state(seed=0)
    images, labels = grow(volume, None, head.organ[None])
    assert images.shape == (3, *volume.shape[1:])
    masks = labels.as_tensor().numpy() > 0
    voxel_ml = 0.36
    for k, mask in enumerate(masks):
        assert mask.sum() * voxel_ml == pytest.approx(np.pi / 6 * 8 * 2**k, abs=voxel_ml)
        assert grow.series[k]["volume_ml"] == pytest.approx(mask.sum() * voxel_ml)
        reach = np.stack([edited_voxels(mask[..., z]) for z in range(mask.shape[-1])], axis=-1)
        changed = (images[k] != volume[0]).as_tensor().numpy()
        assert changed[mask].any() and not changed[~reach].any()
    assert not (masks[0] & ~masks[1]).any() and not (masks[1] & ~masks[2]).any()
    assert masks[2].any(axis=(0, 1)).sum() > 1


def test_a_volume_translator_grows_in_volumes(volume_run, volume, head):
    grow = GrowTumor(load_weights(volume_run.weights), steps=2, start_mm=20.0, doubling_days=30.0)
    images, labels = grow.set_random_state(seed=0)(volume, None, head.organ[None])
    counts = labels.as_tensor().numpy().sum(axis=(1, 2, 3))
    assert counts[1] == pytest.approx(2 * counts[0], abs=1)
    assert (images[0] != volume[0]).any()
    with pytest.raises(DataError, match="3-D weights"):
        grow(head.slice)


def cases(head):
    return [{"image": head.slice, "label": head.slice_label, "organ": head.slice_organ} for _ in range(4)]


def test_the_loader_gives_the_same_series_with_two_workers_as_with_none(weights, head):
    def batches(workers):
        transform = GrowTumord("image", weights, organ_key="organ", **PLAN)
        flipped = Compose([transform, RandFlipd(["image", "label"], prob=0.5)])
        dataset = Seeded(cases(head), flipped)
        return list(DataLoader(dataset, batch_size=2, num_workers=workers))

    alone, together = batches(0), batches(2)
    assert alone[0]["image"].shape == (2, 3, 32, 32) and alone[0]["growth_area_mm2"].shape == (2, 3)
    assert (alone[0]["growth_area_mm2"].diff(dim=1) > 0).all()
    assert len({image.numpy().tobytes() for batch in alone for image in batch["image"]}) == 4
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(torch.as_tensor(one["image"]), torch.as_tensor(other["image"]))
        assert torch.equal(torch.as_tensor(one["label"]), torch.as_tensor(other["label"]))


class Seeded(Dataset):
    """Each case has a seed of its own, whichever worker draws it."""

    def _transform(self, index):
        self.transform.set_random_state(seed=index)
        return super()._transform(index)


def test_split_dim_makes_one_key_of_each_step(weights, head):
    case = Compose([GrowTumord("image", weights, organ_key="organ", **PLAN), SplitDimd(["image", "label"])])
    split = case.set_random_state(seed=0)(cases(head)[0])
    assert split["image_0"].shape == split["label_2"].shape == (1, 32, 32)
    assert split["label_2"].sum() > split["label_0"].sum()


def test_dictionary_twin_gives_what_the_array_transform_gives(weights, grow, head):
    twin = GrowTumord("image", weights, organ_key="organ", **PLAN).set_random_state(seed=9)
    case = cases(head)[0]
    out = twin(case)
    images, labels = grow.set_random_state(seed=9)(head.slice, head.slice_label, head.slice_organ)
    np.testing.assert_array_equal(out["image"], images)
    np.testing.assert_array_equal(out["label"], labels)
    assert case["image"].shape == (1, 32, 32) and "growth_days" not in case
    assert out["growth_days"].tolist() == [0.0, 30.0, 60.0]
    assert GrowTumorD is GrowTumord is GrowTumorDict


def test_a_series_that_cannot_fit_names_the_largest_size(weights, head):
    with pytest.raises(DataError, match=r"ends at 4\d\d.* mm; expected at most \d+\.\d mm"):
        GrowTumor(weights, steps=5, start_mm=160.0, doubling_days=30.0)(head.slice, None, head.slice_organ)
    with pytest.raises(DataError, match="no room"):
        GrowTumor(weights, **PLAN)(head.slice, None, np.zeros_like(head.slice))
