"""What one lesion looks like against its surroundings, in a handful of numbers a reader can check by eye.

Comparing their distributions over real and synthetic lesions shows *how* synthetic ones differ (too bright, too sharp
an edge, too smooth inside), where the probe in `probe.py` only shows *that* they do.
Images are normalized to [-1, 1], shape (X, Y) or (X, Y, Z); distances in mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medaug.errors import DataError
from medaug.lesions.geometry import components, grow, ring

RING_MM = (2.0, 8.0)  # past the partial-volume edge, before other tissue
BINS = 32  # of the intensity histogram over [-1, 1]


def lesion_statistics(
    image: np.ndarray, mask: np.ndarray, spacing_mm: Sequence[float], organ: np.ndarray | None = None
) -> dict[str, float]:
    """Intensity, edge and texture of the lesion in `mask`.

    Args:
        image: normalized, (X, Y) or (X, Y, Z).
        mask: the lesion, same shape.
        spacing_mm: voxel size along each array axis.
        organ: where the surroundings may lie (keeps air and bone out of the ring); None = anywhere.

    Returns:
        mean_inside, std_inside, mean_ring, std_ring: intensities in [-1, 1];
        contrast: mean_inside − mean_ring;
        contrast_to_noise: contrast over std_ring (0 where the ring is constant);
        edge_gradient_per_mm: mean gradient magnitude over the mask's surface voxels and their neighbours;
        edge_sharpness_per_mm: edge_gradient_per_mm over |contrast| (0 without contrast): independent of brightness;
        texture_entropy_bits: Shannon entropy of the intensities inside, in 32 bins;
        texture_gradient_per_mm: mean gradient magnitude inside, away from the edge (the whole mask if it is all edge);
        diameter_mm: of the disc or ball of the same area or volume;
        components: how many separate pieces (diagonals connect).

    Raises:
        DataError: if shapes differ, the image is not finite, the mask is empty, or no surroundings are left.
    """
    mask, organ, spacing = _checked(image, mask, organ, spacing_mm)
    image = np.asarray(image, dtype=np.float64)
    around = ring(mask, inner_mm=RING_MM[0], outer_mm=RING_MM[1], spacing_mm=spacing)
    around = around.astype(bool) & ~mask & (True if organ is None else organ)
    if not around.any():
        raise DataError(
            f"mask: found no voxel between {RING_MM[0]:g} and {RING_MM[1]:g} mm around it"
            f"{'' if organ is None else ' inside the organ'}; expected some surroundings to compare with. "
            "Crop with a wider margin, or pass organ=None."
        )
    inside, outside = image[mask], image[around]
    contrast, noise = float(inside.mean() - outside.mean()), float(outside.std())
    slope = _gradient_per_mm(image, spacing)
    edge = _edge(mask, spacing)
    core = mask & ~edge if (mask & ~edge).any() else mask
    edge_gradient = float(slope[edge].mean())
    return {
        "mean_inside": float(inside.mean()),
        "std_inside": float(inside.std()),
        "mean_ring": float(outside.mean()),
        "std_ring": noise,
        "contrast": contrast,
        "contrast_to_noise": contrast / noise if noise > 1e-6 else 0.0,
        "edge_gradient_per_mm": edge_gradient,
        "edge_sharpness_per_mm": edge_gradient / abs(contrast) if abs(contrast) > 1e-6 else 0.0,
        "texture_entropy_bits": _entropy_bits(inside),
        "texture_gradient_per_mm": float(slope[core].mean()),
        "diameter_mm": _diameter_mm(float(mask.sum() * np.prod(spacing)), mask.ndim),
        "components": float(len(components(mask))),
    }


def _gradient_per_mm(image: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Gradient magnitude by central differences; an axis of one voxel counts as flat."""
    axes = [axis for axis, n in enumerate(image.shape) if n > 1]
    return np.sqrt(sum(np.gradient(image, spacing_mm[axis], axis=axis) ** 2 for axis in axes))


def _edge(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Voxels within about one voxel of the mask's surface, on both sides."""
    step = min(spacing_mm)
    grown_outside = grow(~mask, step, spacing_mm)
    return (grow(mask, step, spacing_mm) & ~mask) | (mask & grown_outside)


def _diameter_mm(size: float, spatial_dims: int) -> float:
    """Diameter of the disc of this area (mm²) or the ball of this volume (mm³)."""
    return float(2.0 * np.sqrt(size / np.pi) if spatial_dims == 2 else 2.0 * np.cbrt(0.75 * size / np.pi))


def _entropy_bits(values: np.ndarray) -> float:
    counts, _ = np.histogram(values, bins=BINS, range=(-1.0, 1.0))
    share = counts[counts > 0] / max(1, counts.sum())
    return float(-(share * np.log2(share)).sum()) + 0.0


def _checked(
    image: np.ndarray, mask: np.ndarray, organ: np.ndarray | None, spacing_mm: Sequence[float]
) -> tuple[np.ndarray, np.ndarray | None, tuple[float, ...]]:
    shapes = {"mask": np.shape(mask)} | ({} if organ is None else {"organ": np.shape(organ)})
    for name, shape in shapes.items():
        if shape != np.shape(image):
            raise DataError(
                f"{name}: found shape {shape}; expected the image's {np.shape(image)}. Use one grid for both."
            )
    if len(spacing_mm) != np.ndim(image):
        raise DataError(f"spacing_mm: found {tuple(spacing_mm)}; expected {np.ndim(image)} values, one per array axis.")
    if not np.isfinite(image).all():
        raise DataError("image: found NaN or infinite values; expected finite ones in [-1, 1]. Repair the image.")
    if not np.any(mask):
        raise DataError("mask: found no lesion voxel; expected at least one. Leave images without a lesion out.")
    organ = None if organ is None else np.asarray(organ).astype(bool)
    return np.asarray(mask).astype(bool), organ, tuple(float(s) for s in spacing_mm)
