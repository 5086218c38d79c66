"""A method of your own in one file: a GAN a direction whose translations stay near their input (SimGAN, 1612.07828).

Trains on built-in phantoms, MR to CT. Its weights load wherever this file was imported, which is what registers it:
    python examples/02_custom_translator.py --out out/anchored --set training.steps=300
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from medaug.config.files import load_config
from medaug.models.base import Translator
from medaug.models.losses import adversarial_generator, l1
from medaug.models.methods import TRANSLATORS
from medaug.stages.pipeline import run_pipeline


@dataclass(frozen=True)
class AnchoredConfig:
    """The keys of section `translator` in a pipeline file."""

    generator: str = "unet"
    width: int = 8
    depth: int = 2
    discriminator_width: int = 8
    discriminator_layers: int = 2
    anchor_weight: float = 5.0


class Anchored(Translator):
    name = "anchored"

    def __init__(self, config, domain_a, domain_b, spatial_dims=2):
        super().__init__(config, domain_a, domain_b, spatial_dims)
        self.generators, self.discriminators = self.direction_generators(), self.domain_discriminators()

    def translated(self, x, direction, mask, style, generator):
        return torch.tanh(self.generators[direction](x))  # (B, 1, *S) in [-1, 1]

    def generator_losses(self, batch):
        losses, fakes = {}, {}
        for direction, source, target in (("a2b", "a", "b"), ("b2a", "b", "a")):
            fake = self.translate(batch[source], direction)
            losses[f"adversarial_{direction}"] = adversarial_generator(self.discriminators[target](fake))
            losses[f"anchor_{direction}"] = self.config.anchor_weight * l1(fake, batch[source])
            fakes[target] = fake.detach()
        return losses, fakes


TRANSLATORS[Anchored.name] = (Anchored, AnchoredConfig)
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/anchored"))
    parser.add_argument("--set", action="append", default=[], help="key=value over the settings; repeatable")
    args = parser.parse_args()
    settings = ["domain=ct", "translator.type=anchored", "crop.size=[64,64]", "training.steps=300", *args.set]
    print(run_pipeline(load_config(None, settings), args.out, until="train").weights)
