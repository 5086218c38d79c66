"""Losses have the values of their formulas."""

import numpy as np
import pytest
import torch

from medaug.models.losses import (
    adversarial_discriminator,
    adversarial_generator,
    kl_to_standard_normal,
    l1,
    masked_l1,
    texture_difference,
)


def test_adversarial_losses_are_zero_at_their_targets():
    assert adversarial_generator(torch.ones(2, 1, 3, 3)) == 0
    assert adversarial_discriminator(torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)) == 0


def test_adversarial_losses_follow_least_squares():
    real, fake = torch.tensor([0.5, 1.0]), torch.tensor([0.2, 0.4])
    assert float(adversarial_generator(fake)) == pytest.approx((0.64 + 0.36) / 2)
    assert float(adversarial_discriminator(real, fake)) == pytest.approx(0.5 * (0.125 + (0.04 + 0.16) / 2))


def test_l1_is_the_mean_difference():
    assert float(l1(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 1.0]))) == 1.5


def test_masked_l1_looks_inside_its_weight_only():
    x, y, weight = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    weight[..., 0, :2] = 1
    y[weight == 0] = 100
    assert float(masked_l1(x, y, weight)) == 1


@pytest.mark.parametrize("voxels", [4, 16, 400])
def test_masked_l1_does_not_shrink_with_the_mask(voxels):
    weight = torch.zeros(1, 1, 20, 20)
    weight.view(-1)[:voxels] = 1
    difference = torch.full((1, 2, 20, 20), 0.25)
    assert float(masked_l1(difference, torch.zeros_like(difference), weight)) == pytest.approx(0.25)


def test_masked_l1_of_an_empty_mask_is_zero_not_nan():
    assert masked_l1(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_judged_in_float32(dtype):
    scores = torch.full((2, 1, 64, 64), 3.0, dtype=dtype)
    assert adversarial_generator(scores).dtype == torch.float32 and float(adversarial_generator(scores)) == 4
    assert l1(scores, scores).dtype == masked_l1(scores, scores, scores).dtype == torch.float32


def test_divergence_from_the_standard_normal_is_the_closed_form():
    assert kl_to_standard_normal(torch.zeros(2, 4, 3, 3)) == 0
    mean = torch.randn((2, 4, 3, 3), generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, 1.0), normal(0.0, 1.0)).mean()
    assert float(kl_to_standard_normal(mean)) == pytest.approx(float(expected), rel=1e-5)
    assert kl_to_standard_normal(mean.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("dims", [2, 3])
def test_texture_is_compared_where_the_weight_is_by_how_strong_it_is(dims):
    rng = torch.Generator().manual_seed(0)
    x = 0.2 * torch.randn((2, 3, *[16] * dims), generator=rng)
    weight = torch.zeros(2, 1, *[16] * dims)
    weight[:, :, 4:12, 4:12] = 1
    assert texture_difference(x, x, weight) == 0
    other = 0.2 * torch.randn(x.shape, generator=rng)
    assert texture_difference(x, other, weight) < 0.2  # other noise of one strength
    assert float(texture_difference(x, 2 * x, weight)) == pytest.approx(np.log(2), abs=0.05)
    assert float(texture_difference(x, x + 0.3, weight)) == pytest.approx(0, abs=1e-5)
    assert texture_difference(x, torch.zeros_like(x), weight) > 1
    elsewhere = torch.where(weight > 0, x, 5 * x)
    elsewhere[:, :, 1:15, 1:15] = x[:, :, 1:15, 1:15]
    assert texture_difference(x, elsewhere, weight) == 0
