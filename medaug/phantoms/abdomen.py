"""An abdomen-like patient: contrast and non-contrast CT in HU, and an MR-like twin, with liver lesions.

The two CT phases share the anatomy and differ in blood, liver, kidneys, spleen, lesions and noise, as two scans of one
patient would. Lesions are darker than the liver (hypodense) and hard to see without contrast; cysts, vessels,
gallbladder and bowel are not labelled. The MR twin lies on the same grid. Positions are R, A, S in mm from the middle
of the field of view; the patient's right is positive R.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medaug.phantoms.fields import (
    Grid,
    Layer,
    Points,
    ellipsoid,
    paint,
    rotation,
    smooth_noise,
    soft,
    union,
    warped,
    white_noise,
)
from medaug.phantoms.patient import Phantom, begin, lesion, lesion_in, mr_scan

FIELD_OF_VIEW_MM = (384.0, 384.0, 192.0)
EXTENT_MM = 200.0
INF = float("inf")
SCANS = ("noncontrast", "contrast", "mr")
TISSUES = {
    "skin": (20, 20, 0.40),
    "fat": (-105, -105, 0.95),
    "muscle": (52, 62, 0.34),
    "bowel": (30, 45, 0.36),
    "gas": (-850, -850, 0.02),
    "stomach": (18, 20, 0.25),
    "lung": (-830, -830, 0.05),
    "liver": (56, 108, 0.56),
    "vein": (42, 150, 0.33),
    "gallbladder": (8, 8, 0.22),
    "cyst": (6, 7, 0.20),
    "spleen": (48, 122, 0.36),
    "cortex": (32, 195, 0.46),
    "medulla": (28, 165, 0.36),
    "pelvis": (4, 20, 0.22),
    "blood": (42, 155, 0.12),
    "marrow": (170, 172, 0.52),
    "bone": (520, 520, 0.08),
    "canal": (22, 25, 0.20),
    "disc": (75, 76, 0.30),
}
"""HU without and with contrast agent, and brightness in MR."""
ENHANCING = ("liver", "vein", "spleen", "cortex", "medulla", "blood")


@dataclass(frozen=True)
class _Abdomen:
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

    def inside_lobe(self, rng: np.random.RandomState, room_mm: float) -> np.ndarray:
        """A point of the liver's main lobe, about `room_mm` from its surface."""
        centre, radii = self.lobe_mm
        while True:
            unit = rng.uniform(-1, 1, 3)
            if np.sum(unit**2) <= 1:
                return centre + unit * np.maximum(radii - room_mm, 6.0)


def abdomen_phantom(
    index: int,
    *,
    seed: int = 0,
    shape: tuple[int, int, int] = (96, 96, 32),
    spacing_mm: tuple[float, float, float] | None = None,
    tumors: int | None = None,
) -> Phantom:
    """Draws abdomen patient `index`: `contrast`, `noncontrast` (HU) and `mr`, label 1 liver lesion.

    Args:
        index, seed, shape: as of `head_phantom`.
        spacing_mm: voxel size; by default 384 x 384 x 192 mm over the shape, which is (4, 4, 6) for the default one.
        tumors: how many liver lesions; None draws one to four, 0 gives the patient's healthy twin.

    Raises:
        ConfigError: if an argument is out of range.
    """
    grid, rng = begin(index, seed, tumors, shape, spacing_mm, FIELD_OF_VIEW_MM)
    abdomen, scanner, confounders = _draw_abdomen(rng["anatomy"], grid), rng["scanner"], rng["confounders"]
    for _ in range(confounders.poisson(0.6)):  # cysts: small, sharp, water-like and unlabelled
        radius = confounders.uniform(3.5, 7.0)
        place = abdomen.inside_lobe(confounders, radius + 4)
        cyst = lesion(confounders, grid, place, radius, margin_mm=4.0, roughness=0.03)
        if cyst is not None:
            abdomen.tissue.append(Layer("cyst", soft(cyst.distance_mm, grid.edge_mm), cyst.where))
    # a fatty or dense liver, more or less contrast agent, the rest by a few HU
    fatty, arrival = scanner.uniform(-14, 6), scanner.uniform(0.75, 1.2)
    values: dict[str, dict] = {scan: {} for scan in SCANS}
    for tissue, (plain, enhanced, mr) in TISSUES.items():
        shifted = plain + (scanner.normal(0, 2.5) + (fatty if tissue == "liver" else 0.0))
        values["noncontrast"][tissue] = shifted
        values["contrast"][tissue] = shifted + (enhanced - plain) * (arrival if tissue in ENHANCING else 1.0)
        values["mr"][tissue] = mr * np.exp(scanner.normal(0, 0.07))
    label = np.zeros(grid.shape, dtype=np.uint8)
    count = rng["tumors"].choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])
    for number in range(count if tumors is None else tumors):
        _add_lesion(rng["tumors"], grid, abdomen, number, label, values)

    def clean(scan: str, air: float) -> np.ndarray:
        within = paint(abdomen.tissue, values[scan], values[scan]["liver"], grid.shape)
        return paint(abdomen.layers, values[scan] | {"liver": within}, air, grid.shape)

    images = {}
    for scan in ("contrast", "noncontrast"):  # grainy noise that differs by patient, then whole HU as scanners store
        white = white_noise(scanner, grid.shape)
        grain = white + 0.5 * (np.roll(white, 1, axis=0) + np.roll(white, 1, axis=1))
        noisy = clean(scan, -1000.0) + np.float32(scanner.uniform(6.0, 12.0) / 1.22) * grain
        images[scan] = np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)
    noise, bias, gain = scanner.uniform([0.01, 0.06, np.log(60)], [0.03, 0.16, np.log(1200)])
    gain = float(np.exp(gain))
    images["mr"] = mr_scan(scanner, clean("mr", 0.0), grid, bias=bias, noise=noise, gain=gain, extent_mm=EXTENT_MM)
    return Phantom(f"phantom-{index:03d}", images, label, abdomen.organs, grid.spacing_mm, grid.affine())


def _add_lesion(
    rng: np.random.RandomState, grid: Grid, abdomen: _Abdomen, number: int, label: np.ndarray, values: dict[str, dict]
) -> None:
    """Draws one liver lesion and adds its tissue, label and tissue values in place."""
    radius = float(np.exp(rng.uniform(np.log(10.0), np.log(32.0)))) / (1.0 if number == 0 else 1.4)
    darker = {"contrast": rng.uniform(34, 82), "noncontrast": rng.uniform(11, 30), "mr": rng.uniform(0.12, 0.28)}
    grain, blur = rng.uniform(0.08, 0.25), rng.uniform(1.0, 2.5)
    ring = rng.uniform(0.2, 0.6) if rng.uniform() < 0.35 else 0.0
    necrotic = rng.uniform(0.1, 0.7)
    liver, room_mm = abdomen.organs == 1, 0.8 * radius + 5
    found = lesion_in(
        rng, grid, liver, lambda: abdomen.inside_lobe(rng, room_mm), radius, margin_mm=6.0, roughness=0.13
    )
    if found is None:
        return
    inside = liver[found.where]
    name, edge = f"lesion {number}", grid.edge_mm
    core = soft(found.distance_mm + 0.4 * radius * (1 + 0.3 * found.spread), 2 * edge)
    abdomen.tissue.append(Layer(name, soft(found.distance_mm, blur * edge), found.where))
    abdomen.tissue.append(Layer(f"{name} core", core, found.where))
    for scan, drop in darker.items():
        plain = values[scan]["liver"]
        depth = 1 + grain * found.texture
        if scan == "contrast":
            depth = depth - ring * np.exp(-(((found.distance_mm + 0.15 * radius) / (0.14 * radius)) ** 2))
        values[scan][name] = plain - drop * depth
        values[scan][f"{name} core"] = plain - drop * (1 + 0.6 * necrotic) * (1 + 0.5 * grain * found.texture)
    label[found.where][(found.distance_mm < 0) & inside] = 1


def _draw_abdomen(rng: np.random.RandomState, grid: Grid) -> _Abdomen:
    edge, half_r, half_a = grid.edge_mm, rng.uniform(142, 172), rng.uniform(100, 122)
    fat, muscle = rng.uniform(7, 24), rng.uniform(9, 14)
    points = warped(rng, grid, 70.0, 5.0, EXTENT_MM)
    body = _Body(points, half_r, half_a, fat, half_r - fat - muscle, half_a - fat - muscle)
    wall, cavity = _wall(rng, grid, body)
    spine, spine_layers = _spine(rng, body, edge)
    kidneys, kidney_layers = _kidneys(rng, body, edge)
    kidneys = np.maximum(kidneys, 2.0 - spine)
    liver, lobe = _liver(rng, grid, body)
    liver = np.maximum(np.maximum(liver, cavity + 2.0), np.maximum(2.0 - kidneys, 3.0 - spine))
    place = (-0.72 * body.inner_r, -0.28 * body.inner_a, 42)
    spleen = ellipsoid(body.points, place, (27, 42, 48), rotation((0, 0, -0.4)))
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
    front = -0.62 * body.inner_a
    aorta = ellipsoid(body.points, (-13, front + 29, 0), (10, 10, INF))
    cava = ellipsoid(body.points, (17, front + 30, 0), (13, 10, INF))
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
        Layer("blood", soft(union(aorta, cava), edge)),
        *spine_layers,
    ]
    organs = np.zeros(grid.shape, dtype=np.uint8)
    for number, distance in ((1, liver), (2, kidneys), (3, spine)):
        organs[distance < 0] = number
    return _Abdomen(layers, [vein], organs, lobe)


@dataclass(frozen=True)
class _Body:
    """Half-widths in mm of the body and of the space inside its muscle wall, and the grid's points, warped."""

    points: Points
    half_r: float
    half_a: float
    fat_mm: float
    inner_r: float
    inner_a: float


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
