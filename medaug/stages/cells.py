"""The cells of an evaluation: one trained network each, kept as long as what it was made of is the same.

`evaluation/cells/<arm>-seed<k>.json` holds {"arm", "seed", "made_of", ...}; `made_of` is a fingerprint of the data and
of every setting but which arms and seeds there are. So an evaluation with more arms or seeds trains the new ones only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medaug.io.atomic import read_json, write_json
from medaug.stages.config import EvaluationConfig
from medaug.stages.runs import RunDir, essential, fingerprint

Cell = dict[str, Any]


def made_of(settings: EvaluationConfig, *inputs: Any) -> str:
    """The fingerprint of all that decides what a cell of a given arm and seed is."""
    return fingerprint([essential(settings) | {"arms": None, "seeds": None}, *inputs])


def cell_path(run: RunDir, arm: str, seed: int) -> Path:
    return run.evaluation / "cells" / f"{arm}-seed{seed}.json"


def trained_cell(path: Path, source: str, train: Callable[[], Cell]) -> Cell:
    """The cell at `path` if it was made of the same (`source`), else a new one, written there."""
    if path.exists() and (held := read_json(path)).get("made_of") == source:
        return held
    write_json(path, train() | {"made_of": source})
    return read_json(path)


def drop_others(run: RunDir, source: str) -> None:
    """Removes the cells that were made of something else."""
    for path in (run.evaluation / "cells").glob("[!.]*.json"):
        if read_json(path).get("made_of") != source:
            path.unlink()


def cells_of(run: RunDir, settings: EvaluationConfig) -> dict[str, list[Cell]]:
    """By arm, one a seed, of the arms and seeds asked for."""
    return {arm: [read_json(cell_path(run, arm, seed)) for seed in settings.seeds] for arm in settings.arms}
