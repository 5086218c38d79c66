"""Mask-guided pix2pix on lesion crops: pairs are made from the crops themselves, so no cycle is needed.

After pix2pix (Isola 2017, arXiv 1611.07004, which has inpainting from the emptied region among its tasks): `b2a` fills
emptied regions of healthy crops, `a2b` paints the tumor that was in the emptied region of a tumor crop, from its
surroundings, mask and noise. In use, `a2b` paints into healthy crops.

Departs from the paper: the edit is composited inside the mask; the discriminator sees (image, mask), which holds the
generator's input too, the image without the region; noise is an input channel instead of dropout; λ is lower, for what
was in the region does not follow from its surroundings and a strong L1 term paints the mean of all tumors.
"""

from __future__ import annotations

from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass

from medaug.errors import ConfigError
from medaug.models.base import Batch, Fakes, Losses, seeded_noise
from medaug.models.insertion.base import Content, MaskGuidedConfig, MaskGuidedTranslator
from medaug.models.losses import masked_l1
from medaug.models.networks.generators import GeneratorName
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class MaskGuidedPix2PixConfig(MaskGuidedConfig):
    """Settings of the crop translator; `l1_weight` is λ, counted inside the mask.

    Raises:
        ConfigError: for reference content, which has no pairs.
    """

    content: Content = "free"
    generator: GeneratorName = "unet"
    adversarial_weight: NonNegativeFloat = 1.0
    l1_weight: NonNegativeFloat = 10.0

    def __post_init__(self) -> None:
        if self.content == "reference":
            raise ConfigError(
                "translator.content: found 'reference'; mask-guided pix2pix takes 'free' only: its pairs are a crop "
                "and the same crop emptied, and none shows a pasted lesion beside what it should become. Leave content "
                "out, or use translator.type=cyclegan."
            )


class MaskGuidedPix2Pix(MaskGuidedTranslator):
    """Filling and painting, each learnt from crops with a hole."""

    name = "mask-guided-pix2pix"
    pass_salts = (1, 2)

    def __init__(self, config: MaskGuidedPix2PixConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        self.generators = self.correcting_generators()
        self.discriminators = self.pair_discriminators()

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Equation 4: tumors painted back into tumor crops, tissue filled back into healthy ones."""
        a, mask_a, b, mask_b = (batch[key] for key in ("a", "mask_a", "b", "mask_b"))
        c = self.config
        painted = self.edit(b, mask_b, "a2b", seeded_noise(mask_b[:, :1], batch, salt=1))
        filled = self.edit(a, mask_a, "b2a", seeded_noise(mask_a[:, :1], batch, salt=2))
        losses, fakes = self.judged(painted, mask_b, filled, mask_a)
        losses |= self.texture_of(filled, batch) | {
            "l1_a2b": c.l1_weight * masked_l1(painted, b, self.weight(mask_b, "a2b")),
            "l1_b2a": c.l1_weight * masked_l1(filled, a, self.weight(mask_a, "b2a")),
        }
        return losses, fakes

    def starts(self, batch: Batch) -> Batch:
        """The crops without what is in their regions."""
        return {domain: self.seen(batch[domain], batch[f"mask_{domain}"], "b2a") for domain in ("a", "b")}
