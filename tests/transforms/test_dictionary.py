"""The dictionary transforms: keys, missing keys, and construction from JSON as a MONAI bundle does it."""

import json

import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.data import CacheDataset
from monai.transforms import Compose
from monai.transforms.traits import RandomizableTrait

from medaug import transforms
from medaug.errors import ConfigError
from medaug.transforms import InsertTumor, InsertTumord, RandInsertTumord, RandRemoveTumord, RemoveTumord

NAMES = ("InsertTumor", "RandInsertTumor", "RemoveTumor", "RandRemoveTumor")


@pytest.fixture
def case(head, disk):
    return {"image": head.slice, "label": head.slice_label, "mask": disk.copy(), "name": "head"}


def made(weights):
    return {
        "insert": InsertTumord("image", weights, seed=3),
        "rand_insert": RandInsertTumord("image", weights, prob=1.0).set_random_state(seed=1),
        "remove": RemoveTumord("image", weights),
        "rand_remove": RandRemoveTumord("image", weights, prob=1.0).set_random_state(seed=1),
    }


def test_every_transform_has_the_names_that_monai_gives():
    for name in NAMES:
        twins = {getattr(transforms, f"{name}{ending}") for ending in ("d", "D", "Dict")}
        assert len(twins) == 1
        assert issubclass(twins.pop(), RandomizableTrait) == name.startswith("Rand")
        assert issubclass(getattr(transforms, name), RandomizableTrait) == name.startswith("Rand")


@pytest.mark.parametrize("name", ["insert", "rand_insert", "remove", "rand_remove"])
def test_the_case_is_not_changed_and_other_keys_are_passed_on(weights, case, name):
    before = {key: np.array(value) for key, value in case.items()}
    result = made(weights)[name](case)
    for key, value in before.items():
        np.testing.assert_array_equal(case[key], value)
    assert result["name"] == "head" and set(result) == set(case)
    assert (result["image"] != case["image"]).any()
    assert (result["label"] != case["label"]).any()


def test_insertion_does_what_the_array_transform_does(weights, case, head, disk):
    image, label = InsertTumor(weights, seed=3)(head.slice, disk, head.slice_label)
    result = InsertTumord("image", weights, seed=3)(case)
    np.testing.assert_array_equal(result["image"], image)
    np.testing.assert_array_equal(result["label"], label)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_removal_empties_the_label_and_keeps_its_dtype(weights, case, dtype):
    case["label"] = case["label"].astype(dtype)
    for name in ("remove", "rand_remove"):
        label = made(weights)[name](case)["label"]
        assert not label.any() and label.dtype == dtype


@pytest.mark.parametrize("name", ["insert", "rand_insert", "remove", "rand_remove"])
def test_a_missing_image_is_an_error_unless_allowed(weights, case, name):
    del case["image"]
    transform = made(weights)[name]
    with pytest.raises(KeyError, match="image"):
        transform(case)
    transform.allow_missing_keys = True
    assert set(transform(case)) == {"label", "mask", "name"}


def test_a_missing_label_is_created(weights, case):
    del case["label"]
    for name in ("insert", "rand_insert"):
        result = made(weights)[name](case)
        assert result["label"].any() and result["label"].shape == result["image"].shape


def test_probability_zero_passes_the_case_on(weights, case):
    for transform in (RandInsertTumord("image", weights, prob=0), RandRemoveTumord("image", weights, prob=0)):
        result = transform(case)
        assert all(result[key] is case[key] for key in case)


def test_an_organ_key_that_a_case_lacks_is_found_from_the_image(weights, case):
    result = RandInsertTumord("image", weights, prob=1.0, organ_key="organ").set_random_state(seed=1)(case)
    assert result["label"].sum() > case["label"].sum()


def test_several_images_are_refused_because_one_label_cannot_hold_for_both(weights):
    for kind in (InsertTumord, RandInsertTumord, RemoveTumord, RandRemoveTumord):
        with pytest.raises(ConfigError, match="flair, t1"):
            kind(["flair", "t1"], weights)


def test_deterministic_transforms_are_cached_through(weights, case, monkeypatch):
    calls = []
    remove = RemoveTumord("image", weights)
    monkeypatch.setattr(type(remove), "__call__", lambda self, data: calls.append(1) or dict(data))
    dataset = CacheDataset([case], Compose([remove]), progress=False, num_workers=1)
    assert calls == [1]
    dataset[0], dataset[0]
    assert calls == [1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"_target_": "medaug.transforms.RandInsertTumord", "keys": ["image"], "prob": 1.0, "count": [1, 2],
         "size_mm": [12, 20], "shape": "mixed", "window": [0, 180]},
        {"_target_": "medaug.transforms.InsertTumord", "keys": "image", "mask_key": "mask", "seed": 2},
        {"_target_": "medaug.transforms.RemoveTumord", "keys": "image", "label_key": "label"},
        {"_target_": "medaug.transforms.RandRemoveTumord", "keys": "image", "prob": 1.0},
    ],
    ids=lambda arguments: arguments["_target_"].rsplit(".", 1)[-1],
)  # fmt: skip
def test_a_bundle_builds_it_from_json(weights_folder, case, tmp_path, arguments):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"transform": {**arguments, "weights": str(weights_folder)}}))
    parser = ConfigParser()
    parser.read_config(path)
    result = parser.get_parsed_content("transform")(case)
    assert (result["image"] != case["image"]).any()
