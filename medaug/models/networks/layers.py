"""What generators are built of, in 2-D and 3-D: convolutions, norms, blocks, and initial weights.

Up-sampling is resize-convolution (Odena 2016, "Deconvolution and Checkerboard Artifacts"): a transposed convolution
paints a checkerboard. Norms are per instance.

On a CPU padding, doubling, convolutions to one channel, and norms are laid out otherwise than torch has them, because
that is faster there; elsewhere they are torch's own, whose kernels are made for GPUs. Both give the same with the same
weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CONVOLUTION = {2: functional.conv2d, 3: functional.conv3d}

PHASES = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
"""Along an axis that was doubled an even and an odd voxel see two voxels of before through three weights; this says
which of the weights meet which of the two."""


def mean_of_neighbours(x: Tensor) -> Tensor:
    """The mean of each voxel and those around it, along axes and diagonals, within the image: (B, C, *S)."""
    pool = functional.avg_pool2d if x.ndim == 4 else functional.avg_pool3d
    return pool(x, 3, stride=1, padding=1, count_include_pad=False)


def pad_reflect(x: Tensor, width: int) -> Tensor:
    """Mirrors `width` voxels at every border; repeats the border where the image is too small to mirror."""
    mode = "reflect" if min(x.shape[2:]) > width else "replicate"
    if _for_cpu(x) and mode == "reflect" and width and x.ndim == 4 and x.requires_grad and torch.is_grad_enabled():
        return _Mirrored.apply(x, width)
    return functional.pad(x, [width, width] * (x.ndim - 2), mode=mode)


def doubled_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Nearest-neighbour doubling, then a reflect-padded convolution of 3: (B, C, *S) → (B, O, *2S).

    On a CPU: every voxel of the result sees 2 voxels of `x` along an axis, so a convolution of 2 to 2^d times the
    channels says as much, with 4/9 of the arithmetic in 2-D and 8/27 in 3-D (the sub-pixel convolution of Shi 2016,
    arXiv 1609.05158, with the weights of the convolution of 3).

    Args:
        weight: (O, C, 3, 3[, 3]).
    """
    dims, out = x.ndim - 2, len(weight)
    if not _for_cpu(x):
        return CONVOLUTION[dims](pad_reflect(functional.interpolate(x, scale_factor=2), 1), weight, bias)
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

    To one channel in 2-D it is on a CPU a matrix product to one channel a tap, whose shifted sum is the result:
    convolutions to a single channel leave most of a processor's vector unit empty.
    """
    kernel, dims = weight.shape[-1], x.ndim - 2
    x = pad_reflect(x, kernel // 2)
    if not _for_cpu(x) or dims != 2 or len(weight) > 1 or kernel == 1:
        return CONVOLUTION[dims](x, weight, bias)
    taps = functional.conv2d(x, weight.flip(2, 3).permute(2, 3, 1, 0).reshape(kernel**2, -1, 1, 1))
    reach, (height, width) = kernel - 1, x.shape[2:]
    summed = functional.fold(taps.flatten(2), (height + reach, width + reach), kernel)
    y = summed[..., reach:height, reach:width]
    return y if bias is None else y + bias.view(1, 1, 1, 1)


Layout = Literal["by device", "cpu", "torch"]
_layout: Layout = "by device"


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Inside, everything is laid out as for a CPU or as torch has it, whatever the device: to compare the two."""
    global _layout
    before, _layout = _layout, layout
    try:
        yield
    finally:
        _layout = before


def _for_cpu(x: Tensor) -> bool:
    return _layout == "cpu" or (_layout == "by device" and x.device.type == "cpu")


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


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Inside, torch's CPU default generator starts at `seed`; afterwards it is where it was before.

    For constructors that draw from the default generator and take no other (most of torch's and MONAI's).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def initialize_normal(module: nn.Module, std: float = 0.02) -> None:
    """Convolutions N(0, 0.02²), biases 0 (CycleGAN, appendix 7.1). Call inside `isolated_rng`.

    Networks that say `keeps_initial_weights` are left as they are: 0.02 suits convolutions before a norm.
    """
    kept = {
        m for network in module.modules() if getattr(network, "keeps_initial_weights", False) for m in network.modules()
    }
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d) and layer not in kept:
            parametrized = getattr(layer, "parametrizations", None)
            nn.init.normal_(parametrized.weight.original if parametrized is not None else layer.weight, 0.0, std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


CONV = {2: nn.Conv2d, 3: nn.Conv3d}


class InstanceNorm(nn.GroupNorm):
    """Each channel of each sample normalised by itself, then a gain and an offset a channel where it is `affine`."""

    def __init__(self, channels: int, *, affine: bool = True):
        super().__init__(channels, channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x, self.weight, self.bias, self.eps)


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """`x` (B, C, *S) normalised by sample and channel, times `weight` (C,) plus `bias` (C,).

    On a CPU it is a group norm with a group a channel, in half of the time; and it is right there: torch 2.13's
    instance norm computes wrong gradients of channels-last images at batch size 1. On a GPU autocast runs a group norm
    in float32 and an instance norm in bfloat16, with a quarter less memory.
    """
    if _for_cpu(x) or x[0, 0].numel() == 1:  # of a single voxel torch's own makes an error
        return functional.group_norm(x, x.shape[1], weight, bias, eps)
    return functional.instance_norm(x, weight=weight, bias=bias, eps=eps)


class Block(nn.Module):
    """A part of a generator whose inside need not be kept for the gradient (see `checkpoint_blocks`)."""

    checkpointing = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            output: Tensor = checkpoint(super().__call__, *inputs, use_reentrant=False, preserve_rng_state=False)
            return output
        return super().__call__(*inputs)


def checkpoint_blocks(network: nn.Module) -> None:
    """Keeps of each outermost block what goes in, and computes it again when the gradient comes back.

    Gradient checkpointing, Chen 2016, arXiv 1604.06174: the gradient is the same, a forward pass more buys the memory.
    """
    for child in network.children():
        if isinstance(child, Block):
            child.checkpointing = True
        else:
            checkpoint_blocks(child)


class ConvNormAct(Block):
    """Reflect-padded convolution, instance norm, ReLU: (B, C, *S) → (B, out_channels, *S / stride)."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.padding = kernel // 2
        self.conv = CONV[spatial_dims](in_channels, out_channels, kernel, stride)
        self.norm = InstanceNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(pad_reflect(x, self.padding))), inplace=True)


class ResidualBlock(Block):
    """Two 3-wide convolutions with a skip (He 2016), as in the generator of Johnson 2016."""

    def __init__(self, spatial_dims: int, channels: int):
        super().__init__()
        self.first = ConvNormAct(spatial_dims, channels, channels)
        self.conv = CONV[spatial_dims](channels, channels, 3)
        self.norm = InstanceNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(pad_reflect(self.first(x), 1)))


class ResizeConv(Block):
    """Nearest-neighbour doubling followed by a convolution block: (B, C, *S) → (B, out_channels, *2S)."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        super().__init__()
        self.block = ConvNormAct(spatial_dims, in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.block.conv, self.block.norm
        return functional.relu(norm(doubled_conv(x, conv.weight, conv.bias)), inplace=True)


class Merge(Block):
    """Doubles the coarse (B, C, *S), puts the fine (B, C, *2S) beside it, and convolves both: (B, C, *2S)."""

    def __init__(self, spatial_dims: int, channels: int):
        super().__init__()
        self.conv = CONV[spatial_dims](2 * channels, channels, 3)
        self.norm = InstanceNorm(channels)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        of_coarse, of_fine = self.conv.weight.chunk(2, dim=1)
        y = doubled_conv(coarse, of_coarse, self.conv.bias) + padded_conv(fine, of_fine, None)
        return functional.relu(self.norm(y), inplace=True)


class Head(nn.Module):
    """The last convolution, to image channels, without norm or activation."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3):
        super().__init__()
        self.conv = CONV[spatial_dims](in_channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return padded_conv(x, self.conv.weight, self.conv.bias)
