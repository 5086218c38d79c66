"""How translators of whole images see a scan: in windows in 3-D, by slices in 2-D, on the grid that they know.

What is joined is the change, not the image: where a translator changes nothing the scan keeps its bits, and windows
blend with Gaussian weights (from MONAI). All windows and slices of a scan share one style, drawn from the seed, and
noise is zero, so that they agree where they overlap. The network never holds more than a few windows, or one slice;
sums are kept on the CPU.

2-D weights take a volume slice by slice; 2.5-D weights (`slices` above 1 among the weights' facts) take stacks of
neighbouring slices and average what the overlapping stacks say of each.

A scan of another voxel size than the weights learnt from is brought to their grid, and back to its own; slices of a
volume are never resampled across. The field of view stays, in whole voxels (see `resampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor
from torch.nn import functional

from medaug.devices import check_forked
from medaug.errors import DataError
from medaug.models.base import Direction
from medaug.models.weights import Weights
from medaug.resampling import resample_image
from medaug.volumes import SPACING_TOLERANCE

WINDOWS_AT_ONCE = 4
SLICES_AT_ONCE = 16
SIGMA = 0.25
"""Width of the Gaussian weights, in window widths. MONAI's 0.125 falls so steeply that two windows meet in a step."""
BACKGROUND = -1.0


def change_of(
    image: Tensor,
    weights: Weights,
    direction: Direction,
    *,
    seed: int,
    style: Sequence[float] | None = None,
    label: Tensor | None = None,
    at_once: int | None = None,
) -> Tensor:
    """What the translator adds to an image (C, X, Y[, Z]) in [-1, 1]: (C', X, Y[, Z]), float32, on the CPU.

    It is added to the image itself; where the domains have other numbers of channels, to background alone (-1). The
    window's size and overlap are those the weights were trained with (facts `patch_size`, `overlap`); without a size,
    whole images are translated, padded to the network's stride.

    Args:
        seed: of the style, where the method knows styles.
        style: the style itself, of the translator's `style_dim` numbers.
        label: (K, X, Y[, Z]), one channel a class, for translators that read labels.
        at_once: slices of a volume that a 2-D translator takes together; None: one on a CPU, and `SLICES_AT_ONCE`
            elsewhere. What comes out is the same but for rounding.

    Raises:
        DataError: for a single slice where the weights read several.
    """
    dims, slices = weights.translator.spatial_dims, weights.facts.slices
    if image.ndim - 1 < max(dims, 3 if slices > 1 else 2):
        kind = "3-D weights read volumes" if dims == 3 else f"these weights read {slices} neighbouring slices"
        raise DataError(
            f"found a single slice of shape {tuple(image.shape[1:])}, but {kind}; give the whole volume, or train with "
            "data.spatial_dims=2 and data.slices=1"
        )
    look = _Look(weights, direction, seeded_style(weights, seed) if style is None else style)
    if image.ndim - 1 == dims:
        return look.change(image[None], None if label is None else label[None])[0]
    at_once = at_once or (1 if look.device.type == "cpu" else SLICES_AT_ONCE)
    return _joined_slices(image, slices, look, label, at_once)


def seeded_style(weights: Weights, seed: int) -> tuple[float, ...] | None:
    """The style that a seed stands for; None where the method knows none."""
    if not weights.translator.style_dim:
        return None
    chance = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(weights.translator.style_dim, generator=chance).tolist())


def _joined_slices(volume: Tensor, slices: int, look: _Look, label: Tensor | None, at_once: int) -> Tensor:
    """Stacks around every slice, the end slice repeated; each slice gets the mean of what is said of it."""
    depth, half = volume.shape[-1], slices // 2
    channels = look.channels_out // slices
    total, count = torch.zeros((channels, *volume.shape[1:]), dtype=torch.float64), torch.zeros(depth)
    for first in range(0, depth, at_once):
        levels = range(first, min(first + at_once, depth))
        around = [range(level - half, level + half + 1) for level in levels]
        stacks = torch.stack([torch.cat([volume[..., min(max(z, 0), depth - 1)] for z in own]) for own in around])
        labels = None if label is None else torch.stack([label[..., level] for level in levels])
        for own, changes in zip(around, look.change(stacks, labels), strict=True):
            for z, change in zip(own, changes.split(channels), strict=True):
                if 0 <= z < depth:
                    total[..., z] += change
                    count[z] += 1
    return (total / count).float()


class _Look:
    """One translator, direction and style, applied to images (N, C, *S) of the translator's own dimensions."""

    def __init__(self, weights: Weights, direction: Direction, style: Sequence[float] | None):
        self.weights, self.translator, self.direction = weights, weights.translator, direction
        self.channels, self.channels_out = (self.translator.channels_of(side) for side in direction.split("2"))
        self.patch_size = weights.facts.patch_size
        self.overlap = weights.facts.overlap
        self.device = weights.device
        check_forked(self.device)
        self.style = None if style is None else torch.tensor([style], device=self.device)

    def change(self, x: Tensor, label: Tensor | None) -> Tensor:
        """(N, C, *S) in [-1, 1], and labels (N, K, *S) where they are read → the change, (N, C', *S) on the CPU."""
        x = x if label is None else torch.cat([x, label.to(x)], dim=1)
        if self.patch_size is None:
            pads = [p for size in reversed(x.shape[2:]) for p in (0, -size % self.translator.stride)]
            change = self._of_windows(functional.pad(x, pads, mode="replicate").to(self.device))
            return change[:, :, *(slice(size) for size in x.shape[2:])].cpu()
        found = sliding_window_inference(
            x,
            self.patch_size,
            WINDOWS_AT_ONCE * len(x),
            self._of_windows,
            overlap=self.overlap,
            mode="gaussian",
            sigma_scale=SIGMA,
            padding_mode="replicate",
            sw_device=self.device,
            device="cpu",
        )
        assert isinstance(found, Tensor)  # as the translator gives one
        return found

    def _of_windows(self, windows: Tensor) -> Tensor:
        """(B, C + K, *W) → their change (B, C', *W); windows of nothing but background are left alone."""
        everything = windows.as_subclass(Tensor)
        windows, labels = everything[:, : self.channels], everything[:, self.channels :]
        start = windows
        if not self.translator.same_channels:
            start = windows.new_full((len(windows), self.channels_out, *windows.shape[2:]), BACKGROUND)
        change = torch.zeros_like(start)
        seen = (windows != BACKGROUND).flatten(1).any(dim=1)
        if seen.any():
            x = windows[seen]
            style = None if self.style is None else self.style.expand(len(x), -1)
            mask = labels[seen] if labels.shape[1] else None
            made = self.weights.translate(x, self.direction, style=style, mask=mask)
            change[seen] = (made - start[seen]).to(change)
        return change


@dataclass(frozen=True)
class Resampling:
    """From a scan's grid to the weights' and back; sizes are those of the axes that the weights know.

    Attributes:
        from_mm, to_mm: voxel sizes.
        own_size, grid_size: numbers of voxels.
        weights_unit: "px" where the weights learnt from pictures without a voxel size.
    """

    from_mm: tuple[float, ...]
    to_mm: tuple[float, ...]
    own_size: tuple[int, ...]
    grid_size: tuple[int, ...]
    weights_unit: str = "mm"

    def there(self, image: np.ndarray) -> np.ndarray:
        """(C, X, Y[, Z]) of the scan's grid, on the weights' grid; float32."""
        return np.stack([resample_image(channel, self.grid_size) for channel in image])

    def back(self, image: np.ndarray) -> np.ndarray:
        """The inverse, but for the detail that the coarser of the two grids cannot hold."""
        return np.stack([resample_image(channel, self.own_size) for channel in image])

    def __str__(self) -> str:
        own, weights = (" × ".join(f"{s:.3g}" for s in size) for size in (self.from_mm, self.to_mm))
        return f"voxels of {own} mm, the weights learnt from {weights} {self.weights_unit}"


def resampling_for(
    shape: tuple[int, ...], spacing_mm: Sequence[float], weights_mm: Sequence[float], weights_unit: str = "mm"
) -> Resampling | None:
    """What brings an image of this shape to the weights' voxel size; None where they agree to within a tenth."""
    axes = len(weights_mm)
    own = np.asarray(spacing_mm[:axes], dtype=np.float64)
    ratio = own / np.asarray(weights_mm, dtype=np.float64)
    if (np.abs(ratio - 1) <= SPACING_TOLERANCE).all():
        return None
    grid_size = tuple(max(1, round(n * r)) for n, r in zip(shape[:axes], ratio.tolist(), strict=True))
    return Resampling(tuple(own.tolist()), tuple(weights_mm), tuple(shape[:axes]), grid_size, weights_unit)
