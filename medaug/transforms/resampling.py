"""Scans of another voxel size than the weights learnt from: to the weights' grid, and back to the scan's own.

2-D weights know the voxel size in the plane; slices of a volume are never resampled across. The field of view stays, in
whole voxels (see `io.grid`, which also keeps a coarser grid from aliasing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medaug.data.grid import resample_image
from medaug.volumes import SPACING_TOLERANCE


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
        """(X, Y[, Z]) of the scan's grid, on the weights' grid; float32."""
        return resample_image(image, self.grid_size)

    def back(self, image: np.ndarray) -> np.ndarray:
        """The inverse, but for the detail that the coarser of the two grids cannot hold."""
        return resample_image(image, self.own_size)

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
