"""The healthy head: scalp, face, skull, and a folded brain with ventricles, deep grey matter and cerebellum.

The folds are the zero surfaces of a smooth random field, followed less and less deep into the brain: fluid on the
surface itself, grey matter beside it. Positions are R, A, S in mm from the middle of the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medaug.phantoms.fields import Grid, Layer, Points, ellipsoid, rotation, smooth_noise, soft, union, warped

EXTENT_MM = 110.0


@dataclass(frozen=True)
class Anatomy:
    """One healthy head, on a grid (X, Y, Z).

    The brain is painted apart and enters the head as one layer, so that what grows in it keeps the partial volume at
    its border.

    Attributes:
        layers: of the head, to be painted in this order over air; "brain" is one of them.
        tissue: of the brain, to be painted over grey matter; the result is the value of the layer "brain".
        brain: bool, where the brain is (its ventricles included).
        ventricles_mm: signed distance to the ventricles.
        white: bool, white matter.
        radii_mm: of the cerebrum, for placing tumors without looking at the grid.
    """

    layers: list[Layer]
    tissue: list[Layer]
    brain: np.ndarray
    ventricles_mm: np.ndarray
    white: np.ndarray
    radii_mm: np.ndarray


def draw_anatomy(rng: np.random.RandomState, grid: Grid) -> Anatomy:
    """Draws one healthy head on the grid."""
    radii = np.array([62.0, 77.0, 57.0]) * rng.uniform(0.94, 1.04, 3)
    ventricle_scale = rng.uniform(0.75, 1.5)
    sulcus_mm = rng.uniform(0.5, 1.3)
    skull_mm, scalp_mm = rng.uniform(5.0, 8.0), rng.uniform(3.5, 6.5)
    x, y, z = warped(rng, grid, 45.0, 2.5, EXTENT_MM)
    side = np.abs(x)
    cerebrum = ellipsoid((x, y, np.where(z > -8, z, -8 + 1.3 * (z + 8))), (0, 0, -6), radii)
    cerebellum = ellipsoid((side, y, z), (14, -42, -44), (30, 27, 19))
    stem = ellipsoid((x, y, z), (0, -16, -55), (12, 11, 32))
    brain = union(union(cerebrum, cerebellum, 4.0), stem, 4.0)
    vault = brain - np.float32(2.5)
    face = ellipsoid((x, y, z), (0, 0, -60), (radii[0] + 8, radii[1] + 10, 70))
    head = union(vault - np.float32(skull_mm + scalp_mm), face, 6.0)

    folds = np.abs(smooth_noise(rng, grid, 6.2, EXTENT_MM)) * np.float32(0.5 * 6.2)
    fine = np.abs(smooth_noise(rng, grid, 4.0, EXTENT_MM)) * np.float32(0.5 * 4.0)
    fissure = np.maximum(side, 12 * (1 - ellipsoid((x, y, z), (0, -4, 2), (20, 42, 26)) / 4))
    folds = np.where(cerebellum < np.minimum(cerebrum, 0) + 2, fine * 1.3, folds)
    depth = -brain
    reach = np.clip(1 - depth / np.float32(24), 0, 1)
    grey = np.minimum(np.minimum(depth - 3.2, folds - 3.6 * reach), fissure - 4.5)
    grey = np.where(stem < -1, 5, grey)
    sulci = np.minimum(folds - np.float32(1.5 * sulcus_mm) * np.clip(reach * 1.4 - 0.4, 0, 1), fissure - 1.0)
    sulci = np.where(stem < 0, 5, sulci)
    ventricles = _ventricles((side, y, z), ventricle_scale)
    deep = _deep_grey((side, y, z), ventricle_scale)

    edge = grid.edge_mm
    clutter = smooth_noise(rng, grid, 11.0, EXTENT_MM)
    marrow = np.abs(vault - np.float32(skull_mm / 2)) - np.float32(0.18 * skull_mm)
    outside = np.maximum(head + scalp_mm, -(vault - np.float32(skull_mm)))
    layers = [
        Layer("scalp", soft(head, edge)),
        Layer("muscle", soft(outside, edge) * np.clip(0.75 + 0.35 * clutter, 0, 1)),
        Layer("sinus", soft(outside + 4, edge) * np.clip(3 * (clutter - 0.5), 0, 1) * soft(45 - y, 10)),
        Layer("eye", soft(ellipsoid((side, y, z), (31, 62, -44), (12, 12, 12)), edge)),
        Layer("skull", soft(vault - np.float32(skull_mm), edge)),
        Layer("marrow", soft(marrow, edge)),
        Layer("csf", soft(vault, edge)),
        Layer("brain", soft(brain, edge)),
    ]
    tissue = [
        Layer("white", soft(-grey, edge)),
        Layer("csf", soft(sulci, edge)),
        Layer("deep grey", soft(deep, edge)),
        Layer("ventricle", soft(ventricles, edge)),
    ]
    return Anatomy(layers, tissue, brain < 0, ventricles, (grey > 0) & (brain < 0), radii)


def _ventricles(points: Points, scale: float) -> np.ndarray:
    """Lateral horns and bodies (mirrored: the first coordinate is |R|), third and fourth ventricle."""
    front = ellipsoid(points, (9 * scale**0.5, 22, 6), (4.5 * scale, 17, 8), rotation((0, 0, -0.35)))
    body = ellipsoid(points, (11 * scale**0.5, -8, 13), (5.5 * scale, 26, 7), rotation((0.1, 0, 0.12)))
    back = ellipsoid(points, (20 * scale**0.5, -38, 4), (5.0 * scale, 17, 8), rotation((0.15, 0, 0.25)))
    third = ellipsoid(points, (0, -4, -8), (1.8 * scale, 11, 9))
    fourth = ellipsoid(points, (0, -32, -42), (5, 5, 8))
    return union(union(union(union(front, body, 3), back, 4), third), fourth)


def _deep_grey(points: Points, scale: float) -> np.ndarray:
    shift = 4 * (scale - 1)
    thalamus = ellipsoid(points, (11 + shift, -10, -1), (8, 13, 8), rotation((0, 0, 0.4)))
    caudate = ellipsoid(points, (15 + shift, 18, 4), (4.5, 10, 9), rotation((0, 0, -0.2)))
    putamen = ellipsoid(points, (26 + shift, 4, -3), (6, 15, 9), rotation((0, 0, -0.15)))
    return union(union(thalamus, caudate), putamen)
