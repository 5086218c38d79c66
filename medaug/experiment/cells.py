"""The cells of an evaluation: one trained network each, kept as long as what it was made of is the same.

`evaluation/cells/<arm>-seed<k>.json` holds {"arm", "seed", "made_of", ...}; `made_of` is a fingerprint of the data and
of every setting but which arms and seeds there are; of a user's own arm its own settings too. So an evaluation with
more arms or seeds trains the new ones only. In a benchmark, which may ask for several synthetic ratios, a cell with one
is `<arm>-seed<k>-ratio<r>.json`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medaug.config import EvaluationConfig
from medaug.data.atomic import read_json, to_json, write_json
from medaug.errors import DataError
from medaug.runs.folder import RunDir
from medaug.runs.markers import essential, fingerprint

logger = logging.getLogger(__name__)

Cell = dict[str, Any]
SEAL = "sha256"
"""The key of a fingerprint of all else in a cell."""
NOT_OF_A_CELL = dict.fromkeys(("arms", "own_arms", "seeds", "size_limits_mm"))
"""Settings that say which cells there are, and how they are summed up."""


def made_of(settings: EvaluationConfig, *inputs: Any) -> str:
    """The fingerprint of all that decides what a cell of a given arm and seed is."""
    return fingerprint([essential(settings) | NOT_OF_A_CELL, *inputs])


def of_arm(source: str, settings: EvaluationConfig, arm: str) -> str:
    """The fingerprint of a cell of this arm: that of `made_of`, and of a user's own arm its settings."""
    own = settings.own_arms.get(arm)
    return source if own is None else fingerprint([source, own.model_dump(mode="json")])


def cell_path(run: RunDir, arm: str, seed: int, ratio: float | None = None) -> Path:
    """Where a cell is; `ratio` only in a benchmark, and there of arms with synthetic samples."""
    return run.evaluation / "cells" / f"{arm}-seed{seed}{'' if ratio is None else f'-ratio{ratio:g}'}.json"


def is_kept(path: Path, source: str) -> bool:
    """Whether there is a cell that was made of this, as it was written."""
    return bool(_whole_cell(path).get("made_of") == source)


def keep_cell(path: Path, source: str, cell: Cell) -> None:
    cell = json.loads(to_json(cell | {"made_of": source}))
    write_json(path, cell | {SEAL: fingerprint(cell)})


def _whole_cell(path: Path) -> Cell:
    """The cell in this file; an empty one if there is none, or it was cut or changed since it was written."""
    if not path.exists():
        return {}
    try:
        cell = read_json(path)
    except DataError as error:
        logger.warning("%s; the cell is trained again", error)
        return {}
    if cell.get(SEAL) != fingerprint({key: value for key, value in cell.items() if key != SEAL}):
        logger.warning("%s: changed since it was written; the cell is trained again", path)
        return {}
    return dict(cell)


def trained_cells(
    run: RunDir, settings: EvaluationConfig, source: str, train: Callable[[str, int], Cell]
) -> dict[str, list[Cell]]:
    """`cells_of`, those that are missing trained first; what was made of something else than `source` is removed."""
    for path in (run.evaluation / "cells").glob("[!.]*.json"):
        cell = _whole_cell(path)
        if cell.get("made_of") != of_arm(source, settings, cell.get("arm", "")):
            path.unlink()
    for seed in settings.seeds:
        for arm in settings.arms:
            path = cell_path(run, arm, seed)
            if not path.exists():
                keep_cell(path, of_arm(source, settings, arm), train(arm, seed))
    return cells_of(run, settings)


def cells_of(run: RunDir, settings: EvaluationConfig) -> dict[str, list[Cell]]:
    """By arm, one a seed, of the arms and seeds asked for."""
    return {arm: [read_json(cell_path(run, arm, seed)) for seed in settings.seeds] for arm in settings.arms}


def score_table(cells: Sequence[Cell], patients: Sequence[str], metric: str) -> np.ndarray:
    """(patients, cells) of a metric that every patient has alone."""
    return np.array([[cell["scores"][patient][metric] for cell in cells] for patient in patients])
