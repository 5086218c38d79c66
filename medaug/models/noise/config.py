"""What the GAN from noise can be told; also the section `gan` of a pipeline file. Free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medaug.settings import Section, Width

CLASSES = ("healthy", "tumor")
"""A crop's label is the position of its class."""
HEALTHY, TUMOR = range(len(CLASSES))


class DCGANConfig(Section):
    """Settings of `DCGAN`, sized for a CPU. Crops are `crop.size`; steps and rates stand in `training`.

    Attributes:
        latent_dim: length of a code z.
        width, discriminator_width: channels at full resolution, doubled at each of the `levels` halvings.
        diversity_weight: of the term that keeps crops of different codes apart (Mao 2019), without which the crops of a
            class shrink to one layout; 0 turns it off.
        augment: what the discriminator's view is augmented with (Zhao 2020); empty turns it off.
    """

    latent_dim: int = Field(64, ge=2, le=4096)
    width: Width = 16
    levels: int = Field(3, ge=1, le=8)
    discriminator_width: Width = 16
    diversity_weight: float = Field(0.2, ge=0)
    augment: tuple[Literal["intensity", "translation", "cutout"], ...] = ("intensity", "translation", "cutout")
