"""The rewritten convolutions and their padding against the ordinary ones, forward and backward, in one thread."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from medaug.models.networks.layers import CONVOLUTION, doubled_conv, pad_reflect, padded_conv

DOUBLED = [
    (4, 128, 64, (16, 16)),
    (4, 64, 32, (32, 32)),
    (8, 48, 24, (24, 24)),
    (1, 128, 64, (64, 64)),
    (2, 48, 24, (16,) * 3),
]
PADDED = [(8, 128, 1, (16, 16)), (8, 32, 1, (64, 64)), (8, 32, 3, (64, 64))]
SINGLE = [(8, 24, 3, (48, 48)), (4, 32, 7, (64, 64)), (1, 64, 7, (128, 128))]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("batch", "channels", "out", "size"), DOUBLED)
def test_doubling_then_convolving(benchmark, batch, channels, out, size, seconds_in_turns, tell):
    x, weight = drawn(batch, channels, *size), drawn(out, channels, *[3] * len(size))

    def plain(x, weight):
        return CONVOLUTION[len(size)](mirrored(functional.interpolate(x, scale_factor=2), 1), weight)

    ratio = compared(benchmark, seconds_in_turns, plain, lambda x, weight: doubled_conv(x, weight, None), x, weight)
    tell(f"doubled {batch}×{channels}×{size} → {out}: {ratio:.2f} times as fast")


@pytest.mark.parametrize(("batch", "channels", "kernel", "size"), SINGLE)
def test_convolving_to_one_channel(benchmark, batch, channels, kernel, size, seconds_in_turns, tell):
    x, weight = drawn(batch, channels, *size), drawn(1, channels, kernel, kernel)

    def plain(x, weight):
        return CONVOLUTION[2](mirrored(x, kernel // 2), weight)

    ratio = compared(benchmark, seconds_in_turns, plain, lambda x, weight: padded_conv(x, weight, None), x, weight)
    tell(f"{batch}×{channels}×{size} to one channel, kernel {kernel}: {ratio:.2f} times as fast")


@pytest.mark.parametrize(("batch", "channels", "width", "size"), PADDED)
def test_padding(benchmark, batch, channels, width, size, seconds_in_turns, tell):
    x = drawn(batch, channels, *size)
    ratio = compared(benchmark, seconds_in_turns, lambda x: mirrored(x, width), lambda x: pad_reflect(x, width), x)
    tell(f"{batch}×{channels}×{size} padded by {width}: {ratio:.2f} times as fast")


def mirrored(x: torch.Tensor, width: int) -> torch.Tensor:
    """Reflect-padding as torch has it."""
    return functional.pad(x, [width] * 2 * (x.ndim - 2), mode="reflect")


def compared(benchmark, seconds_in_turns, plain, ours, *inputs: torch.Tensor) -> float:
    pull = torch.ones_like(ours(*inputs))
    steps = {"plain": lambda: plain(*inputs).backward(pull), "ours": lambda: ours(*inputs).backward(pull)}
    seconds = seconds_in_turns(steps, rounds=10)
    benchmark.extra_info["times_faster"] = seconds["plain"] / seconds["ours"]
    benchmark.pedantic(steps["ours"], rounds=5)
    return seconds["plain"] / seconds["ours"]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
