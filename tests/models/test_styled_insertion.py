"""One mask, many tumors: the style changes what is inside the mask and nothing else."""

import pytest
import torch

from medaug.models.insertion.base import insertion_weight, removal_weight
from medaug.models.insertion.styled import disguised
from medaug.models.methods import build_translator

from .conformance import HEALTHY, TUMOR, make_batch

SMALL = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}
METHODS = pytest.mark.parametrize("method", ["mask-guided-unit", "mask-guided-munit"])
CONTENTS = pytest.mark.parametrize("content", ["reference", "free"])
DIMS = pytest.mark.parametrize("dims", [2, 3])


def build(method: str, content: str = "reference", dims: int = 2, **more):
    return build_translator(method, SMALL | {"content": content} | more, HEALTHY, TUMOR, dims)


@METHODS
@CONTENTS
@DIMS
def test_ten_styles_give_ten_tumors_inside_the_mask_and_nothing_outside(method, content, dims):
    translator, batch = build(method, content, dims), make_batch(dims, count=1)
    start, mask = translator.start_of(batch, "a2b"), batch["mask_a"]
    styles = torch.randn(10, translator.style_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tumors = [translator.translate(start, "a2b", mask=mask, style=style[None]) for style in styles]
    outside = mask == 0
    assert all(torch.equal(tumor[outside], batch["a"][outside]) for tumor in tumors)
    for i, one in enumerate(tumors):
        assert all(float((one - other)[mask > 0].abs().mean()) > 1e-5 for other in tumors[:i])


@METHODS
def test_drawn_style_is_that_of_the_generator_and_noise_is_the_same_beside_a_given_one(method):
    translator, batch = build(method), make_batch(2)
    x, mask = batch["a"], batch["mask_a"]
    rng = torch.Generator().manual_seed(3)
    torch.randn(translator.noise_like(mask).shape, generator=rng)
    style = torch.randn(3, translator.style_dim, generator=rng)
    drawn = translator.translate(x, "a2b", mask=mask, generator=torch.Generator().manual_seed(3))
    given = translator.translate(x, "a2b", mask=mask, style=style, generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, given)
    still, mean = translator.translate(x, "a2b", mask=mask), torch.zeros(3, translator.style_dim)
    assert torch.equal(still, translator.translate(x, "a2b", mask=mask, style=mean)) and not torch.equal(still, drawn)


@METHODS
def test_a_tumor_is_restored_better_in_its_own_style_than_in_anothers(method):
    """Tumors of one place that differ in brightness; after a short overfit the style has to tell which one it is."""
    batch = make_batch(2)
    levels = torch.tensor([-0.4, 0.1, 0.6]).view(3, 1, 1, 1)
    batch["mask_b"] = batch["mask_b"][:1].repeat(3, 1, 1, 1)
    batch["b"] = torch.where(batch["mask_b"] > 0, levels, batch["b"][:1])
    translator = build(method, "free", width=8)
    optimizer = torch.optim.Adam(translator.generators.parameters(), 5e-3, (0.5, 0.99))
    for step in range(40):
        optimizer.zero_grad()
        losses, _ = translator.generator_losses(batch | {"seed": batch["seed"] + step})
        sum(value for name, value in losses.items() if name.split("_")[0] in ("cycle", "reconstruction")).backward()
        optimizer.step()
    mask = batch["mask_b"]
    with torch.no_grad():
        own = translator.encode_style(batch["b"], "b", mask=mask)
        start = translator.to_restore(batch["b"], batch)
        error = [
            float((translator.translate(start, "a2b", mask=mask, style=style) - batch["b"])[mask > 0].abs().mean())
            for style in (own, own.roll(1, dims=0))
        ]
    assert error[0] < 0.7 * error[1]


@METHODS
def test_only_tumors_have_a_style(method):
    translator, batch = build(method), make_batch(2)
    x, mask = batch["b"], batch["mask_b"]
    assert translator.encode_style(x, "b", mask=mask).shape == (3, translator.style_dim)
    with pytest.raises(ValueError, match=f"'{method}': found domain 'a'; only tumors"):
        translator.encode_style(x, "a", mask=mask)
    with pytest.raises(ValueError, match="is mask-guided: pass mask="):
        translator.encode_style(x, "b")
    with pytest.raises(ValueError, match="found a style for removal"):
        translator.translate(x, "b2a", mask=mask, style=torch.zeros(3, translator.style_dim))


@METHODS
@CONTENTS
def test_removal_and_free_insertion_do_not_depend_on_what_the_mask_covers(method, content):
    """But for an inserted tumor's edge, which is blended with it."""
    translator, batch = build(method, content), make_batch(2)
    covered = removal_weight(batch["mask_b"]) > 0
    changed = torch.where(covered, 0.7, batch["b"])
    for direction in ("b2a", "a2b"):
        one, other = (translator.translate(x, direction, mask=batch["mask_b"]) for x in (batch["b"], changed))
        hidden = direction == "b2a" or content == "free"
        core = (batch["mask_b"] if direction == "b2a" else insertion_weight(batch["mask_b"])) == 1
        assert torch.equal(one[core], other[core]) == hidden


@METHODS
def test_diversity_in_the_log_is_zero_only_where_styles_are_ignored(method):
    translator, batch = build(method), make_batch(2)
    assert translator.figures(batch)["diversity_b"] > 1e-5
    speaks = {"mask-guided-unit": "from_style", "mask-guided-munit": "decoder_b"}[method]
    network = translator.generators[speaks]
    torch.nn.init.zeros_(getattr(network, "to_norms", [network])[-1].weight)
    assert translator.figures(batch) == {"diversity_b": 0.0}


def test_disguise_changes_brightness_and_contrast_by_seed():
    batch = make_batch(2)
    image, mask = 0.5 * batch["b"], batch["mask_b"]
    hidden = disguised(image, mask, batch)
    assert torch.equal(hidden[1:2], disguised(image[1:2], mask[1:2], {"seed": batch["seed"][1:2]}))
    assert not torch.equal(hidden, disguised(image, mask, {"seed": batch["seed"] + 1}))
    for i in range(3):
        both = torch.stack([image[i].flatten(), hidden[i].flatten()])[:, hidden[i].abs().flatten() < 1]
        assert float(torch.corrcoef(both)[0, 1].abs()) == pytest.approx(1, abs=1e-4)
