"""CycleGAN's objective is equation 3 of the paper, term by term."""

import pytest
import torch

from medaug.errors import ConfigError
from medaug.models.methods import build_translator

from .conformance import HEALTHY, TUMOR, BrightIsLabelled, make_batch

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


def test_a_residual_generator_of_zero_changes_nothing():
    translator = build(residual=True, generator="unet")
    for parameter in translator.generators["a2b"].head.parameters():
        torch.nn.init.zeros_(parameter)
    a = make_batch(2)["a"]
    assert torch.equal(translator.translate(a, "a2b"), a)
    with torch.no_grad():
        translator.generators["a2b"].head.conv.bias.fill_(50.0)
    assert torch.equal(translator.translate(a, "a2b"), torch.ones_like(a))


def test_the_change_itself_can_cost():
    batch, translator = make_batch(2), build(change_weight=3.0)
    losses, fakes = translator.generator_losses(batch)
    expected = 3 * (fakes["b"] - batch["a"]).abs().mean()
    assert float(losses["change_a2b"].detach()) == pytest.approx(float(expected), rel=1e-5)
    assert "change_b2a" in losses and "change_a2b" not in build().generator_losses(batch)[0]


def test_several_channels_are_translated_together():
    translator = build(channels=2)
    x = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    assert translator.translate(x, "a2b").shape == x.shape


LABELS = {"label_input": 2, "label_discriminator": True}


def reading_labels(dims=2, **more):
    translator = build_translator("cyclegan", SMALL | LABELS | more, HEALTHY, TUMOR, dims)
    translator.attach_segmenter(BrightIsLabelled(classes=2))
    return translator


def labelled_batch(dims=2):
    """Two classes: inside the ball, and everything else."""
    batch = make_batch(dims)
    return batch | {"label_a": torch.cat([batch["mask_a"], 1 - batch["mask_a"]], dim=1)}


@pytest.mark.parametrize("dims", [2, 3])
def test_the_translation_to_b_follows_the_label_and_the_way_back_has_none(dims):
    translator, batch = reading_labels(dims), labelled_batch(dims)
    other = batch["label_a"].flip(1)
    with torch.no_grad():
        one, two = (translator.translate(batch["a"], "a2b", mask=label) for label in (batch["label_a"], other))
        assert not torch.equal(one, two)
        back = [translator.translate(batch["b"], "b2a", mask=label) for label in (None, other)]
    assert torch.equal(*back)


def test_labels_are_asked_for_with_their_number_of_classes():
    translator, batch = reading_labels(), labelled_batch()
    for mask, found in ((None, "none"), (batch["mask_a"], "1")):
        with pytest.raises(ValueError, match=f"labels of 2 classes; found {found}: pass mask="):
            translator.translate(batch["a"], "a2b", mask=mask)
    del batch["label_a"]
    with pytest.raises(ConfigError, match="found images of A without labels; expected a label for each"):
        translator.generator_losses(batch)


def test_without_a_segmenter_nothing_stands_in_for_the_labels_of_b():
    translator = build_translator("cyclegan", SMALL | LABELS, HEALTHY, TUMOR, 2)
    with pytest.raises(ConfigError, match="label_input is 2, but there is no segmenter"):
        translator.generator_losses(labelled_batch())


def test_discriminators_are_shown_the_labels_of_a_and_for_b_what_the_segmenter_sees():
    translator, batch = reading_labels(), labelled_batch()
    _, fakes = translator.generator_losses(batch)
    assert torch.equal(fakes["b"][:, 1:], batch["label_a"])
    assert torch.equal(translator.real_of(batch, "a"), torch.cat([batch["a"], batch["label_a"]], dim=1))
    with torch.no_grad():
        seen = torch.sigmoid(BrightIsLabelled(2)(translator.translate(batch["b"], "b2a")))
    assert torch.equal(translator.real_of(batch, "b"), torch.cat([batch["b"], seen], dim=1))
    assert torch.equal(fakes["a"][:, 1:], seen)


def test_a_wrong_label_on_the_way_round_costs_the_round_trip_term():
    batch, losses = labelled_batch(), {}
    for name, label in (("right", batch["label_a"]), ("wrong", 1 - batch["label_a"])):
        found, _ = reading_labels(round_trip_weight=2.0).generator_losses(batch | {"label_a": label})
        losses[name] = found["segmentation_round_trip"]
    assert losses["right"].requires_grad and not torch.equal(losses["right"], losses["wrong"])


def test_neighbouring_slices_and_the_label_of_the_middle_one_train_together():
    translator, batch = reading_labels(channels=3, round_trip_weight=1.0), labelled_batch()
    batch |= {key: batch[key].expand(-1, 3, -1, -1).contiguous() for key in ("a", "b")}
    losses, fakes = translator.generator_losses(batch)
    sum(losses.values()).backward()
    assert fakes["b"].shape[1] == 5 and all(torch.isfinite(value) for value in losses.values())
    assert all(any(p.grad.any() for p in network.parameters()) for network in translator.generators.values())
