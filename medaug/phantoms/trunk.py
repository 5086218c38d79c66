"""The healthy abdomen: body wall with ribs, spine, kidneys, liver, spleen, stomach, bowel, lung bases, great vessels.

Gives layers to paint (tissues named as in `abdomen.TISSUES`), the organ mask, and where the liver is. Positions are
R, A, S in mm from the middle of the field of view; the patient's right is positive R.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medaug.phantoms.fields import Grid, Layer, Points, ellipsoid, rotation, smooth_noise, soft, union, warped

EXTENT_MM = 200.0
INF = float("inf")


@dataclass(frozen=True)
class Anatomy:
    """One healthy abdomen.

    Attributes:
        layers: to be painted in this order over air.
        tissue: what the liver holds, to be painted over liver; the result is the value of the layer "liver".
        organs: uint8 (X, Y, Z), 1 liver, 2 kidneys, 3 spine.
        lobe_mm: centre and radii of the liver's main lobe, for placing lesions without looking at the grid.
    """

    layers: list[Layer]
    tissue: list[Layer]
    organs: np.ndarray
    lobe_mm: tuple[np.ndarray, np.ndarray]


def draw_anatomy(rng: np.random.RandomState, grid: Grid) -> Anatomy:
    """Draws one healthy abdomen on the grid."""
    edge = grid.edge_mm
    body = _body(rng, grid)
    wall, cavity = _wall(rng, grid, body)
    spine, spine_layers = _spine(rng, body, edge)
    kidneys, kidney_layers = _kidneys(rng, body, edge)
    kidneys = np.maximum(kidneys, 2.0 - spine)
    liver, lobe = _liver(rng, grid, body)
    liver = np.maximum(np.maximum(liver, cavity + 2.0), np.maximum(2.0 - kidneys, 3.0 - spine))
    spleen = ellipsoid(
        body.points, (-0.72 * body.inner_r, -0.28 * body.inner_a, 42), (27, 42, 48), rotation((0, 0, -0.4))
    )
    spleen = np.maximum(np.maximum(spleen, cavity + 2.0), 3.0 - kidneys)
    lumps = smooth_noise(rng, grid, 15.0, EXTENT_MM)
    contents = smooth_noise(rng, grid, 12.0, EXTENT_MM)
    x, y, z = body.points
    dome = 66.0 - 0.004 * (np.abs(x) - 55) ** 2 - 0.006 * (y - 10) ** 2
    lung = np.maximum(np.maximum(dome - z, cavity + 3), np.maximum(4 - liver, 4 - spleen))
    gut = np.maximum(cavity + 6, z - 45 - 8 * lumps)
    stomach = ellipsoid(body.points, (-0.42 * body.inner_r, 0.35 * body.inner_a, 40), (38, 30, 34))
    stomach = np.maximum(stomach, 4 - liver)
    air = np.maximum(stomach + 5, 0.35 * body.inner_a + 10 - y)
    gallbladder = ellipsoid(body.points, (0.30 * body.inner_r, 0.32 * body.inner_a, -2), (11, 17, 20))
    tubes = np.hypot(*(smooth_noise(rng, grid, 32.0, EXTENT_MM) for _ in range(2)))
    vein = Layer("vein", soft(liver + 4, edge) * np.clip(3 * (1 - tubes / 0.3), 0, 1))
    layers = [
        *wall,
        Layer("bowel", soft(gut, edge) * np.clip(2.5 * (lumps - 0.1), 0, 1)),
        Layer("gas", soft(gut, edge) * np.clip(4 * (lumps - 0.75), 0, 1) * np.clip(4 * (contents - 0.5), 0, 1)),
        Layer("stomach", soft(stomach, edge)),
        Layer("gas", soft(air, edge)),
        Layer("lung", soft(lung, edge)),
        Layer("spleen", soft(spleen, edge)),
        Layer("gallbladder", soft(np.maximum(gallbladder, cavity + 4), edge)),
        Layer("liver", soft(liver, edge)),
        *kidney_layers,
        *_great_vessels(body, edge),
        *spine_layers,
    ]
    organs = np.zeros(grid.shape, dtype=np.uint8)
    for number, distance in ((1, liver), (2, kidneys), (3, spine)):
        organs[distance < 0] = number
    return Anatomy(layers, [vein], organs, lobe)


@dataclass(frozen=True)
class _Body:
    """Half-widths in mm of the body and of the space inside its muscle wall, and the grid's points, warped."""

    points: Points
    half_r: float
    half_a: float
    fat_mm: float
    inner_r: float
    inner_a: float


def _body(rng: np.random.RandomState, grid: Grid) -> _Body:
    half_r, half_a = rng.uniform(142, 172), rng.uniform(100, 122)
    fat, muscle = rng.uniform(7, 24), rng.uniform(9, 14)
    points = warped(rng, grid, 70.0, 5.0, EXTENT_MM)
    return _Body(points, half_r, half_a, fat, half_r - fat - muscle, half_a - fat - muscle)


def _wall(rng: np.random.RandomState, grid: Grid, body: _Body) -> tuple[list[Layer], np.ndarray]:
    """Skin, fat, muscle wall with ribs, inner fat; and the signed distance to the inside of the wall."""
    edge = grid.edge_mm
    x, y, z = body.points
    skin = ellipsoid(body.points, (0, 0, 0), (body.half_r, body.half_a, INF))
    muscle = skin + body.fat_mm * np.clip(1 + 0.25 * smooth_noise(rng, grid, 60.0, EXTENT_MM), 0.4, 1.8)
    cavity = muscle + np.float32(body.half_r - body.fat_mm - body.inner_r)
    back = ellipsoid((np.abs(x), y, z), (32, -body.half_a + body.fat_mm + 24, 0), (29, 22, INF))
    psoas = ellipsoid((np.abs(x), y, z), (36, -0.62 * body.inner_a, -70), (17, 16, 75))
    cavity = np.maximum(cavity, 3 - back)
    angle = np.arctan2(y / np.float32(body.half_a), np.abs(x) / np.float32(body.half_r))
    ribs = np.abs(cavity - 5) - 3.2
    ribs = np.maximum(ribs, 7 * (0.45 - np.sin(2 * np.pi * (z / 30 - 1.1 * angle))))
    ribs = np.maximum(ribs, np.maximum(-35 + 60 * angle - z, 15 - np.abs(x)))
    layers = [
        Layer("skin", soft(skin, edge)),
        Layer("fat", soft(skin + 2.5, edge)),
        Layer("muscle", soft(muscle, edge)),
        Layer("fat", soft(cavity, edge)),
        Layer("muscle", soft(union(back, psoas), edge)),
        Layer("bone", soft(ribs, edge)),
        Layer("marrow", 0.6 * soft(ribs + 2, edge)),
    ]
    return layers, cavity


def _spine(rng: np.random.RandomState, body: _Body, edge: float) -> tuple[np.ndarray, list[Layer]]:
    x, y, z = body.points
    front = -0.62 * body.inner_a
    radius = rng.uniform(19, 23)
    vertebra = ellipsoid(body.points, (0, front, 0), (radius, 0.8 * radius, INF))
    level = np.abs((z / np.float32(36) + rng.uniform(0, 1)) % 1.0 - 0.5) * 36 - 13.5
    arch = front - 0.8 * radius - 9
    ring = np.abs(ellipsoid(body.points, (0, arch, 0), (12, 11, INF))) - 3
    spinous = ellipsoid(body.points, (0, arch - 22, 0), (4, 15, INF))
    transverse = ellipsoid(body.points, (0, arch - 3, 0), (34, 5, INF))
    processes = np.maximum(union(spinous, transverse), np.maximum(level + 4, 9 - np.hypot(x, y - arch)))
    bone = union(vertebra, union(ring, processes))
    layers = [
        Layer("bone", soft(bone, edge)),
        Layer("marrow", soft(np.maximum(vertebra + 2.5, level + 2), edge)),
        Layer("disc", soft(np.maximum(vertebra + 1, 1 - level), edge)),
        Layer("canal", soft(ellipsoid(body.points, (0, arch, 0), (9.5, 8.5, INF)), edge)),
    ]
    return bone, layers


def _kidneys(rng: np.random.RandomState, body: _Body, edge: float) -> tuple[np.ndarray, list[Layer]]:
    """Two beans with cortex, medulla and pelvis, in a bed of fat; the right one lies lower."""
    sides = []
    for side in (1.0, -1.0):
        z = (-34.0 if side > 0 else -22.0) + rng.uniform(-10, 10)
        centre = np.array([side * 0.50 * body.inner_r, -0.46 * body.inner_a, z])
        radii = np.array([25.0, 29.0, 54.0]) * rng.uniform(0.88, 1.1)
        turn = rotation((0.1, 0.12 * side, side * 0.6))
        whole = ellipsoid(body.points, centre, radii, turn)
        sinus = ellipsoid(body.points, centre - turn @ [side * 18.0, 0, 0], (15, 9, 22), turn)
        inner = ellipsoid(body.points, centre, radii - 9.0, turn)
        sides.append((np.maximum(whole, -sinus), inner, sinus))
    distance, core, hilum = map(union, *sides)
    layers = [
        Layer("fat", soft(distance - 5, edge)),
        Layer("pelvis", 0.5 * soft(hilum + 4, edge)),
        Layer("cortex", soft(distance, edge)),
        Layer("medulla", soft(np.maximum(core, distance), 2 * edge)),
    ]
    return distance, layers


def _liver(rng: np.random.RandomState, grid: Grid, body: _Body) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    size = rng.uniform(0.9, 1.08)
    centre = np.array([0.50 * body.inner_r, 0.08 * body.inner_a, 22.0 + rng.uniform(-8, 8)])
    radii = np.array([0.46 * body.inner_r, 0.80 * body.inner_a, 62.0]) * size
    right = ellipsoid(body.points, centre, radii, rotation((0, 0, 0.2)))
    left = ellipsoid(body.points, (0.05 * body.inner_r, 0.5 * body.inner_a, 42), (0.5 * body.inner_r * size, 26, 34))
    ripple = 3.0 * smooth_noise(rng, grid, 30.0, EXTENT_MM)
    return union(right, left, 16.0) + ripple, (centre, radii)


def _great_vessels(body: _Body, edge: float) -> list[Layer]:
    front = -0.62 * body.inner_a
    aorta = ellipsoid(body.points, (-13, front + 29, 0), (10, 10, INF))
    cava = ellipsoid(body.points, (17, front + 30, 0), (13, 10, INF))
    return [Layer("blood", soft(union(aorta, cava), edge))]
