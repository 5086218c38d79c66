"""What mask-guided translators share: edits composited inside a soft mask, and judged as (image, mask) pairs.

Domain a is healthy, b holds tumors. An insertion blends inward: every voxel outside the mask is the input's own, so
that the label is right by construction. A removal reaches two voxels beyond the mask, for the tumor's blurred edge.

Batches (all (B, 1, *S), images in [-1, 1]): `a` a healthy crop, `mask_a` where a tumor shall be, `reference_a` a
training lesion warped onto that mask; `b` a tumor crop, `mask_b` its label; `seed` (B,).

Insertion starts from the composite of a reference lesion ("reference" content) or from the emptied region ("free").
Removal never sees the region it fills, which closes the cycle on tissue and leaves no channel to hide a tumor in.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from medaug.models.base import Batch, Direction, Fakes, Translator, drawn_noise
from medaug.models.insertion.compositing import composite, insertion_weight, removal_weight
from medaug.models.losses import adversarial_generator
from medaug.settings import METHOD_SETTINGS

Content = Literal["reference", "free"]
Pass = Direction | Literal["a2a", "b2b"]
"""A direction, or from a domain back to itself."""


@dataclass(frozen=True, config=METHOD_SETTINGS)
class MaskGuidedConfig:
    """Settings of every crop translator; `width` and `depth` are sized for a CPU.

    With few real lesions an unconstrained discriminator learns them by heart: hence spectral norm, and a heavier
    adversarial term.
    """

    content: Content = "reference"
    width: PositiveInt = 16
    depth: PositiveInt = 3
    discriminator_width: PositiveInt = 32
    discriminator_layers: PositiveInt = 3
    spectral: bool = True
    adversarial_weight: NonNegativeFloat = 4.0


class MaskGuidedTranslator(Translator):
    """Insertion and removal inside a mask. Subclasses give `paint` and the generators' losses; their config is a
    `MaskGuidedConfig`.
    """

    mask_guided = True

    def paint(self, seen: Tensor, mask: Tensor, noise: Tensor, direction: Direction, style: Tensor | None) -> Tensor:
        """What to put inside the mask, before tanh: (B, 1, *S). `seen` is what the method may see of the crop.

        By default one generator a direction, without styles.
        """
        return self.generators[direction](torch.cat([seen, mask, noise], dim=1))

    def translated(
        self,
        x: Tensor,
        direction: Direction,
        mask: Tensor | None,
        style: Tensor | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Inserts ("a2b") or removes ("b2a") inside `mask` (B, 1, *S).

        With reference content, `x` for "a2b" is the crop with the reference lesion already pasted (see `paste`).
        """
        assert mask is not None  # which check_input refuses
        return self.edit(x, mask, direction, drawn_noise(mask, generator), style)

    def edit(self, x: Tensor, mask: Tensor, direction: Direction, noise: Tensor, style: Tensor | None = None) -> Tensor:
        """One pass composited inside the soft mask: a correction of `x`, or a fill of the emptied region."""
        output = self.paint(self.seen(x, mask, direction), mask, noise, direction, style)
        return self.put(output, x, mask, direction)

    def seen(self, x: Tensor, mask: Tensor, direction: Pass) -> Tensor:
        """What this direction is shown of `x`: all of it, or 0 in the region that it fills."""
        return torch.where(removal_weight(mask) > 0, torch.zeros_like(x), x) if self.empties(direction) else x

    def put(self, output: Tensor, x: Tensor, mask: Tensor, direction: Pass) -> Tensor:
        """`x` with the painted `output` (before tanh) inside the soft mask."""
        change = torch.tanh(output)
        target = change if self.empties(direction) else (x + change).clamp(-1, 1)
        return composite(x, target.to(x.dtype), self.weight(mask, direction))

    @staticmethod
    def weight(mask: Tensor, direction: Pass) -> Tensor:
        """How much of each voxel is edited, by whether the result holds a tumor or none."""
        return insertion_weight(mask) if direction[-1] == "b" else removal_weight(mask)

    def empties(self, direction: Pass) -> bool:
        """Whether this direction works on the crop without what the mask covers."""
        return direction == "b2a" or self.config.content == "free"

    def paste(self, background: Tensor, lesion: Tensor, mask: Tensor) -> Tensor:
        """The crude composite that "reference" content starts from: `lesion` over `background`, soft-edged."""
        return composite(background, lesion, insertion_weight(mask))

    def start_of(self, batch: Batch, direction: Direction) -> Tensor:
        """With reference content, insertion starts from the composite."""
        if direction == "a2b" and self.config.content == "reference":
            return self.paste(batch["a"], batch["reference_a"], batch["mask_a"])
        return super().start_of(batch, direction)

    def real_of(self, batch: Batch, domain: str) -> Tensor:
        """(image, mask) pairs."""
        return torch.cat([batch[domain], batch[f"mask_{domain}"]], 1)

    def adversarial(self, fake: Tensor, mask: Tensor, domain: str) -> Tensor:
        """The weighted term that makes `fake` look like a crop of `domain`."""
        score = self.discriminators[domain](torch.cat([fake, mask], dim=1))
        return self.config.adversarial_weight * adversarial_generator(score)

    def pair_discriminators(self) -> nn.ModuleDict:
        """One PatchGAN a domain, on (image, mask)."""
        return self.domain_discriminators(2, spectral=self.config.spectral)

    @staticmethod
    def shown(inserted: Tensor, mask_a: Tensor, removed: Tensor, mask_b: Tensor) -> Fakes:
        """The fakes as the discriminators get them."""
        return {"a": torch.cat([removed, mask_b], 1).detach(), "b": torch.cat([inserted, mask_a], 1).detach()}
