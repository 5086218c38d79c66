"""Augmentation is a pure function of image and draws, moves what it says it moves, and lets gradients through."""

import pytest
import torch

from medaug.models.networks.discriminators import AUGMENTATIONS, augment, draws_needed


def image(dims: int, count: int = 3, size: int = 16) -> torch.Tensor:
    return torch.rand((count, 1, *[size] * dims), generator=torch.Generator().manual_seed(0)) * 2 - 1


def draws(dims: int, count: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.rand((count, draws_needed(dims)), generator=torch.Generator().manual_seed(seed))


def middle(dims: int, count: int = 3) -> torch.Tensor:
    return torch.full((count, draws_needed(dims)), 0.5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("policy", [(), *((name,) for name in AUGMENTATIONS), AUGMENTATIONS])
def test_the_same_draws_give_the_same_augmentation_alone_or_in_a_batch(dims, policy):
    x, chance = image(dims), draws(dims)
    before, state = x.clone(), torch.get_rng_state()
    together = augment(x, chance, policy)
    assert together.shape == x.shape and torch.equal(x, before) and torch.equal(torch.get_rng_state(), state)
    for i in range(len(x)):
        torch.testing.assert_close(augment(x[i : i + 1], chance[i : i + 1], policy)[0], together[i])
    assert torch.equal(together, x) == (policy == ())
    assert torch.equal(augment(x, draws(dims, seed=2), policy), together) == (policy == ())


@pytest.mark.parametrize("dims", [2, 3])
def test_gradients_reach_every_voxel_that_is_still_seen(dims):
    x = image(dims).requires_grad_()
    augment(x, draws(dims), AUGMENTATIONS).square().sum().backward()
    assert torch.isfinite(x.grad).all() and (x.grad != 0).float().mean() > 0.9  # the mean reaches the cut-out ones too
    y = image(dims).requires_grad_()
    augment(y, middle(dims), ("cutout",)).sum().backward()
    assert float(y.grad.mean()) == 1 - 0.5**dims


def test_intensity_adds_a_brightness_and_scales_the_contrast_about_the_mean():
    x = image(2)
    torch.testing.assert_close(augment(x, middle(2), ("intensity",)), x)
    brighter, sharper = middle(2), middle(2)
    brighter[:, 0], sharper[:, 1] = 1.0, 1.0
    torch.testing.assert_close(augment(x, brighter, ("intensity",)), x + 0.5)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(augment(x, sharper, ("intensity",)), mean + 1.5 * (x - mean))


@pytest.mark.parametrize("dims", [2, 3])
def test_translation_moves_whole_voxels_and_fills_with_zero(dims):
    x, lowest = image(dims), middle(dims)
    lowest[:, 2 : 2 + dims] = 0.0
    moved = augment(x, lowest, ("translation",))
    inner, outer = (slice(None), slice(None), *[slice(2, None)] * dims), (slice(None), slice(None), *[slice(-2)] * dims)
    assert torch.equal(moved[inner], x[outer]) and not moved[:, :, :2].any()
    assert torch.equal(augment(x, middle(dims), ("translation",)), x)


def test_cutout_blanks_a_box_of_half_the_size():
    blanked = augment(image(2), middle(2), ("cutout",)) == 0
    assert blanked[:, :, 4:12, 4:12].all() and int(blanked.sum()) == 3 * 64
