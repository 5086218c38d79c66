"""Translation in MONAI pipelines: names, keys, labels, JSON, workers and caches."""

import json
import pickle

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose
from monai.transforms.traits import RandomizableTrait

from medaug import transforms
from medaug.errors import ConfigError, DataError
from medaug.models.methods import build_translator
from medaug.models.weights import save_translator
from medaug.transforms import RandTranslateDomaind, SynthesizeCTd, TranslateDomain, TranslateDomaind
from medaug.volumes import Domain, Window

SETTINGS = {"width": 2, "depth": 2, "discriminator_width": 2, "discriminator_layers": 1, "style_dim": 3}
CT = Domain("ct", "CT", Window(-160, 240, "HU"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Untrained munit weights from MR to CT, as a folder."""
    translator = build_translator("munit", SETTINGS, Domain("mr", "MR"), CT, 2)
    path = tmp_path_factory.mktemp("weights") / "weights"
    save_translator(path, translator, None, {"domain": "ct", "spacing_mm": [1.0, 1.0], "patch_size": None, "slices": 1})
    return str(path)


@pytest.fixture
def case(head):
    return {"image": head.slice, "label": head.slice_label, "body": head.slice_organ, "name": "head"}


def test_every_transform_has_the_names_that_monai_gives():
    for name in ("TranslateDomain", "SynthesizeCT", "RandTranslateDomain"):
        twins = {getattr(transforms, f"{name}{ending}") for ending in ("d", "D", "Dict")}
        assert len(twins) == 1
        assert issubclass(twins.pop(), RandomizableTrait) == name.startswith("Rand")
        assert issubclass(getattr(transforms, name), RandomizableTrait) == name.startswith("Rand")


@pytest.mark.parametrize("kind", [TranslateDomaind, SynthesizeCTd, RandTranslateDomaind])
def test_labels_and_inputs_are_untouched(folder, case, kind):
    options = {"prob": 1.0} if kind is RandTranslateDomaind else {}
    before = {key: np.array(value) for key, value in case.items()}
    result = kind("image", folder, label_keys=["label", "absent"], body_key="body", **options)(case)
    assert result["label"] is case["label"] and set(result) == set(case) and result["image"].dtype == np.int16
    assert (result["image"][case["body"] == 0] == -1024).all()
    for key, value in before.items():
        np.testing.assert_array_equal(case[key], value)


def test_a_label_that_does_not_lie_on_the_image_is_refused(folder, case):
    case["label"] = case["label"][:, 1:]
    with pytest.raises(DataError, match=r"label of shape \(1, 31, 32\) does not lie on image"):
        TranslateDomaind("image", folder, label_keys="label")(case)


def test_a_label_that_changes_is_noticed(folder, case, monkeypatch):
    transform = TranslateDomaind("image", folder, label_keys="label")

    def careless(self, img, body=None, label=None):
        case["label"] += 1
        return img

    monkeypatch.setattr(TranslateDomain, "__call__", careless)
    with pytest.raises(DataError, match="label: changed while the image was translated"):
        transform(case)


def test_keys_may_be_missing_where_that_is_allowed_and_two_images_are_refused(folder, case):
    del case["image"]
    with pytest.raises(KeyError, match="image"):
        TranslateDomaind("image", folder)(case)
    assert set(TranslateDomaind("image", folder, allow_missing_keys=True)(case)) == set(case)
    with pytest.raises(ConfigError, match="t1, t2"):
        TranslateDomaind(["t1", "t2"], folder)


@pytest.mark.parametrize(
    "arguments",
    [
        {"_target_": "medaug.transforms.TranslateDomaind", "keys": "image", "direction": "a2b", "style": [0, 1, 0.5]},
        {"_target_": "medaug.transforms.SynthesizeCTd", "keys": ["image"], "window": [0, 180], "body": False},
        {"_target_": "medaug.transforms.RandTranslateDomaind", "keys": "image", "prob": 1.0, "label_keys": ["label"]},
    ],
    ids=lambda arguments: arguments["_target_"].rsplit(".", 1)[-1],
)
def test_a_bundle_builds_it_from_json(folder, case, tmp_path, arguments):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"transform": {**arguments, "weights": folder}}))
    parser = ConfigParser()
    parser.read_config(path)
    result = parser.get_parsed_content("transform")(case)
    assert result["image"].dtype == np.int16 and result["image"].shape == case["image"].shape


def test_deterministic_transforms_are_cached_through_and_random_ones_are_not(folder, case, monkeypatch):
    calls = []
    original = TranslateDomain.__call__
    monkeypatch.setattr(
        TranslateDomain, "__call__", lambda self, *given, **more: calls.append(1) or original(self, *given, **more)
    )
    dataset = CacheDataset([case], Compose([SynthesizeCTd("image", folder)]), progress=False, num_workers=1)
    dataset[0], dataset[0]
    assert calls == [1]
    dataset = CacheDataset([case], Compose([RandTranslateDomaind("image", folder, 1.0)]), progress=False, num_workers=1)
    first, second = dataset[0]["image"], dataset[0]["image"]
    assert len(calls) == 3 and (first != second).any(), "every time in another style"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_translation_is_the_same_in_every_worker(folder, head, workers):
    """Nothing is random in `SynthesizeCTd`; in `RandTranslateDomaind` the seed of the state decides."""
    cases = [{"image": head.image[None, ..., z].copy(), "label": head.label[None, ..., z].copy()} for z in range(2, 6)]
    loader = DataLoader(Dataset(cases, SynthesizeCTd("image", folder, seed=3)), batch_size=1, num_workers=workers)
    alone = TranslateDomain(folder, seed=3)
    for case, batch in zip(cases, loader, strict=True):
        np.testing.assert_array_equal(batch["image"][0], alone(case["image"]))
        np.testing.assert_array_equal(batch["label"][0], case["label"])


class _Seeded:
    """A data set whose case i is drawn from seed i, whichever worker makes it."""

    def __init__(self, cases, transform):
        self.cases, self.transform = cases, transform

    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        drawn = self.transform.set_random_state(seed=index)(self.cases[index])
        return {"image": np.asarray(drawn["image"], np.int32)}


def test_random_translations_of_one_seed_do_not_depend_on_the_workers(folder, head):
    cases = [{"image": head.image[None, ..., 3 + i % 2].copy()} for i in range(4)]
    transform = RandTranslateDomaind("image", folder, prob=1.0)
    epochs = [
        torch.cat([batch["image"] for batch in DataLoader(_Seeded(cases, transform), batch_size=1, num_workers=n)])
        for n in (0, 2)
    ]
    assert torch.equal(*epochs) and not torch.equal(epochs[0][0], epochs[0][2]), "another seed, another style"


def test_what_was_drawn_is_told_and_can_be_pickled(folder, case):
    transform = RandTranslateDomaind("image", folder, prob=0.5).set_random_state(seed=4)
    twin = pickle.loads(pickle.dumps(transform)).set_random_state(seed=4)
    told = []
    for _ in range(6):
        result = transform(case)["image"]
        np.testing.assert_array_equal(twin(case)["image"], result)
        told.append(transform.drawn)
        if transform.drawn is None:
            assert result is case["image"]
        else:
            np.testing.assert_array_equal(TranslateDomain(folder, **transform.drawn)(case["image"]), result)
    assert None in told and any(told)


@pytest.fixture(scope="module")
def reading_labels(tmp_path_factory):
    """Untrained cyclegan weights from MR to MR, that read one class towards B."""
    settings = {key: value for key, value in SETTINGS.items() if key != "style_dim"} | {"generator": "unet"}
    translator = build_translator("cyclegan", settings | {"label_input": 1}, Domain("t2", "MR"), Domain("t1", "MR"), 2)
    path = tmp_path_factory.mktemp("weights") / "weights"
    save_translator(path, translator, None, {"domain": "ct", "spacing_mm": [1.0, 1.0], "patch_size": None, "slices": 1})
    return str(path)


@pytest.mark.parametrize("shape", ["slice", "volume"])
@pytest.mark.parametrize("kind", [TranslateDomaind, RandTranslateDomaind])
def test_weights_that_read_labels_find_them_under_label_key_and_leave_them_alone(reading_labels, head, kind, shape):
    image, label = (head.slice, head.slice_label) if shape == "slice" else (head.image[None], head.label[None])
    options = {"prob": 1.0} if kind is RandTranslateDomaind else {}
    transform = kind("image", reading_labels, label_key="label", body=False, **options)
    case = {"image": image, "label": label.copy()}
    result, without = transform(case), transform(case | {"label": np.zeros_like(label)})
    assert result["image"].shape == image.shape and not np.array_equal(result["image"], without["image"])
    assert result["label"] is case["label"] and np.array_equal(case["label"], label)


def test_labels_that_are_read_must_be_there_as_class_numbers(reading_labels, case):
    with pytest.raises(DataError, match="read labels of 1 class.* found none. Give label=.*label_key"):
        TranslateDomaind("image", reading_labels)(case)
    with pytest.raises(DataError, match=r"found the values \[4.0\]; expected class numbers 0 to 1.* Map the label"):
        TranslateDomaind("image", reading_labels, label_key="label")(case | {"label": 4 * case["label"]})
    back = TranslateDomaind("image", reading_labels, direction="b2a")(case)
    assert back["image"].shape == case["image"].shape  # towards A nothing is read


def test_translations_that_read_labels_are_the_same_in_every_worker(reading_labels, case):
    cases = [{key: case[key] for key in ("image", "label")}] * 2
    images = []
    for workers in (0, 1):
        transform = RandTranslateDomaind("image", reading_labels, prob=1.0, label_key="label").set_random_state(seed=3)
        batches = DataLoader(Dataset(cases, transform), batch_size=2, num_workers=workers)
        images.append(next(iter(batches))["image"])
    assert torch.equal(*images)
