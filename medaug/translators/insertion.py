"""Mask-guided CycleGAN on lesion crops: `a2b` inserts a tumor where the mask is, `b2a` removes it.

After CycleGAN (Zhu 2017, arXiv 1703.10593), with the edit composited inside the slightly grown mask, so that every
voxel outside it is the input's own and the label is right by construction. Domain a is healthy, b holds tumors.

Batches (all (B, 1, *S), images in [-1, 1]): `a` a healthy crop, `mask_a` where a tumor shall be, `reference_a` a
training lesion warped onto that mask; `b` a tumor crop, `mask_b` its label; `seed` (B,).

Departs from the paper: `a2b` works on the composite of a reference lesion ("reference" content) or on the emptied
region ("free"); `b2a` never sees the region it fills, which closes the cycle on tissue and leaves no channel to hide
a tumor in; the discriminators see (image, mask); cycle terms count inside the mask only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from medaug.losses import adversarial_discriminator, adversarial_generator, masked_l1
from medaug.networks import build_generator, patch_discriminator
from medaug.networks.compositing import composite, soft_mask
from medaug.translators.base import Batch, Direction, Fakes, Losses, Translator, drawn_noise, seeded_noise
from medaug.volumes import Domain


@dataclass(frozen=True)
class MaskGuidedCycleGANConfig:
    """Settings of the crop translator; `generator`, `width`, `depth` are sized for a CPU.

    With few real lesions an unconstrained discriminator learns them by heart and a strong identity term then leaves the
    insertion at its starting composite: hence spectral norm, a heavier adversarial term and no identity by default.
    """

    content: Literal["reference", "free"] = "reference"
    generator: str = "unet"
    width: PositiveInt = 16
    depth: PositiveInt = 3
    discriminator_width: PositiveInt = 32
    discriminator_layers: PositiveInt = 3
    spectral: bool = True
    adversarial_weight: NonNegativeFloat = 4.0
    cycle_weight: NonNegativeFloat = 5.0
    identity_weight: NonNegativeFloat = 0.0
    cycle_noise: NonNegativeFloat = 0.01


class MaskGuidedCycleGAN(Translator):
    """Insertion and removal as the two directions of a cycle."""

    name = "mask-guided-cyclegan"
    mask_guided = True

    def __init__(self, config: MaskGuidedCycleGANConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        c = config
        self.generators = nn.ModuleDict({
            direction: build_generator(
                c.generator, spatial_dims=spatial_dims, in_channels=3, out_channels=1, width=c.width, depth=c.depth
            )
            for direction in ("a2b", "b2a")
        })  # fmt: skip
        self.discriminators = nn.ModuleDict({
            domain: patch_discriminator(
                spatial_dims, 2, width=c.discriminator_width, layers=c.discriminator_layers, spectral=c.spectral
            )
            for domain in ("a", "b")
        })  # fmt: skip

    def translate(
        self, x: Tensor, direction: Direction, *, mask: Tensor | None = None, style: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """Inserts ("a2b") or removes ("b2a") inside `mask` (B, 1, *S).

        With reference content, `x` for "a2b" is the crop with the reference lesion already pasted (see `paste`).
        """
        self.check_input(x, mask)
        return self._edit(x, mask, direction, drawn_noise(mask, generator))

    def paste(self, background: Tensor, lesion: Tensor, mask: Tensor) -> Tensor:
        """The crude composite that "reference" content starts from: `lesion` over `background`, soft-edged.

        The lesion brings the first voxels of its own surroundings along: its edge is as sharp as it was.
        """
        return composite(background, lesion, soft_mask(mask))

    def start_of(self, batch: Batch, direction: Direction) -> Tensor:
        """With reference content, insertion starts from the composite."""
        if direction == "a2b" and self.config.content == "reference":
            return self.paste(batch["a"], batch["reference_a"], batch["mask_a"])
        return super().start_of(batch, direction)

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Adversarial, cycle (equation 2, inside the mask) and identity (section 5.2) terms."""
        a, mask_a, b, mask_b, seeds, c = (
            batch["a"], batch["mask_a"], batch["b"], batch["mask_b"], batch["seed"], self.config,
        )  # fmt: skip
        soft_a, soft_b = soft_mask(mask_a), soft_mask(mask_b)
        start_a = self.start_of(batch, "a2b")
        inserted = self._edit(start_a, mask_a, "a2b", seeded_noise(mask_a, seeds, salt=1))
        removed = self._edit(b, mask_b, "b2a", seeded_noise(mask_b, seeds, salt=2))
        noisy_inserted = inserted + c.cycle_noise * seeded_noise(inserted, seeds, salt=3)
        noisy_removed = removed + c.cycle_noise * seeded_noise(removed, seeds, salt=4)
        start_b = self.paste(noisy_removed, b, mask_b) if c.content == "reference" else noisy_removed
        back_a = self._edit(noisy_inserted, mask_a, "b2a", seeded_noise(mask_a, seeds, salt=5))
        back_b = self._edit(start_b, mask_b, "a2b", seeded_noise(mask_b, seeds, salt=6))
        losses = {
            "adversarial_a2b": c.adversarial_weight * self._adversarial(inserted, mask_a, "b"),
            "adversarial_b2a": c.adversarial_weight * self._adversarial(removed, mask_b, "a"),
            "cycle_a": c.cycle_weight * masked_l1(back_a, a, soft_a),
            "cycle_b": c.cycle_weight * masked_l1(back_b, b, soft_b),
        }
        if c.identity_weight and c.content == "reference":
            same_b = self._edit(b, mask_b, "a2b", seeded_noise(mask_b, seeds, salt=7))
            losses["identity_b"] = c.identity_weight * masked_l1(same_b, b, soft_b)
        fakes = {"a": torch.cat([removed, mask_b], 1).detach(), "b": torch.cat([inserted, mask_a], 1).detach()}
        return losses, fakes

    def discriminator_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        """Least squares on (image, mask) pairs."""
        return {
            f"discriminator_{domain}": adversarial_discriminator(
                self.discriminators[domain](torch.cat([batch[domain], batch[f"mask_{domain}"]], 1)),
                self.discriminators[domain](fakes[domain]),
            )
            for domain in ("a", "b")
        }

    def _edit(self, x: Tensor, mask: Tensor, direction: Direction, noise: Tensor) -> Tensor:
        """One generator pass composited inside the soft mask: a correction of `x`, or a fill of the emptied region."""
        soft = soft_mask(mask)
        emptied = direction == "b2a" or self.config.content == "free"
        seen = torch.where(soft > 0, torch.zeros_like(x), x) if emptied else x
        output = self.generators[direction](torch.cat([seen, mask, noise], dim=1))
        target = torch.tanh(output) if emptied else (x + torch.tanh(output)).clamp(-1, 1)
        return composite(x, target.to(x.dtype), soft)

    def _adversarial(self, fake: Tensor, mask: Tensor, domain: str) -> Tensor:
        return adversarial_generator(self.discriminators[domain](torch.cat([fake, mask], dim=1)))
