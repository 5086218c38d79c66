"""CycleGAN (Zhu, Park, Isola, Efros 2017, arXiv 1703.10593): unpaired translation of whole images.

`a2b` is the paper's G, `b2a` its F. Batches hold `a` and `b`, (B, C, *S) in [-1, 1], and `seed` (B,); for semi-paired
training `paired` (B,), 1 where `a` and `b` are a registered pair (absent: none is), for `segmentation_weight`
optionally `label_a`, `label_b` (B, K, *S), and for `label_input` `label_a`. Channels are sequences, of which the two
domains may have other numbers (T1 and T2 to CT), or the slices of 2.5-D.

Departs from the paper: resize-convolutions (no checkerboard), 2-D and 3-D, a U-Net on request, and a little noise on
the fake before it is reconstructed, so that the cycle cannot be closed by a hidden code (Chu 2017, arXiv 1712.02950).
Terms that the paper does not have (pairs, structure, labels) are off unless they are set.

With `label_input` domain A's labels go in: `a2b` reads (image, label), so that what is labelled need not be guessed
from an appearance that A and B do not share. B has no labels; where a cycle starts there, the frozen segmenter's
probabilities on `b2a(b)` take their place. With `label_discriminator` both discriminators read them beside the image,
and a tumor in the wrong place is no longer realistic.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from medaug.errors import ConfigError
from medaug.models.base import Batch, Chance, Direction, Fakes, Losses, Translator, seeded_noise
from medaug.models.losses import (
    adversarial_generator,
    gradient_difference,
    l1,
    mutual_information,
    paired_l1,
    segmentation_consistency,
)
from medaug.models.networks.generators import GeneratorName
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class CycleGANConfig:
    """The paper's settings; `cycle_weight` is λ, `identity_weight` is relative to it (section 5.2).

    There is an identity term only where both domains have as many channels: a generator from T1 and T2 to CT cannot
    read a CT.

    Off by default: `paired_weight` of the L1 on registered pairs, and the weights of the terms that keep the structure
    of the input (see `losses.structure`). `label_input` is the number of A's classes that `a2b` reads, 0 none.
    `round_trip_weight` is of the segmentation term on `b2a(a2b(a))`, which the segmenter, trained on A, can read.
    `residual` generators give the change, not the image: for domains that look alike but for what is to change.
    `change_weight` is of the L1 between an image and its translation, the self-regularization of SimGAN (Shrivastava
    2017, arXiv 1612.07828, equation 3).
    """

    generator: GeneratorName = "resnet"
    width: PositiveInt = 64
    depth: PositiveInt = 9
    discriminator_width: PositiveInt = 64
    discriminator_layers: PositiveInt = 3
    channels: PositiveInt = 1
    cycle_weight: NonNegativeFloat = 10.0
    identity_weight: NonNegativeFloat = 0.5
    cycle_noise: NonNegativeFloat = 0.01
    paired_weight: NonNegativeFloat = 0.0
    gradient_weight: NonNegativeFloat = 0.0
    mutual_information_weight: NonNegativeFloat = 0.0
    segmentation_weight: NonNegativeFloat = 0.0
    round_trip_weight: NonNegativeFloat = 0.0
    label_input: NonNegativeInt = 0
    label_discriminator: bool = False
    residual: bool = False
    change_weight: NonNegativeFloat = 0.0


OF_LIKE_IMAGES = ("residual", "change_weight", "gradient_weight", "mutual_information_weight", "segmentation_weight")
"""Settings that hold an image against its translation, channel by channel."""


class CycleGAN(Translator):
    """Two generators, two discriminators, a cycle.

    Attributes:
        segmenter: the frozen network of the segmentation term, (B, C, *S) → logits (B, K, *S), or None; see
            `attach_segmenter`. No submodule: it is neither trained nor saved.
    """

    name = "cyclegan"
    segmenter: nn.Module | None = None

    def __init__(self, config: CycleGANConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        c = config
        alike = [name for name in OF_LIKE_IMAGES if getattr(c, name)]
        if alike and not self.same_channels:
            raise ConfigError(
                f"translator.{', '.join(alike)}: found domains of {self.channels_of('a')} and {self.channels_of('b')} "
                "channels; expected as many in both, because an image is compared with its translation. Set them to 0 "
                "(false), or give both domains as many sequences."
            )
        self.generators = self.direction_generators()
        if c.label_input:
            self.generators["a2b"] = self.generator(self.channels_of("a") + c.label_input, self.channels_of("b"))
        seen = c.label_input if c.label_discriminator else 0
        self.discriminators = self.domain_discriminators(a=seen, b=seen)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with the segmenter, for training on several processes."""
        return *super().__reduce__(), {"segmenter": self.segmenter}

    def attach_segmenter(self, segmenter: nn.Module) -> None:
        """Freezes a network and keeps it for the segmentation term."""
        # past nn.Module, which would register it
        object.__setattr__(self, "segmenter", segmenter.eval().requires_grad_(False))

    def translated(
        self, x: Tensor, direction: Direction, mask: Tensor | None, style: Tensor | None, generator: Chance | None
    ) -> Tensor:
        """Translates the whole image; CycleGAN is deterministic, so `style` and `generator` are not used.

        Args:
            mask: with `label_input`, and towards B, A's labels (B, K, *S), one channel a class.

        Raises:
            ValueError: if the labels are missing, or of another number of classes.
        """
        if direction == "b2a" or not self.config.label_input:
            return self._image(x, self.generators[direction](x))
        if mask is None or mask.shape[1] != self.config.label_input:
            found = "none" if mask is None else f"{mask.shape[1]}"
            raise ValueError(
                f"a2b reads labels of {self.config.label_input} classes; found {found}: pass mask=(B, K, *S)"
            )
        return self._image(x, self.generators[direction](torch.cat([x, mask.to(x)], dim=1)))

    def _image(self, x: Tensor, output: Tensor) -> Tensor:
        """A generator's output as an image in [-1, 1]; a residual reaches from one end of the range to the other."""
        return (x + 2 * torch.tanh(output)).clamp(-1, 1) if self.config.residual else torch.tanh(output)

    def noise_shapes(self, batch: Batch) -> dict[int, tuple[int, ...]]:
        """What is laid over the fake of either domain before it is reconstructed."""
        size = batch["a"].shape[2:]
        return {1: (self.channels_of("b"), *size), 2: (self.channels_of("a"), *size)}

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Equation 3 with least squares (section 4), plus the identity term of section 5.2."""
        a, b, c = batch["a"], batch["b"], self.config
        label_a = self._label_of(batch)
        fake_a, same_a = self._with_identity(b, a, "b2a", None, None)
        label_b = self._seen_label(fake_a)
        fake_b, same_b = self._with_identity(a, b, "a2b", label_a, label_b)
        noisy_b = fake_b + c.cycle_noise * seeded_noise(fake_b, batch, salt=1)
        noisy_a = fake_a + c.cycle_noise * seeded_noise(fake_a, batch, salt=2)
        reconstructed_a = self.translate(noisy_b, "b2a")
        shown = {"a": self._with_label(fake_a, label_b), "b": self._with_label(fake_b, label_a)}
        losses = {
            "adversarial_a2b": adversarial_generator(self.discriminators["b"](shown["b"])),
            "adversarial_b2a": adversarial_generator(self.discriminators["a"](shown["a"])),
            "cycle_a": c.cycle_weight * l1(reconstructed_a, a),
            "cycle_b": c.cycle_weight * l1(self.translate(noisy_a, "a2b", mask=label_b), b),
        }
        if c.identity_weight and self.same_channels:
            weight = c.cycle_weight * c.identity_weight
            losses |= {"identity_a": weight * l1(same_a, a), "identity_b": weight * l1(same_b, b)}
        if c.paired_weight:  # the mean over the batch's registered pairs; 0 where it has none
            paired = batch["paired"] if "paired" in batch else torch.zeros(len(a), device=a.device)
            losses["paired_a2b"] = c.paired_weight * paired_l1(fake_b, b, paired)
            losses["paired_b2a"] = c.paired_weight * paired_l1(fake_a, a, paired)
        losses |= self._structure_losses(a, fake_b, "a2b", batch.get("label_a"))
        losses |= self._structure_losses(b, fake_a, "b2a", batch.get("label_b"))
        if c.round_trip_weight:
            term = segmentation_consistency(self._segmenter(a), reconstructed_a, a, batch.get("label_a"))
            losses["segmentation_round_trip"] = c.round_trip_weight * term
        return losses, {domain: fake.detach() for domain, fake in shown.items()}

    def _with_identity(
        self, x: Tensor, other: Tensor, direction: Direction, label: Tensor | None, label_other: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The translation of `x`, and what the same generator makes of its own target domain's `other`: in one pass,
        for no norm looks across samples. Without the identity term that is `other` itself."""
        if not (self.config.identity_weight and self.same_channels):
            return self.translate(x, direction, mask=label), other
        labels = None if label is None or label_other is None else torch.cat([label.to(x), label_other.to(x)])
        translated, same = self.translate(torch.cat([x, other]), direction, mask=labels).chunk(2)
        return translated, same

    def real_of(self, batch: Batch, domain: str) -> Tensor:
        """With `label_discriminator` also the label: A's own, for B what the segmenter sees in its translation to A."""
        image = batch[domain]
        if not self.config.label_discriminator:
            return image
        if domain == "a":
            return self._with_label(image, self._label_of(batch))
        with torch.no_grad():
            return self._with_label(image, self._seen_label(self.translate(image, "b2a")))

    def _label_of(self, batch: Batch) -> Tensor | None:
        """A's labels, where they are read.

        Raises:
            ConfigError: if the batch has none.
        """
        if not self.config.label_input:
            return None
        if "label_a" not in batch:
            raise ConfigError("translator.label_input: found images of A without labels; expected a label for each")
        return batch["label_a"]

    def _seen_label(self, fake_a: Tensor) -> Tensor | None:
        """What stands in for B's labels, (B, K, *S): the segmenter's probabilities on its translation to A."""
        if not self.config.label_input:
            return None
        with torch.no_grad():
            return torch.sigmoid(self._segmenter(fake_a)(fake_a).float())

    def _with_label(self, image: Tensor, label: Tensor | None) -> Tensor:
        """What a discriminator is shown."""
        if not self.config.label_discriminator:
            return image
        assert label is not None  # the settings refuse label_discriminator without label_input
        return torch.cat([image, label.to(image)], dim=1)

    def _structure_losses(self, source: Tensor, fake: Tensor, direction: Direction, label: Tensor | None) -> Losses:
        """What the translation should keep of its source, term by term where weighted."""
        c, losses = self.config, {}
        if c.change_weight:
            losses[f"change_{direction}"] = c.change_weight * l1(fake, source)
        if c.gradient_weight:
            losses[f"gradient_{direction}"] = c.gradient_weight * gradient_difference(fake, source)
        if c.mutual_information_weight:
            losses[f"mutual_information_{direction}"] = -c.mutual_information_weight * mutual_information(fake, source)
        if c.segmentation_weight:
            term = segmentation_consistency(self._segmenter(fake), fake, source, label)
            losses[f"segmentation_{direction}"] = c.segmentation_weight * term
        return losses

    def _segmenter(self, like: Tensor) -> nn.Module:
        """The frozen network, on the device of `like`.

        Raises:
            ConfigError: if there is none.
        """
        if self.segmenter is None:
            terms = ("segmentation_weight", "round_trip_weight", "label_input")
            asked = [f"{term} is {getattr(self.config, term):g}" for term in terms if getattr(self.config, term)]
            raise ConfigError(
                f"translator.{', '.join(asked)}, but there is no segmenter; expected a frozen network: call "
                "attach_segmenter(network), or set them to 0."
            )
        return self.segmenter.to(like.device)
