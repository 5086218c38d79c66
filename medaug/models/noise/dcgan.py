"""DCGAN (Radford, Metz, Chintala 2016, arXiv 1511.06434), class-conditional: crops from noise.

Batches hold `x` (B, 1, *S) in [-1, 1], `label` (B,) and `seed` (B,). The networks are in `networks.noise`.

Departs from the paper: a class label (an embedding into the generator, projection in the discriminator); hinge loss
with a spectrally normalised discriminator (Miyato 2018, arXiv 1802.05957) instead of the saturating one with batch
norm; differentiable augmentation (Zhao 2020, arXiv 2006.10738) and, on request, a mode-seeking term (Mao 2019,
arXiv 1903.05628), because medical data sets are small.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medaug.errors import ConfigError
from medaug.models.base import AdversarialModel, Batch, Fakes, Losses, rebuilt, seeded_noise
from medaug.models.losses import hinge_discriminator, hinge_generator, mode_seeking
from medaug.models.networks.discriminators import augment, draws_needed
from medaug.models.networks.layers import initialize_normal, isolated_rng
from medaug.models.networks.noise import NoiseGenerator, ProjectionDiscriminator, on_sphere
from medaug.models.noise.config import CLASSES, DCGANConfig
from medaug.volumes import Domain


class DCGAN(AdversarialModel):
    """One generator and one discriminator, both called "x".

    Attributes:
        size: of a crop, in voxels; two or three axes.
        domain: the kind of image; its window says what [-1, 1] means.
        config: see `DCGANConfig`.

    Raises:
        ConfigError: if `size` cannot be halved `levels` times.
    """

    name = "dcgan"

    def __init__(self, config: DCGANConfig, size: tuple[int, ...], domain: Domain):
        super().__init__()
        c, stride = config, 2**config.levels
        if len(size) not in (2, 3) or any(s % stride or s < stride for s in size):
            raise ConfigError(
                f"crop.size is {list(size)}; a GAN of {c.levels} levels needs two or three multiples of {stride}. "
                "Change crop.size or gan.levels."
            )
        self.config, self.size, self.domain = config, tuple(size), domain
        sizes = {"classes": len(CLASSES), "levels": c.levels}
        self.generators = nn.ModuleDict({"x": NoiseGenerator(size, 1, latent_dim=c.latent_dim, width=c.width, **sizes)})
        self.discriminators = nn.ModuleDict(
            {"x": ProjectionDiscriminator(len(size), 1, width=c.discriminator_width, **sizes)}
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as config and state: torch cannot pickle parametrized layers (spectral norm)."""
        return rebuilt, (type(self), (self.config, self.size, self.domain), self.state_dict(), self.training)

    def generate(self, z: Tensor, label: Tensor) -> Tensor:
        """Crops (B, 1, *S) in [-1, 1] of codes (B, latent_dim) and classes (B,); a code's length does not matter."""
        return torch.tanh(self.generators["x"](z, label))

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """The hinge's generator side, on augmented fakes of the batch's classes; each sample's code is its seed's.

        With few real crops a class can shrink to a single layout, which `mode_seeking` acts against.
        """
        label, seeds = batch["label"], batch["seed"]
        code = batch["x"].new_empty(len(seeds), self.config.latent_dim)
        z = on_sphere(seeded_noise(code, seeds, salt=1))
        fake = self.generate(z, label)
        score = self.discriminators["x"](self._augmented(fake, seeds, salt=2), label)
        losses = {"adversarial_x": hinge_generator(score)}
        if self.config.diversity_weight:
            other_z = on_sphere(seeded_noise(code, seeds, salt=4))
            with torch.no_grad():  # one of a pair is enough to move, at a third of the cost
                other = self.generate(other_z, label)
            losses["diversity_x"] = self.config.diversity_weight * mode_seeking(fake, other, z, other_z)
        return losses, {"x": _with_label(fake, label).detach()}

    def discriminator_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        """The hinge; real and fake crops of a row are augmented alike, so that it cannot tell them apart by that."""
        real, seeds = batch["x"], batch["seed"]
        fake, fake_label = fakes["x"][:, :-1].to(real.dtype), fakes["x"][:, -1].flatten(1)[:, 0].round().long()
        shown = torch.cat([self._augmented(x, seeds, salt=3) for x in (real, fake)])
        scores = self.discriminators["x"](shown, torch.cat([batch["label"], fake_label]))
        return {"discriminator_x": hinge_discriminator(*scores.chunk(2))}

    def _augmented(self, x: Tensor, seeds: Tensor, salt: int) -> Tensor:
        normal = seeded_noise(x.new_empty(len(x), draws_needed(x.ndim - 2)), seeds, salt)
        return augment(x, torch.special.ndtr(normal), self.config.augment)


def build_dcgan(config: DCGANConfig, size: tuple[int, ...], domain: Domain, *, seed: int = 0) -> DCGAN:
    """A freshly initialised GAN; its weights depend on `seed` alone."""
    with isolated_rng(seed):
        gan = DCGAN(config, size, domain)
        initialize_normal(gan)
    return gan


def _with_label(fake: Tensor, label: Tensor) -> Tensor:
    """(B, 2, *S): the class travels as a channel, because the pool hands fakes of earlier batches out."""
    plane = label.to(fake.dtype).view(-1, *[1] * (fake.ndim - 1)).expand_as(fake[:, :1])
    return torch.cat([fake, plane], dim=1)
