"""pix2pix (Isola, Zhu, Zhou, Efros 2017, arXiv 1611.07004): translation learnt from registered pairs.

Batches hold `a` and `b`, (B, C, *S) in [-1, 1], on one grid, and `paired` (B,), which must be 1 throughout.

Departs from the paper: both directions are trained, each as the paper trains one; least squares instead of
cross-entropy; no dropout as noise (the paper found that its generator ignores noise), so outputs are deterministic;
resize-convolutions; 2-D and 3-D.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from medaug.errors import DataError
from medaug.models.base import Batch, Chance, Direction, Fakes, Losses, Translator
from medaug.models.losses import adversarial_generator, l1
from medaug.models.networks.generators import GeneratorName
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class Pix2PixConfig:
    """The paper's settings where a CPU allows them; `l1_weight` is λ (section 3.1)."""

    generator: GeneratorName = "unet"
    width: PositiveInt = 32
    depth: PositiveInt = 4
    discriminator_width: PositiveInt = 64
    discriminator_layers: PositiveInt = 3
    channels: PositiveInt = 1
    l1_weight: NonNegativeFloat = 100.0


class Pix2Pix(Translator):
    """A generator and a conditional discriminator a direction."""

    name = "pix2pix"
    needs_pairs = True

    def __init__(self, config: Pix2PixConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        self.generators = self.direction_generators()
        self.discriminators = self.domain_discriminators(a=self.channels_of("b"), b=self.channels_of("a"))

    def translated(
        self, x: Tensor, direction: Direction, mask: Tensor | None, style: Tensor | None, generator: Chance | None
    ) -> Tensor:
        """Translates the whole image; deterministic, so `style` and `generator` are not used."""
        return torch.tanh(self.generators[direction](x))

    def check_batch(self, batch: Batch) -> None:
        """Refuses samples that are no pairs.

        Raises:
            DataError: as `refuse_unpaired`.
        """
        refuse_unpaired(self.name, batch)

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """Equation 4, both ways."""
        a, b = batch["a"], batch["b"]
        fake_b, fake_a = self.translate(a, "a2b"), self.translate(b, "b2a")
        losses = {
            "adversarial_a2b": adversarial_generator(self.discriminators["b"](torch.cat([fake_b, a], 1))),
            "adversarial_b2a": adversarial_generator(self.discriminators["a"](torch.cat([fake_a, b], 1))),
            "l1_a2b": self.config.l1_weight * l1(fake_b, b),
            "l1_b2a": self.config.l1_weight * l1(fake_a, a),
        }
        return losses, {"a": torch.cat([fake_a, b], 1).detach(), "b": torch.cat([fake_b, a], 1).detach()}

    def real_of(self, batch: Batch, domain: str) -> Tensor:
        """Equation 1: each discriminator sees an output beside its input."""
        return torch.cat([batch[domain], batch["b" if domain == "a" else "a"]], 1)


def refuse_unpaired(method: str, batch: Batch) -> None:
    """Refuses samples that a method of pairs cannot learn from.

    Raises:
        DataError: with how many are pairs, or the sizes of images that do not lie on one grid.
    """
    if batch["a"].shape[2:] != batch["b"].shape[2:]:
        raise DataError(
            f"{method}: found images of {tuple(batch['a'].shape)} and {tuple(batch['b'].shape)}; expected pairs on "
            "one grid. Register and resample them first."
        )
    samples = len(batch["a"])
    paired = int(batch["paired"].bool().sum()) if "paired" in batch else 0
    if paired < samples:
        raise DataError(
            f"{method}: found {paired} registered pairs among {samples} samples; expected pairs only. Set "
            "pairing.paired=all, or train translator.type=cyclegan with translator.paired_weight where some are not."
        )
