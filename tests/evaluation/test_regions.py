"""Regions that overlap: told by a sigmoid each, brought back to classes, and refused where that cannot be done."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from medaug.config.files import load_config
from medaug.errors import ConfigError
from medaug.evaluation.metrics import score_patient
from medaug.evaluation.networks import SegmentationConfig
from medaug.evaluation.predictions import FrozenSegmenter, predict
from medaug.evaluation.regions import class_of_each
from medaug.evaluation.updates import train_network

NESTED = ((1, 2, 3), (2, 3), (3,))
SMALL = SegmentationConfig(
    sequences=2, classes=3, regions=NESTED, channels=(8, 16, 16), updates=80, batch_size=8, learning_rate=1e-2
)
PARTS = ("data.tumor={edema: 2, core: 1, enhancing: [3, 4]}",)


class Nested:
    """Square in square in square, of class 1, 2 and 3: the outer is bright in one channel, the inner in the other."""

    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        image, label = rng.normal(0, 0.1, (2, 24, 24)).astype(np.float32), np.zeros((24, 24), np.uint8)
        corner = rng.randint(1, 11, 2)
        for number, channel, level in ((1, 0, 0.7), (2, 1, 0.7), (3, 0, -1.2)):
            place = tuple(slice(start + 2 * number - 2, start + 14 - 2 * number) for start in corner)
            image[(channel, *place)] += level
            label[place] = number
        return {"image": image.clip(-1, 1), "label": label[None]}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)


def test_nested_regions_of_two_channels_are_learnt_and_come_back_as_classes():
    network, held_out = train_network(Nested(), SMALL, seed=0), [Nested()[9_000 + i] for i in range(6)]
    found = predict(network, torch.stack([torch.from_numpy(sample["image"]) for sample in held_out]), SMALL)
    assert found.dtype == torch.uint8 and found.shape == (6, 1, 24, 24)
    for region in NESTED:
        pairs = [(np.isin(f[0], region), np.isin(s["label"][0], region)) for f, s in zip(found, held_out, strict=True)]
        assert score_patient(pairs, (1, 1))["dice"] > 0.8
    frozen = FrozenSegmenter(network, SMALL)
    assert frozen(torch.zeros(1, 2, 9, 9)).shape == (1, 3, 9, 9)


def test_the_only_region_of_one_class_is_that_class_to_the_last_bit():
    class OneChannel(Nested):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {"image": sample["image"][:1], "label": sample["label"] > 0}

    one = dataclasses.replace(SMALL, sequences=1, classes=1, regions=(), updates=2)
    first, second = (
        train_network(OneChannel(), dataclasses.replace(one, regions=regions), seed=0).state_dict()
        for regions in ((), ((1,),))
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


class Told(nn.Module):
    """Says of every voxel what the image's channels say."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return 20 * (x - 0.5)


def test_a_smaller_region_counts_beyond_the_larger_as_in_nnu_net():
    """What an inner sigmoid says is written last, whatever the outer ones say there."""
    config = dataclasses.replace(SMALL, sequences=3)
    image = torch.zeros(3, 8, 8)
    image[0, :4], image[1, 2:6], image[2, 5:7] = 1, 1, 1
    found = predict(Told(), image, config)[0]
    assert found[:, 0].tolist() == [1, 1, 2, 2, 2, 3, 3, 0]


@given(st.permutations(range(1, 6)))
def test_nested_regions_in_any_order_of_classes_write_every_class_once(order):
    regions = [order[number:] for number in range(5)]
    assert class_of_each(regions, range(1, 6)) == tuple(order)
    label = np.arange(6)
    written = np.zeros(6, int)
    for region, number in zip(regions, order, strict=True):
        written[np.isin(label, region)] = number
    assert np.array_equal(written, label)


@pytest.mark.parametrize(
    "regions",
    [
        "{enhancing: [enhancing], core: [core, enhancing], whole: [edema, core, enhancing]}",
        "{whole: [edema, core, enhancing]}",
        "{whole: [edema, core, enhancing], core: [core, enhancing]}",
        "{whole: [edema, core], core: [core]}",
        "{whole: [edema, core, enhancing], again: [edema, core, enhancing], enhancing: [enhancing]}",
    ],
    ids=["smallest first", "too few", "two classes in one", "a class in none", "a region that adds nothing"],
)
def test_regions_that_cannot_be_brought_back_to_classes_are_refused_with_the_order_that_works(regions):
    with pytest.raises(ConfigError, match=r"brought back to the 3 classes edema, core, enhancing.*largest first"):
        load_config(None, [*PARTS, f"evaluation.regions={regions}"])


def test_regions_name_classes_of_the_data_and_are_of_a_segmentation():
    whole = "evaluation.regions={whole: [edema, core, enhancing], core: [core, enhancing], enhancing: [enhancing]}"
    config = load_config(None, [*PARTS, whole])
    assert config.scored == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert load_config(None, [*PARTS]).scored == {"edema": (1,), "core": (2,), "enhancing": (3,)}
    assert load_config(None, []).scored == {"tumor": (1,)}
    with pytest.raises(ConfigError, match="regions: found necrosis; expected names of classes: edema, core, enhancing"):
        load_config(None, [*PARTS, "evaluation.regions={whole: [edema, core, necrosis]}"])
    with pytest.raises(ConfigError, match="evaluation.task is classification: leave them out"):
        load_config(None, [*PARTS, whole, "evaluation.task=classification"])
