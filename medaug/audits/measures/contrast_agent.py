"""Where a CT shows blood with contrast agent: vessels, heart chambers, and organs full of it, told from bone.

Arrays are (X, Y[, Z]) in HU with the voxel size in mm; everything is done slice by slice, axis 2 of a volume only joins
slices. Blood without contrast agent lies at 30 to 60 HU, with it at 130 to 450 HU. Bone marrow is as bright, but has a
shell of cortical bone: a bright part with thin dense voxels in or around it is bone. What is dense and thick is
contrast agent at first pass (a subclavian vein); it is neither.

Limits: vessels thinner than 8 mm do not count, nor does blood that touches bone. Vertebrae with a weak cortex and
costal cartilage are taken for blood, so a CT without contrast agent has some too: compare with the level there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.anatomy import by_plane
from medaug.lesions.geometry import grow

LARGEST_VOXEL_MM = 4.5
"""In the plane; where voxels are larger no cortex is seen, and every vertebra would be blood."""
ENHANCED_HU = (130.0, 450.0)
SOFT_HU = (-30.0, 130.0)
DENSE_HU = 400.0
"""Cortical bone; above what noise makes of enhanced blood."""
SMOOTHING_MM = 1.0
"""Standard deviation of the Gaussian that takes noise away before thresholds are applied."""
BRIDGES_MM, THICK_MM = 3.0, 4.0
"""Half the width of what joins parts by chance, and of the thinnest that counts: vessel, or contrast agent at once."""
SHELL_MM, SHELL_LEAST = 4.0, 0.02
"""How far around a part its cortex is looked for, and the share of part and surroundings that makes it bone."""
BESIDE_MM = (3.0, 15.0)
"""From where to where soft tissue is beside blood: past its partial volume."""


def enhanced_blood(image_hu: np.ndarray, body: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Thick parts of the body at 130 to 450 HU that are no bone (bool).

    Raises:
        DataError: if voxels are larger than 4.5 mm in the plane.
    """
    in_plane = tuple(spacing_mm[:2])
    if max(in_plane) > LARGEST_VOXEL_MM:
        raise DataError(
            f"found voxels of {max(in_plane):g} mm in the plane; expected up to {LARGEST_VOXEL_MM:g} mm, to tell blood "
            "from bone by its cortex. Use a finer grid (data.resample_mm)."
        )
    smooth = _smoothed(image_hu, spacing_mm)
    levels = [
        _blood_of(plane, inside > 0, in_plane)
        for plane, inside in zip(_planes(smooth), _planes(np.asarray(body)), strict=True)
    ]
    return np.stack(levels, axis=-1).reshape(image_hu.shape)


def beside_blood(image_hu: np.ndarray, blood: np.ndarray, body: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Soft tissue, -30 to 130 HU, 3 to 15 mm from blood (bool): what contrast agent changes little."""
    in_plane = tuple(spacing_mm[:2])
    volume = np.asarray(blood).reshape(*blood.shape[:2], -1)
    near, far = (by_plane(partial(grow, margin_mm=mm, spacing_mm=in_plane), volume) for mm in BESIDE_MM)
    smooth = _smoothed(image_hu, spacing_mm)
    soft = (smooth >= SOFT_HU[0]) & (smooth < SOFT_HU[1]) & (np.asarray(body) > 0)
    return soft & (far & ~near).reshape(blood.shape)


def _smoothed(image_hu: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    sigma = [SMOOTHING_MM / mm for mm in spacing_mm[:2]] + [0.0] * (image_hu.ndim - 2)
    return ndimage.gaussian_filter(np.asarray(image_hu, dtype=np.float32), sigma)


def _planes(array: np.ndarray) -> list[np.ndarray]:
    volume = array.reshape(*array.shape[:2], -1)
    return [volume[..., z] for z in range(volume.shape[-1])]


def _blood_of(smooth: np.ndarray, inside: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Of one slice (X, Y)."""
    bright = _opened((smooth >= ENHANCED_HU[0]) & inside, BRIDGES_MM, spacing_mm)
    dense = (smooth >= DENSE_HU) & inside
    cortex = dense & ~grow(_opened(dense, THICK_MM, spacing_mm), BRIDGES_MM, spacing_mm)
    parts, count = ndimage.label(bright, structure=np.ones((3, 3)))
    blood = np.zeros_like(bright)
    for number in range(1, count + 1):
        part = parts == number
        if cortex[grow(part, SHELL_MM, spacing_mm) & (smooth >= SOFT_HU[1])].mean() < SHELL_LEAST:
            blood |= part
    return _opened(blood & (smooth < ENHANCED_HU[1]), THICK_MM, spacing_mm)


def _opened(mask: np.ndarray, radius_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return grow(grow(mask, -radius_mm, spacing_mm), radius_mm, spacing_mm) & mask
