"""Paired regression: a network that learns the target image from registered pairs, without a discriminator.

What the winners of SynthRAD2023 and 2025 train for synthetic CT (nnU-Net's residual encoder, an absolute error inside
the body). Batches hold `a` and `b`, (B, C, *S) in [-1, 1], on one grid, `paired` (B,), which must be 1 throughout, and
optionally `body_a`, `body_b`, (B, 1, *S): where images of either domain count in full; everywhere without them. Beyond
the body they count `outside_weight`: where the source is dim its body ends early, and the network has to know air.

L1 alone blurs what the source leaves open, which is the median of what may lie there. The edge term, the gradient
difference (Mathieu 2016, arXiv 1511.05440), stands in for the features of a frozen segmentation network of the target,
which needs labels of the target that pairs do not come with.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from medaug.models.base import Batch, Chance, Direction, Fakes, Losses, Translator
from medaug.models.losses import gradient_difference, masked_l1
from medaug.models.networks.generators import GeneratorName
from medaug.models.translation.pix2pix import refuse_unpaired
from medaug.settings import METHOD_SETTINGS
from medaug.volumes import Domain


@dataclass(frozen=True, config=METHOD_SETTINGS)
class RegressionConfig:
    """The generator, and the weights of the L1, of what it is outside the body (a share of 1), and of the edge term."""

    generator: GeneratorName = "residual-unet"
    width: PositiveInt = 32
    depth: PositiveInt = 4
    channels: PositiveInt = 1
    l1_weight: NonNegativeFloat = 1.0
    outside_weight: NonNegativeFloat = 0.1
    edge_weight: NonNegativeFloat = 0.1


class Regression(Translator):
    """A generator a direction, and nothing that judges them but the true image."""

    name = "regression"
    needs_pairs = True
    reads_body = True

    def __init__(self, config: RegressionConfig, domain_a: Domain, domain_b: Domain, spatial_dims: int = 2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        self.generators = self.direction_generators()
        self.discriminators = torch.nn.ModuleDict()

    @property
    def least_size(self) -> int:
        """Twice the stride, so that the coarsest level has something to normalise."""
        return 2 * self.stride

    def translated(
        self, x: Tensor, direction: Direction, mask: Tensor | None, style: Tensor | None, generator: Chance | None
    ) -> Tensor:
        """Translates the whole image; deterministic, so `style` and `generator` are not used."""
        return torch.tanh(self.generators[direction](x))

    def check_batch(self, batch: Batch) -> None:
        """Refuses samples that are no pairs.

        Raises:
            DataError: as pix2pix.
        """
        refuse_unpaired(self.name, batch)

    def generator_losses(self, batch: Batch) -> tuple[Losses, Fakes]:
        """L1 and edges, both ways."""
        c, losses, fakes = self.config, {}, {}
        directions: tuple[Direction, ...] = ("a2b", "b2a")
        for direction in directions:
            source, target = direction[0], direction[-1]
            real = batch[target]
            body = batch.get(f"body_{target}", torch.ones_like(real[:, :1]))
            fake = self.translate(batch[source], direction)
            weight = body + c.outside_weight * (1 - body)
            losses[f"l1_{direction}"] = c.l1_weight * masked_l1(fake, real, weight)
            if c.edge_weight:
                losses[f"edge_{direction}"] = c.edge_weight * gradient_difference(fake, real)
            fakes[target] = fake.detach()
        return losses, fakes

    def discriminator_losses(self, batch: Batch, fakes: Fakes) -> Losses:
        """None: there are no discriminators."""
        return {}
