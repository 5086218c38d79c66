"""A label, a mask or a second scan on its image's grid: the axes are turned, exactly, and nothing is resampled."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from monai.data import MetaTensor

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
