"""CycleGAN (Zhu, Park, Isola, Efros 2017, arXiv 1703.10593): unpaired translation of whole images.

`a2b` is the paper's G, `b2a` its F. Batches hold `a` and `b`, (B, C, *S) in [-1, 1], and `seed` (B,); for semi-paired
training `paired` (B,), 1 where `a` and `b` are a registered pair (absent: none is), and for `segmentation_weight`
optionally `label_a`, `label_b` (B, K, *S).

Departs from the paper: resize-convolutions (no checkerboard), 2-D and 3-D, a U-Net on request, and a little noise on
the fake before it is reconstructed, so that the cycle cannot be closed by a hidden code (Chu 2017, arXiv 1712.02950).
Terms that the paper does not have (pairs, structure) are off unless their weight is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from medaug.errors import ConfigError
from medaug.losses import (
    adversarial_generator,
    gradient_difference,
    l1,
    masked_l1,
    mutual_information,
    segmentation_consistency,
)
from medaug.translators.base import Batch, Direction, Fakes, Losses, Translator, seeded_noise
from medaug.volumes import Domain


@dataclass(frozen=True)
class CycleGANConfig:
    """The paper's settings; `cycle_weight` is λ, `identity_weight` is relative to it (section 5.2).

    Off by default: `paired_weight` of the L1 on registered pairs, and the weights of the terms that keep the structure
    of the input (see `losses.structure`).
    """

    generator: str = "resnet"
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
        self.generators = self.direction_generators(c.channels, c.channels)
        self.discriminators = self.domain_discriminators(c.channels)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with the segmenter, for training on several processes."""
        if self.segmenter is None:
            return super().__reduce__()
        return _rebuilt_with_segmenter, (super().__reduce__(), self.segmenter)

    def attach_segmenter(self, segmenter: nn.Module) -> None:
        """Freezes a network and keeps it for the segmentation term."""
        # past nn.Module, which would register it
        object.__setattr__(self, "segmenter", segmenter.eval().requires_grad_(False))

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
        losses |= self._paired_losses(batch, fake_a, fake_b)
        losses |= self._structure_losses(a, fake_b, "a2b", batch.get("label_a"))
        losses |= self._structure_losses(b, fake_a, "b2a", batch.get("label_b"))
        return losses, {"a": fake_a.detach(), "b": fake_b.detach()}

    def _paired_losses(self, batch: Batch, fake_a: Tensor, fake_b: Tensor) -> Losses:
        """L1 between translation and truth, the mean over the batch's registered pairs; 0 where it has none."""
        weight = self.config.paired_weight
        if not weight:
            return {}
        paired = batch["paired"] if "paired" in batch else torch.zeros(len(fake_a), device=fake_a.device)
        inside = paired.to(fake_a).view(-1, *[1] * (fake_a.ndim - 1)).expand_as(fake_a[:, :1])
        return {
            "paired_a2b": weight * masked_l1(fake_b, batch["b"], inside),
            "paired_b2a": weight * masked_l1(fake_a, batch["a"], inside),
        }

    def _structure_losses(self, source: Tensor, fake: Tensor, direction: Direction, label: Tensor | None) -> Losses:
        """What the translation should keep of its source, term by term where weighted.

        Raises:
            ConfigError: for a `segmentation_weight` without a segmenter.
        """
        c, losses = self.config, {}
        if c.gradient_weight:
            losses[f"gradient_{direction}"] = c.gradient_weight * gradient_difference(fake, source)
        if c.mutual_information_weight:
            losses[f"mutual_information_{direction}"] = -c.mutual_information_weight * mutual_information(fake, source)
        if c.segmentation_weight:
            if self.segmenter is None:
                raise ConfigError(
                    f"translator.segmentation_weight is {c.segmentation_weight:g}, but there is no segmenter; expected "
                    "a frozen network: call attach_segmenter(network), or set the weight to 0."
                )
            segmenter = self.segmenter.to(fake.device)
            term = segmentation_consistency(segmenter, fake, source, label)
            losses[f"segmentation_{direction}"] = c.segmentation_weight * term
        return losses


def _rebuilt_with_segmenter(reduced: tuple[Any, ...], segmenter: nn.Module) -> CycleGAN:
    rebuild, arguments = reduced
    translator = rebuild(*arguments)
    translator.attach_segmenter(segmenter)
    return translator
