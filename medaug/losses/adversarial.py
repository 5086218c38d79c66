"""Adversarial terms: least squares (Mao 2017, arXiv 1611.04076), as CycleGAN uses them (Zhu 2017, section 4)."""

from __future__ import annotations

from torch import Tensor


def adversarial_generator(fake_scores: Tensor) -> Tensor:
    """E[(D(fake) − 1)²]: what the generator minimises."""
    return (fake_scores.float() - 1).square().mean()


def adversarial_discriminator(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """½ (E[(D(real) − 1)²] + E[D(fake)²]): what the discriminator minimises."""
    return 0.5 * ((real_scores.float() - 1).square().mean() + fake_scores.float().square().mean())
