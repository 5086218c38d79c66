"""One training step of the loop against a plain, eager CycleGAN step written from the paper (Zhu 2017).

Run: pytest -o addopts="--import-mode=importlib" -s tests/benchmarks/test_training_step.py
"""

from __future__ import annotations

import itertools
import random
import time

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


def block(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, up: bool = False) -> list[nn.Module]:
    if up:
        first = [nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)]
    else:
        first = [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride)]
    return [*first, nn.InstanceNorm2d(outputs), nn.ReLU(True)]


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(*block(width, width), *block(width, width)[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def generator() -> nn.Module:
    w = WIDTH
    return nn.Sequential(
        *block(1, w, kernel=7), *block(w, 2 * w, stride=2), *block(2 * w, 4 * w, stride=2),
        *[Residual(4 * w) for _ in range(BLOCKS)],
        *block(4 * w, 2 * w, up=True), *block(2 * w, w, up=True), nn.ReflectionPad2d(3), nn.Conv2d(w, 1, 7), nn.Tanh(),
    )  # fmt: skip


def discriminator() -> nn.Module:
    widths, layers = [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH], [nn.Conv2d(1, WIDTH, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for inputs, outputs, stride in zip(widths, widths[1:], (2, 2, 1), strict=False):
        layers += [nn.Conv2d(inputs, outputs, 4, stride, 1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(8 * WIDTH, 1, 4, 1, 1))


class PlainCycleGAN:
    """The training step as the paper and most codes after it have it: every pass on its own."""

    def __init__(self) -> None:
        self.a2b, self.b2a, self.judge_a, self.judge_b = generator(), generator(), discriminator(), discriminator()
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
    settings = {
        "width": WIDTH, "depth": BLOCKS, "discriminator_width": WIDTH, "discriminator_layers": 3
    }  # fmt: skip
    config = TrainingConfig(steps=1000, accelerator="cpu")
    translator = build_translator("cyclegan", settings, DOMAIN, DOMAIN, 2)
    fabric = Fabric(accelerator="cpu", devices=1)
    state, plain = _State(fabric, translator, config, tmp_path), PlainCycleGAN()

    plain_s, own_s = [], []
    for _ in range(6):  # taken in turns, so that a machine that slows down slows both
        for times, step in ((plain_s, lambda: plain.step(batch["a"], batch["b"])),
                            (own_s, lambda: _step(fabric, state, batch, config))):  # fmt: skip
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
    ratio = min(own_s) / min(plain_s)
    benchmark.extra_info["ratio_to_plain"] = round(ratio, 3)
    benchmark.pedantic(_step, (fabric, state, batch, config), rounds=3)
    with capsys.disabled():
        print(f"\nmedaug {min(own_s):.3f} s, plain {min(plain_s):.3f} s a step: ratio {ratio:.2f}")
    assert ratio < 1.5, "EMA, checks and cycle noise must stay small beside the networks"


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
