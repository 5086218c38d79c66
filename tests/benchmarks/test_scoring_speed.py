"""Scoring one patient of BraTS' size, against the distance transforms that surface distances are known from."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from medaug.evaluation.outlines import Outlined
from medaug.evaluation.patients import score_outlined

SHAPE, SPACING_MM = (240, 240, 155), (1.0, 1.0, 1.0)
REGIONS = {"whole": (1, 2, 3), "core": (1, 3), "enhancing": (3,)}


def tumor(seed: int) -> np.ndarray:
    """Class numbers of three nested parts with uneven borders, and a few specks elsewhere."""
    rng = np.random.RandomState(seed)
    grid = np.indices(SHAPE, dtype=np.float32)
    distance = np.sqrt(sum((axis - center) ** 2 for axis, center in zip(grid, (110, 140, 80), strict=True)))
    distance += 25 * gaussian_filter(rng.normal(size=SHAPE).astype(np.float32), 3)
    numbers = np.select([distance < 17, distance < 24, distance < 38], [3, 1, 2]).astype(np.uint8)
    for x, y, z in rng.randint(20, 130, (10, 3)):
        numbers[x : x + 3, y : y + 3, z : z + 3] = 2
    return np.asfortranarray(numbers)


def transforms(prediction: np.ndarray, truth: np.ndarray) -> None:
    """Both distance maps of each region, once, of the whole volume: what surface distances cost without a k-d tree."""
    for classes in REGIONS.values():
        for mask in (np.isin(prediction, classes), np.isin(truth, classes)):
            distance_transform_edt(~(mask & ~binary_erosion(mask)), sampling=SPACING_MM)


def test_a_patient_with_three_regions(benchmark, seconds_in_turns, tell):
    prediction, truth = tumor(0), tumor(1)

    def score() -> None:
        score_outlined([Outlined("scan", prediction, truth, SPACING_MM)], REGIONS, 2.0)

    functions = {"scores": score, "transforms": lambda: transforms(prediction, truth)}
    seconds = seconds_in_turns(functions, rounds=2)
    benchmark.extra_info["ratio_to_transforms"] = seconds["scores"] / seconds["transforms"]
    benchmark.pedantic(score, rounds=1)
    tell(
        f"a volume of {SHAPE} with three regions is scored and its lesions counted in {seconds['scores']:.2f} s; six "
        f"distance transforms alone take {seconds['transforms']:.2f} s"
    )
