"""2-D weights on volumes, 3-D weights, and scans of other voxel sizes than the weights'."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from medaug.errors import DataError
from medaug.models.weights import load_weights
from medaug.transforms import InsertTumor, RandInsertTumor, RemoveTumor


def on_grid(array: np.ndarray, spacing_mm: tuple[float, ...]) -> MetaTensor:
    return MetaTensor(torch.from_numpy(array), affine=torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64)))


@pytest.fixture(scope="module")
def volume(head):
    return on_grid(head.image[None], (6.0, 6.0, 10.0))


@pytest.fixture(scope="module")
def volume_weights(volume_run):
    return load_weights(volume_run.weights)


def test_a_slice_translator_inserts_a_stack_of_contiguous_slices(weights, volume, head):
    transform = RandInsertTumor(weights, prob=1.0, size_mm=(28, 32))
    thickest = 0
    for seed in range(8):
        image, label = transform.set_random_state(seed=seed)(volume, head.label[None], head.organ[None])
        changed = (image != volume).as_tensor().numpy()[0]
        new = (label[0] > 0) & (head.label == 0)
        levels = np.flatnonzero(new.any(axis=(0, 1)))
        np.testing.assert_array_equal(levels, np.arange(levels[0], levels[-1] + 1))
        np.testing.assert_array_equal(np.flatnonzero(changed.any(axis=(0, 1))), levels)
        assert not changed[~new].any()
        thickest = max(thickest, len(levels))
    assert 2 <= thickest <= 4, "a tumor of 30 mm in slices of 10 mm"


def test_a_stack_keeps_clear_of_tumors_and_of_the_outside_in_every_slice(weights, volume, head):
    existing, organ = np.zeros_like(head.image), np.zeros_like(head.image)
    organ[8:24, 8:24, 2:6] = 1
    existing[8:24, 8:24, 5] = 1
    transform = RandInsertTumor(weights, prob=1.0, size_mm=(28, 32))
    for seed in range(8):
        image, label = transform.set_random_state(seed=seed)(volume, existing[None], organ[None])
        new = (label[0] > 0) & (existing == 0)
        assert not new[..., 5:].any() and not new[..., :2].any()
        assert (label[0][existing > 0] == 1).all()
        np.testing.assert_array_equal(image[0, ..., 5], volume[0, ..., 5])


def test_a_slice_translator_fills_a_mask_given_in_a_volume(weights, volume, disk):
    mask = np.zeros(volume.shape, np.float32)
    mask[..., 3:6] = disk[..., None]
    image, label = InsertTumor(weights, seed=1)(volume, mask)
    np.testing.assert_array_equal(label, mask)
    changed = (image != volume).as_tensor().numpy()[0]
    np.testing.assert_array_equal(np.flatnonzero(changed.any(axis=(0, 1))), [3, 4, 5])
    assert changed[..., 4][disk[0] > 0].any()


def test_a_slice_translator_removes_slice_by_slice(weights, volume, head):
    image = RemoveTumor(weights)(volume, head.label[None])
    changed = (image != volume).as_tensor().numpy()[0]
    np.testing.assert_array_equal(changed.any(axis=(0, 1)), head.label.any(axis=(0, 1)))


def test_a_volume_translator_edits_volumes_and_refuses_slices(volume_weights, volume, head):
    transform = RandInsertTumor(volume_weights, prob=1.0).set_random_state(seed=0)
    image, label = transform(volume, head.label[None], head.organ[None])
    new = (label[0] > 0) & (head.label == 0)
    assert transform.lesions and new.any()
    changed = (image != volume).as_tensor().numpy()[0]
    assert changed[new].any() and not changed[~new].any()
    removed = RemoveTumor(volume_weights)(image, new[None])
    assert (removed != image).any()
    with pytest.raises(DataError, match="3-D weights"):
        transform(head.slice)


def test_a_volume_translator_fills_a_given_mask_exactly(volume_weights, volume):
    mask = np.zeros(volume.shape, np.uint8)
    mask[0, 13:18, 12:17, 3:5] = 1
    image, label = InsertTumor(volume_weights, seed=1)(volume, mask)
    np.testing.assert_array_equal(label, mask)
    assert (image != volume).as_tensor().numpy()[mask > 0].any()


@pytest.mark.parametrize("factor", [2, 3])
def test_a_finer_scan_gets_tumors_of_the_same_size_in_mm(weights, head, factor):
    fine = ndimage.zoom(head.slice[0], factor, order=1)[None]
    scan = on_grid(fine, (6.0 / factor, 6.0 / factor, 10.0))
    transform = RandInsertTumor(weights, prob=1.0, size_mm=(20, 24))
    diameters = []
    for seed in range(8):
        image, label = transform.set_random_state(seed=seed)(scan, None, np.ones_like(fine))
        mask = label.as_tensor().numpy() > 0
        diameters.append(2 * np.sqrt(mask.sum() * (6.0 / factor) ** 2 / np.pi))
        assert not (image != scan).as_tensor().numpy()[~mask].any()
    assert 19 <= np.mean(diameters) <= 25


def test_a_finer_scan_keeps_its_own_detail_where_nothing_is_edited(weights, head):
    fine = np.repeat(np.repeat(head.slice, 2, axis=1), 2, axis=2)
    fine[:, ::2] += 1.5
    mask = np.zeros_like(fine)
    mask[:, 26:36, 26:36] = 1
    image, label = InsertTumor(weights)(on_grid(fine, (3.0, 3.0, 10.0)), mask)
    np.testing.assert_array_equal(label, mask)
    np.testing.assert_array_equal(image.as_tensor().numpy()[mask == 0], fine[mask == 0])


def test_an_array_without_a_grid_counts_as_on_the_weights_grid(weights, head, disk):
    with_grid = InsertTumor(weights, seed=1)(on_grid(head.slice, (6.0, 6.0, 10.0)), disk)[0]
    np.testing.assert_array_equal(InsertTumor(weights, seed=1)(head.slice, disk)[0], with_grid)
