"""Losses as pure functions of tensors; weights and combinations belong to the translators."""

from medaug.losses.adversarial import adversarial_discriminator, adversarial_generator
from medaug.losses.reconstruction import kl_to_standard_normal, l1, masked_l1
from medaug.losses.structure import gradient_difference, mutual_information, segmentation_consistency

__all__ = [
    "adversarial_discriminator",
    "adversarial_generator",
    "gradient_difference",
    "kl_to_standard_normal",
    "l1",
    "masked_l1",
    "mutual_information",
    "segmentation_consistency",
]
