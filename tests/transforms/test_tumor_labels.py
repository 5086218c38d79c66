"""Labels that mean organ and tumor: new tumors get the tumor's value, may lie in the organ, and leave its label."""

from dataclasses import replace

import numpy as np
import pytest

from medaug.errors import ConfigError, DataError
from medaug.transforms import GrowTumor, InsertTumor, RandInsertTumord, RandRemoveTumor, RemoveTumord


@pytest.fixture(scope="module")
def learnt(weights):
    """The weights as if the labels that they learnt from had held these values."""

    def learnt(tumor_labels=(), other_labels=()):
        facts = {"tumor_labels": tuple(tumor_labels), "other_labels": tuple(other_labels)}
        return replace(weights, facts=weights.facts.model_copy(update=facts))

    return learnt


def organs(head, organ=1, tumor=2):
    """(1, X, Y): an organ wherever something is to be seen, with the head's tumor in it."""
    label = np.where(head.slice > 0, organ, 0)
    return np.where(head.slice_label > 0, tumor, label).astype(np.uint8)


def drawn(weights, head, label, **settings):
    insert = RandInsertTumord("image", weights=weights, prob=1.0, organ_key="organ", **settings)
    insert.set_random_state(seed=2)
    data = {"image": head.slice, "organ": head.slice_organ} | ({} if label is None else {"label": label})
    done = insert(data)["label"]
    before = np.zeros_like(done) if label is None else label
    assert (done != before).any()
    return {int(v) for v in done[done != before]}, {int(v) for v in before[done != before]}


def test_a_new_tumor_gets_the_value_that_was_the_tumors(learnt, head):
    knows = learnt([2], [1])
    assert drawn(knows, head, organs(head)) == ({2}, {1})  # in the organ, whose label it takes
    assert drawn(knows, head, (head.slice > 0).astype(np.uint8)) == ({2}, {1})  # a scan without a tumor
    assert drawn(knows, head, None)[0] == {2}
    assert drawn(knows, head, organs(head, 4, 7), tumor_labels=7) == ({7}, {4})


@pytest.mark.parametrize(("value", "written"), [(1, 1), (255, 255), (0, 1)])
def test_weights_of_plain_masks_write_what_the_mask_holds(learnt, head, value, written):
    label = (head.slice_label * value).astype(np.uint8)
    assert drawn(learnt([1]), head, label)[0] == {written}


def test_several_values_without_an_own_one_are_refused(learnt, head, disk):
    parts = head.slice_label.astype(np.uint8)
    parts[0, :, ::2] *= 2
    for label in (parts, parts * 3):
        with pytest.raises(DataError, match="tumor_labels="):
            drawn(learnt([1]), head, label)
    with pytest.raises(DataError, match=r"found the values 1, 2"):
        InsertTumor(learnt([1, 2]))(head.slice, disk, parts)
    for given in ([], 0):
        with pytest.raises(ConfigError, match="above 0"):
            InsertTumor(learnt([1]), tumor_labels=given)
    assert drawn(learnt([1, 2]), head, parts, tumor_labels=[2, 1])[0] == {2}


def test_what_is_far_larger_than_any_lesion_is_no_tumor(learnt, head, caplog):
    assert drawn(learnt([1]), head, organs(head)) == ({2}, {1})
    assert "2 is taken for the tumor" in caplog.text


def test_removal_gives_the_organ_back(learnt, head):
    label = organs(head)
    for transform in (
        lambda image: RemoveTumord("image", weights=learnt([2], [1]))({"image": image, "label": label}),
        lambda image: dict(zip(
            ("image", "label"), RandRemoveTumor(learnt([2], [1]), prob=1.0)(image, label), strict=True
        )),
    ):  # fmt: skip
        done = transform(head.slice)
        assert (done["image"] != head.slice).any()
        np.testing.assert_array_equal(done["label"], np.where(head.slice > 0, 1, 0))
    healthy = (head.slice > 0).astype(np.uint8)
    kept = RemoveTumord("image", weights=learnt([2], [1]))({"image": head.slice, "label": healthy})
    np.testing.assert_array_equal(kept["image"], head.slice)
    np.testing.assert_array_equal(kept["label"], healthy)


def test_a_growing_tumor_has_its_value_and_the_organ_its_own(learnt, head):
    grow = GrowTumor(learnt([2], [1]), steps=2, start_mm=12, interval_days=60)
    _, labels = grow.set_random_state(seed=1)(head.slice, organs(head), head.slice_organ)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert all((label == 2).sum() > (head.slice_label > 0).sum() for label in labels)
