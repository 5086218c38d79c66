"""Several classes: a softmax network, its labels on other grids, and the frozen network a translator looks through."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medaug.evaluation.metrics import score_patient
from medaug.evaluation.networks import SegmentationConfig
from medaug.evaluation.predictions import FrozenSegmenter, logits, predict
from medaug.evaluation.updates import train_network
from medaug.resampling import resample_classes, resample_mask

SMALL = SegmentationConfig(classes=2, channels=(8, 16, 16), updates=40, batch_size=8, learning_rate=1e-2)
CLASSES = arrays.arrays(np.uint8, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.integers(0, 3))


class TwoKinds:
    """A bright and a dark rectangle on grey noise, of class 1 and 2."""

    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        image, label = rng.normal(0, 0.1, (24, 24)).astype(np.float32), np.zeros((24, 24), np.uint8)
        for number, level, first in ((1, 0.8, 1), (2, -0.8, 13)):
            place = (slice(first, first + 8), slice(start := rng.randint(14), start + 8))
            image[place] += level
            label[place] = number
        return {"image": image.clip(-1, 1)[None], "label": label[None]}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def network():
    return train_network(TwoKinds(), SMALL, seed=0)


def test_two_classes_are_learnt_and_told_apart(network):
    held_out = [TwoKinds()[9_000 + i] for i in range(6)]
    stack = torch.stack([torch.from_numpy(sample["image"]) for sample in held_out])
    found = predict(network, stack, SMALL)
    assert found.dtype == torch.uint8 and found.shape == stack.shape
    for number in (1, 2):
        pairs = [(f[0].numpy() == number, s["label"][0] == number) for f, s in zip(found, held_out, strict=True)]
        assert score_patient(pairs, (1, 1))["dice"] > 0.9
    assert torch.equal(predict(network, stack[0], SMALL), found[0])  # one slice alone


def test_one_class_has_one_output_and_several_have_one_more():
    assert [dataclasses.replace(SMALL, classes=classes).outputs for classes in (1, 2, 5)] == [1, 3, 6]
    one = dataclasses.replace(SMALL, classes=1)
    image = torch.from_numpy(TwoKinds()[0]["image"])
    found = predict(one.build(0), image, one)
    assert found.dtype == torch.bool


def test_one_class_trains_to_the_same_bits_whether_its_label_is_a_mask_or_a_number():
    class AsMask(TwoKinds):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample | {"label": sample["label"] == 1}

    class AsNumber(AsMask):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample | {"label": sample["label"].astype(np.uint8)}

    one = dataclasses.replace(SMALL, classes=1, updates=2)
    first, second = (train_network(samples, one, seed=0).state_dict() for samples in (AsMask(), AsNumber()))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_sigmoid_of_the_frozen_network_is_the_softmax_probability_of_each_class(network):
    frozen, image = FrozenSegmenter(network, SMALL), torch.from_numpy(TwoKinds()[9_100]["image"])[None]
    expected = torch.softmax(logits(network, image, SMALL), dim=1)[:, 1:]
    torch.testing.assert_close(torch.sigmoid(frozen(image)), expected, rtol=1e-4, atol=1e-6)
    stack = torch.cat([torch.zeros_like(image), image, torch.ones_like(image)], dim=1)
    assert torch.equal(frozen(stack), frozen(image))  # of neighbouring slices the middle one
    image.requires_grad_()
    frozen(image).sum().backward()
    assert image.grad.abs().sum() > 0 and not any(p.requires_grad for p in frozen.parameters())


@settings(deadline=None)
@given(classes=CLASSES, times=st.integers(1, 3))
def test_finer_grids_repeat_every_class(classes, times):
    finer = resample_classes(classes, tuple(times * n for n in classes.shape))
    np.testing.assert_array_equal(finer, classes.repeat(times, 0).repeat(times, 1))


@settings(deadline=None)
@given(classes=CLASSES, size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_a_new_voxel_is_of_a_class_that_covers_half_of_it(classes, size):
    found = resample_classes(classes, size)
    covering = {number: resample_mask(classes == number, size) for number in (1, 2, 3)}
    for number, mask in covering.items():
        assert mask[found == number].all()
    np.testing.assert_array_equal(found > 0, np.any(list(covering.values()), axis=0))


@settings(deadline=None)
@given(classes=CLASSES, size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_one_class_is_resampled_as_the_mask_that_it_is(classes, size):
    np.testing.assert_array_equal(
        resample_classes((classes > 0).astype(np.uint8), size) > 0, resample_mask(classes > 0, size)
    )
