"""Mask-guided UNIT on lesion crops: insertion and removal through a shared latent space.

After UNIT (Liu 2017, arXiv 1703.00848). The latent code of a crop is N(mean, I), in a space that both domains share;
where a tumor is decoded, a vector that tells its appearance, its style, is added to the code inside the mask. The style
is variational as well: N(mean, I) when read from a tumor, with the prior N(0, I).

Departs from the paper: the vector; the edit is composited inside the mask and judged with it (see `insertion.base`).
What an encoder is shown follows what is decoded: towards a (also in the reconstruction of a) the emptied crop, so that
removal never sees the region it fills; towards b the emptied crop with free content, and with reference content a crop
with a pasted lesion (in the reconstruction of b its own in disguise, see `insertion.styled`). Otherwise as `unit`.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from medaug.models.base import Batch, Direction, Fakes, Losses, seeded_noise
from medaug.models.insertion.base import MaskGuidedConfig, Pass
from medaug.models.insertion.styled import StyledInsertion
from medaug.models.losses import kl_to_standard_normal, masked_l1
from medaug.models.networks.generators import (
    Decoder,
    Encoder,
    StyleEncoder,
    code_channels,
    pooled_mask,
    residual_blocks,
)
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class MaskGuidedUNITConfig(MaskGuidedConfig):
    """Settings of the crop translator, sized for a CPU.

    `depth` counts resolution levels, `blocks` the residual blocks of each encoder and decoder that are its own,
    `shared_blocks` those that are shared.
    """

    blocks: NonNegativeInt = 0
    shared_blocks: PositiveInt = 1
    style_dim: PositiveInt = 8
    reconstruction_weight: NonNegativeFloat = 5.0
    kl_weight: NonNegativeFloat = 0.01
    cycle_weight: NonNegativeFloat = 5.0
    cycle_kl_weight: NonNegativeFloat = 0.01
    style_kl_weight: NonNegativeFloat = 0.01


class MaskGuidedUNIT(StyledInsertion):
    """Insertion and removal as the two ways through one latent space."""

    name = "mask-guided-unit"
    pass_salts = tuple(range(20, 26))
    style_salts = (1, 2)

    def __init__(self, config: MaskGuidedUNITConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        c = config
        size = {"width": c.width, "depth": c.depth}
        self.code_channels = code_channels(c.width, c.depth)
        self.generators = nn.ModuleDict(
            {
                "encoder_a": Encoder(spatial_dims, self.seen_channels, **size, blocks=c.blocks),
                "encoder_b": Encoder(spatial_dims, self.seen_channels, **size, blocks=c.blocks),
                "shared_encoder": residual_blocks(spatial_dims, self.code_channels, c.shared_blocks),
                "style": StyleEncoder(spatial_dims, c.channels, c.style_dim, **size),
                "from_style": nn.Linear(c.style_dim, self.code_channels),
                "shared_decoder": residual_blocks(spatial_dims, self.code_channels, c.shared_blocks),
                "decoder_a": Decoder(spatial_dims, c.channels, **size, blocks=c.blocks),
                "decoder_b": Decoder(spatial_dims, c.channels, **size, blocks=c.blocks),
            }
        )
        self.discriminators = self.pair_discriminators()

    def noise_like(self, mask: Tensor) -> Tensor:
        """As the latent code."""
        return mask.new_zeros(len(mask), self.code_channels, *[size // self.stride for size in mask.shape[2:]])

    def empties(self, direction: Pass) -> bool:
        """Also for the reconstructions "a2a" and "b2b"."""
        return direction[-1] == "a" or self.config.content == "free"

    def encode(self, seen: Tensor, domain: str, mask: Tensor) -> Tensor:
        """The mean of the latent code of what is seen of crops of `domain`: (B, C, *S) → (B, code, *S / stride)."""
        return self.generators["shared_encoder"](self.generators[f"encoder_{domain}"](torch.cat([seen, mask], dim=1)))

    def decode(self, z: Tensor, domain: str, mask: Tensor, style: Tensor | None = None) -> Tensor:
        """What to put inside the mask, before tanh, from a latent code; in domain "b" with the tumor's `style`."""
        if domain == "b":
            vector = self.generators["from_style"](style)
            z = z + vector[(..., *[None] * self.spatial_dims)] * pooled_mask(mask, z.shape[2:])
        return self.generators[f"decoder_{domain}"](self.generators["shared_decoder"](z))

    def paint(self, seen: Tensor, mask: Tensor, noise: Tensor, direction: Direction, style: Tensor | None) -> Tensor:
        """Through the latent space; `noise` makes a sample of its mean."""
        return self.decode(self.encode(seen, direction[0], mask) + noise, direction[-1], mask, style)

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Section 3, inside the mask: L_VAE (`reconstruction`, `kl`), L_GAN and L_CC (`cycle`, `cycle_kl`)."""
        a, mask_a, b, mask_b, c = batch["a"], batch["mask_a"], batch["b"], batch["mask_b"], self.config
        read = self.encode_style(b, "b", mask=mask_b)
        own = read + seeded_noise(read, batch, salt=1).to(read)
        drawn = seeded_noise(read, batch, salt=2).to(read)
        divergences: dict[str, Tensor] = {}

        def passed(x: Tensor, mask: Tensor, direction: Pass, stream: str, style: Tensor | None = None) -> Tensor:
            seen = self.seen(x, mask, direction)
            mean = self.encode(seen, direction[0], mask)
            noise = seeded_noise(mean, batch, salt=20 + len(divergences))
            divergences[stream] = kl_to_standard_normal(mean)
            return self.put(self.decode(mean + noise, direction[-1], mask, style), seen, x, mask, direction)

        inserted = passed(self.start_of(batch, "a2b"), mask_a, "a2b", "translation_a", drawn)
        removed = passed(b, mask_b, "b2a", "translation_b")
        same_a = passed(a, mask_a, "a2a", "own_a")
        same_b = passed(self.to_restore(b, batch), mask_b, "b2b", "own_b", own)
        back_a = passed(inserted, mask_a, "b2a", "back_a")
        back_b = passed(self.to_restore(removed, batch), mask_b, "a2b", "back_b", own)
        losses, fakes = self.judged(inserted, mask_a, removed, mask_b)
        losses |= self.texture_of(back_a, batch) | {"kl_style": c.style_kl_weight * kl_to_standard_normal(read)}
        for domain, x, mask, same, back in (("a", a, mask_a, same_a, back_a), ("b", b, mask_b, same_b, back_b)):
            soft = self.weight(mask, "b2a" if domain == "a" else "a2b")
            cycle_kl = divergences[f"translation_{domain}"] + divergences[f"back_{domain}"]
            losses |= {
                f"reconstruction_{domain}": c.reconstruction_weight * masked_l1(same, x, soft),
                f"kl_{domain}": c.kl_weight * divergences[f"own_{domain}"],
                f"cycle_{domain}": c.cycle_weight * masked_l1(back, x, soft),
                f"cycle_kl_{domain}": c.cycle_kl_weight * cycle_kl,
            }
        return losses, fakes
