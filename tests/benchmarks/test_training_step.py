"""One training step of the loop against a plain, eager CycleGAN step written from the paper (Zhu 2017).

Run: pytest -o addopts="--import-mode=importlib" -s tests/benchmarks/test_training_step.py
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from medaug.models.methods import CycleGAN, build_translator
from medaug.training import TrainingConfig
from medaug.training.loop import _State, _step
from medaug.volumes import Domain, Window

WIDTH, BLOCKS = 32, 6
DOMAIN = Domain("any", "MR", Window(0, 1))
SETTINGS = {"64², batch 4": (4, 64, 64), "48², batch 8": (8, 48, 48), "128², batch 1": (1, 128, 128),
            "32³, batch 1": (1, 32, 32, 32)}  # fmt: skip
ROUNDS, STEPS_COMPARED = 9, 2
LOSSES = ("adversarial", "cycle", "identity", "discriminator")


@dataclass(frozen=True)
class Plain:
    """The networks of the paper, or with resize-convolutions, in 2-D or 3-D, layer by layer."""

    dims: int
    up: str

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

    def discriminator(self) -> nn.Module:
        w = WIDTH
        layers = [self.layer("Conv", 1, w, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for inputs, outputs, stride in ((w, 2 * w, 2), (2 * w, 4 * w, 2), (4 * w, 8 * w, 1)):
            layers += [self.layer("Conv", inputs, outputs, 4, stride, 1),
                       self.layer("InstanceNorm", outputs, affine=True), nn.LeakyReLU(0.2, True)]  # fmt: skip
        return nn.Sequential(*layers, self.layer("Conv", 8 * w, 1, 4, 1, 1))


class Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class PlainCycleGAN:
    """The training step as the paper and most codes after it have it: every pass on its own."""

    def __init__(self, dims: int, up: str) -> None:
        plain = Plain(dims, up)
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


@pytest.mark.timeout(0)
@pytest.mark.parametrize("shape", SETTINGS.values(), ids=SETTINGS)
def test_step_costs_no_more_than_a_plain_one(benchmark, stepping, shape, tell):
    dims = len(shape) - 1
    batch, medaug = stepping(shape)
    steps = {"medaug": medaug} | {
        up: partial(PlainCycleGAN(dims, up).step, batch["a"], batch["b"]) for up in ("transposed", "resize")
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _, (name, step) in itertools.product(range(ROUNDS), steps.items()):  # in turns: a slow spell slows all
        start = time.perf_counter()
        step()
        seconds[name].append(time.perf_counter() - start)
    ours = seconds.pop("medaug")
    ratios = {
        up: round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2)
        for up, theirs in seconds.items()
    }
    benchmark.extra_info["ratio_to_plain"] = ratios
    benchmark.pedantic(medaug, rounds=3)
    tell(
        f"medaug's step takes {statistics.median(ours):.2f} s (medians): {ratios['transposed']} of the paper's, with "
        f"transposed convolutions, and {ratios['resize']} of a plain one with the same resize-convolutions"
    )


@pytest.mark.timeout(0)
@pytest.mark.parametrize("shape", SETTINGS.values(), ids=SETTINGS)
def test_losses_are_those_of_a_plain_step(stepping, shape, tell):
    """In double precision (losses in single: Fabric hands them out so), for Adam's first steps make rounding large; and
    without the noise before the cycle closes, which the paper does not have."""
    batch, medaug = stepping(shape, precision="64-true", cycle_noise=0.0)
    plain = PlainCycleGAN(len(shape) - 1, "resize")
    plain.take_weights(medaug.args[1].translator)
    off = []
    for _ in range(STEPS_COMPARED):
        figures, theirs = medaug()(), plain.step(batch["a"], batch["b"])
        ours = dict.fromkeys(theirs, 0.0)
        for name, value in figures.items():
            if name.startswith(LOSSES):
                ours["discriminators" if name.startswith("discriminator") else "generators"] += value
        off.append(max(abs(ours[side] / theirs[side] - 1) for side in theirs))
    tell("relative difference of the losses, step by step: " + ", ".join(f"{value:.0e}" for value in off))
    assert max(off) < 1e-6


@pytest.fixture
def stepping(tmp_path) -> Callable[..., tuple[dict[str, torch.Tensor], partial]]:
    """`stepping((4, 64, 64))`: a batch of noise, and medaug's step on it."""

    def made(
        shape: tuple[int, ...], *, precision: str = "32-true", **more: float
    ) -> tuple[dict[str, torch.Tensor], partial]:
        rng, dtype = torch.Generator().manual_seed(0), torch.float64 if precision == "64-true" else torch.float32
        batch = {key: torch.rand(shape[0], 1, *shape[1:], generator=rng, dtype=dtype) * 2 - 1 for key in "ab"}
        batch["seed"] = torch.arange(shape[0])
        settings = {"width": WIDTH, "depth": BLOCKS, "discriminator_width": WIDTH, "discriminator_layers": 3, **more}
        config = TrainingConfig(steps=1000, accelerator="cpu", learning_rate=2e-4, beta1=0.5, beta2=0.999)
        fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
        translator = build_translator("cyclegan", settings, DOMAIN, DOMAIN, len(shape) - 1)
        return batch, partial(_step, fabric, _State(fabric, translator, config, tmp_path), batch, config)

    return made


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
