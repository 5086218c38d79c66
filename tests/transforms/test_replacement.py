"""A tumor gives way to another at its place: in the organ, clear of other tumors, with the label that is seen."""

import numpy as np
import pytest

from medaug import transforms
from medaug.transforms import RandInsertTumor, RandReplaceTumor, RandReplaceTumord
from medaug.transforms.base import samples_left_alone

SHAPE = (48, 48, 24)


@pytest.fixture(scope="module", params=[2, 3], ids=["2-D", "3-D"])
def weights(request, untrained):
    return untrained(request.param, parts=("edema", "core"))


@pytest.fixture(scope="module")
def full():
    """Image (2, *S), organ and label (1, *S): a body with a small organ, which a tumor of two parts nearly fills."""
    grid, rng = np.indices(SHAPE), np.random.RandomState(0)
    body = np.hypot(grid[0] - 24, grid[1] - 24) < 22
    apart = np.sqrt(((grid - np.reshape((22, 26, 12), (3, 1, 1, 1))) ** 2).sum(axis=0))
    image = np.stack([np.where(body, rng.uniform(60, 100, SHAPE) + 30 * k * (apart < 9), 0) for k in (0, 1)])
    label = np.where(apart < 7, 1 + (apart < 4), 0).astype(np.uint8)[None]
    return image.astype(np.float32), (apart < 10).astype(np.uint8)[None], label


def test_a_full_organ_has_room_for_another_tumor_in_the_place_of_the_old_one(weights, full):
    image, organ, label = full
    insert = RandInsertTumor(weights, prob=1.0, size_mm=(16, 20)).set_random_state(seed=0)
    assert not insert(image, label, organ)[1][label == 0].any()
    replace, kinds = RandReplaceTumor(weights, prob=1.0), set()
    for seed in range(4):
        edited, new = replace.set_random_state(seed=seed)(image, label, organ)
        (lesion,) = replace.lesions
        assert 20 < lesion["replaced_mm"] < 30
        assert new.dtype == label.dtype and set(np.unique(new)) == {0, 1, 2}
        assert (new != label).any() and not new[organ == 0].any()
        center = [int(round(place)) for place in np.argwhere(new[0]).mean(axis=0)]
        assert label[0][tuple(center)]
        far = np.abs(np.indices(SHAPE) - np.reshape((22, 26, 12), (3, 1, 1, 1))).max(axis=0) > 7 + 4
        assert (edited[:, far] == image[:, far]).all()
        assert all((after != before)[new[0] > 0].any() for after, before in zip(edited, image, strict=True))
        kinds.add(new.tobytes())
    assert len(kinds) == 4


def test_the_organ_has_its_value_again_where_the_new_tumor_is_not(weights, full):
    image, organ, label = full
    values = {"edema": 2, "core": 3}
    marked = np.where(label > 0, label + 1, organ)
    replace = RandReplaceTumor(weights, prob=1.0, size_mm=(10, 12), tumor_labels=values).set_random_state(seed=0)
    _, new = replace(image, marked, organ)
    assert set(np.unique(new)) == {0, 1, 2, 3}
    assert (new[label > 0] == 1).any() and (new[new < 2] == organ[new < 2]).all()


def test_other_tumors_stay_as_they_are(weights, full):
    image, organ, label = full
    two = label.copy()
    two[0, 36:39, 22:25, 10:13] = 1
    replace = RandReplaceTumor(weights, prob=1.0).set_random_state(seed=0)
    edited, new = replace(image, two, np.maximum(organ, two))
    kept = np.zeros_like(two, dtype=bool)
    kept[0, 36:39, 22:25, 10:13] = True
    assert (new[kept] == 1).all() and (new != two).any()
    assert (edited[:, kept[0]] == image[:, kept[0]]).all()


def test_what_cannot_be_replaced_comes_back_as_it_was_and_is_counted(weights, full):
    image, organ, label = full
    count = samples_left_alone().get("RandReplaceTumor", 0)
    speck = np.zeros_like(label)
    speck[0, 22, 26, 12] = 1
    for picture, marked, where in ((image, label * 0, organ), (image, speck, speck), (image * 0, label, organ)):
        replace = RandReplaceTumor(weights, prob=1.0).set_random_state(seed=0)
        edited, new = replace(picture, marked, where)
        np.testing.assert_array_equal(edited, picture)
        np.testing.assert_array_equal(new, marked)
        assert replace.lesions == []
    assert samples_left_alone()["RandReplaceTumor"] == count + 3
    edited, new = RandReplaceTumor(weights, prob=0.0)(image, label, organ)
    assert (edited == image).all() and (new == label).all()


def test_the_twin_has_monais_names_and_creates_a_missing_label(weights, full):
    assert {getattr(transforms, f"RandReplaceTumor{ending}") for ending in ("d", "D", "Dict")} == {RandReplaceTumord}
    made = RandReplaceTumord("image", weights, prob=1.0)({"image": full[0]})
    assert made["label"].shape == (1, *SHAPE) and not made["label"].any()
