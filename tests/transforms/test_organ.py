"""An organ found once serves every insertion as one found each time would."""

import numpy as np
import pytest
from monai.data import CacheDataset
from monai.transforms import Compose
from monai.transforms.traits import RandomizableTrait

import medaug.transforms.base as shared
from medaug.transforms import FindOrgan, FindOrganD, FindOrgand, FindOrganDict, GrowTumord, RandInsertTumord
from tests.transforms.conftest import KINDS


@pytest.fixture
def case(head):
    return {"image": head.slice, "label": head.slice_label}


@pytest.mark.parametrize(
    ("random", "arguments"),
    [(RandInsertTumord, {"prob": 1.0}), (GrowTumord, {"steps": 3, "start_mm": 14.0, "doubling_days": 30.0})],
)
def test_tumors_are_the_same_with_the_organ_found_before(weights, case, random, arguments):
    once = Compose([FindOrgand("image", weights), random("image", weights, organ_key="organ", **arguments)])
    each_time = Compose([random("image", weights, **arguments)])
    results = [pipeline.set_random_state(seed=3)(case) for pipeline in (once, each_time)]
    for key in ("image", "label"):
        assert (results[0][key] == results[1][key]).all()
    assert (results[0]["label"] > 0).sum() > (case["label"] > 0).sum()


def test_the_organ_of_a_cached_case_is_found_once(weights, case, monkeypatch):
    calls, find = [], shared.find_organ
    monkeypatch.setattr(shared, "find_organ", lambda *a, **k: calls.append(1) or find(*a, **k))
    pipeline = Compose([FindOrgand("image", weights), RandInsertTumord("image", weights, organ_key="organ", prob=1.0)])
    dataset = CacheDataset([case], pipeline, progress=False, num_workers=1)
    for _ in range(3):
        dataset[0]
    assert calls == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_organ_lies_on_the_image_in_its_kind_of_container(weights, head, as_kind, kind):
    given = as_kind(head.image[None], kind)
    organ = FindOrgan(weights)(given)
    assert isinstance(organ, type(given)) and organ.shape == given.shape
    assert str(organ.dtype).endswith("uint8") and set(np.unique(organ)) == {0, 1}
    if kind == "metatensor":
        assert (organ.affine == given.affine).all()


def test_a_wider_margin_leaves_less(weights, head):
    sizes = [int(FindOrgan(weights, organ_margin_mm=margin)(head.slice).sum()) for margin in (6.0, 24.0)]
    assert sizes[0] > sizes[1] > 0


def test_an_organ_that_a_case_has_is_kept(weights, case, head):
    case["organ"] = head.slice_organ
    assert FindOrgand("image", weights)(case)["organ"] is case["organ"]


def test_it_is_deterministic_and_has_the_names_that_monai_gives():
    assert FindOrganD is FindOrgand is FindOrganDict
    assert not issubclass(FindOrgan, RandomizableTrait) and not issubclass(FindOrgand, RandomizableTrait)
