"""Images of several sequences, under a key each or as channels of one, with tumors of several parts."""

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor

from medaug.errors import ConfigError, DataError
from medaug.transforms import (
    FindOrgand,
    GrowTumord,
    InsertTumord,
    RandInsertTumor,
    RandInsertTumord,
    RandRemoveTumord,
    RandReplaceTumord,
    RemoveTumord,
)
from medaug.transforms.containers import WINDOW_META
from medaug.transforms.styles import style_of
from medaug.volumes import Window

SEQUENCES = ("t1", "t1ce", "t2", "flair")
DTYPES = (torch.int16, torch.float32, torch.float64, torch.uint8)
PARTS = {"edema": 1, "core": 2, "enhancing": 3}
AFFINE = torch.diag(torch.tensor([-2.0, -2.0, 3.0, 1.0], dtype=torch.float64))


@pytest.fixture(scope="module")
def weights(untrained):
    return untrained(2, SEQUENCES)


@pytest.fixture(scope="module")
def case():
    """Four sequences (1, 64, 64, 10) of a round organ, each of its own dtype, with a tumor of three parts in it."""
    shape, rng = (64, 64, 10), np.random.RandomState(0)
    x, y, _ = np.indices(shape)
    organ, apart = np.hypot(x - 32, y - 32) < 29, np.hypot(x - 22, y - 30)
    label = np.where(apart < 7, 1 + (apart < 5) + (apart < 3), 0) * (np.indices(shape)[2] // 3 == 1)
    sample = {"organ": torch.from_numpy(organ[None].astype(np.uint8)), "name": "case"}
    for number, (name, dtype) in enumerate(zip(SEQUENCES, DTYPES, strict=True)):
        image = np.where(organ, rng.uniform(60, 100, shape) + 20 * (label > number), 0)
        sample[name] = MetaTensor(torch.from_numpy(image[None]).to(dtype), affine=AFFINE, meta={"sequence": name})
    sample["label"] = MetaTensor(torch.from_numpy(label[None].astype(np.uint8)), affine=AFFINE)
    return sample


def array(img) -> np.ndarray:
    return np.asarray(img)


def edits(weights, keys=SEQUENCES, **more):
    return {
        "insert": InsertTumord(keys, weights, mask_key="mask", seed=3, **more),
        "rand_insert": RandInsertTumord(keys, weights, organ_key="organ", prob=1.0, **more).set_random_state(seed=1),
        "remove": RemoveTumord(keys, weights, **more),
        "rand_remove": RandRemoveTumord(keys, weights, prob=1.0, **more).set_random_state(seed=1),
        "replace": RandReplaceTumord(keys, weights, organ_key="organ", prob=1.0, **more).set_random_state(seed=1),
    }


def with_mask(case):
    """The case with a place for a tumor beside the one that it has."""
    mask = np.zeros((1, 64, 64, 10), np.uint8)
    mask[0, 38:48, 28:38, 3:6] = 1
    return case | {"mask": mask}


@pytest.mark.parametrize("name", ["insert", "rand_insert", "remove", "rand_remove", "replace"])
def test_a_key_a_sequence_is_edited_as_one_image_and_comes_back_as_it_came(weights, case, name):
    case = with_mask(case)
    made = edits(weights)[name](case)
    old, new = array(case["label"])[0], array(made["label"])[0]
    near = (old != new) | (old > 0 if name in ("remove", "rand_remove", "replace") else False)
    x, y = np.where(near.any(axis=2))
    box = (slice(x.min() - 3, x.max() + 4), slice(y.min() - 3, y.max() + 4))
    for key in SEQUENCES:
        before, after = case[key], made[key]
        assert after.dtype == before.dtype and after.meta["sequence"] == key
        assert torch.equal(after.affine, before.affine)
        differs = array(after)[0] != array(before)[0]
        assert differs.any()
        if "insert" in name:
            assert not differs[old == new].any()
        differs[box] = False
        assert not differs.any()
    assert made["label"].dtype == torch.uint8 and set(np.unique(new)) <= {0, 1, 2, 3}
    assert {1, 2, 3} <= set(np.unique(new)) or "remove" in name
    assert (new[old > 0] == old[old > 0]).all() if "insert" in name else (new != old).any()


@pytest.mark.parametrize("name", ["insert", "rand_insert", "remove", "rand_remove", "replace"])
def test_one_key_with_all_channels_gets_the_same_tumor(weights, case, name):
    case = {key: img.float() if key in SEQUENCES else img for key, img in with_mask(case).items()}
    stack = MetaTensor(torch.cat([case[key].as_tensor() for key in SEQUENCES]), affine=AFFINE)
    alone = edits(weights)[name](case)
    together = edits(weights, "image")[name]({**case, "image": stack})
    np.testing.assert_array_equal(together["label"], alone["label"])
    for channel, key in enumerate(SEQUENCES):
        np.testing.assert_array_equal(array(together["image"])[channel], array(alone[key])[0])


@pytest.mark.parametrize("name", ["rand_insert", "replace"])
def test_one_seed_gives_one_result_alone_and_in_the_workers_of_a_loader(weights, case, name):
    first, again = (edits(weights)[name](case) for _ in range(2))
    loaders = [DataLoader(Dataset([case] * 3, edits(weights)[name]), batch_size=1, num_workers=2) for _ in range(2)]
    batches = []
    for loader in loaders:
        torch.manual_seed(0)
        batches += [list(loader)]
    for one, other in ((first, again), *zip(*batches, strict=True)):
        for key in (*SEQUENCES, "label"):
            np.testing.assert_array_equal(one[key], other[key])


def test_plain_arrays_come_back_as_plain_arrays(weights, case):
    plain = {key: array(img) if key in (*SEQUENCES, "label") else img for key, img in case.items()}
    made = RandInsertTumord(SEQUENCES, weights, organ_key="organ", prob=1.0).set_random_state(seed=1)(plain)
    assert all(type(made[key]) is np.ndarray and made[key].dtype == plain[key].dtype for key in plain if key in DTYPES)
    assert all((made[key] != plain[key]).any() for key in (*SEQUENCES, "label"))


def test_keys_that_are_not_the_weights_sequences_in_order_are_refused(weights):
    for keys in (("t1", "t2", "t1ce", "flair"), ("t1", "t1ce", "flair"), ("a", "flair", "b", "c")):
        with pytest.raises(ConfigError, match=f"{', '.join(keys)}; .* in their order: t1, t1ce, t2, flair"):
            RandInsertTumord(keys, weights)
    RandInsertTumord(("a", "b", "c", "FLAIR"), weights)


def test_an_image_of_other_channels_is_refused_with_the_names_of_the_sequences(weights, case):
    with pytest.raises(DataError, match="of the sequences t1, t1ce, t2, flair in this order"):
        RandInsertTumor(weights, prob=1.0)(case["t1"])


def test_sequences_on_different_grids_are_refused_with_both_names(weights, case):
    insert = RandInsertTumord(SEQUENCES, weights, prob=1.0)
    moved = AFFINE.clone()
    moved[0, 3] += 5
    for other in (case["t2"][..., :-1], MetaTensor(case["t2"].as_tensor(), affine=moved)):
        with pytest.raises(DataError, match=r"t2: found .* of t1"):
            insert({**case, "t2": other})
    with pytest.raises(DataError, match="t2: found an image of shape"):
        insert({**case, "t2": case["t2"].repeat(2, 1, 1, 1)})


def test_a_missing_sequence_is_refused_and_a_sample_without_any_passed_on(weights, case):
    lacking = {key: value for key, value in case.items() if key != "t2"}
    insert = RandInsertTumord(SEQUENCES, weights, prob=1.0)
    with pytest.raises(KeyError, match="t2"):
        insert(lacking)
    insert.allow_missing_keys = True
    with pytest.raises(DataError, match="found no t2 beside t1, t1ce, flair"):
        insert(lacking)
    assert set(insert({"name": "empty"})) == {"name"}


def test_the_organ_is_found_once_and_each_sequence_notes_its_window(weights, case):
    found = FindOrgand(SEQUENCES, weights, organ_key="where")(case)
    assert found["where"].shape == (1, 64, 64, 10) and found["where"].any()
    windows = {found[key].meta[WINDOW_META] for key in SEQUENCES}
    assert len(windows) == len(SEQUENCES)
    with pytest.raises(DataError, match="t1: found no medaug_window"):
        RandInsertTumord(SEQUENCES, weights, prob=1.0)({**found, "t1": case["t1"]})
    insert = RandInsertTumord(SEQUENCES, weights, organ_key="where", prob=1.0).set_random_state(seed=1)
    assert (array(insert(found)["flair"]) != array(case["flair"])).any()


def test_a_series_has_every_channel_at_every_step(weights, case):
    plan = {"steps": 3, "start_mm": 10.0, "doubling_days": 30.0, "organ_key": "organ"}
    stack = torch.cat([case[key].as_tensor().float() for key in SEQUENCES])
    series = GrowTumord(SEQUENCES, weights, **plan).set_random_state(seed=1)(case)
    together = GrowTumord("image", weights, **plan).set_random_state(seed=1)(
        {**case, "image": MetaTensor(stack, affine=AFFINE)}
    )
    assert together["image"].shape == (3 * 4, 64, 64, 10) and series["label"].shape == (3, 64, 64, 10)
    by_step = array(together["image"]).reshape(3, 4, 64, 64, 10)
    for channel, key in enumerate(SEQUENCES):
        assert series[key].shape == (3, 64, 64, 10) and series[key].dtype == case[key].dtype
        if case[key].dtype == torch.float32:
            np.testing.assert_array_equal(by_step[:, channel], array(series[key]))
    sizes = [(array(step) > 0).sum() for step in series["label"]]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert set(np.unique(array(series["label"])[-1])) == {0, *PARTS.values()}


def test_a_style_is_of_all_channels_and_fills_them(untrained, case):
    styled = untrained(2, SEQUENCES, method="munit")
    image, label = np.stack([array(case[key])[0] for key in SEQUENCES]).astype(np.float32), array(case["label"])[0]
    style = style_of(image, label, [Window(0, 120)] * 4, styled, (2.0, 2.0, 3.0))
    made = InsertTumord(SEQUENCES, styled, mask_key="label", label_key="new", style=style)(case)
    assert all((array(made[key]) != array(case[key])).any() for key in SEQUENCES)
    np.testing.assert_array_equal(made["new"], case["label"])


def test_label_values_in_no_part_are_refused_unless_the_user_says_what_they_are(weights, case):
    moved = {**case, "label": case["label"] * 2}
    with pytest.raises(DataError, match=r"value\(s\) 4, 6; expected .* edema 1; core 2; enhancing 3"):
        RandRemoveTumord(SEQUENCES, weights, prob=1.0)(moved)
    values = {"edema": 2, "core": 4, "enhancing": 6}
    for more in (values, [2, 4, 6]):
        made = edits(weights, tumor_labels=more)["rand_insert"](moved)
        assert set(np.unique(made["label"])) == {0, 2, 4, 6}


def test_a_sequence_that_covers_less_keeps_its_empty_slices(weights, case):
    """The tumor is labelled where any sequence shows it; where one has no data, that one keeps its bits."""
    short = {**case, SEQUENCES[1]: case[SEQUENCES[1]].clone()}
    short[SEQUENCES[1]][..., :5] = 0
    result = RandInsertTumord(SEQUENCES, weights, organ_key="organ", prob=1.0, size_mm=(14, 18))
    for seed in range(6):
        made = result.set_random_state(seed=seed)(short)
        new = (made["label"] != short["label"])[0]
        changed = {name: (made[name] != short[name])[0] for name in SEQUENCES}
        assert not changed[SEQUENCES[1]][..., :5].any()
        if new[..., :5].any() and new[..., 5:].any():
            assert changed[SEQUENCES[0]][..., :5].any() and changed[SEQUENCES[1]][..., 5:].any()
            break
    else:
        raise AssertionError("no tumor across the edge in six draws")
