"""Hounsfield units of a synthetic CT that are wrong or moved: by tissue, and in blood with contrast agent.

Arrays are (X, Y[, Z]) in HU. Air and lung part at -950 HU, the threshold of emphysema (Gevenois 1996, AJRCCM 154:187);
fat is -190 to -30 HU (Yoshizumi 1999, Radiology 211:283), soft tissue -29 to 150 HU (muscle: Mitsiopoulos 1998, J Appl
Physiol 85:115), and what is brighter counts as bone. Between lung and fat lies partial volume: no tissue.

Blood without contrast agent lies at 30 to 60 HU, with it at 130 to 450 HU. Bone marrow is as bright, but a bright part
with thin dense voxels in or around it is bone; what is dense and thick is contrast agent at first pass: neither. Slice
by slice. Limits: vessels thinner than 8 mm and blood that touches bone do not count; vertebrae with a weak cortex and
costal cartilage are taken for blood, so compare with a CT without contrast agent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from medaug.audits.measures.similarity import ImagePair, checked_pairs
from medaug.errors import DataError
from medaug.lesions.geometry import grow

BONE_ABOVE_HU = 150.0
TISSUES_HU: dict[str, tuple[float, float]] = {
    "air": (-np.inf, -950.0),
    "lung": (-950.0, -500.0),
    "fat": (-190.0, -30.0),
    "soft": (-30.0, BONE_ABOVE_HU),
    "bone": (BONE_ABOVE_HU, np.inf),
}
"""Tissue → (above or equal, below) in HU."""
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


def tissue_errors(pairs: Sequence[ImagePair]) -> dict[str, dict[str, float]]:
    """Errors of every tissue that the real CT holds inside the mask, in the order of `TISSUES_HU`.

    Returns:
        tissue → bias_hu (mean of synthetic − real), sd_hu (of these differences), mae_hu, and share (of the mask).

    Raises:
        DataError: as `similarity`.
    """
    real, synthetic = _inside(pairs)
    return {
        name: _errors((synthetic - real)[members]) | {"share": float(members.mean())}
        for name, members in tissues_of(real).items()
        if members.any()
    }


def region_errors(pairs: Sequence[ImagePair]) -> dict[str, float]:
    """bias_hu, sd_hu and mae_hu (as in `tissue_errors`) of everything in the masks.

    Raises:
        DataError: as `similarity`.
    """
    real, synthetic = _inside(pairs)
    return _errors(synthetic - real)


def bone_dice(pairs: Sequence[ImagePair]) -> float | None:
    """2 |R ∩ S| / (|R| + |S|) of what is above 150 HU in the real and the synthetic CT; None where neither has bone.

    Raises:
        DataError: as `similarity`.
    """
    real, synthetic = (values >= BONE_ABOVE_HU for values in _inside(pairs))
    total = int(real.sum()) + int(synthetic.sum())
    return 2.0 * int((real & synthetic).sum()) / total if total else None


def tissues_of(real_hu: np.ndarray) -> dict[str, np.ndarray]:
    """Tissue → where a CT holds it (bool, the same shape)."""
    return {name: (real_hu >= low) & (real_hu < high) for name, (low, high) in TISSUES_HU.items()}


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
    planes = zip(_planes(_smoothed(image_hu, spacing_mm)), _planes(np.asarray(body)), strict=True)
    levels = [_blood_of(plane, inside > 0, in_plane) for plane, inside in planes]
    return np.stack(levels, axis=-1).reshape(image_hu.shape)


def beside_blood(image_hu: np.ndarray, blood: np.ndarray, body: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Soft tissue, -30 to 130 HU, 3 to 15 mm from blood (bool): what contrast agent changes little."""
    in_plane = tuple(spacing_mm[:2])
    near, far = (np.stack([grow(plane, mm, in_plane) for plane in _planes(blood)], axis=-1) for mm in BESIDE_MM)
    smooth = _smoothed(image_hu, spacing_mm)
    soft = (smooth >= SOFT_HU[0]) & (smooth < SOFT_HU[1]) & (np.asarray(body) > 0)
    return soft & (far & ~near).reshape(blood.shape)


def _inside(pairs: Sequence[ImagePair]) -> tuple[np.ndarray, np.ndarray]:
    """The real and the synthetic values at every voxel of the masks, (N,) each."""
    checked = checked_pairs(pairs)
    real, synthetic = (np.concatenate([pair[i][pair.mask] for pair in checked]) for i in (0, 1))
    return real, synthetic


def _errors(difference: np.ndarray) -> dict[str, float]:
    return {
        "bias_hu": float(difference.mean()),
        "sd_hu": float(difference.std()),
        "mae_hu": float(np.abs(difference).mean()),
    }


def _smoothed(image_hu: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    sigma = [SMOOTHING_MM / mm for mm in spacing_mm[:2]] + [0.0] * (image_hu.ndim - 2)
    return ndimage.gaussian_filter(np.asarray(image_hu, dtype=np.float32), sigma)


def _planes(array: np.ndarray) -> np.ndarray:
    """(Z, X, Y): the slices of a volume, or the one of a picture."""
    return np.moveaxis(array.reshape(*array.shape[:2], -1), -1, 0)


def _blood_of(smooth: np.ndarray, inside: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Enhanced blood in one slice (X, Y)."""

    def opened(mask: np.ndarray, radius_mm: float) -> np.ndarray:
        return grow(grow(mask, -radius_mm, spacing_mm), radius_mm, spacing_mm) & mask

    bright = opened((smooth >= ENHANCED_HU[0]) & inside, BRIDGES_MM)
    dense = (smooth >= DENSE_HU) & inside
    cortex = dense & ~grow(opened(dense, THICK_MM), BRIDGES_MM, spacing_mm)
    parts, count = ndimage.label(bright, structure=np.ones((3, 3)))
    blood = np.zeros_like(bright)
    for number in range(1, count + 1):
        part = parts == number
        if cortex[grow(part, SHELL_MM, spacing_mm) & (smooth >= SOFT_HU[1])].mean() < SHELL_LEAST:
            blood |= part
    return opened(blood & (smooth < ENHANCED_HU[1]), THICK_MM)
