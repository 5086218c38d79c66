"""A head-like MR patient: two or four sequences of a folded brain in a skull, with or without tumors.

Hard on purpose: scanner gain, bias field, noise and tissue contrast differ by patient; tumors vary in size, shape and
contrast, down to subtle; bright white matter near the ventricles, which is *not* labelled, looks like small tumors.
The brain's folds are the zero surfaces of a smooth random field, followed less and less deep into the brain: fluid on
the surface itself, grey matter beside it. Tissue values are relative (white matter in T1 is 0.85) before the scanner.
Positions are R, A, S in mm from the middle of the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medaug.errors import ConfigError
from medaug.phantoms.fields import Grid, Layer, Points, ellipsoid, paint, rotation, smooth_noise, soft, union, warped
from medaug.phantoms.patient import Phantom, begin, lesion, lesion_in, mr_scan

FIELD_OF_VIEW_MM = (192.0, 192.0, 128.0)
EXTENT_MM = 110.0
SEQUENCES = ("flair", "t1", "t2", "t1ce")
TISSUES = {
    "scalp": (0.62, 1.15, 0.70, 1.18),
    "muscle": (0.36, 0.45, 0.25, 0.52),
    "sinus": (0.02, 0.02, 0.02, 0.02),
    "eye": (0.10, 0.18, 1.10, 0.18),
    "skull": (0.06, 0.07, 0.06, 0.07),
    "marrow": (0.28, 0.55, 0.40, 0.60),
    "csf": (0.13, 0.20, 1.15, 0.20),
    "grey": (0.70, 0.62, 0.62, 0.64),
    "white": (0.52, 0.85, 0.45, 0.87),
    "deep grey": (0.62, 0.68, 0.52, 0.70),
    "ventricle": (0.10, 0.17, 1.20, 0.17),
    "hyperintensity": (0.95, 0.68, 0.85, 0.70),
}
"""Brightness in each of `SEQUENCES`: fluid is dark in FLAIR and bright in T2; a contrast agent stays in the vessels."""
PARTS = {"core": 1, "edema": 2, "enhancing": 4}
"""Label values of a tumor's parts, as BraTS has them."""


@dataclass(frozen=True)
class _Head:
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


def head_phantom(
    index: int,
    *,
    seed: int = 0,
    shape: tuple[int, int, int] = (96, 96, 32),
    spacing_mm: tuple[float, float, float] | None = None,
    tumors: int | None = None,
    difficulty: float = 1.0,
    parts: bool = False,
) -> Phantom:
    """Draws head patient `index`: sequences `flair` and `t1`, label 1 core and 2 rim, organ 1 brain.

    With `parts` it is the same patient with `t1`, `t1ce`, `t2`, `flair`, and the core of the label is told apart as in
    glioma: a necrotic centre (1) inside tissue whose leaky vessels take up the contrast agent (4), edema (2) around.

    Args:
        index: which patient; it depends on (seed, index) only.
        seed: which family of patients.
        shape: voxels (X, Y, Z).
        spacing_mm: voxel size; by default 192 x 192 x 128 mm over the shape, which is (2, 2, 4) for the default one.
        tumors: how many; None draws one to three, 0 gives the patient's healthy twin.
        difficulty: 1 is meant for a Dice of about 0.6 to 0.85 of a small network trained on a few patients; larger
            means subtler tumors, more unlabelled bright spots, more noise and bias.
        parts: label values as in `PARTS`.

    Raises:
        ConfigError: if an argument is out of range.
    """
    if not difficulty > 0:
        raise ConfigError(f"difficulty: found {difficulty}; expected more than 0 (1 is the usual one)")
    grid, rng = begin(index, seed, tumors, shape, spacing_mm, FIELD_OF_VIEW_MM)
    head = _draw_head(rng["anatomy"], grid)
    head.tissue.extend(_hyperintensities(rng["confounders"], grid, head, difficulty))
    label = np.zeros(grid.shape, dtype=np.uint8)
    tumor_tissue: dict[str, dict[str, np.ndarray | float]] = {name: {} for name in SEQUENCES}
    count = rng["tumors"].choice([1, 2, 3], p=[0.6, 0.3, 0.1])
    for number in range(count if tumors is None else tumors):
        _add_tumor(rng["tumors"], grid, head, number, difficulty, label, tumor_tissue)
    images, scanner = {}, rng["scanner"]
    for drawn in (SEQUENCES[:2], SEQUENCES[2:] if parts else ()):  # the second two leave the first as they are
        # tissue values of a patient and scanner are within some per cent of the table
        tissues = [
            {
                name: values[SEQUENCES.index(sequence)] * np.exp(scanner.normal(0, 0.06))
                for name, values in TISSUES.items()
            }
            for sequence in drawn
        ]
        for sequence, of_tissue in zip(drawn, tissues, strict=True):
            of_tissue |= {name: of_tissue["white"] * value for name, value in tumor_tissue[sequence].items()}
            within = paint(head.tissue, of_tissue, of_tissue["grey"], grid.shape)
            clean = paint(head.layers, of_tissue | {"brain": within}, 0.0, grid.shape)
            gamma, gain = np.exp(scanner.normal(0, 0.12)), np.exp(scanner.uniform(np.log(60.0), np.log(2400.0)))
            noise, bias = (scanner.uniform(*span) * difficulty**0.5 for span in ((0.015, 0.04), (0.06, 0.18)))
            image = mr_scan(scanner, clean**gamma, grid, bias=bias, noise=noise, gain=gain, extent_mm=EXTENT_MM)
            images[sequence] = image
    organs = head.brain.astype(np.uint8)
    if parts:
        images = {name: images[name] for name in ("t1", "t1ce", "t2", "flair")}
    else:
        label[label == PARTS["enhancing"]] = PARTS["core"]
    return Phantom(f"phantom-{index:03d}", images, label, organs, grid.spacing_mm, grid.affine())


def _hyperintensities(rng: np.random.RandomState, grid: Grid, head: _Head, difficulty: float) -> list[Layer]:
    """Unlabelled bright white matter: caps along the ventricles and scattered small spots."""
    reach_mm = rng.uniform(-3.0, 2.5) * min(difficulty, 1.5)
    caps = head.ventricles_mm - np.float32(reach_mm) - 2.5 * smooth_noise(rng, grid, 8.0, EXTENT_MM)
    alpha = soft(caps, 2 * grid.edge_mm) * head.white * np.float32(rng.uniform(0.4, 0.9))
    layers = [Layer("hyperintensity", alpha)]
    for _ in range(rng.poisson(9 * difficulty)):
        angle, along = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
        distance = rng.uniform(0.35, 0.72)
        centre = head.radii_mm * [distance * np.cos(angle), distance * np.sin(angle), along]
        radius = rng.uniform(1.8, 5.0)
        strength = rng.uniform(0.4, 1.0)
        spot = lesion(rng, grid, centre, radius, margin_mm=4.0, roughness=0.3)
        if spot is not None:
            alpha = soft(spot.distance_mm, 1.5 * grid.edge_mm) * head.white[spot.where] * np.float32(strength)
            layers.append(Layer("hyperintensity", alpha, spot.where))
    return layers


def _add_tumor(
    rng: np.random.RandomState,
    grid: Grid,
    head: _Head,
    number: int,
    difficulty: float,
    label: np.ndarray,
    values: dict[str, dict[str, np.ndarray | float]],
) -> None:
    """Draws one tumor and adds its layers, its label, and its brightness by sequence (white matter's is 1) in place."""

    def place() -> np.ndarray:
        """A centre in the cerebrum, off the middle, deep enough that most of the tumor lies inside."""
        room = np.maximum(head.radii_mm - 0.75 * radius - 4.0, 10.0)
        while True:
            unit = rng.uniform(-1, 1, 3)
            if np.sum(unit**2) <= 1 and unit[2] > -0.6 and abs(unit[0]) * room[0] > 10:
                return unit * room + [0, 0, -4]

    radius = float(np.exp(rng.uniform(np.log(6.0), np.log(21.0)))) / (1.0 if number == 0 else 1.5)
    rim_mm = rng.uniform(1.5, 9.0)
    bright = rng.uniform(0.20, 0.60) / difficulty**0.7
    rim_share = rng.uniform(0.45, 1.0)
    necrotic = rng.uniform() < 0.45
    blur, grain = rng.uniform(1.0, 3.0), rng.uniform(0.05, 0.16)
    found = lesion_in(rng, grid, head.brain, place, radius, margin_mm=2.0 * rim_mm + 4, roughness=0.16)
    if found is None:
        return
    where, edge, texture = found.where, grid.edge_mm, found.texture
    brain, white = head.brain[where], head.white[where]
    # the rim follows white matter: it reaches half as far into grey matter, and stops at the ventricles
    reach = rim_mm * np.clip(1 + 0.6 * found.spread, 0.15, 2.0) * np.where(white, 1.0, 0.5)
    rim = np.maximum(found.distance_mm - reach, -(head.ventricles_mm[where] - 0.5))
    inner = found.distance_mm + np.float32(0.38 * radius) * (1 + 0.35 * found.spread)
    depths = {"rim": (rim, blur), "core": (found.distance_mm, blur), "centre": (inner, 2)}
    head.tissue.extend(
        Layer(f"tumor {number} {k}", soft(depth, width * edge), where) for k, (depth, width) in depths.items()
    )
    part = label[where]
    part[(rim < 0) & brain & (part == 0)] = PARTS["edema"]
    part[(found.distance_mm < 0) & brain] = PARTS["enhancing"]
    part[(found.distance_mm < 0) & (inner < 0) & brain] = PARTS["core"]
    brightness = {
        "flair": {
            "core": 1.12 + bright + grain * texture,
            "rim": 1.12 + bright * rim_share + 0.5 * grain * texture,
            "centre": 0.62 if necrotic else 1.05 + 1.3 * bright,
        },
        "t1": {
            "core": 0.78 - 0.4 * bright + grain * texture,
            "rim": 0.88 - 0.2 * bright + 0.5 * grain * texture,
            "centre": 0.45,
        },
        "t2": {  # all of it holds more water than the brain
            "core": 1.35 + bright + grain * texture,
            "rim": 1.4 + 1.2 * bright * rim_share + 0.5 * grain * texture,
            "centre": 2.2,
        },
        "t1ce": {  # as in T1, but where the contrast agent leaks out
            "core": 1.3 + 0.8 * bright + grain * texture,
            "rim": 0.88 - 0.2 * bright + 0.5 * grain * texture,
            "centre": 0.45,
        },
    }
    for sequence, of_layer in brightness.items():
        values[sequence] |= {f"tumor {number} {name}": value for name, value in of_layer.items()}


def _draw_head(rng: np.random.RandomState, grid: Grid) -> _Head:
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
    shift = 4 * (ventricle_scale - 1)
    thalamus = ellipsoid((side, y, z), (11 + shift, -10, -1), (8, 13, 8), rotation((0, 0, 0.4)))
    caudate = ellipsoid((side, y, z), (15 + shift, 18, 4), (4.5, 10, 9), rotation((0, 0, -0.2)))
    putamen = ellipsoid((side, y, z), (26 + shift, 4, -3), (6, 15, 9), rotation((0, 0, -0.15)))
    deep = union(union(thalamus, caudate), putamen)

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
    return _Head(layers, tissue, brain < 0, ventricles, (grey > 0) & (brain < 0), radii)


def _ventricles(points: Points, scale: float) -> np.ndarray:
    """Lateral horns and bodies (mirrored: the first coordinate is |R|), third and fourth ventricle."""
    front = ellipsoid(points, (9 * scale**0.5, 22, 6), (4.5 * scale, 17, 8), rotation((0, 0, -0.35)))
    body = ellipsoid(points, (11 * scale**0.5, -8, 13), (5.5 * scale, 26, 7), rotation((0.1, 0, 0.12)))
    back = ellipsoid(points, (20 * scale**0.5, -38, 4), (5.0 * scale, 17, 8), rotation((0.15, 0, 0.25)))
    third = ellipsoid(points, (0, -4, -8), (1.8 * scale, 11, 9))
    fourth = ellipsoid(points, (0, -32, -42), (5, 5, 8))
    return union(union(union(union(front, body, 3), back, 4), third), fourth)
