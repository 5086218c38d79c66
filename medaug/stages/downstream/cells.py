"""The cells of an evaluation: one trained network each, kept as long as what it was made of is the same.

`evaluation/cells/<arm>-seed<k>.json` holds {"arm", "seed", "made_of", ...}; `made_of` is a fingerprint of the data and
of every setting but which arms and seeds there are; of a user's own arm its own settings too. So an evaluation with
more arms or seeds trains the new ones only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medaug.io.atomic import read_json, write_json
from medaug.stages.config import EvaluationConfig
from medaug.stages.runs import RunDir, essential, fingerprint

Cell = dict[str, Any]


def made_of(settings: EvaluationConfig, *inputs: Any) -> str:
    """The fingerprint of all that decides what a cell of a given arm and seed is."""
    return fingerprint([essential(settings) | {"arms": None, "own_arms": None, "seeds": None}, *inputs])


def cell_path(run: RunDir, arm: str, seed: int) -> Path:
    return run.evaluation / "cells" / f"{arm}-seed{seed}.json"


def trained_cells(
    run: RunDir, settings: EvaluationConfig, source: str, train: Callable[[str, int], Cell]
) -> dict[str, list[Cell]]:
    """`cells_of`, those that are missing trained first; what was made of something else than `source` is removed."""
    for path in (run.evaluation / "cells").glob("[!.]*.json"):
        cell = read_json(path)
        if cell.get("made_of") != _of_arm(source, settings, cell.get("arm")):
            path.unlink()
    for seed in settings.seeds:
        for arm in settings.arms:
            path = cell_path(run, arm, seed)
            if not path.exists():
                write_json(path, train(arm, seed) | {"made_of": _of_arm(source, settings, arm)})
    return cells_of(run, settings)


def cells_of(run: RunDir, settings: EvaluationConfig) -> dict[str, list[Cell]]:
    """By arm, one a seed, of the arms and seeds asked for."""
    return {arm: [read_json(cell_path(run, arm, seed)) for seed in settings.seeds] for arm in settings.arms}


def _of_arm(source: str, settings: EvaluationConfig, arm: str | None) -> str:
    own = settings.own_arms.get(arm or "")
    return source if own is None else fingerprint([source, own.model_dump(mode="json")])


def score_table(cells: Sequence[Cell], patients: Sequence[str], metric: str) -> np.ndarray:
    """(patients, cells) of a metric that every patient has alone."""
    return np.array([[cell["scores"][patient][metric] for cell in cells] for patient in patients])
