"""A plain, eager CycleGAN written from the paper (Zhu 2017, arXiv 1703.10593), which medaug's step is held against."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import torch
from torch import nn

from medaug.models.methods import CycleGAN

WIDTH, BLOCKS = 32, 6


@dataclass(frozen=True)
class Plain:
    """The networks of the paper, or with resize-convolutions, in 2-D or 3-D, layer by layer."""

    dims: int
    up: str
    layers: int = 3

    def layer(self, name: str, *arguments, **options) -> nn.Module:
        return getattr(nn, f"{name}{self.dims}d")(*arguments, **options)

    def block(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, up: str = "") -> list[nn.Module]:
        if up == "transposed":
            first = [self.layer("ConvTranspose", inputs, outputs, 3, 2, 1, output_padding=1)]
        elif up == "resize":
            pad, convolution = self.layer("ReflectionPad", 1), self.layer("Conv", inputs, outputs, 3)
            first = [nn.Upsample(scale_factor=2), pad, convolution]
        else:
            first = [self.layer("ReflectionPad", kernel // 2), self.layer("Conv", inputs, outputs, kernel, stride)]
        return [*first, self.layer("InstanceNorm", outputs, affine=True), nn.ReLU(True)]

    def generator(self) -> nn.Module:
        w, up = WIDTH, self.up
        return nn.Sequential(
            *self.block(1, w, kernel=7), *self.block(w, 2 * w, stride=2), *self.block(2 * w, 4 * w, stride=2),
            *[Residual(*self.block(4 * w, 4 * w), *self.block(4 * w, 4 * w)[:-1]) for _ in range(BLOCKS)],
            *self.block(4 * w, 2 * w, up=up), *self.block(2 * w, w, up=up),
            self.layer("ReflectionPad", 3), self.layer("Conv", w, 1, 7), nn.Tanh(),
        )  # fmt: skip

    def downs(self) -> list[tuple[int, int, int]]:
        """Inputs, outputs and stride of the discriminator's layers after the first; the last does not halve."""
        return [(WIDTH * 2**n, WIDTH * 2 ** (n + 1), 2 if n + 1 < self.layers else 1) for n in range(self.layers)]

    def discriminator(self) -> nn.Module:
        w = WIDTH
        layers = [self.layer("Conv", 1, w, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for inputs, outputs, stride in self.downs():
            layers += [self.layer("Conv", inputs, outputs, 4, stride, 1),
                       self.layer("InstanceNorm", outputs, affine=True), nn.LeakyReLU(0.2, True)]  # fmt: skip
        return nn.Sequential(*layers, self.layer("Conv", w * 2**self.layers, 1, 4, 1, 1))


class Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class PlainCycleGAN:
    """The training step as the paper and most codes after it have it: every pass on its own."""

    def __init__(self, dims: int, up: str, layers: int = 3) -> None:
        plain = Plain(dims, up, layers)
        self.a2b, self.b2a = plain.generator(), plain.generator()
        self.judge_a, self.judge_b = plain.discriminator(), plain.discriminator()
        self.generators = torch.optim.Adam(
            itertools.chain(self.a2b.parameters(), self.b2a.parameters()), 2e-4, (0.5, 0.999)
        )
        self.judges = torch.optim.Adam(
            itertools.chain(self.judge_a.parameters(), self.judge_b.parameters()), 2e-4, (0.5, 0.999)
        )
        self.pools: dict[str, list[torch.Tensor]] = {"a": [], "b": []}
        self.chance = random.Random(0)

    def take_weights(self, translator: CycleGAN) -> None:
        """Those of the same networks, which have the same parameters in the same order."""
        theirs = *translator.generators.values(), *(translator.discriminators[domain] for domain in "ab")
        for mine, other in zip((self.a2b, self.b2a, self.judge_a, self.judge_b), theirs, strict=True):
            for parameter, value in zip(mine.parameters(), other.parameters(), strict=True):
                parameter.data = value.detach().clone()

    def to(self, device: torch.device) -> PlainCycleGAN:
        """Moves the networks, before the first step."""
        for network in (self.a2b, self.b2a, self.judge_a, self.judge_b):
            network.to(device)
        return self

    def step(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
        """Returns the losses of both sides."""
        judges = [*self.judge_a.parameters(), *self.judge_b.parameters()]
        for parameter in judges:
            parameter.requires_grad = False
        self.generators.zero_grad()
        fake_b, fake_a = self.a2b(a), self.b2a(b)
        loss = (
            (self.judge_b(fake_b) - 1).square().mean() + (self.judge_a(fake_a) - 1).square().mean()
            + 10 * ((self.b2a(fake_b) - a).abs().mean() + (self.a2b(fake_a) - b).abs().mean())
            + 5 * ((self.b2a(a) - a).abs().mean() + (self.a2b(b) - b).abs().mean())
        )  # fmt: skip
        loss.backward()
        self.generators.step()
        for parameter in judges:
            parameter.requires_grad = True
        self.judges.zero_grad()
        losses = {"generators": float(loss.detach()), "discriminators": 0.0}
        for judge, real, fake, name in ((self.judge_a, a, fake_a, "a"), (self.judge_b, b, fake_b, "b")):
            old = self._pooled(fake.detach(), self.pools[name])
            judged = 0.5 * ((judge(real) - 1).square().mean() + judge(old).square().mean())
            judged.backward()
            losses["discriminators"] += float(judged.detach())
        self.judges.step()
        return losses

    def _pooled(self, fakes: torch.Tensor, pool: list[torch.Tensor]) -> torch.Tensor:
        out = []
        for fake in fakes:
            if len(pool) < 50:
                pool.append(fake)
            elif self.chance.random() < 0.5:
                slot = self.chance.randrange(50)
                pool[slot], fake = fake, pool[slot]
            out.append(fake)
        return torch.stack(out)
