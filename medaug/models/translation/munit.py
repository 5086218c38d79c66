"""MUNIT (Huang, Liu, Belongie, Kautz 2018, arXiv 1804.04732): unpaired translation, many outputs an image.

An image is a content code (B, code, *S / stride), which both domains have, and a style (B, style_dim), which is its
domain's own with the prior N(0, I). Batches hold `a` and `b`, (B, C, *S) in [-1, 1], and `seed` (B,).

Departs from the paper: one PatchGAN a domain instead of three scales; no perceptual loss (its network would have to be
downloaded); gains of the adaptive norms start at 1; the style-augmented cycle is on by default, with a little noise on
the fake before it is encoded (Chu 2017, arXiv 1712.02950); 2-D and 3-D.
"""

from __future__ import annotations

from functools import partial

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from medaug.models.base import (
    Batch,
    Chance,
    Direction,
    Fakes,
    Losses,
    Translator,
    diversity,
    given_or_drawn,
    seeded_noise,
)
from medaug.models.losses import adversarial_generator, l1
from medaug.models.networks.generators import AdaINDecoder, Encoder, StyleEncoder
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class MUNITConfig:
    """The paper's settings: λ_x, λ_c, λ_s are `reconstruction_weight`, `content_weight`, `style_weight`.

    `depth` counts resolution levels, `blocks` the residual blocks of content encoders and decoders.
    """

    width: PositiveInt = 64
    depth: PositiveInt = 3
    blocks: PositiveInt = 4
    style_dim: PositiveInt = 8
    discriminator_width: PositiveInt = 64
    discriminator_layers: PositiveInt = 3
    channels: PositiveInt = 1
    adversarial_weight: NonNegativeFloat = 1.0
    reconstruction_weight: NonNegativeFloat = 10.0
    content_weight: NonNegativeFloat = 1.0
    style_weight: NonNegativeFloat = 1.0
    cycle_weight: NonNegativeFloat = 10.0
    cycle_noise: NonNegativeFloat = 0.01


class MUNIT(Translator):
    """Two auto-encoders with a common content space; translation gives a content another domain's style."""

    name = "munit"

    def __init__(self, config: MUNITConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        c = config
        size = {"width": c.width, "depth": c.depth}
        networks: dict[str, nn.Module] = {}
        for domain in ("a", "b"):
            images = self.channels_of(domain)
            networks |= {
                f"content_{domain}": Encoder(spatial_dims, images, **size, blocks=c.blocks, kernel=7),
                f"style_{domain}": StyleEncoder(spatial_dims, images, c.style_dim, **size),
                f"decoder_{domain}": AdaINDecoder(spatial_dims, images, c.style_dim, **size, blocks=c.blocks, kernel=7),
            }
        self.generators = nn.ModuleDict(networks)
        self.discriminators = self.domain_discriminators()

    def encode_content(self, x: Tensor, domain: str) -> Tensor:
        """(B, C, *S) of `domain` ("a" or "b") → (B, code, *S / stride)."""
        return self.generators[f"content_{domain}"](x)

    def encode_style(self, x: Tensor, domain: str, *, mask: Tensor | None = None) -> Tensor:
        """The style (B, style_dim) of whole images of `domain`; inside `mask` where one is given."""
        self.check_input(x, mask)
        return self.generators[f"style_{domain}"](x, mask)

    def decode(self, content: Tensor, style: Tensor, domain: str) -> Tensor:
        """Images (B, C, *S) of `domain` in [-1, 1]."""
        return torch.tanh(self.generators[f"decoder_{domain}"](content, style))

    def translated(
        self, x: Tensor, direction: Direction, mask: Tensor | None, style: Tensor | None, generator: Chance | None
    ) -> Tensor:
        """The content of `x` with `style`, or one drawn from `generator`; without either, with the prior's mean, 0."""
        style = given_or_drawn(style, x, self.style_dim, generator)
        return self.decode(self.encode_content(x, direction[0]), style, direction[-1])

    def noise_shapes(self, batch: Batch) -> dict[int, tuple[int, ...]]:
        """A style for each fake, and what is laid over it before it is encoded."""
        size, (a, b) = batch["a"].shape[2:], map(self.channels_of, "ab")
        return {0: (self.style_dim,), 1: (self.style_dim,), 2: (b, *size), 3: (a, *size)}

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Equations 1 (`reconstruction`), 2 (`content`), 3 (`style`), 4 (adversarial) and the cycle of section 4."""
        c, content, style, fakes = self.config, {}, {}, {}
        losses: Losses = {}
        for domain in ("a", "b"):
            content[domain] = self.encode_content(batch[domain], domain)
            style[domain] = self.encode_style(batch[domain], domain)
        for salt, (domain, other) in enumerate((("a", "b"), ("b", "a"))):
            drawn = seeded_noise(style[other], batch, salt).to(style[other])
            fake = fakes[other] = self.decode(content[domain], drawn, other)
            noisy = fake + c.cycle_noise * seeded_noise(fake, batch, salt + 2)
            returned = self.encode_content(noisy, other)
            same = self.decode(content[domain], style[domain], domain)
            losses |= {
                f"adversarial_{domain}2{other}": c.adversarial_weight
                * adversarial_generator(self.discriminators[other](fake)),
                f"reconstruction_{domain}": c.reconstruction_weight * l1(same, batch[domain]),
                f"content_{domain}": c.content_weight * l1(returned, content[domain]),
                f"style_{other}": c.style_weight * l1(self.encode_style(fake, other), drawn),
            }
            if c.cycle_weight:
                back = self.decode(returned, style[domain], domain)
                losses[f"cycle_{domain}"] = c.cycle_weight * l1(back, batch[domain])
        return losses, {domain: fake.detach() for domain, fake in fakes.items()}

    @torch.no_grad()
    def figures(self, batch: Batch) -> dict[str, Tensor]:
        """`diversity_<domain>`: how different the outputs of a few fixed styles of that domain are."""
        figures = {}
        for domain, other in (("a", "b"), ("b", "a")):
            decoded = partial(self.decode, self.encode_content(batch[domain], domain), domain=other)
            figures[f"diversity_{other}"] = diversity(decoded, batch[domain], self.style_dim)
        return figures
