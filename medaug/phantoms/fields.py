"""Geometry in mm for the phantoms: a sampling grid, smooth random fields, signed distances, soft painting.

Everything is a function of world position (R, A, S in mm), never of the voxel index, so a patient sampled on a finer
grid is the same patient. Random fields are cubic B-splines over a lattice of white noise whose size depends on the
extent in mm only. Distances are negative inside a structure. All arrays are float32 of shape (X, Y, Z).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Points = tuple[np.ndarray, np.ndarray, np.ndarray]
Vector = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Grid:
    """Voxel centres along R, A and S in mm (one array per axis), and the voxel size.

    The first two array axes run to the left and to the back, as in a DICOM slice: `array.T` with row 0 on top shows the
    patient's front up and right side on the left.
    """

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    spacing_mm: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        r, a, s = self.axes
        return len(r), len(a), len(s)

    @property
    def points(self) -> Points:
        """Coordinates in mm that broadcast to (X, Y, Z)."""
        r, a, s = self.axes
        return r[:, None, None], a[None, :, None], s[None, None, :]

    @property
    def edge_mm(self) -> float:
        """How wide a tissue border looks: about one voxel of partial volume."""
        return float(max(1.0, (self.spacing_mm[0] + self.spacing_mm[1]) / 2))

    def affine(self) -> np.ndarray:
        """Voxel index → RAS mm, (4, 4) float64."""
        matrix = np.diag([-self.spacing_mm[0], -self.spacing_mm[1], self.spacing_mm[2], 1.0])
        matrix[:3, 3] = [axis[0] for axis in self.axes]
        return matrix

    def box(self, centre_mm: Vector, half_mm: float) -> tuple[tuple[slice, slice, slice], Grid] | None:
        """The part of the grid within `half_mm` of a point along every axis: its slices and itself; None if empty."""
        slices = []
        for axis, centre in zip(self.axes, centre_mm, strict=True):
            inside = np.flatnonzero(np.abs(axis - centre) <= half_mm)
            if inside.size == 0:
                return None
            slices.append(slice(int(inside[0]), int(inside[-1]) + 1))
        (x, y, z), (r, a, s) = slices, self.axes
        return (x, y, z), Grid((r[x], a[y], s[z]), self.spacing_mm)


def white_noise(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal float32 values: one draw of `rng` seeds a faster generator."""
    return np.random.Generator(np.random.SFC64(rng.randint(2**31))).standard_normal(shape, dtype=np.float32)


def smooth_noise(
    rng: np.random.RandomState, grid: Grid, scale_mm: float, extent_mm: float, centre_mm: Vector = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """A Gaussian-like random field (X, Y, Z) of about zero mean and unit variance.

    Args:
        rng: draws the lattice; how much it draws depends on `extent_mm / scale_mm` only, not on the grid.
        grid: where the field is sampled.
        scale_mm: distance between lattice nodes, about the correlation length.
        extent_mm: half the width of the cube that the lattice covers; the field is constant beyond it.
        centre_mm: middle of that cube.
    """
    intervals = int(np.ceil(2 * extent_mm / scale_mm))
    field = white_noise(rng, (intervals + 4,) * 3)
    for axis, centre in zip(grid.axes, centre_mm, strict=True):
        position = np.clip((axis - centre + extent_mm) / scale_mm, 0.0, intervals) + 1.0
        u = np.abs(position[:, None] - np.arange(intervals + 4))
        weights = np.where(u < 1, 2 / 3 - u**2 + u**3 / 2, np.clip(2 - u, 0, None) ** 3 / 6)
        field = np.tensordot(field, weights.astype(np.float32), axes=(0, 1))
    return field * np.float32(3.0)  # three axes of B-spline weights leave a standard deviation of about 1/3


def warped(rng: np.random.RandomState, grid: Grid, scale_mm: float, amplitude_mm: float, extent_mm: float) -> Points:
    """The grid's points, each axis moved by a smooth field of this standard deviation."""
    r, a, s = (p + np.float32(amplitude_mm) * smooth_noise(rng, grid, scale_mm, extent_mm) for p in grid.points)
    return r, a, s


def rotation(angles_rad: Vector) -> np.ndarray:
    """A (3, 3) float32 rotation about R, then A, then S."""
    (cr, ca, cs), (sr, sa, ss) = np.cos(angles_rad), np.sin(angles_rad)
    about_r = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_a = np.array([[ca, 0, sa], [0, 1, 0], [-sa, 0, ca]])
    about_s = np.array([[cs, -ss, 0], [ss, cs, 0], [0, 0, 1]])
    return (about_s @ about_a @ about_r).astype(np.float32)


def ellipsoid(points: Points, centre_mm: Vector, radii_mm: Vector, turn: np.ndarray | None = None) -> np.ndarray:
    """Approximate signed distance in mm to an ellipsoid, exact at its surface to first order.

    A radius of `inf` makes a cylinder along that axis. `turn` rotates the ellipsoid about its centre.
    """
    local = [p - np.float32(c) for p, c in zip(points, centre_mm, strict=True)]
    if turn is not None:
        turn = turn.astype(np.float32)
        local = [turn[0, i] * local[0] + turn[1, i] * local[1] + turn[2, i] * local[2] for i in range(3)]
    k: np.ndarray = np.zeros((), dtype=np.float32)
    slope = k
    for axis, radius in zip(local, radii_mm, strict=True):
        if np.isfinite(radius):
            squared = axis * np.float32(1.0 / radius)
            squared *= squared
            k = k + squared
            slope = slope + squared * np.float32(radius**-2.0)
    k, slope = np.sqrt(k), np.sqrt(slope)
    distance = k - 1
    distance *= k
    distance /= np.maximum(slope, np.float32(1e-6), out=slope)
    distance[k < 1e-6] = -min(radii_mm)
    return distance


def union(first: np.ndarray, second: np.ndarray, blend_mm: float = 0.0) -> np.ndarray:
    """Signed distance of the union, with a fillet of about `blend_mm` where the two meet."""
    if blend_mm <= 0:
        return np.minimum(first, second)
    overlap = np.clip(np.float32(blend_mm) - np.abs(first - second), 0, None)
    return np.minimum(first, second) - overlap**2 / np.float32(4 * blend_mm)


def soft(distance_mm: np.ndarray, edge_mm: float) -> np.ndarray:
    """Fraction of a voxel that is inside (0 to 1): a linear ramp of width `edge_mm` across the border."""
    inside = distance_mm * np.float32(-1.0 / edge_mm)
    inside += np.float32(0.5)
    return np.clip(inside, 0, 1, out=inside)


@dataclass(frozen=True)
class Layer:
    """One tissue painted over what lies below it: `alpha` in [0, 1], in `where` (the whole grid, or a box of it)."""

    tissue: str
    alpha: np.ndarray
    where: tuple[slice, ...] = (slice(None),) * 3


def paint(
    layers: Sequence[Layer], values: Mapping[str, float | np.ndarray], background: float, shape: tuple
) -> np.ndarray:
    """Paints the layers in order: each moves the image towards its tissue's value by its alpha.

    A value is a number or an array of the layer's shape. Layers whose tissue has no value are left out.
    """
    image = np.full(shape, background, dtype=np.float32)
    for layer in layers:
        if layer.tissue in values:
            part = image[layer.where]
            step = values[layer.tissue] - part
            step *= layer.alpha
            part += step
    return image
