"""Losses as pure functions of tensors; weights and combinations belong to the translators."""

from medaug.models.losses.adversarial import (
    adversarial_discriminator,
    adversarial_generator,
    hinge_discriminator,
    hinge_generator,
)
from medaug.models.losses.diversity import mode_seeking
from medaug.models.losses.reconstruction import kl_to_standard_normal, l1, masked_l1
from medaug.models.losses.structure import gradient_difference, mutual_information, segmentation_consistency

__all__ = [
    "adversarial_discriminator",
    "adversarial_generator",
    "gradient_difference",
    "hinge_discriminator",
    "hinge_generator",
    "kl_to_standard_normal",
    "l1",
    "masked_l1",
    "mode_seeking",
    "mutual_information",
    "segmentation_consistency",
]
