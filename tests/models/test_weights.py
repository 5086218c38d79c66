"""Weights that do not fit this version of medaug are refused, not half loaded."""

import pytest
import torch

from medaug.data.weights import SHIPPED, read_weights, write_weights
from medaug.errors import WeightsError
from medaug.models.methods import build_translator
from medaug.models.weights import load_weights, save_translator
from medaug.transforms import RandInsertTumor

from .conformance import HEALTHY, TUMOR, prior_of

SMALL = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}


@pytest.fixture
def parts(tmp_path):
    """The tensors and metadata of good weights."""
    translator = build_translator("mask-guided-cyclegan", SMALL, HEALTHY, TUMOR, 2)
    save_translator(tmp_path / "good", translator, prior_of(translator), {"spacing_mm": [1.0, 0.5]})
    return read_weights(tmp_path / "good")


def test_weights_say_what_they_are(tmp_path, parts):
    _, metadata = parts
    weights = load_weights(tmp_path / "good")
    assert weights.spacing_mm == (1.0, 0.5) and weights.uses_references
    assert metadata["method"] == "mask-guided-cyclegan" and metadata["settings"]["width"] == 4
    assert metadata["domain_a"]["window"] == {"low": -100, "high": 300, "unit": "HU"}


def test_discriminators_stay_out_of_the_weights(parts):
    assert all(name.startswith(("generators.", "prior.")) for name in parts[0])


@pytest.mark.parametrize(
    "change",
    [
        {"method": "gan"},
        {"settings": {**SMALL, "depth": 3}},
        {"settings": {"colour": 1}},
        {"spatial_dims": 5},
        {"domain_a": {}},
        {"domain_b": {"name": "x", "modality": "CT", "window": {"low": 3, "high": 1}}},
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path, parts, change):
    tensors, metadata = parts
    write_weights(tmp_path / "bad", tensors, metadata | change)
    with pytest.raises(WeightsError, match="bad: these are not weights this version of medaug can use"):
        load_weights(tmp_path / "bad")


@pytest.mark.parametrize("key", ["method", "settings", "spatial_dims", "domain_a", "prior"])
def test_metadata_that_is_missing_is_refused(tmp_path, parts, key):
    tensors, metadata = parts
    write_weights(tmp_path / "bad", tensors, {k: v for k, v in metadata.items() if k != key})
    with pytest.raises(WeightsError, match=key):
        load_weights(tmp_path / "bad")


def test_missing_or_misshapen_tensors_are_refused(tmp_path, parts):
    tensors, metadata = parts
    name = next(iter(tensors))
    write_weights(tmp_path / "fewer", {k: v for k, v in tensors.items() if k != name}, metadata)
    write_weights(tmp_path / "other", tensors | {name: torch.zeros(3)}, metadata)
    for folder in ("fewer", "other"):
        with pytest.raises(WeightsError, match=name.removeprefix("generators.")):
            load_weights(tmp_path / folder)


def test_weights_that_come_with_the_package_are_found_by_their_name_and_work():
    shipped = load_weights("phantoms/head")
    assert shipped.sequences == ("flair",) and shipped.lesion_prior.references
    assert shipped.translator.config.fill == "emptied"  # they were trained before there was a choice
    assert sum(path.stat().st_size for path in (SHIPPED / "phantoms" / "head").iterdir()) <= 3 * 2**20
    insertion = RandInsertTumor("phantoms/head", prob=1.0)
    insertion.set_random_state(seed=0)
    image = torch.full((1, 96, 96), -1.0)
    image[:, 16:80, 16:80] = 0.8 * torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    edited, label = insertion(image, torch.zeros(1, 96, 96))
    assert label.any() and torch.equal(edited[label == 0], image[label == 0])


def test_a_folder_on_the_disk_goes_before_weights_that_come_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phantoms" / "head").mkdir(parents=True)
    with pytest.raises(WeightsError, match="missing"):
        load_weights("phantoms/head")
