"""UNIT's latent space is one, and its shared layers are really shared."""

import pytest
import torch

from medaug.models.losses import kl_to_standard_normal, l1
from medaug.models.methods import build_translator

from .conformance import HEALTHY, TUMOR, make_batch

SMALL = {"width": 4, "depth": 2, "blocks": 1, "discriminator_width": 4, "discriminator_layers": 1}
METHODS = pytest.mark.parametrize("method", ["unit", "mask-guided-unit"])
SHARED = ("shared_encoder", "shared_decoder")


def build(method: str = "unit", dims: int = 2, **more):
    return build_translator(method, SMALL | more, HEALTHY, TUMOR, dims)


def within_a(translator, batch):
    """A reconstruction of a, through a's own encoder and decoder."""
    if translator.mask_guided:
        mask = batch["mask_a"]
        return translator.decode(translator.encode(batch["a"], "a", mask), "a", mask)
    return translator.decode(translator.encode(batch["a"], "a"), "a")


def within_b(translator, batch):
    if translator.mask_guided:
        mask, style = batch["mask_b"], torch.zeros(3, translator.style_dim)
        return translator.decode(translator.encode(batch["b"], "b", mask), "b", mask, style)
    return translator.decode(translator.encode(batch["b"], "b"), "b")


@METHODS
@pytest.mark.parametrize("dims", [2, 3])
def test_a_step_on_the_reconstruction_of_a_moves_that_of_b_through_the_shared_layers_only(method, dims):
    translator, batch = build(method, dims), make_batch(dims)
    before = within_b(translator, batch).detach()
    own_b = {n: p.clone() for n, p in translator.generators.named_parameters() if n.split(".")[0] not in SHARED}
    optimizer = torch.optim.SGD(translator.generators.parameters(), 0.1)
    l1(within_a(translator, batch), batch["a"]).backward()
    reached = {name.split(".")[0] for name, p in translator.generators.named_parameters() if p.grad is not None}
    assert reached == {"encoder_a", "decoder_a", *SHARED}
    optimizer.step()
    assert not torch.equal(within_b(translator, batch), before)
    parameters = dict(translator.generators.named_parameters())
    assert all(torch.equal(parameters[name], value) for name, value in own_b.items() if name.split(".")[0][-2:] != "_a")


@METHODS
def test_shared_layers_are_one_object_and_saved_once(method):
    translator = build(method)
    for network in SHARED:
        module = translator.generators[network]
        holders = [name for name, child in translator.named_modules(remove_duplicate=False) if child is module]
        assert holders == [f"generators.{network}"]
        weights = {p.data_ptr() for p in module.parameters()}
        others = [n for n in translator.generators if n != network]
        assert not any(p.data_ptr() in weights for n in others for p in translator.generators[n].parameters())


@pytest.mark.parametrize("dims", [2, 3])
def test_one_code_is_decoded_in_both_domains(dims):
    translator, x = build(dims=dims), make_batch(dims)["a"]
    z = translator.sample(translator.encode(x, "a"), torch.Generator().manual_seed(0))
    in_a, in_b = translator.decode(z, "a"), translator.decode(z, "b")
    assert in_a.shape == in_b.shape == x.shape and not torch.equal(in_a, in_b)
    assert z.shape == translator.encode(x, "b").shape == (3, 8, *[s // 2 for s in x.shape[2:]])
    drawn = translator.translate(x, "a2b", generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, in_b)


def test_translation_without_a_generator_is_of_the_mean():
    translator, x = build(), make_batch(2)["a"]
    mean = translator.encode(x, "a")
    assert torch.equal(translator.sample(mean, None), mean)
    assert torch.equal(translator.translate(x, "a2b"), translator.decode(mean, "b"))
    noise = translator.sample(mean, torch.Generator().manual_seed(1)) - mean
    assert float(noise.std()) == pytest.approx(1, abs=0.1) and abs(float(noise.mean())) < 0.1


def test_each_weight_scales_its_own_terms():
    batch, names = make_batch(2), ["adversarial", "reconstruction", "kl", "cycle", "cycle_kl"]
    plain = build(**{f"{name}_weight": 1.0 for name in names}).generator_losses(batch)[0]
    assert len(plain) == 10
    for name in names:
        changed = build(**{f"{n}_weight": 3.0 if n == name else 1.0 for n in names}).generator_losses(batch)[0]
        for term, value in plain.items():
            factor = 3 if term[: term.rindex("_")] == name else 1
            assert float(changed[term].detach()) == pytest.approx(factor * float(value.detach()), rel=1e-5), term


def test_divergences_are_of_the_encoded_means_and_of_their_return():
    batch, translator = make_batch(2), build(kl_weight=1.0, cycle_kl_weight=1.0)
    losses, fakes = translator.generator_losses(batch)
    own = kl_to_standard_normal(translator.encode(batch["a"], "a"))
    back = kl_to_standard_normal(translator.encode(fakes["b"], "b"))
    assert float(losses["kl_a"].detach()) == pytest.approx(float(own.detach()), rel=1e-4)
    assert float(losses["cycle_kl_a"].detach()) == pytest.approx(float((own + back).detach()), rel=1e-4)


def test_plain_unit_knows_no_styles():
    translator = build()
    assert translator.style_dim == 0
    with pytest.raises(ValueError, match="'unit' knows no styles"):
        translator.encode_style(make_batch(2)["a"], "a")
