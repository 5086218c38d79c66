"""Mask-guided MUNIT on lesion crops: one mask gives as many tumors as there are styles.

After MUNIT (Huang 2018, arXiv 1804.04732): the content code tells of the crop and the mask, the style of the tumor.

Departs from the paper: only tumors have a style (see `insertion.styled`); the edit is composited inside the mask and
judged with it (see `insertion.base`); no term for the content code, for removal is not shown what insertion was; and no
reconstruction within a domain beside the cycles, which restore the same crop from the same voxels; a noise channel
beside the mask, for texture that the style leaves open; one PatchGAN a domain.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from medaug.models.base import Batch, Direction, Fakes, Losses, seeded_noise
from medaug.models.insertion.base import MaskGuidedConfig
from medaug.models.insertion.styled import StyledInsertion
from medaug.models.losses import l1, masked_l1
from medaug.models.networks.generators import AdaINDecoder, Decoder, Encoder, StyleEncoder
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class MaskGuidedMUNITConfig(MaskGuidedConfig):
    """Settings of the crop translator, sized for a CPU; `depth` counts resolution levels, `blocks` residual blocks."""

    blocks: PositiveInt = 2
    style_dim: PositiveInt = 8
    cycle_weight: NonNegativeFloat = 5.0
    style_weight: NonNegativeFloat = 2.0


class MaskGuidedMUNIT(StyledInsertion):
    """Insertion in a style, drawn or read from a tumor, and removal."""

    name = "mask-guided-munit"
    pass_salts = (2, 3, 4, 5)
    style_salts = (1,)

    def __init__(self, config: MaskGuidedMUNITConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        c = config
        size = {"width": c.width, "depth": c.depth}
        self.generators = nn.ModuleDict(
            {
                "content_a": Encoder(spatial_dims, self.seen_channels + 1, **size, blocks=c.blocks),
                "content_b": Encoder(spatial_dims, self.seen_channels + 1, **size, blocks=c.blocks),
                "style": StyleEncoder(spatial_dims, c.channels, c.style_dim, **size),
                "decoder_a": Decoder(spatial_dims, c.channels, **size, blocks=c.blocks),
                "decoder_b": AdaINDecoder(spatial_dims, c.channels, c.style_dim, **size, blocks=c.blocks),
            }
        )
        self.discriminators = self.pair_discriminators()

    def paint(self, seen: Tensor, mask: Tensor, noise: Tensor, direction: Direction, style: Tensor | None) -> Tensor:
        """The content of what is seen, decoded in `style` where a tumor is painted."""
        content = self.generators[f"content_{direction[0]}"](torch.cat([seen, mask, noise], dim=1))
        if direction == "b2a":
            return self.generators["decoder_a"](content)
        return self.generators["decoder_b"](content, style)

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Adversarial terms (equation 4), the style's return (equation 3), style-augmented cycles (section 4)."""
        a, mask_a, b, mask_b = (batch[key] for key in ("a", "mask_a", "b", "mask_b"))
        c = self.config
        own = self.encode_style(b, "b", mask=mask_b)
        drawn = seeded_noise(own, batch, salt=1).to(own)
        inserted = self.edit(
            self.start_of(batch, "a2b"), mask_a, "a2b", seeded_noise(mask_a[:, :1], batch, salt=2), drawn
        )
        removed = self.edit(b, mask_b, "b2a", seeded_noise(mask_b[:, :1], batch, salt=3))
        back_a = self.edit(inserted, mask_a, "b2a", seeded_noise(mask_a[:, :1], batch, salt=4))
        back_b = self.edit(
            self.to_restore(removed, batch), mask_b, "a2b", seeded_noise(mask_b[:, :1], batch, salt=5), own
        )
        losses, fakes = self.judged(inserted, mask_a, removed, mask_b)
        losses |= self.texture_of(back_a, batch) | {
            "style_b": c.style_weight * l1(self.encode_style(inserted, "b", mask=mask_a), drawn),
            "cycle_a": c.cycle_weight * masked_l1(back_a, a, self.weight(mask_a, "b2a")),
            "cycle_b": c.cycle_weight * masked_l1(back_b, b, self.weight(mask_b, "a2b")),
        }
        return losses, fakes
