"""Where a synthetic CT's Hounsfield units are wrong: errors by tissue of the real CT, and the bone's overlap.

A tissue is an interval of the real CT's HU. Sources: air and lung part at -950 HU, the threshold of emphysema
(Gevenois 1996, AJRCCM 154:187); fat is -190 to -30 HU (Yoshizumi 1999, Radiology 211:283) and soft tissue -29 to
150 HU (muscle: Mitsiopoulos 1998, J Appl Physiol 85:115). What is brighter counts as bone, vessels with contrast agent
among it. Between lung and fat (-500 to -190 HU) lies partial volume: no tissue.
Only for images in HU; 8-bit pictures of a CT have no tissues.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medaug.audits.measures.similarity import Pair, checked_pairs

BONE_ABOVE_HU = 150.0
TISSUES_HU: dict[str, tuple[float, float]] = {
    "air": (-np.inf, -950.0),
    "lung": (-950.0, -500.0),
    "fat": (-190.0, -30.0),
    "soft": (-30.0, BONE_ABOVE_HU),
    "bone": (BONE_ABOVE_HU, np.inf),
}
"""Tissue → (above or equal, below) in HU."""


def tissue_errors(pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Of every tissue that the real CT holds inside the mask, in the order of `TISSUES_HU`.

    Returns:
        tissue → bias_hu (mean of synthetic − real), sd_hu (of these differences), mae_hu, and share (of the mask).

    Raises:
        DataError: as `similarity`.
    """
    real, synthetic = inside(pairs)
    return {
        name: _errors((synthetic - real)[members]) | {"share": float(members.mean())}
        for name, members in tissues_of(real).items()
        if members.any()
    }


def region_errors(pairs: Sequence[Pair]) -> dict[str, float]:
    """bias_hu, sd_hu and mae_hu (as in `tissue_errors`) of everything in the masks.

    Raises:
        DataError: as `similarity`.
    """
    real, synthetic = inside(pairs)
    return _errors(synthetic - real)


def bone_dice(pairs: Sequence[Pair]) -> float | None:
    """2 |R ∩ S| / (|R| + |S|) of what is above 150 HU in the real and the synthetic CT; None where neither has bone.

    Raises:
        DataError: as `similarity`.
    """
    real, synthetic = (values >= BONE_ABOVE_HU for values in inside(pairs))
    total = int(real.sum()) + int(synthetic.sum())
    return 2.0 * int((real & synthetic).sum()) / total if total else None


def tissues_of(real_hu: np.ndarray) -> dict[str, np.ndarray]:
    """Tissue → where a CT holds it (bool, the same shape)."""
    return {name: (real_hu >= low) & (real_hu < high) for name, (low, high) in TISSUES_HU.items()}


def inside(pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
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
