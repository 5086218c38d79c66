"""A head-like MR patient: FLAIR and T1 of a folded brain in a skull, with or without tumors.

Hard on purpose: scanner gain, bias field, noise and tissue contrast differ by patient; tumors vary in size, shape and
contrast, down to subtle; bright white matter near the ventricles, which is *not* labelled, looks like small tumors.
Tissue values are relative (white matter in T1 is 0.85) before the scanner. Positions are R, A, S in mm from the middle.
"""

from __future__ import annotations

import numpy as np

from medaug.errors import ConfigError
from medaug.phantoms.base import Phantom, check_draw, grid_for, mr_scan, streams
from medaug.phantoms.brain import EXTENT_MM, Anatomy, draw_anatomy
from medaug.phantoms.fields import Grid, Layer, paint, smooth_noise, soft
from medaug.phantoms.tumors import Lesion, lesion, lesion_in

FIELD_OF_VIEW_MM = (192.0, 192.0, 128.0)
TISSUES: dict[str, dict[str, float]] = {
    "flair": {
        "scalp": 0.62,
        "muscle": 0.36,
        "sinus": 0.02,
        "eye": 0.10,
        "skull": 0.06,
        "marrow": 0.28,
        "csf": 0.13,
        "grey": 0.70,
        "white": 0.52,
        "deep grey": 0.62,
        "ventricle": 0.10,
        "hyperintensity": 0.95,
    },
    "t1": {
        "scalp": 1.15,
        "muscle": 0.45,
        "sinus": 0.02,
        "eye": 0.18,
        "skull": 0.07,
        "marrow": 0.55,
        "csf": 0.20,
        "grey": 0.62,
        "white": 0.85,
        "deep grey": 0.68,
        "ventricle": 0.17,
        "hyperintensity": 0.68,
    },
}


def head_phantom(
    index: int,
    *,
    seed: int = 0,
    shape: tuple[int, int, int] = (96, 96, 32),
    spacing_mm: tuple[float, float, float] | None = None,
    tumors: int | None = None,
    difficulty: float = 1.0,
) -> Phantom:
    """Draws head patient `index`: sequences `flair` and `t1`, label 1 core and 2 rim, organ 1 brain.

    Args:
        index: which patient; it depends on (seed, index) only.
        seed: which family of patients.
        shape: voxels (X, Y, Z).
        spacing_mm: voxel size; by default 192 x 192 x 128 mm over the shape, which is (2, 2, 4) for the default one.
        tumors: how many; None draws one to three, 0 gives the patient's healthy twin.
        difficulty: 1 is meant for a Dice of about 0.6 to 0.85 of a small network trained on a few patients; larger
            means subtler tumors, more unlabelled bright spots, more noise and bias.

    Raises:
        ConfigError: if an argument is out of range.
    """
    check_draw(index, seed, tumors)
    if not difficulty > 0:
        raise ConfigError(f"difficulty: found {difficulty}; expected more than 0 (1 is the usual one)")
    grid = grid_for(shape, spacing_mm, FIELD_OF_VIEW_MM)
    rng = streams(seed, index, ("anatomy", "confounders", "tumors", "scanner"))
    anatomy = draw_anatomy(rng["anatomy"], grid)
    tissue = anatomy.tissue + _hyperintensities(rng["confounders"], grid, anatomy, difficulty)
    label = np.zeros(grid.shape, dtype=np.uint8)
    flair, t1 = _tissue_values(rng["scanner"])
    count = rng["tumors"].choice([1, 2, 3], p=[0.6, 0.3, 0.1])
    for number in range(count if tumors is None else tumors):
        _add_tumor(rng["tumors"], grid, anatomy, number, difficulty, tissue, label, flair, t1)
    images = {
        name: _scan(rng["scanner"], _paint_head(anatomy, tissue, values), grid, difficulty)
        for name, values in (("flair", flair), ("t1", t1))
    }
    organs = anatomy.brain.astype(np.uint8)
    return Phantom(f"phantom-{index:03d}", images, label, organs, grid.spacing_mm, grid.affine())


def _hyperintensities(rng: np.random.RandomState, grid: Grid, anatomy: Anatomy, difficulty: float) -> list[Layer]:
    """Unlabelled bright white matter: caps along the ventricles and scattered small spots."""
    reach_mm = rng.uniform(-3.0, 2.5) * min(difficulty, 1.5)
    caps = anatomy.ventricles_mm - np.float32(reach_mm) - 2.5 * smooth_noise(rng, grid, 8.0, EXTENT_MM)
    alpha = soft(caps, 2 * grid.edge_mm) * anatomy.white * np.float32(rng.uniform(0.4, 0.9))
    layers = [Layer("hyperintensity", alpha)]
    for _ in range(rng.poisson(9 * difficulty)):
        angle, along = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
        distance = rng.uniform(0.35, 0.72)
        centre = anatomy.radii_mm * [distance * np.cos(angle), distance * np.sin(angle), along]
        radius = rng.uniform(1.8, 5.0)
        strength = rng.uniform(0.4, 1.0)
        spot = lesion(rng, grid, centre, radius, margin_mm=4.0, roughness=0.3)
        if spot is not None:
            inside = anatomy.white[spot.where]
            layers.append(
                Layer(
                    "hyperintensity",
                    soft(spot.distance_mm, 1.5 * grid.edge_mm) * inside * np.float32(strength),
                    spot.where,
                )
            )
    return layers


def _tissue_values(rng: np.random.RandomState) -> tuple[dict, dict]:
    """Tissue values of this patient and scanner: each within some per cent of the table."""
    flair, t1 = (
        {name: value * np.exp(rng.normal(0, 0.06)) for name, value in TISSUES[s].items()} for s in ("flair", "t1")
    )
    return flair, t1


def _place(rng: np.random.RandomState, anatomy: Anatomy, radius_mm: float) -> np.ndarray:
    """A centre in the cerebrum, off the middle, deep enough that most of the tumor lies inside; no grid involved."""
    room = np.maximum(anatomy.radii_mm - 0.75 * radius_mm - 4.0, 10.0)
    while True:
        unit = rng.uniform(-1, 1, 3)
        if np.sum(unit**2) <= 1 and unit[2] > -0.6 and abs(unit[0]) * room[0] > 10:
            return unit * room + [0, 0, -4]


def _add_tumor(
    rng: np.random.RandomState,
    grid: Grid,
    anatomy: Anatomy,
    number: int,
    difficulty: float,
    tissue: list[Layer],
    label: np.ndarray,
    flair: dict,
    t1: dict,
) -> None:
    """Draws one tumor and adds its layers, label and tissue values in place."""
    radius = float(np.exp(rng.uniform(np.log(6.0), np.log(21.0)))) / (1.0 if number == 0 else 1.5)
    rim_mm = rng.uniform(1.5, 9.0)
    bright = rng.uniform(0.20, 0.60) / difficulty**0.7
    rim_share = rng.uniform(0.45, 1.0)
    necrotic = rng.uniform() < 0.45
    blur = rng.uniform(1.0, 3.0)
    grain = rng.uniform(0.05, 0.16)
    found = lesion_in(
        rng,
        grid,
        anatomy.brain,
        lambda: _place(rng, anatomy, radius),
        radius,
        margin_mm=2.0 * rim_mm + 4,
        roughness=0.16,
    )
    if found is None:
        return
    _paint_tumor(found, grid, anatomy, tissue, label, rim_mm, blur, f"tumor {number}")
    part = found.texture
    flair[f"tumor {number} core"] = flair["white"] * (1.12 + bright + grain * part)
    flair[f"tumor {number} rim"] = flair["white"] * (1.12 + bright * rim_share + 0.5 * grain * part)
    flair[f"tumor {number} centre"] = flair["white"] * (0.62 if necrotic else 1.05 + 1.3 * bright)
    t1[f"tumor {number} core"] = t1["white"] * (0.78 - 0.4 * bright + grain * part)
    t1[f"tumor {number} rim"] = t1["white"] * (0.88 - 0.2 * bright + 0.5 * grain * part)
    t1[f"tumor {number} centre"] = t1["white"] * 0.45


def _paint_tumor(
    found: Lesion,
    grid: Grid,
    anatomy: Anatomy,
    tissue: list[Layer],
    label: np.ndarray,
    rim_mm: float,
    blur: float,
    name: str,
) -> None:
    where, edge = found.where, grid.edge_mm
    brain, white = anatomy.brain[where], anatomy.white[where]
    # the rim follows white matter: it reaches half as far into grey matter, and stops at the ventricles
    reach = rim_mm * np.clip(1 + 0.6 * found.spread, 0.15, 2.0) * np.where(white, 1.0, 0.5)
    rim = np.maximum(found.distance_mm - reach, -(anatomy.ventricles_mm[where] - 0.5))
    inner = found.distance_mm + np.float32(0.38 * found.radius_mm) * (1 + 0.35 * found.spread)
    tissue += [
        Layer(f"{name} rim", soft(rim, blur * edge), where),
        Layer(f"{name} core", soft(found.distance_mm, blur * edge), where),
        Layer(f"{name} centre", soft(inner, 2 * edge), where),
    ]
    part = label[where]
    part[(rim < 0) & brain & (part == 0)] = 2
    part[(found.distance_mm < 0) & brain] = 1


def _paint_head(anatomy: Anatomy, tissue: list[Layer], values: dict) -> np.ndarray:
    shape = anatomy.brain.shape
    return paint(anatomy.layers, values | {"brain": paint(tissue, values, values["grey"], shape)}, 0.0, shape)


def _scan(rng: np.random.RandomState, clean: np.ndarray, grid: Grid, difficulty: float) -> np.ndarray:
    gamma = np.exp(rng.normal(0, 0.12))
    gain = np.exp(rng.uniform(np.log(60.0), np.log(2400.0)))
    noise = rng.uniform(0.015, 0.04) * difficulty**0.5
    bias = rng.uniform(0.06, 0.18) * difficulty**0.5
    return mr_scan(rng, clean**gamma, grid, bias=bias, noise=noise, gain=gain, extent_mm=EXTENT_MM)
