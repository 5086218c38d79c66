"""Random insertion: seeds, workers, epochs, and what the drawn tumors respect."""

import pickle

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose
from monai.utils import set_determinism

from medaug.transforms import RandInsertTumor, RandInsertTumord, RandRemoveTumord


@pytest.fixture(scope="module")
def transform(weights):
    return RandInsertTumor(weights, prob=1.0)


@pytest.fixture
def deterministic():
    """Gives `set_determinism`, and takes it back."""
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    yield set_determinism
    set_determinism(None)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags


def cases(head, count=4):
    return [{"image": head.slice, "label": head.slice_label, "organ": head.slice_organ, "i": i} for i in range(count)]


def stack(batches) -> torch.Tensor:
    return torch.cat([torch.as_tensor(batch["image"]) for batch in batches])


def test_same_seed_same_draws_and_another_seed_others(transform, head):
    def drawn(seed):
        transform.set_random_state(seed=seed)
        return [transform(head.slice)[0] for _ in range(3)]

    first, again, other = drawn(1), drawn(1), drawn(2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all((a != b).any() for a, b in zip(first, other, strict=True))
    assert (first[0] != first[1]).any() and (first[1] != first[2]).any()


def test_probability_zero_changes_nothing_and_one_always_inserts(weights, head):
    never, always = RandInsertTumor(weights, prob=0.0), RandInsertTumor(weights, prob=1.0)
    for seed in range(5):
        image, label = never.set_random_state(seed=seed)(head.slice, head.slice_label)
        np.testing.assert_array_equal(image, head.slice)
        np.testing.assert_array_equal(label, head.slice_label)
        image, label = always.set_random_state(seed=seed)(head.slice, head.slice_label, head.slice_organ)
        assert always.lesions and label.sum() > head.slice_label.sum()


def test_probability_is_about_the_fraction_of_calls(weights, head):
    transform = RandInsertTumor(weights, prob=0.5).set_random_state(seed=0)
    count = sum(bool((transform(head.slice)[0] != head.slice).any()) for _ in range(40))
    assert 10 <= count <= 30


@pytest.mark.parametrize("shape", ["bank", "blob", "mixed"])
def test_tumors_lie_in_the_organ_and_keep_clear_of_existing_ones(weights, head, shape):
    transform, inserted = RandInsertTumor(weights, prob=1.0, shape=shape), 0
    for seed in range(12):
        image, label = transform.set_random_state(seed=seed)(head.slice, head.slice_label, head.slice_organ)
        new = (label > 0) & (head.slice_label == 0)
        assert (label[head.slice_label > 0] == 1).all()
        near = np.zeros_like(new)
        near[:, 1:-1, 1:-1] = np.lib.stride_tricks.sliding_window_view(new[0], (3, 3)).any(axis=(2, 3))
        assert not (near & (head.slice_label > 0)).any(), "touches an existing tumor"
        assert (head.slice_organ[new] > 0).all()
        inserted += bool(new.any())
    assert inserted >= 10


def test_count_is_respected_and_the_lesions_are_told(weights, head):
    transform = RandInsertTumor(weights, prob=1.0, count=[2, 2], size_mm=[14, 18])
    _, label = transform.set_random_state(seed=2)(head.slice, None, np.ones_like(head.slice))
    assert len(transform.lesions) == 2
    assert {"patient", "reference", "diameter_mm"} <= set(transform.lesions[0])
    assert label.sum() * 36 == pytest.approx(
        sum(np.pi / 4 * x["diameter_mm"] ** 2 for x in transform.lesions), rel=0.01
    )


@pytest.mark.parametrize("size_mm", [(15.0, 18.0), (30.0, 36.0)])
@pytest.mark.parametrize("shape", ["bank", "blob"])
def test_diameter_is_the_one_asked_for(weights, head, size_mm, shape):
    transform, organ = RandInsertTumor(weights, prob=1.0, size_mm=size_mm, shape=shape), np.ones_like(head.slice)
    diameters = []
    for seed in range(12):
        _, label = transform.set_random_state(seed=seed)(head.slice, None, organ)
        diameters.append(2 * np.sqrt(label.sum() * 36 / np.pi))
    low, high = size_mm
    assert low <= np.mean(diameters) <= high
    assert min(diameters) > 0.75 * low and max(diameters) < 1.25 * high


def test_no_room_is_no_error_and_leaves_the_image(transform, head):
    image, label = transform(head.slice, None, np.zeros_like(head.slice))
    assert transform.lesions == []
    np.testing.assert_array_equal(image, head.slice)
    assert not label.any()


def test_set_determinism_repeats_a_pipeline(weights, head, deterministic):
    def run():
        deterministic(seed=11)
        pipeline = Compose(
            [RandInsertTumord("image", weights, prob=0.7, organ_key="organ"), RandRemoveTumord("image", weights)]
        )
        return [pipeline(case)["image"] for case in cases(head)]

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_cached_cases_get_a_new_tumor_every_time(weights, head):
    pipeline = Compose([RandInsertTumord("image", weights, prob=1.0, organ_key="organ")])
    dataset = CacheDataset(cases(head, 1), pipeline.set_random_state(seed=0), progress=False, num_workers=1)
    first, second = dataset[0]["image"], dataset[0]["image"]
    assert (first != second).any()
    np.testing.assert_array_equal(cases(head)[0]["image"], head.slice)


def test_workers_and_epochs_draw_differently_and_a_seed_repeats_them(weights, head, deterministic):
    def epochs():
        deterministic(seed=5)
        pipeline = Compose([RandInsertTumord("image", weights, prob=1.0, organ_key="organ")])
        loader = DataLoader(Dataset(cases(head), pipeline), batch_size=1, num_workers=2)
        return [stack(loader) for _ in range(2)]

    first, second = epochs()
    again = epochs()
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
    everything = torch.cat([first, second])
    assert len({image.numpy().tobytes() for image in everything}) == len(everything)


def test_transforms_can_be_pickled_for_spawned_workers(weights, head):
    transform = RandInsertTumord("image", weights, prob=1.0).set_random_state(seed=3)
    twin = pickle.loads(pickle.dumps(transform))
    twin.set_random_state(seed=3)
    np.testing.assert_array_equal(twin(cases(head)[0])["image"], transform(cases(head)[0])["image"])
