"""One training step of the loop against a plain, eager CycleGAN step written from the paper (Zhu 2017).

Run: pytest -o addopts="--import-mode=importlib" -s tests/benchmarks/test_training_step.py
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest
import torch
from lightning_fabric import Fabric

from medaug.models.methods import build_translator
from medaug.training import TrainingConfig
from medaug.training.loop import _State, _step
from medaug.volumes import Domain, Window

from .plain_cyclegan import BLOCKS, WIDTH, PlainCycleGAN

DOMAIN = Domain("any", "MR", Window(0, 1))
SETTINGS = {"64², batch 4": (4, 64, 64), "48², batch 8": (8, 48, 48), "128², batch 1": (1, 128, 128),
            "32³, batch 1": (1, 32, 32, 32)}  # fmt: skip
ROUNDS, STEPS_COMPARED = 9, 2
LOSSES = ("adversarial", "cycle", "identity", "discriminator")


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
        translator = build_translator("cyclegan", settings, DOMAIN, DOMAIN, len(shape) - 1).to(dtype)
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
