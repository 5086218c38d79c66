"""CycleGAN's objective is equation 3 of the paper, term by term."""

import pytest
import torch

from medaug.translators import build_translator

from .conformance import HEALTHY, TUMOR, make_batch

SMALL = {"width": 4, "depth": 1, "discriminator_width": 4, "discriminator_layers": 1, "cycle_noise": 0.0}


def build(**more):
    return build_translator("cyclegan", SMALL | more, HEALTHY, TUMOR, 2)


def test_losses_are_those_of_the_paper():
    batch, translator = make_batch(2), build()
    a, b = batch["a"], batch["b"]
    to_b, to_a = (lambda x: translator.translate(x, "a2b")), (lambda x: translator.translate(x, "b2a"))
    losses, fakes = translator.generator_losses(batch)
    scores = translator.discriminators["b"](to_b(a))
    expected = {
        "adversarial_a2b": ((scores - 1) ** 2).mean(),
        "cycle_a": 10 * (to_a(to_b(a)) - a).abs().mean(),
        "cycle_b": 10 * (to_b(to_a(b)) - b).abs().mean(),
        "identity_a": 5 * (to_a(a) - a).abs().mean(),
        "identity_b": 5 * (to_b(b) - b).abs().mean(),
    }
    for name, value in expected.items():
        assert float(losses[name].detach()) == pytest.approx(float(value.detach()), rel=1e-5), name
    judged = translator.discriminator_losses(batch, fakes)
    real = translator.discriminators["b"](b)
    expected_b = 0.5 * (((real - 1) ** 2).mean() + (scores**2).mean())
    assert float(judged["discriminator_b"].detach()) == pytest.approx(float(expected_b.detach()), rel=1e-5)


def test_identity_terms_can_be_turned_off():
    losses, _ = build(identity_weight=0.0).generator_losses(make_batch(2))
    assert set(losses) == {"adversarial_a2b", "adversarial_b2a", "cycle_a", "cycle_b"}


def test_noise_on_the_fake_reaches_the_cycle_only():
    batch = make_batch(2)
    plain, noisy = build().generator_losses(batch), build(cycle_noise=0.3).generator_losses(batch)
    assert torch.equal(plain[1]["a"], noisy[1]["a"]) and torch.equal(plain[1]["b"], noisy[1]["b"])
    changed = {name for name in plain[0] if not torch.equal(plain[0][name], noisy[0][name])}
    assert changed == {"cycle_a", "cycle_b"}


def test_several_channels_are_translated_together():
    translator = build(channels=2)
    x = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    assert translator.translate(x, "a2b").shape == x.shape
