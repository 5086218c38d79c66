"""Mask-guided CycleGAN on lesion crops: `a2b` inserts a tumor where the mask is, `b2a` removes it.

After CycleGAN (Zhu 2017, arXiv 1703.10593).

Departs from the paper: the edit is composited inside the mask and judged with it (see `insertion.base`); cycle terms
count inside the mask only.
"""

from __future__ import annotations

from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass

from medaug.models.base import Batch, Fakes, Losses, seeded_noise
from medaug.models.insertion.base import MaskGuidedConfig, MaskGuidedTranslator
from medaug.models.losses import masked_l1
from medaug.models.networks.generators import GeneratorName
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class MaskGuidedCycleGANConfig(MaskGuidedConfig):
    """Settings of the crop translator; a strong identity term would leave an insertion at its starting composite."""

    generator: GeneratorName = "unet"
    cycle_weight: NonNegativeFloat = 5.0
    identity_weight: NonNegativeFloat = 0.0
    cycle_noise: NonNegativeFloat = 0.01


class MaskGuidedCycleGAN(MaskGuidedTranslator):
    """Insertion and removal as the two directions of a cycle."""

    name = "mask-guided-cyclegan"
    pass_salts = (1, 2, 5, 6)

    def __init__(self, config: MaskGuidedCycleGANConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        self.generators = self.correcting_generators()
        self.discriminators = self.pair_discriminators()

    def noise_shapes(self, batch: Batch) -> dict[int, tuple[int, ...]]:
        """Also what is laid over the fakes before the cycle closes."""
        shapes = super().noise_shapes(batch) | dict.fromkeys((3, 4), tuple(batch["a"].shape[1:]))
        return shapes | {7: shapes[1]} if self.config.identity_weight else shapes

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Adversarial, cycle (equation 2, inside the mask) and identity (section 5.2) terms."""
        a, mask_a, b, mask_b = (batch[key] for key in ("a", "mask_a", "b", "mask_b"))
        c = self.config
        soft_a, soft_b = self.weight(mask_a, "b2a"), self.weight(mask_b, "a2b")
        start_a = self.start_of(batch, "a2b")
        inserted = self.edit(start_a, mask_a, "a2b", seeded_noise(mask_a[:, :1], batch, salt=1))
        removed = self.edit(b, mask_b, "b2a", seeded_noise(mask_b[:, :1], batch, salt=2))
        noisy_inserted = inserted + c.cycle_noise * seeded_noise(inserted, batch, salt=3)
        noisy_removed = removed + c.cycle_noise * seeded_noise(removed, batch, salt=4)
        start_b = self.paste(noisy_removed, b, mask_b) if c.content == "reference" else noisy_removed
        back_a = self.edit(noisy_inserted, mask_a, "b2a", seeded_noise(mask_a[:, :1], batch, salt=5))
        back_b = self.edit(start_b, mask_b, "a2b", seeded_noise(mask_b[:, :1], batch, salt=6))
        losses, fakes = self.judged(inserted, mask_a, removed, mask_b)
        losses |= self.texture_of(back_a, batch) | {
            "cycle_a": c.cycle_weight * masked_l1(back_a, a, soft_a),
            "cycle_b": c.cycle_weight * masked_l1(back_b, b, soft_b),
        }
        if c.identity_weight and c.content == "reference":
            same_b = self.edit(b, mask_b, "a2b", seeded_noise(mask_b[:, :1], batch, salt=7))
            losses["identity_b"] = c.identity_weight * masked_l1(same_b, b, soft_b)
        return losses, fakes
