"""Lesions as things that are found or not: connected parts (diagonals connect) of a label and of a prediction.

`lost_and_gained` takes any touch: a lesion is lost if no predicted voxel lies in it. `count_detections`, which arms are
compared by, asks for more, or one part over the whole image would find everything and never be wrong: a lesion is found
if it and all predicted parts that touch it, taken together as in BraTS 2023 (Moawad 2023, 2306.00838), overlap with an
IoU of at least 0.1, the limit of PI-CAI (Saha 2024, Lancet Oncol 25:879); a predicted part that finds no lesion is a
false positive. Volumes (X, Y, Z) have their parts in 3-D. Pictures (X, Y), of which nobody says how far apart they lie,
have theirs in each picture: a lesion then counts once in every slice that shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from medaug.lesions.geometry import equivalent_diameter_mm

LEAST_VOXELS = 8
"""Of a predicted part that counts as a lesion."""
LEAST_IOU = 0.1
"""Of a lesion with the predicted parts that touch it, for it to be found."""


class LesionCounts(NamedTuple):
    """Of one scan: labelled lesions, those that no predicted voxel touches, and predicted parts that touch no label."""

    lesions: int
    lost: int
    gained: int


class Outlined(NamedTuple):
    """A volume or picture as a network and a reader see it: class numbers (X, Y[, Z]), 0 where there is nothing."""

    scan: str
    prediction: np.ndarray
    truth: np.ndarray
    spacing_mm: Sequence[float]


def lost_and_gained(prediction: np.ndarray, truth: np.ndarray) -> LesionCounts:
    """Compares two masks (bool, *S) of one scan, part by part; predicted parts below 8 voxels are not gained."""
    _, found, gained = _matched(prediction, truth, least_iou=0.0)
    return LesionCounts(len(found), int((~found).sum()), gained)


def count_detections(outlined: Sequence[Outlined], classes: int = 1) -> dict[str, Any]:
    """The counts of one patient, as JSON.

    Of several classes the parts of each are lesions of their own, found by that class alone; the counts add up.
    Predicted parts below 8 voxels find lesions, and are no false positives.

    Returns:
        "dimensions": 3 where parts connect across slices, else 2; "lesions": [equivalent diameter in mm, found] each;
        "scans"; "false_positives" in them; and "tumor_free": "scans" without any label and the "false_positives" in
        them, "slices" (last axis) without any label, in whatever scan, the "slice_false_positives" that are seen in
        each of these alone, and all "slice_voxels" predicted there.
    """
    lesions: list[list[float | bool]] = []
    false_positives: Counter[str] = Counter()
    tumor: dict[str, bool] = {}
    slices = np.zeros(3, int)
    for part in outlined:
        for number in range(1, classes + 1):
            labelled, found, gained = _matched(part.prediction == number, part.truth == number, LEAST_IOU)
            diameters = _diameters_mm(labelled, part.spacing_mm)
            lesions += [[d, bool(hit)] for d, hit in zip(diameters, found, strict=True)]
            false_positives[part.scan] += gained
        tumor[part.scan] = tumor.get(part.scan, False) or bool(part.truth.any())
        slices += _in_tumor_free_slices(part, classes)
    free = [scan for scan, has_tumor in tumor.items() if not has_tumor]
    keys = ("slices", "slice_false_positives", "slice_voxels")
    return {
        "dimensions": outlined[0].truth.ndim,
        "lesions": lesions,
        "scans": len(tumor),
        "false_positives": false_positives.total(),
        "tumor_free": {"scans": len(free), "false_positives": sum(false_positives[scan] for scan in free)}
        | dict(zip(keys, slices.tolist(), strict=True)),
    }


def _matched(prediction: np.ndarray, truth: np.ndarray, least_iou: float) -> tuple[np.ndarray, np.ndarray, int]:
    """The numbered parts of the truth, whether each is found (L,), and how many predicted parts find none of them."""
    predicted, labelled = (_parts(mask) for mask in (prediction, truth))
    sizes, parts = (np.bincount(numbers.reshape(-1), minlength=1) for numbers in (labelled, predicted))
    both = prediction & truth
    pairs, shared = np.unique(labelled[both].astype(np.int64) * len(parts) + predicted[both], return_counts=True)
    lesion, part = np.divmod(pairs, len(parts))  # that overlap, and by how many voxels
    inside = np.bincount(lesion, shared, len(sizes))
    joined = sizes + np.bincount(lesion, parts[part], len(sizes)) - inside  # of a lesion and all parts that touch it
    found = (inside > 0) & (inside >= least_iou * joined)
    alone = parts >= LEAST_VOXELS
    alone[part[found[lesion]]] = False
    return labelled, found[1:], int(alone[1:].sum())


def _in_tumor_free_slices(part: Outlined, classes: int) -> tuple[int, int, int]:
    """Slices without any label, predicted parts seen in one of them alone, and predicted voxels there."""
    stack = part.truth.ndim == 3
    truth, prediction = (np.moveaxis(a, -1, 0) if stack else np.asarray(a)[None] for a in (part.truth, part.prediction))
    free = ~truth.any(axis=(1, 2))
    shown = [picture for picture in prediction[free] if picture.any()]
    parts = sum(
        int((np.bincount(_parts(picture == number).reshape(-1))[1:] >= LEAST_VOXELS).sum())
        for picture in shown
        for number in range(1, classes + 1)
    )
    return int(free.sum()), parts, sum(int(np.count_nonzero(picture)) for picture in shown)


def _diameters_mm(labelled: np.ndarray, spacing_mm: Sequence[float]) -> list[float]:
    """Of each numbered part, in its box alone: a volume has many parts."""
    boxes = ndimage.find_objects(labelled)
    return [
        round(equivalent_diameter_mm(labelled[box] == number, spacing_mm), 3)
        for number, box in enumerate(boxes, start=1)
    ]


def _parts(mask: np.ndarray) -> np.ndarray:
    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))[0]
