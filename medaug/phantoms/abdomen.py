"""An abdomen-like patient: contrast and non-contrast CT in HU, and an MR-like twin, with liver lesions.

The two CT phases share the anatomy and differ in blood, liver, kidneys, spleen, lesions and noise, as two scans of one
patient would. Lesions are darker than the liver (hypodense) and hard to see without contrast; cysts, vessels,
gallbladder and bowel are not labelled. The MR twin lies on the same grid.
"""

from __future__ import annotations

import numpy as np

from medaug.phantoms.base import Phantom, check_draw, grid_for, mr_scan, streams
from medaug.phantoms.fields import Grid, Layer, paint, soft, white_noise
from medaug.phantoms.trunk import EXTENT_MM, Anatomy, draw_anatomy
from medaug.phantoms.tumors import lesion, lesion_in

FIELD_OF_VIEW_MM = (384.0, 384.0, 192.0)
TISSUES: dict[str, dict[str, float]] = {
    "noncontrast": {
        "skin": 20,
        "fat": -105,
        "muscle": 52,
        "bowel": 30,
        "gas": -850,
        "stomach": 18,
        "lung": -830,
        "liver": 56,
        "vein": 42,
        "gallbladder": 8,
        "cyst": 6,
        "spleen": 48,
        "cortex": 32,
        "medulla": 28,
        "pelvis": 4,
        "blood": 42,
        "marrow": 170,
        "bone": 520,
        "canal": 22,
        "disc": 75,
    },
    "contrast": {
        "skin": 20,
        "fat": -105,
        "muscle": 62,
        "bowel": 45,
        "gas": -850,
        "stomach": 20,
        "lung": -830,
        "liver": 108,
        "vein": 150,
        "gallbladder": 8,
        "cyst": 7,
        "spleen": 122,
        "cortex": 195,
        "medulla": 165,
        "pelvis": 20,
        "blood": 155,
        "marrow": 172,
        "bone": 520,
        "canal": 25,
        "disc": 76,
    },
    "mr": {
        "skin": 0.4,
        "fat": 0.95,
        "muscle": 0.34,
        "bowel": 0.36,
        "gas": 0.02,
        "stomach": 0.25,
        "lung": 0.05,
        "liver": 0.56,
        "vein": 0.33,
        "gallbladder": 0.22,
        "cyst": 0.20,
        "spleen": 0.36,
        "cortex": 0.46,
        "medulla": 0.36,
        "pelvis": 0.22,
        "blood": 0.12,
        "marrow": 0.52,
        "bone": 0.08,
        "canal": 0.20,
        "disc": 0.30,
    },
}
ENHANCING = ("liver", "vein", "spleen", "cortex", "medulla", "blood")


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
        index: which patient; it depends on (seed, index) only.
        seed: which family of patients.
        shape: voxels (X, Y, Z).
        spacing_mm: voxel size; by default 384 x 384 x 192 mm over the shape, which is (4, 4, 6) for the default one.
        tumors: how many liver lesions; None draws one to four, 0 gives the patient's healthy twin.

    Raises:
        ConfigError: if an argument is out of range.
    """
    check_draw(index, seed, tumors)
    grid = grid_for(shape, spacing_mm, FIELD_OF_VIEW_MM)
    rng = streams(seed, index, ("anatomy", "confounders", "tumors", "scanner"))
    anatomy = draw_anatomy(rng["anatomy"], grid)
    tissue = anatomy.tissue[:]
    _add_cysts(rng["confounders"], grid, anatomy, tissue)
    values = _tissue_values(rng["scanner"])
    label = np.zeros(grid.shape, dtype=np.uint8)
    count = rng["tumors"].choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])
    for number in range(count if tumors is None else tumors):
        _add_lesion(rng["tumors"], grid, anatomy, number, tissue, label, values)
    images = {
        name: _ct_scan(rng["scanner"], _paint_abdomen(anatomy, tissue, values[name], -1000.0))
        for name in ("contrast", "noncontrast")
    }
    clean = _paint_abdomen(anatomy, tissue, values["mr"], 0.0)
    noise, bias, gain = rng["scanner"].uniform([0.01, 0.06, np.log(60)], [0.03, 0.16, np.log(1200)])
    images["mr"] = mr_scan(
        rng["scanner"], clean, grid, bias=bias, noise=noise, gain=float(np.exp(gain)), extent_mm=EXTENT_MM
    )
    return Phantom(f"phantom-{index:03d}", images, label, anatomy.organs, grid.spacing_mm, grid.affine())


def _paint_abdomen(anatomy: Anatomy, tissue: list[Layer], values: dict, air: float) -> np.ndarray:
    shape = anatomy.organs.shape
    return paint(anatomy.layers, values | {"liver": paint(tissue, values, values["liver"], shape)}, air, shape)


def _inside_lobe(rng: np.random.RandomState, anatomy: Anatomy, room_mm: float) -> np.ndarray:
    """A point of the liver's main lobe, about `room_mm` from its surface."""
    centre, radii = anatomy.lobe_mm
    while True:
        unit = rng.uniform(-1, 1, 3)
        if np.sum(unit**2) <= 1:
            return centre + unit * np.maximum(radii - room_mm, 6.0)


def _add_cysts(rng: np.random.RandomState, grid: Grid, anatomy: Anatomy, tissue: list[Layer]) -> None:
    """Small, sharp, water-like and unlabelled."""
    for _ in range(rng.poisson(0.6)):
        radius = rng.uniform(3.5, 7.0)
        centre = _inside_lobe(rng, anatomy, radius + 4)
        cyst = lesion(rng, grid, centre, radius, margin_mm=4.0, roughness=0.03)
        if cyst is not None:
            tissue.append(Layer("cyst", soft(cyst.distance_mm, grid.edge_mm), cyst.where))


def _add_lesion(
    rng: np.random.RandomState,
    grid: Grid,
    anatomy: Anatomy,
    number: int,
    tissue: list[Layer],
    label: np.ndarray,
    values: dict,
) -> None:
    """Draws one liver lesion and adds its tissue, label and tissue values in place."""
    radius = float(np.exp(rng.uniform(np.log(10.0), np.log(32.0)))) / (1.0 if number == 0 else 1.4)
    darker = {"contrast": rng.uniform(34, 82), "noncontrast": rng.uniform(11, 30), "mr": rng.uniform(0.12, 0.28)}
    grain, blur = rng.uniform(0.08, 0.25), rng.uniform(1.0, 2.5)
    ring = rng.uniform(0.2, 0.6) if rng.uniform() < 0.35 else 0.0
    necrotic = rng.uniform(0.1, 0.7)
    liver = anatomy.organs == 1
    found = lesion_in(
        rng, grid, liver, lambda: _inside_lobe(rng, anatomy, 0.8 * radius + 5), radius, margin_mm=6.0, roughness=0.13
    )
    if found is None:
        return
    inside = liver[found.where]
    name, edge = f"lesion {number}", grid.edge_mm
    core = soft(found.distance_mm + 0.4 * radius * (1 + 0.3 * found.spread), 2 * edge)
    tissue += [Layer(name, soft(found.distance_mm, blur * edge), found.where), Layer(f"{name} core", core, found.where)]
    for phase, drop in darker.items():
        plain = values[phase]["liver"]
        depth = 1 + grain * found.texture
        if phase == "contrast":
            depth = depth - ring * np.exp(-(((found.distance_mm + 0.15 * radius) / (0.14 * radius)) ** 2))
        values[phase][name] = plain - drop * depth
        values[phase][f"{name} core"] = plain - drop * (1 + 0.6 * necrotic) * (1 + 0.5 * grain * found.texture)
    label[found.where][(found.distance_mm < 0) & inside] = 1


def _tissue_values(rng: np.random.RandomState) -> dict[str, dict[str, float | np.ndarray]]:
    """This patient's tissue values: a fatty or dense liver, more or less contrast agent, the rest by a few HU."""
    fatty, arrival = rng.uniform(-14, 6), rng.uniform(0.75, 1.2)
    values: dict = {name: dict(table) for name, table in TISSUES.items()}
    for tissue, plain in TISSUES["noncontrast"].items():
        shift = rng.normal(0, 2.5) + (fatty if tissue == "liver" else 0.0)
        gain = (TISSUES["contrast"][tissue] - plain) * (arrival if tissue in ENHANCING else 1.0)
        values["noncontrast"][tissue] = plain + shift
        values["contrast"][tissue] = plain + shift + gain
        values["mr"][tissue] = TISSUES["mr"][tissue] * np.exp(rng.normal(0, 0.07))
    return values


def _ct_scan(rng: np.random.RandomState, clean: np.ndarray) -> np.ndarray:
    """Adds grainy noise that differs by patient, and stores whole HU (int16, not below -1024)."""
    white = white_noise(rng, clean.shape)
    grain = white + 0.5 * (np.roll(white, 1, axis=0) + np.roll(white, 1, axis=1))
    noisy = clean + np.float32(rng.uniform(6.0, 12.0) / 1.22) * grain
    return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)
