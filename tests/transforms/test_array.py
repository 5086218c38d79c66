"""What every insertion and removal promises: the same result again, untouched inputs, untouched surroundings."""

import copy

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from medaug.errors import ConfigError, DataError, WeightsError
from medaug.transforms import InsertTumor, RandInsertTumor, RandRemoveTumor, RemoveTumor

KINDS = ("array", "tensor", "metatensor")
REACH_VOXELS = 2
"""Of a removal, beyond its mask."""


def plain(x) -> np.ndarray:
    return np.asarray(x.as_tensor() if isinstance(x, MetaTensor) else x)


def reach(mask: np.ndarray) -> np.ndarray:
    """Every voxel that a removal of this mask (1, X, Y) may change."""
    return ndimage.binary_dilation(mask[0] > 0, np.ones((3, 3)), iterations=REACH_VOXELS)[None]


@pytest.fixture(scope="module")
def insert(weights):
    return InsertTumor(weights, seed=3)


@pytest.fixture(scope="module")
def remove(weights):
    return RemoveTumor(weights)


@pytest.fixture(scope="module")
def edits(insert, remove, weights, head, disk):
    """By name: a call that takes (image, label) of the head's slice and returns (image, label)."""
    rand_insert, rand_remove = RandInsertTumor(weights, prob=1.0), RandRemoveTumor(weights, prob=1.0)
    return {
        "insert": lambda img, label: insert(img, disk.copy(), label),
        "rand_insert": lambda img, label: rand_insert.set_random_state(seed=5)(img, label, head.slice_organ),
        "remove": lambda img, label: (remove(img, label), label),
        "rand_remove": lambda img, label: rand_remove.set_random_state(seed=5)(img, label),
    }


EDITS = ("insert", "rand_insert", "remove", "rand_remove")


@pytest.mark.parametrize("name", EDITS)
def test_same_input_and_seed_give_the_same_result_in_every_type(edits, head, as_kind, name):
    results = [
        edits[name](as_kind(head.slice, kind), as_kind(head.slice_label, kind)) for kind in (*KINDS, "array")
    ]  # fmt: skip
    for image, label in results[1:]:
        np.testing.assert_array_equal(plain(image), plain(results[0][0]))
        np.testing.assert_array_equal(plain(label), plain(results[0][1]))
    assert (plain(results[0][0]) != head.slice).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EDITS)
def test_inputs_are_never_changed(edits, head, as_kind, name, kind):
    image, label = as_kind(head.slice, kind), as_kind(head.slice_label, kind)
    before = copy.deepcopy((image, label))
    edited, truth = edits[name](image, label)
    if isinstance(edited, torch.Tensor):
        edited += 1
    np.testing.assert_array_equal(plain(image), plain(before[0]))
    np.testing.assert_array_equal(plain(label), plain(before[1]))
    assert name == "remove" or truth is not label


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_type_and_dtype_are_kept(edits, head, as_kind, kind, dtype):
    image, label = as_kind(head.slice.astype(dtype), kind), as_kind(head.slice_label.astype("uint8"), kind)
    for name in EDITS:
        edited, truth = edits[name](image, label)
        assert isinstance(edited, type(image)) and isinstance(truth, type(label)), name
        assert edited.dtype == image.dtype and truth.dtype == label.dtype, name
        assert edited.shape == image.shape and truth.shape == label.shape, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int32])
def test_dtypes_that_numpy_does_not_have_pass_too(insert, head, disk, dtype):
    image = torch.from_numpy(head.slice).to(dtype)
    edited, _ = insert(image, torch.from_numpy(disk).bool())
    assert edited.dtype == dtype
    outside = torch.from_numpy(disk == 0)
    assert torch.equal(edited[outside], image[outside])


@pytest.mark.parametrize("name", EDITS)
def test_affine_and_meta_are_kept_and_not_shared(edits, head, as_kind, name):
    image = as_kind(head.slice, "metatensor")
    edited, _ = edits[name](image, as_kind(head.slice_label, "metatensor"))
    np.testing.assert_array_equal(edited.affine, head.affine)
    assert edited.meta["filename_or_obj"] == "head.nii.gz"
    edited.meta["note"] = "mine"
    assert "note" not in image.meta


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_insertion_leaves_voxels_outside_the_mask_unchanged(insert, head, disk, dtype):
    image = head.slice.astype(dtype)
    if dtype == "float64":
        image += 1e-9 * np.arange(image.size).reshape(image.shape)  # what a float32 copy would round away
    edited, _ = insert(image, disk)
    np.testing.assert_array_equal(edited[disk == 0], image[disk == 0])
    assert (edited != image)[disk > 0].any()


def test_removal_leaves_voxels_outside_the_grown_mask_unchanged(remove, head):
    image, label = head.slice.astype(np.float64) + 1e-9, head.slice_label
    edited = remove(image, label)
    np.testing.assert_array_equal(edited[~reach(label)], image[~reach(label)])
    assert (edited != image)[label > 0].any()


def test_label_is_one_exactly_where_the_mask_is(insert, head, disk):
    _, label = insert(head.slice, disk)
    np.testing.assert_array_equal(label, disk)


def test_values_of_an_existing_label_stay(weights, head, disk):
    label = np.zeros_like(disk, dtype=np.uint8)
    label[0, :3, :3] = 4
    label[0, :3, 3:5] = 2
    _, truth = InsertTumor(weights, seed=7, tumor_labels=1)(head.slice, disk * 255, label)
    np.testing.assert_array_equal(truth, np.where(disk > 0, 1, label))
    _, truth = RandInsertTumor(weights, prob=1.0, tumor_labels=1).set_random_state(seed=1)(head.slice, label)
    assert set(np.unique(truth)) == {0, 1, 2, 4}
    _, truth = RandInsertTumor(weights, prob=0.0)(head.slice, label)
    np.testing.assert_array_equal(truth, label)


def test_whole_numbers_are_rounded_and_do_not_wrap_around(weights, head, disk):
    bright = np.clip(head.slice + 100, 0, 255).astype(np.uint8)
    bright[disk > 0] = 250
    edited, _ = InsertTumor(weights, seed=3, window=(0, 400))(bright, disk)
    exact, _ = InsertTumor(weights, seed=3, window=(0, 400))(bright.astype(np.float32), disk)
    assert exact.max() > 256
    np.testing.assert_array_equal(edited, np.rint(exact).clip(0, 255).astype(np.uint8))


def test_removal_of_nothing_is_the_input(remove, head):
    np.testing.assert_array_equal(remove(head.slice, np.zeros_like(head.slice)), head.slice)


def test_random_removal_empties_the_label_and_keeps_its_type(weights, head):
    label = (head.slice_label * 3).astype(np.int16)
    image, emptied = RandRemoveTumor(weights, prob=1.0)(head.slice, label)
    assert not emptied.any() and emptied.dtype == np.int16 and label.any()
    image, kept = RandRemoveTumor(weights, prob=0.0)(head.slice, label)
    np.testing.assert_array_equal(image, head.slice)
    np.testing.assert_array_equal(kept, label)


def test_seed_and_reference_choose_the_lesion(weights, head, disk):
    def edited(**choice):
        return InsertTumor(weights, **choice)(head.slice, disk)[0]

    first, second = edited(reference=0), edited(reference=1)
    assert (first != second).any()
    assert (edited(seed=1, reference=0) != first).any()
    np.testing.assert_array_equal(edited(reference=0), first)


def test_a_result_does_not_depend_on_what_was_edited_before(weights, head, disk):
    transform, other = RandInsertTumor(weights, prob=1.0), np.roll(head.slice, 3, axis=1)
    alone = transform.set_random_state(seed=4)(head.slice)[0]
    transform.set_random_state(seed=9)(other)
    InsertTumor(weights)(other, disk)
    np.testing.assert_array_equal(transform.set_random_state(seed=4)(head.slice)[0], alone)


def test_the_number_of_threads_changes_no_more_of_a_result_than_its_rounding(insert, remove, head, disk):
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append((insert(head.slice, disk)[0], remove(head.slice, head.slice_label)))
    finally:
        torch.set_num_threads(threads)
    for first, second in zip(*results, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-4)


def test_global_generators_are_left_alone(edits, head):
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    for edit in edits.values():
        edit(head.slice, head.slice_label)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def with_nan(image):
    image = image.copy()
    image[0, 0, 0] = np.nan
    return image


@pytest.mark.parametrize(
    ("image_of", "mask_of", "words"),
    [
        (lambda i: np.repeat(i, 2, axis=0), lambda m: m, r"\(2, 32, 32\).*one sequence"),
        (lambda i: i[0], lambda m: m, r"\(32, 32\).*EnsureChannelFirstd"),
        (with_nan, lambda m: m, "1 voxels that are NaN or infinite"),
        (lambda i: i, lambda m: m[:, :16], r"mask of shape \(1, 16, 32\).*\(1, 32, 32\)"),
        (lambda i: i, lambda m: m * 0, "mask is empty"),
        (lambda i: i * 0 + 7, lambda m: m, "almost constant"),
    ],
    ids=["two channels", "no channel", "NaN", "mask of another shape", "empty mask", "constant image"],
)
def test_unusable_input_is_refused_with_the_reason(insert, head, disk, image_of, mask_of, words):
    with pytest.raises(DataError, match=words):
        insert(image_of(head.slice), mask_of(disk))


def test_label_and_organ_must_lie_on_the_image(weights, insert, head, disk):
    transform = RandInsertTumor(weights, prob=1.0)
    with pytest.raises(DataError, match="label of shape"):
        transform(head.slice, head.slice_label[:, :16])
    with pytest.raises(DataError, match="organ mask of shape"):
        transform(head.slice, None, head.slice_organ[:, :16])
    with pytest.raises(DataError, match="label of shape"):
        insert(head.slice, disk, head.slice_label[:, :16])


@pytest.mark.parametrize("settings", [{"size_mm": (20, 10)}, {"size_mm": (0, 10)}, {"count": (3, 1)}, {"size_mm": [5]}])
def test_ranges_that_are_none_are_refused(weights, settings):
    with pytest.raises(ConfigError, match=f"{next(iter(settings))}: found"):
        RandInsertTumor(weights, **settings)


def test_missing_weights_are_refused_at_once(tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        RandInsertTumor(tmp_path / "none")
