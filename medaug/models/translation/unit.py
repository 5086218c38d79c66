"""UNIT (Liu, Breuel, Kautz 2017, arXiv 1703.00848): unpaired translation of whole images through a shared latent space.

An image of either domain is encoded as N(mean, I); either domain's decoder decodes it. The encoders' last and the
decoders' first residual blocks are one module each. Batches hold `a` and `b`, (B, C, *S) in [-1, 1], and `seed` (B,).

Departs from the paper: least squares for the adversarial terms; log-likelihoods and divergences are means over voxels
and code components, so the weights stand in the paper's ratio (adversarial : reconstruction : divergence = 10 : 100 :
0.1) but not at its scale; resize-convolutions; one PatchGAN a domain; 2-D and 3-D.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from medaug.models.base import Batch, Chance, Direction, Fakes, Losses, Translator, drawn_noise, seeded_noise
from medaug.models.losses import adversarial_generator, kl_to_standard_normal, l1
from medaug.models.networks.generators import Decoder, Encoder, code_channels, residual_blocks
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class UNITConfig:
    """The paper's settings; λ1..λ4 are `kl_weight`, `reconstruction_weight`, `cycle_kl_weight`, `cycle_weight`.

    `depth` counts resolution levels, `blocks` the residual blocks of each encoder and decoder that are its own,
    `shared_blocks` those that are shared.
    """

    width: PositiveInt = 64
    depth: PositiveInt = 3
    blocks: NonNegativeInt = 3
    shared_blocks: PositiveInt = 1
    discriminator_width: PositiveInt = 64
    discriminator_layers: PositiveInt = 3
    channels: PositiveInt = 1
    adversarial_weight: NonNegativeFloat = 1.0
    reconstruction_weight: NonNegativeFloat = 10.0
    kl_weight: NonNegativeFloat = 0.01
    cycle_weight: NonNegativeFloat = 10.0
    cycle_kl_weight: NonNegativeFloat = 0.01


class UNIT(Translator):
    """Two VAE-GANs that share their latent space."""

    name = "unit"

    def __init__(self, config: UNITConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        c = config
        size = {"width": c.width, "depth": c.depth, "blocks": c.blocks, "kernel": 7}
        channels = code_channels(c.width, c.depth)
        self.generators = nn.ModuleDict(
            {
                "encoder_a": Encoder(spatial_dims, self.channels_of("a"), **size),
                "encoder_b": Encoder(spatial_dims, self.channels_of("b"), **size),
                "shared_encoder": residual_blocks(spatial_dims, channels, c.shared_blocks),
                "shared_decoder": residual_blocks(spatial_dims, channels, c.shared_blocks),
                "decoder_a": Decoder(spatial_dims, self.channels_of("a"), **size),
                "decoder_b": Decoder(spatial_dims, self.channels_of("b"), **size),
            }
        )
        self.discriminators = self.domain_discriminators()

    def encode(self, x: Tensor, domain: str) -> Tensor:
        """The mean of the latent code of images of `domain` ("a" or "b"): (B, C, *S) → (B, code, *S / stride)."""
        return self.generators["shared_encoder"](self.generators[f"encoder_{domain}"](x))

    def sample(self, mean: Tensor, generator: Chance | None) -> Tensor:
        """A latent code from N(mean, I); the mean itself without a generator."""
        return mean + drawn_noise(mean, generator)

    def decode(self, z: Tensor, domain: str) -> Tensor:
        """Images (B, C, *S) of `domain` in [-1, 1] from a latent code of either domain."""
        return torch.tanh(self.generators[f"decoder_{domain}"](self.generators["shared_decoder"](z)))

    def translated(
        self, x: Tensor, direction: Direction, mask: Tensor | None, style: Tensor | None, generator: Chance | None
    ) -> Tensor:
        """Translates the whole image: from a code drawn from N(mean, I), or without `generator` from the mean.

        UNIT knows no styles: `style` is not used.
        """
        return self.decode(self.sample(self.encode(x, direction[0]), generator), direction[-1])

    def noise_shapes(self, batch: Batch) -> dict[int, tuple[int, ...]]:
        """Of the latent code, for each of four passes."""
        code = code_channels(self.config.width, self.config.depth), *(n // self.stride for n in batch["a"].shape[2:])
        return dict.fromkeys(range(4), code)

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Section 3: the generators' part of L_VAE (`reconstruction`, `kl`), L_GAN and L_CC (`cycle`, `cycle_kl`)."""
        c, x, mean, z, fakes = self.config, {}, {}, {}, {}
        losses: Losses = {}
        for salt, (domain, other) in enumerate((("a", "b"), ("b", "a"))):
            x[domain] = batch[domain]
            mean[domain] = self.encode(x[domain], domain)
            z[domain] = mean[domain] + seeded_noise(mean[domain], batch, salt)
            fakes[other] = self.decode(z[domain], other)
        for salt, (domain, other) in enumerate((("a", "b"), ("b", "a")), start=2):
            returned = self.encode(fakes[other], other)
            back = self.decode(returned + seeded_noise(returned, batch, salt), domain)
            divergence, divergence_back = kl_to_standard_normal(mean[domain]), kl_to_standard_normal(returned)
            losses |= {
                f"adversarial_{domain}2{other}": c.adversarial_weight
                * adversarial_generator(self.discriminators[other](fakes[other])),
                f"reconstruction_{domain}": c.reconstruction_weight * l1(self.decode(z[domain], domain), x[domain]),
                f"kl_{domain}": c.kl_weight * divergence,
                f"cycle_{domain}": c.cycle_weight * l1(back, x[domain]),
                f"cycle_kl_{domain}": c.cycle_kl_weight * (divergence + divergence_back),
            }
        return losses, {domain: fake.detach() for domain, fake in fakes.items()}
