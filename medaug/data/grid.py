"""Onto a grid: a label onto its image's axes, exactly; an image and its mask to another size, with its affine.

The field of view stays; the voxel size changes. Voxel j of the new grid covers the old voxels from j·s to (j+1)·s
(s = old size / new size), so its centre lies at (j + 0.5)·s - 0.5: the origin shifts by half the difference.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from monai.data import MetaTensor
from torch.nn import functional

from medaug.volumes import check_same_grid, displacement_mm, same_place_mm


def on_grid_of(scan: MetaTensor, image: MetaTensor) -> MetaTensor:
    """A label, mask or second scan (1, *S) on an image's grid, its voxels as they are.

    Where the two have the same voxels with their axes in another order or sense, as converters of DICOM write them, the
    scan's axes are turned. Of pictures, which have no place, the sizes are compared.

    Raises:
        DataError: naming both files, if the scan lies on another grid.
    """
    shape, array, affine = tuple(image.shape[1:]), np.asarray(scan.as_tensor())[0], scan.affine.numpy()
    target = image.affine.numpy()
    if not (scan.meta["spacing_known"] and image.meta["spacing_known"]):
        affine = target
    elif (turned := _turned(array, affine, shape, target)) is not None:
        array, affine = turned, target
    check_same_grid(shape, array.shape, target, affine, image.meta["path"], scan.meta["path"])
    return MetaTensor(torch.from_numpy(array)[None], affine=image.affine, meta=scan.meta)


def _turned(array: np.ndarray, affine: np.ndarray, shape: tuple[int, ...], target: np.ndarray) -> np.ndarray | None:
    """The array with its axes in the order and sense in which its voxels lie where `target` puts those of `shape`.

    None if there is no such order. One axis of length 1 is as good as none.
    """
    volume, size = (tuple((*lengths, 1, 1)[:3]) for lengths in (array.shape, shape))
    turns = []
    for order in itertools.permutations(range(3)):
        if tuple(volume[axis] for axis in order) != size:
            continue
        for senses in itertools.product((1, -1), repeat=3):
            step = np.zeros((4, 4))  # from an index of the turned array to one of the stored array
            step[3, 3] = 1
            for new, (old, sense) in enumerate(zip(order, senses, strict=True)):
                step[old, new], step[old, 3] = sense, 0 if sense > 0 else volume[old] - 1
            turns.append((displacement_mm(affine @ step, target, size), order, senses))
    apart, order, senses = min(turns, key=lambda turn: turn[0], default=(np.inf, (), ()))
    if not apart <= same_place_mm(target, shape):
        return None
    turned = array.reshape(volume).transpose(order)[tuple(slice(None, None, sense) for sense in senses)]
    return np.ascontiguousarray(turned.reshape(shape))


def resample_image(image: np.ndarray, grid_size: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation axis by axis, with a triangle filter where the grid gets coarser (no aliasing).

    Args:
        image: (X, Y) or (X, Y, Z).
        grid_size: the new (X, Y), or (X, Y, Z) of a volume.

    Returns:
        float32, slices contiguous in memory.
    """
    slices = np.asarray(image, dtype=np.float32)
    slices = np.moveaxis(slices, 2, 0) if image.ndim == 3 else slices[None]
    batch = torch.from_numpy(np.ascontiguousarray(slices))[:, None]  # (Z, 1, X, Y)
    resampled = _bilinear(batch, grid_size[0], grid_size[1])[:, 0]  # (Z, X, Y)
    if len(grid_size) == 3:
        columns = resampled.reshape(1, 1, len(resampled), -1)
        columns = _bilinear(columns, grid_size[2], columns.shape[-1])
        resampled = columns.reshape(grid_size[2], *resampled.shape[1:])
    result = resampled.numpy()
    return np.asfortranarray(np.moveaxis(result, 0, 2) if image.ndim == 3 else result[0])


def resample_mask(mask: np.ndarray, grid_size: tuple[int, ...]) -> np.ndarray:
    """A new voxel belongs to the mask if the mask covers at least half of it.

    Args:
        mask: bool (X, Y) or (X, Y, Z).
        grid_size: the new (X, Y), or (X, Y, Z) of a volume.
    """
    x, y = _overlap(mask.shape[0], grid_size[0]), _overlap(mask.shape[1], grid_size[1])
    covered = np.einsum("ai,bj,ij...->ab...", x, y, mask.astype(np.float32), optimize=True)
    if len(grid_size) == 3:
        covered = covered @ _overlap(mask.shape[2], grid_size[2]).T
    return covered >= 0.5 - 1e-5


def resample_classes(classes: np.ndarray, grid_size: tuple[int, ...]) -> np.ndarray:
    """Class numbers (uint8, 0 none) on the new grid, each class as `resample_mask` has it.

    Args:
        classes: (X, Y) or (X, Y, Z).
        grid_size: the new (X, Y), or (X, Y, Z) of a volume.
    """
    numbers = [int(number) for number in np.unique(classes) if number]
    masks = {number: resample_mask(classes == number, grid_size) for number in numbers}
    shape = (*grid_size, *classes.shape[len(grid_size) :])
    resampled = np.zeros(shape, dtype=np.uint8)
    for number, mask in masks.items():
        resampled[mask & (resampled == 0)] = number
    return resampled


def resampled_affine(affine: np.ndarray, shape: tuple[int, ...], grid_size: tuple[int, ...]) -> np.ndarray:
    """The (4, 4) affine of the new grid: larger steps along its axes, and the half-voxel shift of the origin."""
    scale = np.ones(3)
    scale[: len(grid_size)] = np.array(shape[: len(grid_size)]) / np.array(grid_size)
    step = np.diag([*scale, 1.0])
    step[:3, 3] = 0.5 * scale - 0.5
    return np.asarray(affine, dtype=np.float64) @ step


def grid_of_spacing(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], wanted_mm: tuple[float, ...]
) -> tuple[int, ...]:
    """The size at which voxels come closest to `wanted_mm`, along as many axes, in the field of view as it is."""
    axes = zip(shape, spacing_mm, wanted_mm, strict=False)
    return tuple(max(1, round(size * spacing / wanted)) for size, spacing, wanted in axes)


def _bilinear(batch: torch.Tensor, x: int, y: int) -> torch.Tensor:
    return functional.interpolate(batch, size=(x, y), mode="bilinear", align_corners=False, antialias=True)


def _overlap(old: int, new: int) -> np.ndarray:
    """(new, old): the fraction of each new voxel that each old one covers."""
    edges = np.arange(new + 1) * (old / new)
    left, right = edges[:-1, None], edges[1:, None]
    start = np.arange(old)[None, :]
    return (np.clip(np.minimum(right, start + 1) - np.maximum(left, start), 0, None) * (new / old)).astype(np.float32)
