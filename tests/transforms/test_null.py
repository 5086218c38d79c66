"""Null insertions: the generator passes over a place, and nothing is inserted."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from medaug.errors import ConfigError
from medaug.models.methods import build_translator
from medaug.models.weights import Weights
from medaug.transforms import InsertTumor, InsertTumord, RandInsertTumor, RandInsertTumord


@pytest.fixture(scope="module")
def idle(weights):
    """Weights whose translator hands back what it is given."""
    translator = deepcopy(weights.translator)

    class Idle(type(translator)):
        def translate(self, x, direction, **options):
            return x

    translator.__class__ = Idle
    return replace(weights, translator=translator)


def test_a_translator_that_changes_nothing_leaves_every_bit(idle, head, disk):
    image, label = InsertTumor(idle, null=True)(head.slice, disk)
    np.testing.assert_array_equal(image, head.slice)
    assert not label.any()
    assert (InsertTumor(idle)(head.slice, disk)[0] != head.slice).any()


def test_the_translator_passes_over_the_place_and_the_label_stays(weights, head, disk):
    image, label = InsertTumor(weights, null=True)(head.slice, disk, head.slice_label)
    changed = image != head.slice
    assert changed[disk > 0].any() and not changed[0, :3].any()
    np.testing.assert_array_equal(label, head.slice_label)


@pytest.mark.parametrize("volume", [False, True])
def test_the_place_is_that_of_an_insertion_with_the_same_seed(weights, head, volume):
    image, organ = (head.image[None], head.organ[None]) if volume else (head.slice, head.slice_organ)
    insert, null = (RandInsertTumor(weights, prob=1.0, null=flag).set_random_state(seed=3) for flag in (False, True))
    edited, label = insert(image, None, organ)
    passed, nothing = null(image, None, organ)
    assert label.any() and not nothing.any() and (passed != image).any()
    assert not ((passed != image) & (edited == image)).any()
    assert [lesion | {"null": True} for lesion in insert.lesions] == null.lesions


def test_dictionary_twins_pass_it_on(weights, idle, head, disk):
    data = {"image": head.slice, "mask": disk, "label": head.slice_label}
    done = InsertTumord("image", idle, null=True)(data)
    np.testing.assert_array_equal(done["image"], head.slice)
    np.testing.assert_array_equal(done["label"], head.slice_label)
    drawn = RandInsertTumord("image", weights, prob=1.0, null=True).set_random_state(seed=3)(data)
    assert (drawn["image"] != head.slice).any()
    np.testing.assert_array_equal(drawn["label"], head.slice_label)


def test_weights_that_paint_a_tumor_from_a_mask_alone_are_refused(weights):
    old = weights.translator
    settings = {"content": "free", "width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}
    free = build_translator("mask-guided-cyclegan", settings, old.domain_a, old.domain_b, 2)
    for kind in (InsertTumor, RandInsertTumor):
        with pytest.raises(ConfigError, match="reference content"):
            kind(Weights(free, weights.prior, weights.facts), null=True)
