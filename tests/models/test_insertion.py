"""Insertion and removal edit inside the mask and nowhere else, and removal never looks at what it removes."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from medaug.models.insertion.base import REACH_VOXELS, insertion_weight, removal_weight
from medaug.models.methods import MaskGuidedCycleGAN, build_translator

from .conformance import DIRECTIONS, HEALTHY, TUMOR, make_batch, translate

SMALL = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}
REACH = {"a2b": 0, "b2a": REACH_VOXELS}
"""Of an insertion and a removal, beyond the mask."""
CONTENTS = pytest.mark.parametrize("content", ["reference", "free"])
BOTH_WAYS = pytest.mark.parametrize("direction", DIRECTIONS)
DIMS = pytest.mark.parametrize("dims", [2, 3])


def build(content: str, dims: int = 2, **more) -> MaskGuidedCycleGAN:
    return build_translator("mask-guided-cyclegan", SMALL | {"content": content} | more, HEALTHY, TUMOR, dims)


def beyond(mask: torch.Tensor, voxels: int) -> torch.Tensor:
    """Where nothing within `voxels` along any axis or diagonal is masked."""
    structure = np.ones([1, 1] + [2 * voxels + 1] * (mask.ndim - 2), dtype=bool)
    return torch.from_numpy(~binary_dilation(mask.numpy() > 0, structure))


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous().view(torch.int32)


BUILT = {(content, dims): build(content, dims).eval() for content in ("reference", "free") for dims in (2, 3)}


@CONTENTS
@DIMS
@BOTH_WAYS
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(seed=st.integers(0, 2**31), share=st.sampled_from([0.0, 0.003, 0.02, 0.3, 1.0]))
def test_voxels_beyond_the_reach_are_bit_identical(content, dims, direction, seed, share):
    rng = torch.Generator().manual_seed(seed)
    shape = (2, 1, *{2: [16, 20], 3: [8, 8, 12]}[dims])
    x = torch.rand(shape, generator=rng) * 2 - 1
    mask = (torch.rand(shape, generator=rng) < share).float()
    with torch.no_grad():
        output = BUILT[content, dims].translate(x, direction, mask=mask, generator=rng)
    outside = beyond(mask, REACH[direction])
    assert torch.equal(bits(output)[outside], bits(x)[outside])
    if share:
        assert (output != x)[mask > 0].any() or not mask.any()


@CONTENTS
@DIMS
def test_fakes_for_the_discriminators_are_the_input_beyond_the_reach(content, dims):
    batch = make_batch(dims)
    _, fakes = build(content, dims).generator_losses(batch)
    for fake, source in (("b", "a"), ("a", "b")):
        mask = batch[f"mask_{source}"]
        image, shown = fakes[fake][:, :1], fakes[fake][:, 1:]
        outside = beyond(mask, REACH[f"{source}2{fake}"])
        assert torch.equal(image[outside], batch[source][outside])
        assert torch.equal(shown, mask)


@CONTENTS
@DIMS
def test_removal_does_not_depend_on_what_the_mask_covers(content, dims):
    batch = make_batch(dims)
    mask = batch["mask_b"]
    changed = batch | {"b": torch.where(mask > 0, -batch["b"] + 0.3 * torch.cos(37 * batch["b"]), batch["b"])}
    assert not torch.equal(changed["b"], batch["b"])
    translator = build(content, dims)
    assert torch.equal(translate(translator, batch, "b2a", 1), translate(translator, changed, "b2a", 1))


@DIMS
def test_free_insertion_does_not_depend_on_what_the_mask_covers(dims):
    """But for the tumor's edge, which is blended with it."""
    batch = make_batch(dims)
    changed = batch | {"a": torch.where(batch["mask_a"] > 0, 0.8, batch["a"])}
    translator, weight = build("free", dims), insertion_weight(batch["mask_a"])
    first, second = (translate(translator, x, "a2b", 1) for x in (batch, changed))
    core = (weight == 0) | (weight == 1)
    assert torch.equal(first[core & (batch["mask_a"] > 0)], second[core & (batch["mask_a"] > 0)])


def test_reference_insertion_starts_from_the_pasted_lesion():
    batch, translator = make_batch(2), build("reference")
    pasted = translator.paste(batch["a"], batch["reference_a"], batch["mask_a"])
    core, outside = beyond(1 - batch["mask_a"], 1), beyond(batch["mask_a"], 0)
    assert torch.equal(pasted[core], batch["reference_a"][core]) and core.any()
    assert torch.equal(pasted[outside], batch["a"][outside])
    other = translator.generator_losses(batch | {"reference_a": -batch["reference_a"]})[1]["b"]
    assert not torch.equal(other, translator.generator_losses(batch)[1]["b"])


@DIMS
def test_a_removal_starts_from_what_is_around_and_knows_nothing_of_what_was_there(dims):
    batch, translator = make_batch(dims), build("reference", dims)
    region = removal_weight(batch["mask_b"]) > 0
    seen = translator.seen(batch["b"], batch["mask_b"], "b2a")
    assert torch.equal(seen[~region], batch["b"][~region])
    unknown = torch.where(region, torch.nan, batch["b"])
    assert torch.equal(seen, translator.seen(unknown, batch["mask_b"], "b2a"))
    for sample, known, inside in zip(seen, ~region, region, strict=True):
        assert sample[known].min() <= sample[inside].min() and sample[inside].max() <= sample[known].max()
    flat = torch.where(region, 0.9, torch.full_like(batch["b"], -0.25))
    torch.testing.assert_close(translator.seen(flat, batch["mask_b"], "b2a"), torch.full_like(flat, -0.25))
    assert not translator.seen(flat, torch.ones_like(batch["mask_b"]), "b2a").any()
    emptied = build("reference", dims, fill="emptied").seen(batch["b"], batch["mask_b"], "b2a")
    assert not emptied[region].any()


def test_free_insertion_needs_no_reference():
    batch = make_batch(2)
    del batch["reference_a"]
    losses, _ = build("free").generator_losses(batch)
    assert set(losses) == {"adversarial_a2b", "adversarial_b2a", "cycle_a", "cycle_b", "texture_a"}


@CONTENTS
@BOTH_WAYS
def test_empty_mask_changes_nothing(content, direction):
    batch = make_batch(2)
    x = batch[direction[0]]
    output = build(content).translate(x, direction, mask=torch.zeros_like(x))
    assert torch.equal(bits(output), bits(x))


@CONTENTS
def test_losses_stay_finite_without_any_masked_voxel(content):
    batch = make_batch(2)
    batch |= {"mask_a": torch.zeros_like(batch["mask_a"]), "mask_b": torch.zeros_like(batch["mask_b"])}
    losses, _ = build(content).generator_losses(batch)
    assert all(torch.isfinite(value) for value in losses.values())
    assert not losses["cycle_a"] and not losses["cycle_b"]


def test_cycle_and_identity_count_inside_the_edit_only():
    batch, translator = make_batch(2), build("reference", cycle_noise=0.0)
    losses, fakes = translator.generator_losses(batch)
    soft = removal_weight(batch["mask_a"])
    with torch.no_grad():
        noise = torch.zeros_like(soft)
        back = translator.edit(fakes["b"][:, :1], batch["mask_a"], "b2a", noise)
    difference = ((back - batch["a"]).abs() * soft).sum() / soft.sum()
    assert float(difference) > 0
    assert float(losses["cycle_a"].detach()) == pytest.approx(5 * float(difference), rel=0.1)


@pytest.mark.parametrize("term", ["cycle", "adversarial", "identity"])
def test_each_weight_scales_its_own_terms_linearly(term):
    batch = make_batch(2)
    plain, _ = build("reference", **{f"{term}_weight": 1.0}).generator_losses(batch)
    tripled, _ = build("reference", **{f"{term}_weight": 3.0}).generator_losses(batch)
    for name, value in plain.items():
        factor = 3 if name.startswith(term) else 1
        assert float(tripled[name].detach()) == pytest.approx(factor * float(value.detach()), rel=1e-5), name


def test_identity_of_reference_insertion_can_be_turned_off():
    batch = make_batch(2)
    assert "identity_b" in build("reference", identity_weight=1.0).generator_losses(batch)[0]
    assert "identity_b" not in build("reference", identity_weight=0.0).generator_losses(batch)[0]


def test_discriminators_see_the_mask():
    batch, translator = make_batch(2), build("reference", spectral=False)
    _, fakes = translator.generator_losses(batch)
    judged = translator.discriminator_losses(batch, fakes)
    elsewhere = batch | {"mask_b": torch.roll(batch["mask_b"], 5, dims=-1)}
    other = translator.discriminator_losses(elsewhere, fakes)
    assert not torch.equal(judged["discriminator_b"], other["discriminator_b"])
    assert torch.equal(judged["discriminator_a"], other["discriminator_a"])
