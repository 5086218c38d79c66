"""The contract of every translator: two domains, two directions, losses as dicts of weighted scalars.

A translator holds networks and objectives. It knows nothing of optimizers, devices, files, HU or metadata: those are
the business of `training`, `models.weights` and `transforms`. Images are (B, C, *S) in [-1, 1].

Randomness comes in from outside: training batches carry one integer `seed` a sample, `translate` takes a
`torch.Generator`. So a sample's noise depends neither on the batch it is in nor on the number of workers. The loop has
it drawn beside the samples, on the host, so that a step waits for no transfer (see `noise_shapes`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from medaug.errors import ConfigError
from medaug.models.losses import adversarial_discriminator, masked_l1
from medaug.models.networks.discriminators import least_size, patch_discriminator
from medaug.models.networks.generators import GENERATORS
from medaug.models.networks.layers import isolated_rng
from medaug.seeds import seed_of
from medaug.volumes import Domain

Direction = Literal["a2b", "b2a"]
Chance = Generator | Sequence[Generator]
"""What noise is drawn from: one generator for a batch, or one for each of its samples."""
Batch = dict[str, Tensor]
Losses = dict[str, Tensor]
"""Weighted scalars, each a mean over the batch of what a sample gives by itself; the total is their sum."""
Fakes = dict[str, Tensor]
"""What the discriminator of each domain (`a`, `b`) is shown, detached: (B, C', *S)."""
STYLES = 4
"""How many fixed styles the diversity of a translator is measured with."""


class AdversarialModel(nn.Module, ABC):
    """What the training loop needs of any model: networks in two groups, and their losses.

    Attributes:
        generators, discriminators: by name; every parameter belongs to one of the two, of which the second may be
            empty.
        made_of: the arguments that a model of the same kind is made of.
    """

    name: ClassVar[str]
    generators: nn.ModuleDict
    discriminators: nn.ModuleDict
    made_of: tuple[Any, ...]

    @abstractmethod
    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """The generators' weighted losses and the fakes for the discriminators."""

    @abstractmethod
    def discriminator_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        """The discriminators' weighted losses on the batch's real images and on (pooled) fakes."""

    def noise_shapes(self, batch: Batch) -> dict[int, tuple[int, ...]]:
        """What a step on such a batch draws of `seeded_noise`: the shape of a sample's noise by `salt`.

        What is left out is drawn by the step itself, which then waits for it on its way to the device.
        """
        return {}

    def check_batch(self, batch: Batch) -> None:
        """Refuses a batch that the losses cannot be computed of, before it moves to the device.

        Raises:
            DataError: naming what is wrong with the samples.
        """

    def starts(self, batch: Batch) -> Batch:
        """What the generator towards each domain starts from, to measure how much it changes; empty where nothing."""
        return {}

    def figures(self, batch: Batch) -> dict[str, Tensor]:
        """Further figures for the training log, without gradients; each a number, on the batch's device."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as arguments and state: torch cannot pickle parametrized layers (spectral norm)."""
        return rebuilt, (type(self), self.made_of, self.state_dict(), self.training)


class Translator(AdversarialModel):
    """Base of all translators. Subclasses fill `generators` and `discriminators` ("a", "b").

    Attributes:
        domain_a, domain_b: the kinds of image on either side.
        spatial_dims: 2 or 3.
        stride: every spatial size must be a multiple of it.
        config: the method's frozen dataclass.
        mask_guided: whether batches and `translate` need masks.
        needs_pairs: whether every sample must be a registered pair of both domains.
        reads_body: whether losses count inside the body alone, so that batches hold it.
        style_dim: length of a style code; 0 where the method knows no styles.
    """

    mask_guided: ClassVar[bool] = False
    needs_pairs: ClassVar[bool] = False
    reads_body: ClassVar[bool] = False

    def __init__(self, config: Any, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3; found {spatial_dims}")
        self.config = config
        self.domain_a, self.domain_b = domain_a, domain_b
        self.spatial_dims = spatial_dims
        self.made_of = (config, domain_a, domain_b, spatial_dims)

    @property
    def stride(self) -> int:
        """That of the generators by direction; methods that encode halve at each of the config's `depth` levels."""
        stride = self.generators["a2b"].stride if "a2b" in self.generators else 2 ** (self.config.depth - 1)
        assert isinstance(stride, int)  # torch types a module's attributes as tensors and modules
        return stride

    def channels_of(self, domain: str) -> int:
        """Of images of `domain` ("a" or "b"): its sequences, where either domain has several, else the config's (1)."""
        own = self.domain_a if domain == "a" else self.domain_b
        several = self.domain_a.others or self.domain_b.others
        channels: int = len(own.channels) if several else getattr(self.config, "channels", 1)
        return channels

    @property
    def same_channels(self) -> bool:
        """Whether images of either domain have as many channels, so that the two can be compared."""
        return self.channels_of("a") == self.channels_of("b")

    @property
    def least_size(self) -> int:
        """Along every axis, what the discriminators need to train, in voxels."""
        return least_size(self.config.discriminator_layers)

    @property
    def style_dim(self) -> int:
        return getattr(self.config, "style_dim", 0)

    def translate(
        self,
        x: Tensor,
        direction: Direction,
        *,
        mask: Tensor | None = None,
        style: Tensor | None = None,
        generator: Chance | None = None,
    ) -> Tensor:
        """Translates (B, C, *S) in [-1, 1].

        Args:
            mask: (B, P, *S) in {0, 1}, a channel a part of the tumor, or a class.
            style: (B, style_dim), for methods with styles; None draws it from `generator`.
            generator: of all noise, or one for each sample, which then is as it would be alone; without it the noise,
                and a style that is not given, are zero.

        Raises:
            ValueError: as `check_input`, and where the method cannot take the style or the labels.
        """
        self.check_input(x, mask)
        return self.translated(x, direction, mask, style, generator)

    @abstractmethod
    def translated(
        self, x: Tensor, direction: Direction, mask: Tensor | None, style: Tensor | None, generator: Chance | None
    ) -> Tensor:
        """What `translate` gives, of inputs that it has checked; a method's own part."""

    def generator(self, in_channels: int, out_channels: int) -> nn.Module:
        """A generator of the config's kind, `width` and `depth` (residual blocks of "resnet", levels of "unet").

        Raises:
            ConfigError: for an unknown kind, listing the known ones.
        """
        c = self.config
        if c.generator not in GENERATORS:
            raise ConfigError(f"unknown generator '{c.generator}'; choose one of: {', '.join(GENERATORS)}")
        return GENERATORS[c.generator](self.spatial_dims, in_channels, out_channels, width=c.width, depth=c.depth)

    def direction_generators(self, beside: int = 0) -> nn.ModuleDict:
        """A generator a direction, which reads `beside` further channels."""
        a, b = self.channels_of("a"), self.channels_of("b")
        return nn.ModuleDict({"a2b": self.generator(a + beside, b), "b2a": self.generator(b + beside, a)})

    def domain_discriminators(self, *, a: int = 0, b: int = 0, spectral: bool = False) -> nn.ModuleDict:
        """A PatchGAN a domain, of the config's `discriminator_width` and `discriminator_layers`.

        Args:
            a, b: channels that each is shown beside the image.
        """
        c, dims = self.config, self.spatial_dims
        size: dict[str, int] = {"width": c.discriminator_width, "layers": c.discriminator_layers}
        shown = {"a": self.channels_of("a") + a, "b": self.channels_of("b") + b}
        return nn.ModuleDict({d: patch_discriminator(dims, n, **size, spectral=spectral) for d, n in shown.items()})

    def discriminator_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        """Least squares, halved as in CycleGAN's section 7.1, on what `real_of` shows and on the fakes."""
        losses = {}
        for domain in ("a", "b"):
            real, fake = self.real_of(batch, domain), fakes[domain]
            scores = self.discriminators[domain](torch.cat([real, fake.to(real.dtype)]))
            losses[f"discriminator_{domain}"] = adversarial_discriminator(*scores.split([len(real), len(fake)]))
        return losses

    def real_of(self, batch: Batch, domain: str) -> Tensor:
        """What this domain's discriminator is shown of the real images: the images themselves."""
        return batch[domain]

    def encode_style(self, x: Tensor, domain: str, *, mask: Tensor | None = None) -> Tensor:
        """The style (B, style_dim) of images of `domain` ("a" or "b"), inside `mask` where the method is mask-guided.

        Raises:
            ValueError: if the method knows no styles.
        """
        raise ValueError(f"'{self.name}' knows no styles; train translator.type=munit")

    def paste(self, background: Tensor, lesion: Tensor, mask: Tensor) -> Tensor:
        """The composite that "reference" content starts from, (B, C, *S).

        Raises:
            ValueError: if the method starts from the image alone.
        """
        raise ValueError(f"'{self.name}' pastes no reference lesion; train translator.mask_guided=true")

    def attach_segmenter(self, segmenter: nn.Module) -> None:
        """Gives the method the frozen network that its segmentation terms look through.

        Raises:
            ValueError: if the method has no such terms.
        """
        raise ValueError(f"'{self.name}' looks through no segmenter; train translator.type=cyclegan")

    def start_of(self, batch: Batch, direction: Direction) -> Tensor:
        """What this direction's generator starts from: the batch's own image."""
        return batch["a" if direction == "a2b" else "b"]

    def starts(self, batch: Batch) -> Batch:
        """Empty, too, where an image and its translation have other numbers of channels."""
        if not self.same_channels:
            return {}
        return {"a": self.start_of(batch, "b2a"), "b": self.start_of(batch, "a2b")}

    def check_input(self, x: Tensor, mask: Tensor | None) -> None:
        """Refuses inputs a network would fail on without a reason.

        Raises:
            ValueError: on a wrong number of dimensions, a size that is no multiple of `stride`, or a missing mask.
        """
        if x.ndim != self.spatial_dims + 2:
            raise ValueError(f"expected (B, C, *S) with {self.spatial_dims} spatial axes; found shape {tuple(x.shape)}")
        if any(size % self.stride for size in x.shape[2:]):
            raise ValueError(f"spatial sizes must be multiples of {self.stride}; found {tuple(x.shape[2:])}")
        if self.mask_guided and mask is None:
            raise ValueError(f"'{self.name}' is mask-guided: pass mask=(B, {self.config.parts}, *S)")
        if self.mask_guided and mask is not None:
            found, known = (x.shape[1], mask.shape[1]), (self.config.channels, self.config.parts)
            if found != known:
                raise ValueError(
                    f"'{self.name}' knows images of {known[0]} channel(s) and tumors of {known[1]} part(s); found "
                    f"{found[0]} and {found[1]}"
                )
        if mask is not None and mask.shape[2:] != x.shape[2:]:
            raise ValueError(f"mask {tuple(mask.shape)} does not lie on the image {tuple(x.shape)}")


def rebuilt(
    kind: type[AdversarialModel], made_of: tuple[Any, ...], state: dict[str, Tensor], training: bool
) -> AdversarialModel:
    """The inverse of a model's `__reduce__`; public so that pickles can name it."""
    with isolated_rng(0):
        model = kind(*made_of)
    model.load_state_dict(state)
    return model.to(next(iter(state.values())).device).train(training)


def seeded_noise(like: Tensor, batch: Batch, salt: int) -> Tensor:
    """Standard normal noise of the shape of `like`, each sample from its own seed (and a `salt` for the purpose).

    It is the batch's own where `with_noise` has drawn it.
    """
    drawn = batch.get(f"noise_{salt}")
    if drawn is not None and drawn.shape == like.shape:
        return drawn
    return _seeded(like.shape[1:], batch["seed"], salt).to(like.device)


def with_noise(batch: Batch, shapes: Mapping[int, tuple[int, ...]]) -> Batch:
    """The batch and, as `noise_<salt>` (B, *shape), its noise of these shapes: what `seeded_noise` draws of it."""
    return batch | {f"noise_{salt}": _seeded(shape, batch["seed"], salt) for salt, shape in shapes.items()}


def _seeded(shape: Sequence[int], seeds: Tensor, salt: int) -> Tensor:
    generator = torch.Generator()
    noise = torch.empty(len(seeds), *shape)
    for row, seed in zip(noise, seeds.tolist(), strict=True):
        torch.randn(shape, generator=generator.manual_seed(seed_of(int(seed), salt) % 2**63), out=row)
    return noise


def drawn_noise(like: Tensor, generator: Chance | None) -> Tensor:
    """Standard normal noise of the shape of `like` from `generator`; zeros where it is None."""
    if generator is None:
        return torch.zeros_like(like)
    if not isinstance(generator, Generator):
        return torch.cat([drawn_noise(one, own) for one, own in zip(like.split(1), generator, strict=True)])
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like)


def given_or_drawn(style: Tensor | None, x: Tensor, style_dim: int, generator: Chance | None) -> Tensor:
    """`style` (B, style_dim), or one style a sample of `x` from N(0, I); zeros without a generator.

    Raises:
        ValueError: if a given style is of another shape.
    """
    if style is None:
        return drawn_noise(x.new_zeros(len(x), style_dim), generator)
    if style.shape != (len(x), style_dim):
        raise ValueError(
            f"expected a style of shape {(len(x), style_dim)}, one row a sample; found {tuple(style.shape)}"
        )
    return style.to(x)


@torch.no_grad()
def diversity(translate: Callable[[Tensor], Tensor], x: Tensor, style_dim: int, weight: Tensor | None = None) -> Tensor:
    """Mean L1 distance between the outputs of each two of a few fixed styles, inside `weight` (B, 1, *S).

    Args:
        translate: from a style (B, style_dim) to images (B, C, *S); everything else in it is held fixed.
        x: images of the batch, for its size, device and type.
    """
    styles = torch.randn((STYLES, 1, style_dim), generator=torch.Generator().manual_seed(0)).to(x)
    outputs = [translate(style.expand(len(x), -1)) for style in styles]
    weight = torch.ones_like(x[:, :1]) if weight is None else weight
    return torch.stack([masked_l1(one, other, weight) for one, other in combinations(outputs, 2)]).mean()
