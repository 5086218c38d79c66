"""One training step of the loop against a plain, eager CycleGAN step written from the paper (Zhu 2017).

Run: pytest -o addopts="--import-mode=importlib" -s tests/benchmarks/test_training_step.py
"""

from __future__ import annotations

import itertools
import math
import random
import time
from functools import partial

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from medaug.training import TrainingConfig
from medaug.training.loop import _State, _step
from medaug.translators import build_translator
from medaug.volumes import Domain, Window

SIZE, BATCH, WIDTH, BLOCKS = 64, 4, 32, 6
DOMAIN = Domain("any", "MR", Window(0, 1))


def block(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, up: str = "") -> list[nn.Module]:
    if up == "transposed":
        first = [nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)]
    elif up == "resize":
        first = [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3)]
    else:
        first = [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride)]
    return [*first, nn.InstanceNorm2d(outputs), nn.ReLU(True)]


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(*block(width, width), *block(width, width)[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def generator(up: str) -> nn.Module:
    w = WIDTH
    return nn.Sequential(
        *block(1, w, kernel=7), *block(w, 2 * w, stride=2), *block(2 * w, 4 * w, stride=2),
        *[Residual(4 * w) for _ in range(BLOCKS)],
        *block(4 * w, 2 * w, up=up), *block(2 * w, w, up=up), nn.ReflectionPad2d(3), nn.Conv2d(w, 1, 7), nn.Tanh(),
    )  # fmt: skip


def discriminator() -> nn.Module:
    widths, layers = [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH], [nn.Conv2d(1, WIDTH, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for inputs, outputs, stride in zip(widths, widths[1:], (2, 2, 1), strict=False):
        layers += [nn.Conv2d(inputs, outputs, 4, stride, 1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(8 * WIDTH, 1, 4, 1, 1))


class PlainCycleGAN:
    """The training step as the paper and most codes after it have it: every pass on its own."""

    def __init__(self, up: str) -> None:
        self.a2b, self.b2a, self.judge_a, self.judge_b = generator(up), generator(up), discriminator(), discriminator()
        self.generators = torch.optim.Adam(
            itertools.chain(self.a2b.parameters(), self.b2a.parameters()), 2e-4, (0.5, 0.999)
        )
        self.judges = torch.optim.Adam(
            itertools.chain(self.judge_a.parameters(), self.judge_b.parameters()), 2e-4, (0.5, 0.999)
        )
        self.pools: dict[str, list[torch.Tensor]] = {"a": [], "b": []}
        self.chance = random.Random(0)

    def step(self, a: torch.Tensor, b: torch.Tensor) -> None:
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
        for judge, real, fake, name in ((self.judge_a, a, fake_a, "a"), (self.judge_b, b, fake_b, "b")):
            old = self._pooled(fake.detach(), self.pools[name])
            (0.5 * ((judge(real) - 1).square().mean() + judge(old).square().mean())).backward()
        self.judges.step()

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


def test_step_costs_no_more_than_a_plain_one(benchmark, tmp_path, capsys):
    rng = torch.Generator().manual_seed(0)
    batch = {key: torch.rand(BATCH, 1, SIZE, SIZE, generator=rng) * 2 - 1 for key in "ab"}
    batch["seed"] = torch.arange(BATCH)
    settings = {"width": WIDTH, "depth": BLOCKS, "discriminator_width": WIDTH, "discriminator_layers": 3}
    config = TrainingConfig(steps=1000, accelerator="cpu")
    translator = build_translator("cyclegan", settings, DOMAIN, DOMAIN, 2)
    fabric = Fabric(accelerator="cpu", devices=1)
    state = _State(fabric, translator, config, tmp_path)
    steps = {"medaug": lambda: _step(fabric, state, batch, config)} | {
        up: partial(PlainCycleGAN(up).step, batch["a"], batch["b"]) for up in ("transposed", "resize")
    }
    seconds = dict.fromkeys(steps, math.inf)
    for _, (name, step) in itertools.product(range(6), steps.items()):  # in turns: a slow spell slows all
        start = time.perf_counter()
        step()
        seconds[name] = min(seconds[name], time.perf_counter() - start)
    ratios = {up: round(seconds["medaug"] / seconds[up], 2) for up in ("transposed", "resize")}
    benchmark.extra_info["ratio_to_plain"] = ratios
    benchmark.pedantic(steps["medaug"], rounds=3)
    with capsys.disabled():
        print(
            f"\nmedaug's step takes {seconds['medaug']:.3f} s: {ratios['transposed']} of the paper's, with transposed"
        )
        print(f"convolutions, and {ratios['resize']} of a plain one with the same resize-convolutions")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_step_of_the_default_insertion(benchmark, tmp_path, precision):
    """48² crops, batch 8, the default widths."""
    rng = torch.Generator().manual_seed(0)
    keys = ("a", "b", "reference_a", "mask_a", "mask_b")
    batch = {key: torch.rand(8, 1, 48, 48, generator=rng) * 2 - 1 for key in keys}
    for key in ("mask_a", "mask_b"):
        batch[key] = (batch[key] > 0.9).float()
    batch["seed"] = torch.arange(8)
    config = TrainingConfig(steps=1000, accelerator="cpu")
    translator = build_translator("mask-guided-cyclegan", {}, DOMAIN, DOMAIN, 2)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    state = _State(fabric, translator, config, tmp_path)
    benchmark.pedantic(_step, (fabric, state, batch, config), rounds=5, warmup_rounds=1)
