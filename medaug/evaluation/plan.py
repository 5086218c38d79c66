"""The plan of a downstream network: patch, batch, levels and updates, from what the images are and what may be spent.

nnU-Net plans its networks so (Isensee 2021, 10.1038/s41592-020-01008-z): a patch as large as the budget allows, equal
along all axes in mm and no larger than the images; levels until an axis is four voxels long or shorter; an axis with
thick voxels is halved later. What a pipeline says of `evaluation.patch_size`, `batch_size`, `channels`, `updates` and
`learning_rate` stands in the plan as it was said.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from medaug.errors import ConfigError

if TYPE_CHECKING:
    import torch

BudgetName = Literal["small", "medium", "full"]
THICK = 2.0
"""An axis whose voxels are so many times longer than the shortest is not halved yet."""
SHORTEST = 4
"""Voxels along an axis at the coarsest level, at least."""
MAPS = 14
"""Feature maps of a level that training keeps: two blocks down and two up, each a convolution, norm and activation."""


class Measured(Protocol):
    """What has a shape in voxels and a voxel size, by axis."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def spacing_mm(self) -> tuple[float, ...]: ...


@dataclass(frozen=True)
class Budget:
    """What a network may cost: voxels of a patch, samples of a batch, width of the first and the widest level."""

    voxels: int
    batch_size: int
    width: int
    widest: int
    updates: int


BUDGETS: dict[tuple[BudgetName, int], Budget] = {
    ("small", 2): Budget(128**2, 16, 16, 128, 800),
    ("small", 3): Budget(48**3, 2, 16, 128, 400),
    ("medium", 2): Budget(256**2, 16, 32, 256, 5_000),
    ("medium", 3): Budget(96**3, 2, 24, 256, 10_000),
    ("full", 2): Budget(512**2, 12, 32, 512, 250_000),
    ("full", 3): Budget(128**3, 2, 32, 320, 250_000),
}
"""By budget and number of axes; `small` fits a CPU, `full` is what nnU-Net spends: 1,000 epochs of 250 updates."""


@dataclass(frozen=True)
class Plan:
    """A planned network and its training.

    Attributes:
        budget: the name of what it may cost.
        image_size, spacing_mm: of the training images, by axis: the median, and its voxels.
        patch_size: of samples, by axis; None: whole images.
        window_size: of the windows that images are segmented in.
        batch_size, updates: of the training.
        channels: width of each level, the finest first.
        strides: by level but the first, by how much it is coarser than the one before, an axis.
        learning_rate: at its highest.
        mirror_axes: along which a prediction is averaged.
    """

    budget: BudgetName
    image_size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    patch_size: tuple[int, ...] | None
    window_size: tuple[int, ...]
    batch_size: int
    updates: int
    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    learning_rate: float
    mirror_axes: tuple[int, ...]

    def text(self) -> str:
        """JSON, a line a setting."""
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in asdict(self).items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a pipeline says of a plan; None is left to the budget."""

    patch_size: tuple[int, ...] | None = None
    batch_size: int | None = None
    updates: int | None = None
    channels: tuple[int, ...] | None = None
    learning_rate: float = 2e-3


def plan_of(
    budget: BudgetName, shapes: Sequence[tuple[int, ...]], spacings_mm: Sequence[tuple[float, ...]], wishes: Wishes
) -> Plan:
    """The plan for training images of these shapes and voxel sizes, 2-D or 3-D."""
    given = BUDGETS[budget, len(shapes[0])]
    image_size = tuple(int(n) for n in np.median(np.array(shapes), axis=0))
    spacing_mm = tuple(round(float(mm), 4) for mm in np.median(np.array(spacings_mm), axis=0))
    largest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    whole = len(largest) == 2 and math.prod(largest) <= given.voxels
    patch = wishes.patch_size or (largest if whole else _patch(image_size, spacing_mm, given.voxels))
    most = len(wishes.channels) - 1 if wishes.channels else None
    strides = _strides(patch, spacing_mm, most)
    total = [math.prod(steps) for steps in zip(*strides, strict=True)]
    window = tuple(max(math.ceil(n / step), 2) * step for n, step in zip(patch, total, strict=True))
    channels = wishes.channels or tuple(min(given.width * 2**level, given.widest) for level in range(len(strides) + 1))
    return Plan(
        budget=budget,
        image_size=image_size,
        spacing_mm=spacing_mm,
        patch_size=wishes.patch_size or (None if whole else window),
        window_size=window,
        batch_size=wishes.batch_size or given.batch_size,
        updates=wishes.updates or given.updates,
        channels=channels,
        strides=strides,
        learning_rate=wishes.learning_rate,
        mirror_axes=() if budget == "small" and len(largest) == 3 else tuple(range(len(largest))),
    )


def check_memory(plan: Plan, device: torch.device) -> None:
    """Refuses a plan whose training does not fit the memory at hand, that of the device.

    Raises:
        ConfigError: naming the settings that would make it smaller.
    """
    import torch  # seconds, which settings need not wait

    voxels = math.prod(plan.patch_size or plan.window_size)
    sizes = [math.prod(steps) for steps in np.cumprod([(1,) * len(plan.window_size), *plan.strides], axis=0)]
    maps = sum(width / size for width, size in zip(plan.channels, sizes, strict=True))
    needed = 4 * MAPS * plan.batch_size * voxels * maps
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > free:
        size = " × ".join(map(str, plan.patch_size or plan.window_size))
        raise ConfigError(
            f"evaluation: {plan.batch_size} samples of {size} voxels need about {needed / 2**30:.1f} GiB in training, "
            f"found {free / 2**30:.1f} GiB; expected a plan that fits. Lower "
            f"evaluation.batch_size or evaluation.patch_size, or take evaluation.budget=small."
        )


def _patch(image_size: Sequence[int], spacing_mm: Sequence[float], voxels: int) -> tuple[int, ...]:
    """The largest cube in mm, cut at the images, with at most so many voxels."""
    edge_mm = max(n * mm for n, mm in zip(image_size, spacing_mm, strict=True))
    while True:
        patch = tuple(max(1, min(n, round(edge_mm / mm))) for n, mm in zip(image_size, spacing_mm, strict=True))
        if math.prod(patch) <= voxels:
            return patch
        edge_mm *= 0.98


def _strides(size: Sequence[int], spacing_mm: Sequence[float], most: int | None) -> tuple[tuple[int, ...], ...]:
    """Steps between levels: `most`, or as many as the patch has room for, and two at least."""
    left, mm = list(size), list(spacing_mm)
    found: list[tuple[int, ...]] = []
    while len(found) < (most or 7):
        thin = [m <= THICK * min(mm) for m in mm]
        step = tuple(2 if ok and (most or n >= 2 * SHORTEST) else 1 for ok, n in zip(thin, left, strict=True))
        if max(step) == 1:
            if len(found) >= 2:
                break
            step = (2,) * len(left)
        found.append(step)
        left = [n // s for n, s in zip(left, step, strict=True)]
        mm = [m * s for m, s in zip(mm, step, strict=True)]
    return tuple(found)
