"""A GAN's weights load as they were saved, as a GAN only, and are refused where they do not fit."""

import pytest
import torch

from medaug.data.weights import read_weights, write_weights
from medaug.errors import WeightsError
from medaug.models.noise.latent import sample
from medaug.models.noise.weights import load_gan, save_gan
from medaug.models.weights import load_weights

from .toy import DOMAIN, tiny_gan


@pytest.fixture
def folder(tmp_path):
    save_gan(tmp_path / "gan", tiny_gan(), {"spacing_mm": [2.0, 1.0], "note": "x"})
    return tmp_path / "gan"


@pytest.mark.parametrize("size", [(16, 8), (8, 8, 4)])
def test_saved_weights_make_the_same_crops_bit_for_bit(tmp_path, size):
    gan = tiny_gan(size, augment=("translation",))
    digest = save_gan(tmp_path / "w", gan, {"spacing_mm": [1.0] * len(size), "note": "x"})
    loaded = load_gan(tmp_path / "w")
    assert loaded.gan.size == size and loaded.gan.config == gan.config and loaded.gan.domain == DOMAIN
    assert loaded.facts.sha256 == digest and loaded.facts.note == "x"
    assert not loaded.gan.training and not any(p.requires_grad for p in loaded.gan.parameters())
    drawn = [sample(g, 3, 1, torch.Generator().manual_seed(2)).images for g in (gan.eval(), loaded.gan)]
    assert torch.equal(*drawn)


def test_the_discriminator_stays_out_of_the_weights(folder):
    tensors, metadata = read_weights(folder)
    assert all(name.startswith("generators.x.") for name in tensors)
    assert metadata["method"] == "dcgan" and metadata["classes"] == ["healthy", "tumor"]
    assert load_gan(folder).spacing_mm == (2.0, 1.0)


def test_weights_of_the_other_kind_are_refused_naming_both_methods(folder, weights_folder):
    with pytest.raises(WeightsError, match=r"of a GAN from noise \(dcgan\); expected .* translator \(.*cyclegan"):
        load_weights(folder)
    with pytest.raises(WeightsError, match=r"of a translator \(mask-guided-cyclegan\); expected .* noise \(dcgan\)"):
        load_gan(weights_folder)


@pytest.mark.parametrize(
    "change", [{"settings": {"width": 5}}, {"settings": {"colour": 1}}, {"size": [18, 16]}, {"domain": {}}]
)
def test_metadata_that_does_not_fit_is_refused(tmp_path, folder, change):
    tensors, metadata = read_weights(folder)
    write_weights(tmp_path / "bad", tensors, metadata | change)
    with pytest.raises(WeightsError, match="bad: these are not weights this version of medaug can use"):
        load_gan(tmp_path / "bad")


def test_missing_tensors_are_refused(tmp_path, folder):
    tensors, metadata = read_weights(folder)
    name = next(iter(tensors))
    write_weights(tmp_path / "fewer", {k: v for k, v in tensors.items() if k != name}, metadata)
    with pytest.raises(WeightsError, match=name.removeprefix("generators.")):
        load_gan(tmp_path / "fewer")
