"""CycleGAN (Zhu, Park, Isola, Efros 2017, arXiv 1703.10593): unpaired translation of whole images.

`a2b` is the paper's G, `b2a` its F. Batches hold `a` and `b`, (B, C, *S) in [-1, 1], and `seed` (B,).

Departs from the paper: resize-convolutions (no checkerboard), 2-D and 3-D, a U-Net on request, and a little noise on
the fake before it is reconstructed, so that the cycle cannot be closed by a hidden code (Chu 2017, arXiv 1712.02950).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from medaug.losses import adversarial_discriminator, adversarial_generator, l1
from medaug.networks import build_generator, patch_discriminator
from medaug.translators.base import Batch, Direction, Fakes, Losses, Translator, seeded_noise
from medaug.volumes import Domain


@dataclass(frozen=True)
class CycleGANConfig:
    """The paper's settings; `cycle_weight` is λ, `identity_weight` is relative to it (section 5.2)."""

    generator: str = "resnet"
    width: PositiveInt = 64
    depth: PositiveInt = 9
    discriminator_width: PositiveInt = 64
    discriminator_layers: PositiveInt = 3
    channels: PositiveInt = 1
    cycle_weight: NonNegativeFloat = 10.0
    identity_weight: NonNegativeFloat = 0.5
    cycle_noise: NonNegativeFloat = 0.01


class CycleGAN(Translator):
    """Two generators, two discriminators, a cycle."""

    name = "cyclegan"

    def __init__(self, config: CycleGANConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        c = config
        self.generators = nn.ModuleDict({
            direction: build_generator(
                c.generator, spatial_dims=spatial_dims, in_channels=c.channels, out_channels=c.channels,
                width=c.width, depth=c.depth,
            )
            for direction in ("a2b", "b2a")
        })  # fmt: skip
        self.discriminators = nn.ModuleDict({
            domain: patch_discriminator(
                spatial_dims, c.channels, width=c.discriminator_width, layers=c.discriminator_layers
            )
            for domain in ("a", "b")
        })  # fmt: skip

    def translate(
        self, x: Tensor, direction: Direction, *, mask: Tensor | None = None, style: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """Translates the whole image; CycleGAN is deterministic, so `style` and `generator` are not used."""
        self.check_input(x, mask)
        return torch.tanh(self.generators[direction](x))

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Equation 3 with least squares (section 4), plus the identity term of section 5.2."""
        a, b, c = batch["a"], batch["b"], self.config
        fake_b, fake_a = self.translate(a, "a2b"), self.translate(b, "b2a")
        noisy_b = fake_b + c.cycle_noise * seeded_noise(fake_b, batch["seed"], salt=1)
        noisy_a = fake_a + c.cycle_noise * seeded_noise(fake_a, batch["seed"], salt=2)
        losses = {
            "adversarial_a2b": adversarial_generator(self.discriminators["b"](fake_b)),
            "adversarial_b2a": adversarial_generator(self.discriminators["a"](fake_a)),
            "cycle_a": c.cycle_weight * l1(self.translate(noisy_b, "b2a"), a),
            "cycle_b": c.cycle_weight * l1(self.translate(noisy_a, "a2b"), b),
        }
        if c.identity_weight:
            weight = c.cycle_weight * c.identity_weight
            losses["identity_a"] = weight * l1(self.translate(a, "b2a"), a)
            losses["identity_b"] = weight * l1(self.translate(b, "a2b"), b)
        return losses, {"a": fake_a.detach(), "b": fake_b.detach()}

    def discriminator_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        """Least squares, halved as in the paper's section 7.1."""
        return {
            f"discriminator_{domain}": adversarial_discriminator(
                self.discriminators[domain](batch[domain]), self.discriminators[domain](fakes[domain])
            )
            for domain in ("a", "b")
        }
