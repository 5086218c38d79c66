"""Translators of whole images between domains of other numbers of sequences: T1 and T2 to CT."""

import pytest
import torch

from medaug.errors import ConfigError
from medaug.models.facts import TranslatorFacts
from medaug.models.methods import TRANSLATORS, build_translator
from medaug.models.network import DirectionNetwork
from medaug.models.weights import load_weights, save_translator
from medaug.volumes import Domain, Window

from .conformance import small

MR = Domain("t1+t2", "MR", others=(Domain("t2", "MR"),))
CT = Domain("ct", "CT", Window(-1000, 1000, "HU"))
SMALL = {"width": 2, "depth": 2, "discriminator_width": 2, "discriminator_layers": 1}
WHOLE = [name for name, (kind, _) in TRANSLATORS.items() if not kind.mask_guided]
FACTS = {"domain": "ct", "spacing_mm": [1.0, 1.0], "sequences": ["t1", "t2"], "target_sequence": "ct"}


def batch_of(dims):
    chance, size = torch.Generator().manual_seed(0), (16,) * dims
    a, b = (torch.rand(2, channels, *size, generator=chance) * 2 - 1 for channels in (2, 1))
    return {"a": a, "b": b, "paired": torch.ones(2), "seed": torch.tensor([3, 4])}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("method", WHOLE)
def test_both_directions_change_the_number_of_channels_and_train(method, dims):
    translator, batch = build_translator(method, small(method), MR, CT, dims), batch_of(dims)
    for direction, channels in (("a2b", 1), ("b2a", 2)):
        assert translator.translate(batch[direction[0]], direction).shape == (2, channels, *(16,) * dims)
    losses, fakes = translator.generator_losses(batch)
    judged = translator.discriminator_losses(batch, fakes)
    sum((losses | judged).values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in translator.parameters())
    assert not any(name.startswith("identity") for name in losses) and translator.starts(batch) == {}
    network = DirectionNetwork(translator, "a2b", TranslatorFacts.model_validate(FACTS))
    assert (network.channels, network.outputs) == (("image t1", "image t2"), ("image",))
    with torch.inference_mode():
        assert network(batch["a"]).shape == batch["b"].shape


def test_weights_say_the_sequences_of_both_domains(tmp_path):
    translator = build_translator("pix2pix", SMALL, MR, CT, 2)
    save_translator(tmp_path / "w", translator, None, FACTS)
    weights = load_weights(tmp_path / "w")
    assert weights.sequences == ("t1", "t2") and weights.target_sequences == ("ct",)
    x = torch.rand(1, 2, 16, 16)
    assert torch.equal(weights.translator.translate(x, "a2b"), translator.eval().translate(x, "a2b"))


@pytest.mark.parametrize("setting", [{"residual": True}, {"gradient_weight": 1.0}, {"segmentation_weight": 1.0}])
def test_terms_that_hold_an_image_against_its_translation_are_refused(setting):
    with pytest.raises(ConfigError, match=f"translator.{next(iter(setting))}: found domains of 2 and 1 channels"):
        build_translator("cyclegan", SMALL | setting, MR, CT, 2)
