"""The patients that a trained segmentation network did worst on: one slice of each, with truth and prediction.

`evaluation/failures/<cell>.npz` is written beside `evaluation/cells/<cell>.json`, so that a page can show failures
without training or predicting again. It holds images of patients: it is never exported.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from medaug.data.atomic import atomic_path
from medaug.data.opening import check_regular
from medaug.data.prepared import View
from medaug.errors import DataError
from medaug.experiment.downstream import Downstream, Segmentation
from medaug.experiment.records import PatientScores

WORST = 6
"""Patients kept of a cell."""
_LEVELS = 255
"""Grey levels of a kept image, which spans [-1, 1]."""


class Failure(NamedTuple):
    """One patient's worst slice: image (X, Y) in [-1, 1], truth and prediction (X, Y) as class numbers."""

    patient: str
    score: float
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def failures_path(cell: Path) -> Path:
    """The file of the failures of a cell, by the path of the cell."""
    return cell.parent.parent / "failures" / f"{cell.stem}.npz"


def keep_failures(path: Path, task: Downstream, network: torch.nn.Module, found: PatientScores) -> None:
    """Writes the worst patients by the main metric, each by the slice with most voxels outlined wrongly.

    A task other than segmentation outlines nothing: of it nothing is kept.

    Args:
        found: by this network.
    """
    if not isinstance(task, Segmentation):
        return
    metric, rule = next(iter(task.scoring.metrics.items()))
    scores = {patient: values[metric] or 0.0 for patient, values in found.scores.items()}
    sign = 1 if rule.higher_is_better else -1
    worst = sorted(scores, key=lambda patient: (sign * scores[patient], patient))[:WORST]
    arrays: dict[str, np.ndarray] = {
        "patients": np.array(worst, dtype=np.str_),
        "scores": np.array([scores[patient] for patient in worst], dtype=np.float64),
    }
    for number, patient in enumerate(worst):
        image, truth, prediction = _worst_slice(task, network, patient)
        grey = np.rint((np.clip(image, -1, 1) + 1) / 2 * _LEVELS).astype(np.uint8)
        arrays |= {f"image{number}": grey, f"truth{number}": truth, f"prediction{number}": prediction}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]  # the names are not those of its options


def read_failures(path: Path) -> list[Failure]:
    """What `keep_failures` wrote, the worst first; nothing if there is no such file."""
    if not path.exists():
        return []
    try:
        with np.load(check_regular(path), allow_pickle=False) as kept:
            return [
                Failure(
                    str(patient),
                    float(score),
                    kept[f"image{number}"].astype(np.float32) / _LEVELS * 2 - 1,
                    kept[f"truth{number}"],
                    kept[f"prediction{number}"],
                )
                for number, (patient, score) in enumerate(zip(kept["patients"], kept["scores"], strict=True))
            ]
    except Exception as error:  # NumPy and zipfile meet damaged bytes with every kind of exception
        raise DataError.about(
            path, f"no usable pictures ({error})", "an archive of the worst patients", "Delete it: it is not needed."
        ) from error


def _worst_slice(task: Segmentation, network: torch.nn.Module, patient: str) -> tuple[np.ndarray, ...]:
    """(image, truth, prediction), each (X, Y); where nothing is wrong, the slice with most truth."""
    chosen: tuple[np.ndarray, ...] = ()
    most = (-1, -1)
    for entry in task.by_patient[patient]:
        prediction, truth = task.segmented(network, entry)
        image = View(entry, None, 0).normalized(task.folder)[0]
        if truth.ndim == 2:
            image, truth, prediction = (array[..., None] for array in (image, truth, prediction))
        wrong, labelled = (prediction != truth).sum(axis=(0, 1)), (truth > 0).sum(axis=(0, 1))
        level = max(range(truth.shape[-1]), key=lambda z: (wrong[z], labelled[z]))
        found = (int(wrong[level]), int(labelled[level]))
        if found > most:
            chosen, most = tuple(array[..., level] for array in (image, truth, prediction)), found
    return chosen
