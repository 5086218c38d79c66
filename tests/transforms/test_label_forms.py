"""Labels with a channel a class, part or region are read, and written back as they came."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.transforms import AsDiscrete, ConvertToMultiChannelBasedOnBratsClasses

from medaug.errors import ConfigError, DataError
from medaug.transforms import (
    GrowTumor,
    InsertTumor,
    RandInsertTumor,
    RandInsertTumord,
    RandRemoveTumor,
    RandReplaceTumor,
    RemoveTumor,
)

BRATS = {"edema": 2, "core": 1, "enhancing": 4}


def as_parts(label):
    """A channel each of edema, core, enhancing."""
    return torch.cat([label == value for value in BRATS.values()]).to(torch.uint8)


def as_regions(label):
    """TC, WT, ET."""
    return ConvertToMultiChannelBasedOnBratsClasses()(label[0])


FORMS = {"classes": lambda label: label, "parts": as_parts, "regions": as_regions, "one-hot": AsDiscrete(to_onehot=5)}


@pytest.fixture(scope="module")
def weights(untrained):
    """Two sequences, parts edema, core and enhancing of the values 2, 1 and 4, as in BraTS 2018."""
    made = untrained(2)
    return replace(made, facts=made.facts.model_copy(update={"parts": {k: (v,) for k, v in BRATS.items()}}))


@pytest.fixture(scope="module")
def image():
    x, y = np.indices((64, 64))
    organ = np.hypot(x - 32, y - 32) < 29
    return torch.from_numpy(np.stack([organ * np.random.RandomState(k).uniform(60, 100, organ.shape) for k in (0, 1)]))


@pytest.fixture(scope="module")
def label():
    """A class map (1, 64, 64) with a tumor of all parts, off the middle."""
    x, y = np.indices((64, 64))
    apart = np.hypot(x - 20, y - 30)
    return torch.from_numpy(np.select([apart < 3, apart < 5, apart < 7], [4, 1, 2], 0)[None].astype(np.uint8))


KINDS = (RandInsertTumor, RandRemoveTumor, RandReplaceTumor, GrowTumor, InsertTumor, RemoveTumor)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_form_gets_what_the_class_map_gets(weights, image, label, kind, form):
    def edited(truth):
        if kind is InsertTumor:
            return InsertTumor(weights, seed=2)(image, truth)
        if kind is RemoveTumor:
            return RemoveTumor(weights).with_label(image, truth, is_label=True)
        options = {"steps": 2, "start_mm": 10.0} if kind is GrowTumor else {"prob": 1.0}
        return kind(weights, **options).set_random_state(seed=1)(image, truth)

    given = FORMS[form](label)
    before = given.clone()
    (wanted, classes), (made, encoded) = edited(label), edited(given)
    assert torch.equal(made, wanted) and encoded.dtype == given.dtype and torch.equal(given, before)
    expected = torch.cat([FORMS[form](step) for step in classes.split(1)])
    assert torch.equal(torch.as_tensor(encoded), torch.as_tensor(expected).to(encoded.dtype))
    assert kind in (InsertTumor,) or not torch.equal(encoded[: len(given)], given)


@pytest.mark.parametrize("form", ["parts", "regions"])
def test_an_empty_label_says_which_form_it_has(weights, image, form):
    empty = torch.zeros(3, 64, 64, dtype=torch.uint8)
    with pytest.raises(DataError, match="3 channel.* parts or regions alike.* tumor_labels='regions'"):
        RandInsertTumor(weights, prob=1.0)(image, empty)
    made = RandInsertTumor(weights, prob=1.0, tumor_labels=form).set_random_state(seed=1)(image, empty)[1]
    classes = RandInsertTumor(weights, prob=1.0).set_random_state(seed=1)(image, empty[:1])[1]
    assert classes.any() and torch.equal(made.bool(), FORMS[form](classes).bool())


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_a_label_that_is_created_has_the_form_that_is_said(weights, image, prob):
    insert = RandInsertTumord("image", weights, prob=prob, tumor_labels="regions").set_random_state(seed=1)
    assert insert({"image": image})["label"].shape == (3, 64, 64)


def test_channels_that_cannot_be_told_are_refused_with_the_order_that_works(weights, image, label):
    order = r"Put the transform before the one that makes channels of the label \(ConvertToMultiChannel"
    blurred = as_regions(label).float() * 0.5
    crossed = torch.stack([label[0] > 0, label[0] == 1, label[0] == 4])
    for wrong in (label.repeat(4, 1, 1), blurred, crossed, as_regions(label)[:2]):
        with pytest.raises(DataError, match=order):
            RandInsertTumor(weights, prob=1.0)(image, wrong)
    with pytest.raises(DataError, match=r"expected the regions TC, WT, ET\. Put"):
        RandInsertTumor(weights, prob=1.0, tumor_labels="regions")(image, label)


def test_regions_are_those_of_edema_core_and_enhancing_alone(untrained):
    shells = untrained(2, parts=("core", "rim"))
    for wrong, given in ((shells, "regions"), (untrained(2, parts=()), "parts"), (shells, "edges")):
        with pytest.raises(ConfigError, match=f"tumor_labels: found '{given}'"):
            RandInsertTumor(wrong, tumor_labels=given)


def test_a_label_of_background_and_tumor_serves_weights_of_one_part(untrained, image, label):
    one = untrained(2, parts=())
    whole = (label > 0).to(torch.uint8)
    _, classes = RandInsertTumor(one, prob=1.0).set_random_state(seed=1)(image, whole)
    _, encoded = RandInsertTumor(one, prob=1.0).set_random_state(seed=1)(image, AsDiscrete(to_onehot=2)(whole))
    assert torch.equal(encoded.argmax(0, keepdim=True), classes.long()) and (classes != whole).any()
    learnt = one.facts.model_copy(update={"tumor_labels": (2,), "other_labels": (1,)})
    with pytest.raises(DataError, match="0 to 1; expected one for 2, a new tumor's value, too"):
        RandInsertTumor(replace(one, facts=learnt), prob=1.0)(image, AsDiscrete(to_onehot=2)(whole))
