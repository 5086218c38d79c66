"""What mask-guided translators share: edits composited inside a soft mask, and judged as (image, mask) pairs.

Domain a is healthy, b holds tumors. An insertion blends inward: every voxel outside the mask is the input's own, so
that the label is right by construction. A removal reaches two voxels beyond the mask, for the tumor's blurred edge.
Training and use have these weights in common: where one is 0 the result is the input, bit for bit.

Batches, of images (B, C, *S) in [-1, 1] with a channel a sequence, and masks (B, P, *S) of 0 and 1 with a channel a
part of the tumor: `a` a healthy crop, `mask_a` where a tumor shall be, `reference_a` a training lesion warped onto that
mask; `b` a tumor crop, `mask_b` its label; `seed` (B,). One generator edits all channels at once, and where the edit
lies follows from all parts together.

Insertion starts from the composite of a reference lesion ("reference" content) or from the emptied region ("free").
Removal never sees the region it fills, which closes the cycle on tissue and leaves no channel to hide a tumor in. It
starts from what is around, smoothly continued into the region, and adds what that lacks: the level is right from the
first step on, and the generator is left with texture and anatomy ("emptied" starts from grey, as medaug 0.1 did).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from medaug.models.base import Batch, Chance, Direction, Fakes, Losses, Translator, drawn_noise
from medaug.models.losses import adversarial_generator, texture_difference
from medaug.models.networks.layers import mean_of_neighbours
from medaug.settings import METHOD_SETTINGS

Content = Literal["reference", "free"]
Fill = Literal["continued", "emptied"]
Pass = Direction | Literal["a2a", "b2b"]
"""A direction, or from a domain back to itself."""

EDGE_SHARE = 0.5
"""A voxel of an inserted tumor is at least this much tumor, however thin the tumor is there."""
REACH_VOXELS = 2
"""A removal reaches so far beyond its mask, along any axis or diagonal."""
RELAXATIONS = 8
"""How often a continued region is smoothed from its border on."""


@dataclass(frozen=True, config=METHOD_SETTINGS)
class MaskGuidedConfig:
    """Settings of every crop translator; `width` and `depth` are sized for a CPU.

    With few real lesions an unconstrained discriminator learns them by heart: hence spectral norm, and a heavier
    adversarial term. `texture_weight` holds a fill's texture at that of the tissue that was there, which an L1 smooths.
    `channels` (sequences of the image) and `parts` (of a tumor) follow from the data.
    """

    content: Content = "reference"
    fill: Fill = "continued"
    width: PositiveInt = 16
    depth: PositiveInt = 3
    discriminator_width: PositiveInt = 32
    discriminator_layers: PositiveInt = 3
    spectral: bool = True
    adversarial_weight: NonNegativeFloat = 4.0
    texture_weight: NonNegativeFloat = 0.3
    channels: PositiveInt = 1
    parts: PositiveInt = 1


class MaskGuidedTranslator(Translator):
    """Insertion and removal inside a mask. Subclasses give `paint` and the generators' losses; their config is a
    `MaskGuidedConfig`.
    """

    mask_guided = True
    pass_salts: ClassVar[tuple[int, ...]] = ()
    """Of the noise of each pass in `generator_losses`."""

    def noise_shapes(self, batch: Batch) -> dict[int, tuple[int, ...]]:
        """Of each pass, as `paint` takes it."""
        return dict.fromkeys(self.pass_salts, tuple(self.noise_like(batch["mask_a"]).shape[1:]))

    def paint(self, seen: Tensor, mask: Tensor, noise: Tensor, direction: Direction, style: Tensor | None) -> Tensor:
        """What to put inside the mask, before tanh: (B, C, *S). `seen` is what the method may see of the crop.

        By default one generator a direction, without styles.
        """
        return self.generators[direction](torch.cat([seen, mask, noise], dim=1))

    def translated(
        self, x: Tensor, direction: Direction, mask: Tensor | None, style: Tensor | None, generator: Chance | None
    ) -> Tensor:
        """Inserts ("a2b") or removes ("b2a") inside `mask` (B, P, *S).

        With reference content, `x` for "a2b" is the crop with the reference lesion already pasted (see `paste`).
        """
        assert mask is not None  # which check_input refuses
        return self.edit(x, mask, direction, drawn_noise(self.noise_like(mask), generator), style)

    def noise_like(self, mask: Tensor) -> Tensor:
        """Zeros in the shape of the noise that `paint` takes, for masks (B, P, *S): by default one value a voxel."""
        return torch.zeros_like(mask[:, :1])

    def edit(self, x: Tensor, mask: Tensor, direction: Direction, noise: Tensor, style: Tensor | None = None) -> Tensor:
        """One pass composited inside the soft mask: a correction of `x`, or a fill of the emptied region."""
        seen = self.seen(x, mask, direction)
        return self.put(self.paint(seen, mask, noise, direction, style), seen, x, mask, direction)

    def seen(self, x: Tensor, mask: Tensor, direction: Pass) -> Tensor:
        """What this direction is shown of `x`: all of it, or in the region that it fills what goes on there, or 0."""
        if not self.empties(direction):
            return x
        region = removal_weight(mask) > 0
        if self.config.fill == "continued":
            return continued(x, region)
        return torch.where(region, torch.zeros_like(x), x)

    def put(self, output: Tensor, seen: Tensor, x: Tensor, mask: Tensor, direction: Pass) -> Tensor:
        """`x` with what was `seen`, changed by the painted `output` (before tanh), inside the soft mask."""
        target = (seen + torch.tanh(output)).clamp(-1, 1)
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

    @property
    def seen_channels(self) -> int:
        """Channels of an image and its mask together."""
        channels: int = self.config.channels + self.config.parts
        return channels

    def correcting_generators(self) -> nn.ModuleDict:
        """A generator a direction, from (image, mask, noise) to the image."""
        return self.direction_generators(self.config.parts + 1)

    def pair_discriminators(self) -> nn.ModuleDict:
        """One PatchGAN a domain, on (image, mask)."""
        parts = self.config.parts
        return self.domain_discriminators(a=parts, b=parts, spectral=self.config.spectral)

    def judged(self, inserted: Tensor, mask_a: Tensor, removed: Tensor, mask_b: Tensor) -> tuple[Losses, Fakes]:
        """The weighted terms that make both edits look like crops of their domains, and the fakes."""
        losses, fakes = {}, {}
        for direction, fake, mask in (("a2b", inserted, mask_a), ("b2a", removed, mask_b)):
            shown, domain = torch.cat([fake, mask], dim=1), direction[-1]
            score = self.discriminators[domain](shown)
            losses[f"adversarial_{direction}"] = self.config.adversarial_weight * adversarial_generator(score)
            fakes[domain] = shown.detach()
        return losses, {domain: fakes[domain] for domain in ("a", "b")}  # the domains' pools draw in this order

    def texture_of(self, filled: Tensor, batch: Batch) -> Losses:
        """The weighted term that gives tissue filled back into `a` the texture that was there; none if it weighs 0."""
        if not self.config.texture_weight:
            return {}
        term = texture_difference(filled, batch["a"], self.weight(batch["mask_a"], "b2a"))
        return {"texture_a": self.config.texture_weight * term}


def whole(mask: Tensor) -> Tensor:
    """All parts of a tumor (B, P, *S) as one: (B, 1, *S)."""
    return mask.amax(dim=1, keepdim=True)


def insertion_weight(mask: Tensor) -> Tensor:
    """The tumor's share of each voxel (B, 1, *S): 0 outside a mask (B, P, *S), 1 where all neighbours are in it too.

    On the mask's edge it is `EDGE_SHARE` and more with every neighbour inside: 5/6 along a straight edge.
    """
    mask = whole(mask)
    return mask * (EDGE_SHARE + (1 - EDGE_SHARE) * mean_of_neighbours(mask))


def removal_weight(mask: Tensor) -> Tensor:
    """1 in a mask (B, P, *S), falling to exactly 0 farther than `REACH_VOXELS` from it: (B, 1, *S).

    The mask is grown by one voxel, then softened over one more on each side.
    """
    mask = whole(mask)
    pool = functional.max_pool2d if mask.ndim == 4 else functional.max_pool3d
    return mean_of_neighbours(pool(mask, 3, stride=1, padding=1))


def composite(background: Tensor, foreground: Tensor, weight: Tensor) -> Tensor:
    """`background` where `weight` is 0 and `foreground` where it is 1 (both bit-identical), a linear blend between."""
    blend = torch.where(weight < 1, background + weight * (foreground - background), foreground)
    return torch.where(weight > 0, blend, background)


@torch.no_grad()
def continued(x: Tensor, region: Tensor) -> Tensor:
    """`x` (B, C, *S) in which a region (B, 1, *S, bool) goes on as what is around it: smooth, and none of its own.

    Means of what is known are pulled up from coarse to fine (push-pull, Gortler 1996, DOI 10.1145/237170.237200), and
    relaxed towards the harmonic continuation. An image that is all region is 0.
    """
    known = (~region).to(x.dtype)
    filled = torch.where(region, _pulled(torch.where(region, torch.zeros_like(x), x), known), x)
    for _ in range(RELAXATIONS):
        filled = torch.where(region, mean_of_neighbours(filled), x)
    return filled


def _pulled(sums: Tensor, known: Tensor) -> Tensor:
    """The means where something is known (`sums` over `known` > 0), elsewhere those of the next coarser grid."""
    own = sums / known.clamp(min=torch.finfo(known.dtype).tiny)
    if max(known.shape[2:]) == 1:
        return torch.where(known > 0, own, torch.zeros_like(own))
    pool = functional.avg_pool2d if known.ndim == 4 else functional.avg_pool3d
    pair = [min(2, size) for size in known.shape[2:]]
    coarser = _pulled(*(pool(each, pair, ceil_mode=True, count_include_pad=False) for each in (sums, known)))
    mode = "bilinear" if known.ndim == 4 else "trilinear"
    finer = functional.interpolate(coarser, size=known.shape[2:], mode=mode, align_corners=False)
    return torch.where(known > 0, own, finer)
