"""Convolutions and their padding that processors are slow at, put as others with the same result up to rounding.

Nothing here has weights: each function takes those of an ordinary convolution, so files of weights do not know of it.
Speeds are in `tests/benchmarks/test_convolutions.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CONVOLUTION = {2: functional.conv2d, 3: functional.conv3d}

PHASES = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
"""Of an axis that was doubled: an even and an odd voxel see two voxels of before through three weights, and this says
which of the weights meet which of the two."""


def pad_reflect(x: Tensor, width: int) -> Tensor:
    """Mirrors `width` voxels at every border; repeats the border where the image is too small to mirror."""
    mode = "reflect" if min(x.shape[2:]) > width else "replicate"
    if mode == "reflect" and width and x.ndim == 4 and x.requires_grad and torch.is_grad_enabled():
        return _Mirrored.apply(x, width)
    return functional.pad(x, [width, width] * (x.ndim - 2), mode=mode)


def doubled_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Nearest-neighbour doubling, then a reflect-padded convolution of 3: (B, C, *S) → (B, O, *2S).

    Every voxel of the result sees 2 voxels of `x` along an axis, so a convolution of 2 to 2^d times the channels says
    as much, with 4/9 of the arithmetic in 2-D and 8/27 in 3-D (the sub-pixel convolution of Shi 2016, arXiv
    1609.05158, with the weights of the convolution of 3).

    Args:
        weight: (O, C, 3, 3[, 3]).
    """
    dims, out = x.ndim - 2, len(weight)
    kernels = weight
    for _ in range(dims):  # the first spatial axis becomes (phase, tap) at the end
        kernels = torch.tensordot(kernels, kernels.new_tensor(PHASES), dims=([2], [2]))
    order = [0, *range(2, 2 + 2 * dims, 2), 1, *range(3, 3 + 2 * dims, 2)]
    kernels = kernels.permute(order).reshape(out * 2**dims, -1, *[2] * dims)
    y = CONVOLUTION[dims](functional.pad(x, [1, 1] * dims, mode="replicate"), kernels)
    y = y.unflatten(1, (out, *[2] * dims))  # (B, O, phases, *(S + 1))
    for size in x.shape[2:]:
        # the first axis of phases joins the spatial axis it belongs to; an odd voxel's window is one voxel further
        y = torch.stack([y.select(2, phase).narrow(1 + dims, phase, size) for phase in (0, 1)], dim=2 + dims)
        y = y.flatten(1 + dims, 2 + dims)
    return y if bias is None else y + bias.view(-1, *[1] * dims)


def padded_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A reflect-padded convolution that keeps the size: (B, C, *S) → (B, O, *S).

    To one channel in 2-D it is a matrix product to one channel a tap, whose shifted sum is the result: convolutions
    to a single channel leave most of a processor's vector unit empty.
    """
    kernel, dims = weight.shape[-1], x.ndim - 2
    x = pad_reflect(x, kernel // 2)
    if dims != 2 or len(weight) > 1 or kernel == 1:
        return CONVOLUTION[dims](x, weight, bias)
    taps = functional.conv2d(x, weight.flip(2, 3).permute(2, 3, 1, 0).reshape(kernel**2, -1, 1, 1))
    reach, (height, width) = kernel - 1, x.shape[2:]
    summed = functional.fold(taps.flatten(2), (height + reach, width + reach), kernel)
    y = summed[..., reach:height, reach:width]
    return y if bias is None else y + bias.view(1, 1, 1, 1)


class _Mirrored(torch.autograd.Function):
    """Reflect-padding of an image whose gradient folds whole lines back: torch's goes voxel by voxel.

    Only where a gradient is asked for, so that an exported network holds torch's own padding.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: int) -> Tensor:
        ctx.width = width
        return functional.pad(x, [width] * 4, mode="reflect")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        width = ctx.width
        for axis in (2, 3):
            size = grad.shape[axis] - 2 * width
            inside = grad.narrow(axis, width, size).clone(memory_format=torch.contiguous_format)
            inside.narrow(axis, 1, width).add_(grad.narrow(axis, 0, width).flip(axis))
            inside.narrow(axis, size - 1 - width, width).add_(grad.narrow(axis, size + width, width).flip(axis))
            grad = inside
        return grad, None
