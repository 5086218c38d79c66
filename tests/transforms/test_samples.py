"""What random transforms do with the samples of a batch that have no label, show nothing, or are in another unit."""

import logging

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import ScaleIntensityRange

from medaug.errors import DataError
from medaug.models.weights import Weights
from medaug.phantoms import phantoms
from medaug.transforms import (
    FindOrgand,
    GrowTumord,
    InsertTumor,
    RandInsertTumor,
    RandInsertTumord,
    RandRemoveTumord,
    RandTranslateDomaind,
    RemoveTumor,
    TranslateDomain,
)
from medaug.transforms.base import samples_left_alone
from medaug.transforms.baselines import RandConvolutionsd, RandCopyPasteTumord, RandCutMixd, RandHistogramMatchd
from medaug.volumes import Domain, Window

AFFINE = torch.diag(torch.tensor([6.0, 6.0, 10.0, 1.0], dtype=torch.float64))
HU = Domain("ct", "CT", Window(-160, 240, "HU"))


def meta(array: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(array.astype(np.float32)), affine=AFFINE)


@pytest.fixture(scope="module")
def bank(head):
    low, high = head.image.min(), head.image.max()
    return [{"image": meta(2 * (head.slice - low) / (high - low) - 1), "label": meta(head.slice_label)}]


@pytest.fixture(scope="module")
def in_hu(weights):
    """The tiny weights as if they had learnt from CT."""
    translator = type(weights.translator).__new__(type(weights.translator))
    translator.__dict__ = weights.translator.__dict__ | {"domain_a": HU, "domain_b": HU}
    return Weights(translator, weights.prior, weights.facts)


@pytest.fixture(scope="module")
def abdomen():
    phantom = next(iter(phantoms("abdomen", 1, seed=4, shape=(48, 48, 6), spacing_mm=(8.0, 8.0, 12.0))))
    return phantom.images["contrast"].astype(np.float32), (phantom.label > 0)


@pytest.mark.parametrize("null", [False, True])
def test_every_sample_of_a_batch_has_a_label(weights, bank, null):
    for transform in (
        RandInsertTumord("image", weights, prob=0.5, null=null),
        RandRemoveTumord("image", weights, prob=0.5),
        RandCopyPasteTumord("image", bank, prob=0.5),
        RandCutMixd("image", bank, prob=0.5),
    ):
        samples = [dict(bank[0]) if number % 2 else {"image": bank[0]["image"].clone()} for number in range(8)]
        loader = DataLoader(Dataset(samples, transform.set_random_state(seed=1)), batch_size=8)
        batch = next(iter(loader))
        assert batch["label"].shape == batch["image"].shape and batch["label"].dtype == torch.float32
        assert (np.unique(batch["label"]) == [0, 1]).all()
        made = transform({"image": samples[0]["image"].clone()})["label"]
        assert isinstance(made, MetaTensor) and torch.equal(made.affine, AFFINE)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_sample_that_shows_nothing_comes_back_as_it_was_and_is_counted(
    weights, translating, bank, value, caplog
):  # fmt: skip
    blank, label = meta(np.full((1, 32, 32), value)), meta(bank[0]["label"].numpy())
    plain = translating(lambda x, direction, style: -x)
    before = sum(samples_left_alone().values())
    made = [
        RandInsertTumord("image", weights, prob=1.0), RandRemoveTumord("image", weights, prob=1.0),
        RandTranslateDomaind("image", plain, prob=1.0), RandCopyPasteTumord("image", bank, prob=1.0),
        RandCutMixd("image", bank, prob=1.0), RandConvolutionsd("image", prob=1.0),
        RandHistogramMatchd("image", [bank[0]["image"]], prob=1.0),
    ]  # fmt: skip
    with caplog.at_level(logging.WARNING):
        for transform in made:
            result = transform({"image": blank.clone(), "label": label.clone()})
            assert torch.equal(result["image"], blank) and torch.equal(result["label"], label)
    assert sum(samples_left_alone().values()) == before + len(made)
    grown = GrowTumord("image", weights, steps=3)({"image": blank.clone()})
    assert torch.equal(grown["image"], blank.repeat(3, 1, 1)) and not grown["label"].any()
    assert not grown["growth_diameter_mm"].any()


def test_a_crop_is_seen_in_the_window_of_its_scan_where_that_is_noted(weights, head):
    whole = FindOrgand("image", weights)({"image": meta(head.slice)})
    assert set(whole) == {"image", "organ"}
    background = whole["image"][:, :4, :4].clone()
    background[0, 0, 0] = background.min() + 1  # noise: its own window would take it for contrast
    transform = RandInsertTumord("image", weights, prob=1.0).set_random_state(seed=1)
    assert torch.equal(transform({"image": background.clone()})["image"], background)
    window = weights.translator.domain_a.window_of(head.slice)
    part, organ = whole["image"][:, 6:28, 6:28], np.ones((1, 22, 22))
    array = RandInsertTumor(weights, prob=1.0)
    noted, given = (
        array.set_random_state(seed=3)(image, None, organ, window=known)[0]
        for image, known in ((part, None), (meta(part.numpy()), window))
    )
    assert array.lesions and torch.equal(noted.as_tensor(), given.as_tensor())


def test_weights_of_hu_refuse_what_is_not_in_hu_and_say_which_order_works(in_hu, abdomen, translating):
    image, label = (meta(x[None]) for x in abdomen)
    plain = translating(lambda x, direction, style: x, HU, Domain("plain", "CT", HU.window))
    edits = (
        lambda x: InsertTumor(in_hu)(x, label), lambda x: RemoveTumor(in_hu)(x, label), TranslateDomain(plain),
        RandInsertTumor(in_hu, prob=1.0),
    )  # fmt: skip
    noise = 15 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    others = {
        "0 to 1": ScaleIntensityRange(-160, 240, 0, 1, clip=True)(image),
        "-1 to 1": ScaleIntensityRange(-160, 240, -1, 1, clip=True)(image),
        "0 to 255": ScaleIntensityRange(-160, 240, 0, 255, clip=True)(image),
        "+1024": image + 1024, "+1024, noisy": image + 1024 + noise, "z": (image - image.mean()) / image.std(),
        "+1024, no air": (image + 1024)[:, 18:30, 18:30],
    }  # fmt: skip
    for edit in edits:
        edit(image)
        for name, scaled in others.items():
            if "no air" in name and edit is not edits[-1]:
                continue
            with pytest.raises(DataError, match=r"before what scales intensities.*window=\(b_min, b_max\)"):
                edit(scaled)
                raise AssertionError(name)
    inside = RandInsertTumor(in_hu, prob=1.0, window=(-1, 1))(others["-1 to 1"])[0]
    assert inside.min() > -2 and inside.max() < 2


@pytest.mark.parametrize("kind", ["soft tissue", "nothing below 0", "air", "with bone"])
def test_crops_of_a_ct_in_hu_are_no_other_unit(in_hu, kind):
    rng = np.random.RandomState(0)
    values = {
        "soft tissue": 50 + 20 * rng.standard_normal((1, 32, 32)), "nothing below 0": rng.uniform(30, 90, (1, 32, 32)),
        "air": -1000 + 5 * rng.standard_normal((1, 32, 32)),
        "with bone": np.where(rng.uniform(size=(1, 32, 32)) < 0.4, rng.uniform(300, 1500, (1, 32, 32)), 40.0),
    }[kind]  # fmt: skip
    RandInsertTumor(in_hu, prob=1.0).set_random_state(seed=0)(meta(values))


def test_weights_of_mr_take_scaled_mr_and_refuse_hu(weights, abdomen, head):
    scaled = ScaleIntensityRange(float(head.slice.min()), float(head.slice.max()), -1, 1)(meta(head.slice))
    transform = RandInsertTumor(weights, prob=1.0).set_random_state(seed=0)
    assert transform(scaled, None, head.slice_organ) and transform.lesions
    with pytest.raises(DataError, match="look like a CT in HU"):
        transform(meta(abdomen[0][None]))
