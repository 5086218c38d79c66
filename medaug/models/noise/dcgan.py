"""DCGAN (Radford, Metz, Chintala 2016, arXiv 1511.06434), class-conditional: crops from noise.

Batches hold `x` (B, 1, *S) in [-1, 1], `label` (B,) and `seed` (B,).

Departs from the paper: a class label (an embedding into the generator, projection in the discriminator);
resize-convolutions (no checkerboard); instead of batch norm, by which a crop would depend on its batch, instance norm
whose gain and offset come from the code (Huang and Belongie 2017, arXiv 1703.06868); codes on a sphere (Karras 2018,
arXiv 1710.10196, section 4.2); hinge loss with a spectrally normalised discriminator (Miyato 2018, arXiv 1802.05957);
differentiable augmentation (Zhao 2020, arXiv 2006.10738) and, on request, a mode-seeking term (Mao 2019, arXiv
1903.05628), because medical data sets are small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from medaug.errors import ConfigError
from medaug.models.base import AdversarialModel, Batch, Fakes, Losses, seeded_noise
from medaug.models.losses import hinge_discriminator, hinge_generator, mode_seeking
from medaug.models.networks.discriminators import augment, draws_needed
from medaug.models.networks.layers import CONV, Block, Head, InstanceNorm, initialize_normal, isolated_rng, pad_reflect
from medaug.models.noise.config import CLASSES, DCGANConfig
from medaug.volumes import Domain

SLOPE = 0.2
CLASS_SCALE = 0.3
"""Scale of the generator's class embedding beside a code of scale 1: else all crops of a class begin alike."""


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
        self.config, self.size, self.domain = self.made_of = config, tuple(size), domain
        sizes = {"classes": len(CLASSES), "levels": c.levels}
        self.generators = nn.ModuleDict({"x": NoiseGenerator(size, 1, latent_dim=c.latent_dim, width=c.width, **sizes)})
        self.discriminators = nn.ModuleDict(
            {"x": ProjectionDiscriminator(len(size), 1, width=c.discriminator_width, **sizes)}
        )

    def generate(self, z: Tensor, label: Tensor) -> Tensor:
        """Crops (B, 1, *S) in [-1, 1] of codes (B, latent_dim) and classes (B,); a code's length does not matter."""
        return torch.tanh(self.generators["x"](z, label))

    def noise_shapes(self, batch: Batch) -> dict[int, tuple[int, ...]]:
        """The codes, and the chance of the augmentation of both sides."""
        code, draws = (self.config.latent_dim,), (draws_needed(len(self.size)),)
        return {1: code, 4: code, 2: draws, 3: draws} if self.config.diversity_weight else {1: code, 2: draws, 3: draws}

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """The hinge's generator side, on augmented fakes of the batch's classes; each sample's code is its seed's.

        With few real crops a class can shrink to a single layout, which `mode_seeking` acts against.
        """
        label = batch["label"]
        code = batch["x"].new_empty(len(label), self.config.latent_dim)
        z = on_sphere(seeded_noise(code, batch, salt=1))
        fake = self.generate(z, label)
        score = self.discriminators["x"](self._augmented(fake, batch, salt=2), label)
        losses = {"adversarial_x": hinge_generator(score)}
        if self.config.diversity_weight:
            other_z = on_sphere(seeded_noise(code, batch, salt=4))
            with torch.no_grad():  # one of a pair is enough to move, at a third of the cost
                other = self.generate(other_z, label)
            losses["diversity_x"] = self.config.diversity_weight * mode_seeking(fake, other, z, other_z)
        return losses, {"x": _with_label(fake, label).detach()}

    def discriminator_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        """The hinge; real and fake crops of a row are augmented alike, so that it cannot tell them apart by that."""
        real = batch["x"]
        fake, fake_label = fakes["x"][:, :-1].to(real.dtype), fakes["x"][:, -1].flatten(1)[:, 0].round().long()
        shown = torch.cat([self._augmented(x, batch, salt=3) for x in (real, fake)])
        scores = self.discriminators["x"](shown, torch.cat([batch["label"], fake_label]))
        return {"discriminator_x": hinge_discriminator(*scores.chunk(2))}

    def _augmented(self, x: Tensor, batch: Batch, salt: int) -> Tensor:
        normal = seeded_noise(x.new_empty(len(x), draws_needed(x.ndim - 2)), batch, salt)
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


class NoiseGenerator(nn.Module):
    """Codes (B, latent_dim) and classes (B,) → (B, channels, *size), without a final activation.

    `width` channels at full resolution, twice as many at each of the `levels` below it.
    """

    def __init__(self, size: Sequence[int], channels: int, *, latent_dim: int, classes: int, width: int, levels: int):
        super().__init__()
        dims, self.base = len(size), tuple(s // 2**levels for s in size)
        widths = [width * 2**level for level in range(levels, -1, -1)]
        self.classes = nn.Embedding(classes, latent_dim)
        nn.init.normal_(self.classes.weight, std=CLASS_SCALE)
        self.stem = nn.Linear(2 * latent_dim, widths[0] * math.prod(self.base))
        self.first = _StyledConv(dims, widths[0], widths[0], 2 * latent_dim)
        self.up = nn.ModuleList(
            _StyledConv(dims, coarse, fine, 2 * latent_dim) for coarse, fine in zip(widths, widths[1:], strict=False)
        )
        self.head = Head(dims, width, channels)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        code = torch.cat([on_sphere(z), self.classes(label)], dim=1)
        x = self.first(functional.relu(self.stem(code).view(len(z), -1, *self.base)), code)
        for block in self.up:
            x = block(functional.interpolate(x, scale_factor=2, mode="nearest"), code)
        return self.head(x)


class ProjectionDiscriminator(nn.Module):
    """(B, channels, *S) and classes (B,) → one score (B,), conditioned by projection.

    Projection: Miyato and Koyama 2018, arXiv 1802.05637, equation 3; spectral norm on every layer: Miyato 2018, arXiv
    1802.05957. There is no other norm, so that brightness and contrast are judged. Features are summed over the crop:
    the mean of features that each layer's norm bounds would leave scores too small for the hinge.
    """

    def __init__(self, spatial_dims: int, channels: int, *, classes: int, width: int, levels: int):
        super().__init__()
        conv, widths = CONV[spatial_dims], [width * 2**level for level in range(levels + 1)]
        layers = [conv(channels, width, 3, padding=1), nn.LeakyReLU(SLOPE)]
        for fine, coarse in zip(widths, widths[1:], strict=False):
            layers += [conv(fine, coarse, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        layers += [conv(widths[-1], widths[-1], 3, padding=1), nn.LeakyReLU(SLOPE)]
        self.features = nn.Sequential(*layers)
        self.score, self.classes = nn.Linear(widths[-1], 1), nn.Embedding(classes, widths[-1])
        for module in [*self.features, self.score, self.classes]:
            if not isinstance(module, nn.LeakyReLU):
                spectral_norm(module)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        features = self.features(x).flatten(2).sum(dim=2)
        return self.score(features)[:, 0] + (self.classes(label) * features).sum(dim=1)


def on_sphere(z: Tensor) -> Tensor:
    """Codes (B, D) scaled to the norm √D, about which normal ones lie anyway."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


class _StyledConv(Block):
    """Reflect-padded 3-wide convolution, instance norm, gain and offset from the code, ReLU."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, code_dim: int):
        super().__init__()
        self.conv = CONV[spatial_dims](in_channels, out_channels, 3)
        self.norm = InstanceNorm(out_channels, affine=False)
        self.style = nn.Linear(code_dim, 2 * out_channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain, offset = self.style(code).view(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        return functional.relu(self.norm(self.conv(pad_reflect(x, 1))) * (1 + gain) + offset)
