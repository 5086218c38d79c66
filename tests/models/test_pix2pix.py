"""pix2pix learns from pairs, and says so where there are none; mask-guided pix2pix makes its own."""

import pytest
import torch

from medaug.errors import ConfigError, DataError
from medaug.models.insertion.base import insertion_weight, removal_weight
from medaug.models.methods import build_translator

from .conformance import HEALTHY, TUMOR, make_batch

SMALL = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}


def build(method: str = "pix2pix", **more):
    return build_translator(method, SMALL | more, HEALTHY, TUMOR, 2)


def test_losses_are_those_of_the_paper_both_ways():
    batch, translator = make_batch(2), build()
    a, b = batch["a"], batch["b"]
    fake_b, fake_a = translator.translate(a, "a2b"), translator.translate(b, "b2a")
    losses, fakes = translator.generator_losses(batch)
    scores = translator.discriminators["b"](torch.cat([fake_b, a], 1))
    expected = {
        "adversarial_a2b": ((scores - 1) ** 2).mean(),
        "l1_a2b": 100 * (fake_b - b).abs().mean(),
        "l1_b2a": 100 * (fake_a - a).abs().mean(),
    }
    for name, value in expected.items():
        assert float(losses[name].detach()) == pytest.approx(float(value.detach()), rel=1e-5), name
    real = translator.discriminators["b"](torch.cat([b, a], 1))
    judged = translator.discriminator_losses(batch, fakes)["discriminator_b"]
    assert float(judged.detach()) == pytest.approx(
        0.5 * float((((real - 1) ** 2).mean() + (scores**2).mean()).detach())
    )


@pytest.mark.parametrize("outside", [0.0, 0.1])
def test_a_regression_counts_what_lies_in_the_body_in_full(outside):
    settings = {"width": 4, "depth": 2, "outside_weight": outside}
    batch, translator = make_batch(2), build_translator("regression", settings, HEALTHY, TUMOR, 2)
    body = batch["mask_b"]
    losses, _ = translator.generator_losses(batch | {"body_b": body})
    weight = body + outside * (1 - body)
    difference = (translator.translate(batch["a"], "a2b") - batch["b"]).abs() * weight
    expected = (difference.flatten(1).sum(1) / weight.flatten(1).sum(1)).mean()
    assert float(losses["l1_a2b"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    noise = batch | {"b": torch.where(body > 0, batch["b"], -batch["b"]), "body_b": body}
    changed, _ = translator.generator_losses(noise)
    assert (changed["l1_a2b"] == losses["l1_a2b"]) == (outside == 0)
    with pytest.raises(DataError, match="regression: found 0 registered pairs among 3 samples"):
        translator.check_batch(batch | {"paired": torch.zeros(3)})


def test_discriminators_see_the_input_beside_the_output():
    batch, translator = make_batch(2), build()
    _, fakes = translator.generator_losses(batch)
    judged = translator.discriminator_losses(batch, fakes)
    other = translator.discriminator_losses(batch | {"a": batch["a"].roll(3, -1)}, fakes)
    assert not torch.equal(judged["discriminator_b"], other["discriminator_b"])


@pytest.mark.parametrize("paired", [None, [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
def test_unpaired_samples_are_refused_with_the_way_out(paired):
    batch = make_batch(2)
    del batch["paired"]
    if paired is not None:
        batch["paired"] = torch.tensor(paired)
    found = 0 if paired is None else int(sum(paired))
    with pytest.raises(DataError, match=f"found {found} registered pairs among 3 .*pairing.paired=all.*paired_weight"):
        build().check_batch(batch)


def test_pairs_of_unequal_shape_are_refused():
    batch = make_batch(2)
    with pytest.raises(DataError, match=r"\(3, 1, 16, 16\) and \(3, 1, 16, 14\); expected pairs on one grid"):
        build().check_batch(batch | {"b": batch["b"][..., 2:]})


def test_reference_content_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="found 'reference'; .*'free' only: its pairs are a crop and the same crop"):
        build("mask-guided-pix2pix", content="reference")


def test_tumors_are_painted_back_into_their_own_crops():
    batch, translator = make_batch(2), build("mask-guided-pix2pix")
    losses, fakes = translator.generator_losses(batch)
    for domain, term, weight in (("b", "l1_a2b", insertion_weight), ("a", "l1_b2a", removal_weight)):
        real, mask = batch[domain], batch[f"mask_{domain}"]
        fake, soft = fakes[domain][:, :1], weight(mask)
        assert torch.equal(fake[soft == 0], real[soft == 0]) and torch.equal(fakes[domain][:, 1:], mask)
        inside, area = ((fake - real).abs() * soft).sum((1, 2, 3)), soft.sum((1, 2, 3))
        expected = 10 * (inside / area).mean()
        assert float(losses[term].detach()) == pytest.approx(float(expected), rel=1e-5)


def test_what_is_painted_never_depends_on_what_was_there():
    """But for the tumor's edge, which is blended with it."""
    batch, translator = make_batch(2), build("mask-guided-pix2pix")
    hidden = batch | {key: torch.where(batch[f"mask_{key}"] > 0, 0.7, batch[key]) for key in ("a", "b")}
    (_, fakes), (_, other) = translator.generator_losses(batch), translator.generator_losses(hidden)
    weight = insertion_weight(batch["mask_b"])
    edge = torch.cat([(weight > 0) & (weight < 1), torch.zeros_like(weight) > 0], 1)
    assert torch.equal(fakes["a"], other["a"]) and torch.equal(fakes["b"][~edge], other["b"][~edge])
    assert torch.equal(translator.starts(batch)["b"], translator.starts(hidden)["b"])
