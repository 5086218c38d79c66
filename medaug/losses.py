"""Losses as pure functions of tensors; weights and combinations belong to the translators.

Adversarial terms of translators are least squares (Mao 2017, arXiv 1611.04076), as CycleGAN uses them (Zhu 2017,
section 4); those of the GAN from noise are hinges.
"""

from __future__ import annotations

from torch import Tensor


def adversarial_generator(fake_scores: Tensor) -> Tensor:
    """E[(D(fake) − 1)²]: what the generator minimises."""
    return (fake_scores.float() - 1).square().mean()


def adversarial_discriminator(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """½ (E[(D(real) − 1)²] + E[D(fake)²]): what the discriminator minimises."""
    return 0.5 * ((real_scores.float() - 1).square().mean() + fake_scores.float().square().mean())


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference over everything."""
    return (x.float() - y.float()).abs().mean()


def masked_l1(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference weighted by `weight` (B, 1, *S) and normalised by its sum: small masks count fully."""
    difference = (x.float() - y.float()).abs() * weight
    return difference.sum() / (weight.sum() * x.shape[1]).clamp(min=1.0)


def hinge_generator(fake_scores: Tensor) -> Tensor:
    """−E[D(fake)]: the generator's side of the hinge loss (Lim and Ye 2017, arXiv 1705.02894)."""
    return -fake_scores.float().mean()


def hinge_discriminator(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """E[max(0, 1 − D(real))] + E[max(0, 1 + D(fake))] (Lim and Ye 2017; Miyato 2018, arXiv 1802.05957, equation 16)."""
    return (1 - real_scores.float()).relu().mean() + (1 + fake_scores.float()).relu().mean()


def mode_seeking(images: Tensor, others: Tensor, z: Tensor, other_z: Tensor, floor: float = 0.05) -> Tensor:
    """E[|z − z'| / |G(z) − G(z')|] over pairs (Mao 2019, arXiv 1903.05628, equation 5, inverted to be minimised).

    Large where different codes give like images. `floor` keeps it finite where they give the same.
    """
    apart, codes_apart = (
        (x.float() - y.float()).abs().flatten(1).mean(dim=1) for x, y in ((images, others), (z, other_z))
    )
    return (codes_apart / (apart + floor)).mean()
