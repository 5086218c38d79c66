"""The files of cells, each kept as long as what it was made of is the same.

`evaluation/cells/<arm>-seed<k>.json` holds a `Cell` with "made_of", a fingerprint of the data and of every setting but
which arms and seeds there are; of a user's own arm its own settings too. So an evaluation with more arms or seeds
trains the new ones only. In a benchmark, which may ask for several synthetic ratios, a cell with one is
`<arm>-seed<k>-ratio<r>.json`. `evaluation/failures/<cell>.npz` lies beside it: one slice of each of the patients that
a segmentation network did worst on, so that a page can show them without training again. It holds images of patients,
and is never exported.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from medaug.config import EvaluationConfig
from medaug.config.evaluation import rival_of
from medaug.data.atomic import atomic_path, read_json, to_json, write_json
from medaug.data.opening import check_regular
from medaug.data.prepared import View
from medaug.errors import DataError
from medaug.experiment.backends.monai import Segmentation
from medaug.experiment.downstream import Downstream
from medaug.experiment.records import Cell, Json, PatientScores, Summary
from medaug.runs.folder import RunDir
from medaug.runs.markers import essential, fingerprint

logger = logging.getLogger(__name__)

WORST = 6
"""Patients kept of a cell."""
_LEVELS = 255
"""Grey levels of a kept image, which spans [-1, 1]."""
SEAL = "sha256"
"""The key of a fingerprint of all else in a cell's file."""
NOT_OF_A_CELL = dict.fromkeys(("arms", "own_arms", "seeds", "size_limits_mm", "primary", "smallest_relevant"))
"""Settings that say which cells there are, and how they are summed up."""


def made_of(settings: EvaluationConfig, *inputs: Any) -> str:
    """The fingerprint of all that decides what a cell of a given arm and seed is."""
    return fingerprint([essential(settings) | NOT_OF_A_CELL, *inputs])


def of_arm(source: str, settings: EvaluationConfig, arm: str) -> str:
    """The fingerprint of a cell of this arm: that of `made_of`, and of a user's own arm (with a GAN) its settings."""
    own = settings.own_arms.get(arm) or settings.own_arms.get(rival_of(arm))
    return source if own is None else fingerprint([source, own.model_dump(mode="json")])


def cell_path(run: RunDir, arm: str, seed: int, ratio: float | None = None) -> Path:
    """The file of a cell; `ratio` only in a benchmark, and there of arms with synthetic samples."""
    return run.evaluation / "cells" / f"{arm}-seed{seed}{'' if ratio is None else f'-ratio{ratio:g}'}.json"


def read_cell(path: Path) -> Cell:
    """The cell in this file; a DataError names the file, and what of it cannot be read."""
    return Cell.from_json(read_json(path))


def is_kept(path: Path, source: str) -> bool:
    """Whether there is a cell that was made of this, as it was written."""
    return path.exists() and _sealed(path).get("made_of") == source


def keep_cell(path: Path, source: str, cell: Cell) -> None:
    """Writes a cell, sealed, with what it was made of."""
    values = json.loads(to_json(cell.to_json() | {"made_of": source}))
    write_json(path, values | {SEAL: fingerprint(values)})


def trained_cells(
    run: RunDir, settings: EvaluationConfig, source: str, train: Callable[[str, int], Cell]
) -> dict[str, list[Cell]]:
    """`cells_of`, those that are missing trained first; what was made of something else than `source` is removed."""
    for path in (run.evaluation / "cells").glob("[!.]*.json"):
        values = _sealed(path)
        if values.get("made_of") != of_arm(source, settings, values.get("arm", "")):
            path.unlink()
    for seed in settings.seeds:
        for arm in settings.arms:
            path = cell_path(run, arm, seed)
            if not path.exists():
                keep_cell(path, of_arm(source, settings, arm), train(arm, seed))
    return cells_of(run, settings.arms, settings.seeds)


def cells_of(run: RunDir, arms: Sequence[str], seeds: Sequence[int]) -> dict[str, list[Cell]]:
    """The cells of these arms, one a seed."""
    return {arm: [read_cell(cell_path(run, arm, seed)) for seed in seeds] for arm in arms}


def cells_behind(summary: Summary, run: RunDir, test: str = "") -> list[Cell]:
    """The cells that a summary is of, with the scores of its test set."""
    found = cells_of(run, list(summary.arms), summary.seeds)
    return [cell.on_test(test) for members in found.values() for cell in members]


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
    """Writes the patients that the network did worst on, each by the slice with most voxels outlined wrongly.

    A task other than segmentation outlines nothing: of it nothing is kept.
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


def _sealed(path: Path) -> Json:
    """What a cell's file holds; nothing if it was cut or changed since it was written."""
    try:
        values = read_json(path)
    except DataError as error:
        logger.warning("%s; the cell is trained again", error)
        return {}
    if values.get(SEAL) != fingerprint({key: value for key, value in values.items() if key != SEAL}):
        logger.warning("%s: changed since it was written; the cell is trained again", path)
        return {}
    return dict(values)


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
