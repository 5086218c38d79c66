"""MUNIT's objective is that of the paper, and its styles matter."""

import pytest
import torch

from medaug.models.base import diversity, seeded_noise
from medaug.models.methods import build_translator

from .conformance import HEALTHY, TUMOR, make_batch

SMALL = {"width": 4, "depth": 2, "blocks": 1, "discriminator_width": 4, "discriminator_layers": 1, "cycle_noise": 0.0}


def build(dims: int = 2, **more):
    return build_translator("munit", SMALL | more, HEALTHY, TUMOR, dims)


def test_losses_are_those_of_the_paper():
    batch, translator = make_batch(2), build()
    a, b = batch["a"], batch["b"]
    losses, fakes = translator.generator_losses(batch)
    content, own = translator.encode_content(a, "a"), translator.encode_style(a, "a")
    drawn = seeded_noise(own, batch, salt=0)
    fake = translator.decode(content, drawn, "b")
    returned = translator.encode_content(fake, "b")
    scores = translator.discriminators["b"](fake)
    expected = {
        "adversarial_a2b": ((scores - 1) ** 2).mean(),
        "reconstruction_a": 10 * (translator.decode(content, own, "a") - a).abs().mean(),
        "content_a": (returned - content).abs().mean(),
        "style_b": (translator.encode_style(fake, "b") - drawn).abs().mean(),
        "cycle_a": 10 * (translator.decode(returned, own, "a") - a).abs().mean(),
    }
    for name, value in expected.items():
        assert float(losses[name].detach()) == pytest.approx(float(value.detach()), rel=1e-4), name
    mirrored = {"adversarial_b2a", "reconstruction_b", "content_b", "style_a", "cycle_b"}
    assert set(losses) == set(expected) | mirrored
    judged = translator.discriminator_losses(batch, fakes)["discriminator_b"]
    real = translator.discriminators["b"](b)
    assert float(judged.detach()) == pytest.approx(
        float(0.5 * (((real - 1) ** 2).mean() + (scores**2).mean()).detach()), rel=1e-4
    )


def test_style_augmented_cycle_can_be_turned_off():
    assert not {"cycle_a", "cycle_b"} & set(build(cycle_weight=0.0).generator_losses(make_batch(2))[0])


@pytest.mark.parametrize("dims", [2, 3])
def test_style_is_given_drawn_or_the_mean_of_the_prior(dims):
    translator, x = build(dims, style_dim=6), make_batch(dims)["a"]
    assert translator.style_dim == 6
    drawn = torch.randn(3, 6, generator=torch.Generator().manual_seed(4))
    given = translator.translate(x, "a2b", style=drawn)
    assert torch.equal(translator.translate(x, "a2b", generator=torch.Generator().manual_seed(4)), given)
    assert torch.equal(translator.translate(x, "a2b"), translator.translate(x, "a2b", style=torch.zeros(3, 6)))
    read = translator.encode_style(make_batch(dims)["b"], "b")
    assert read.shape == (3, 6) and not torch.equal(translator.translate(x, "a2b", style=read), given)


@pytest.mark.parametrize("shape", [(1, 8), (3, 7), (8,)])
def test_style_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected a style of shape \(3, 8\), one row a sample; found"):
        build().translate(make_batch(2)["a"], "a2b", style=torch.zeros(shape))


def test_diversity_is_in_the_figures_and_zero_for_decoders_that_ignore_styles():
    translator, batch = build(), make_batch(2)
    figures = translator.figures(batch)
    assert set(figures) == {"diversity_a", "diversity_b"} and min(figures.values()) > 1e-4
    assert figures == translator.figures(batch)
    last = translator.generators["decoder_b"].to_norms[-1]
    torch.nn.init.zeros_(last.weight)
    assert translator.figures(batch)["diversity_b"] == 0 < translator.figures(batch)["diversity_a"]


def test_diversity_is_the_mean_distance_of_pairs_inside_the_weight():
    styles = torch.randn((4, 1, 1), generator=torch.Generator().manual_seed(0)).flatten().tolist()
    x, weight = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    weight[..., 0] = 1

    def shade(style):
        return torch.where(weight > 0, style[:, :, None, None], 100 * style[:, :, None, None])

    pairs = [abs(p - q) for i, p in enumerate(styles) for q in styles[i + 1 :]]
    assert diversity(shade, x, 1, weight) == pytest.approx(sum(pairs) / 6, rel=1e-4)
