"""Adversarial terms: least squares (Mao 2017, arXiv 1611.04076) as CycleGAN uses them (Zhu 2017, section 4); hinges."""

from __future__ import annotations

from torch import Tensor


def adversarial_generator(fake_scores: Tensor) -> Tensor:
    """E[(D(fake) − 1)²]: what the generator minimises."""
    return (fake_scores.float() - 1).square().mean()


def adversarial_discriminator(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """½ (E[(D(real) − 1)²] + E[D(fake)²]): what the discriminator minimises."""
    return 0.5 * ((real_scores.float() - 1).square().mean() + fake_scores.float().square().mean())


def hinge_generator(fake_scores: Tensor) -> Tensor:
    """−E[D(fake)]: the generator's side of the hinge loss (Lim and Ye 2017, arXiv 1705.02894)."""
    return -fake_scores.float().mean()


def hinge_discriminator(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """E[max(0, 1 − D(real))] + E[max(0, 1 + D(fake))] (Lim and Ye 2017; Miyato 2018, arXiv 1802.05957, equation 16)."""
    return (1 - real_scores.float()).relu().mean() + (1 + fake_scores.float()).relu().mean()
