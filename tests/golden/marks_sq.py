"""Prints the marks of tiny runs as JSON, in a process of its own: `python tests/golden/marks.py FOLDER SETTINGS`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from safetensors.numpy import load_file

import medaug
from medaug.config.files import load_config
from medaug.stages.pipeline import run_pipeline

METHODS = ("cyclegan", "unit", "munit", "pix2pix")
THREE_D = ["data.spatial_dims=3", "data.phantoms.shape=[32,32,20]", "crop.size=[16,16,8]", "crop.min_diameter_mm=2"]


def figures_in(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a JSON value, each with where it stands; words are no figures."""
    if isinstance(value, dict):
        for name in sorted(value):
            yield from figures_in(value[name], f"{key}/{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from figures_in(item, f"{key}/{number}")
    elif isinstance(value, bool | int | float):
        yield key, float(value)


def mark(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """A hash of all bits, and the mean size of the values for machines of another kind."""
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(str((array.dtype.str, array.squeeze().shape)).encode() + np.ascontiguousarray(array).tobytes())
    size = np.mean([np.abs(array.astype(np.float64)).mean() for array in arrays.values()])
    return {"sha256": digest.hexdigest()[:16], "size": round(float(size), 4)}


def of_weights(folder: Path) -> dict[str, Any]:
    arrays = {f"{path.name}:{name}": array for path in sorted(folder.glob("*.safetensors"))
              for name, array in sorted(load_file(path).items())}  # fmt: skip
    assert arrays, folder
    return mark(arrays)


def of_cases(folder: Path) -> dict[str, Any]:
    return mark({p.name: np.asanyarray(nibabel.load(p).dataobj) for p in sorted(folder.rglob("*.nii.gz"))})


def of_json(path: Path, *sections: str) -> dict[str, Any]:
    value = json.loads(path.read_text())
    for section in sections:
        value = value[section]
    return mark({key: np.array([figure]) for key, figure in figures_in(value)})


def marks_of(folder: Path, settings: list[str]) -> dict[str, Any]:
    """Everything that is compared, by name."""
    tiny_run = run_pipeline(load_config(None, settings), folder / "run")

    def trained(name: str, *more: str, **options: Any) -> Path:
        torch.manual_seed(0)
        return medaug.train_cycle(out=folder / name, set_=[*settings, *more], **options)

    marks = {}
    for method in METHODS:
        for dims, more in ((2, []), (3, THREE_D)):
            name = f"weights: mask-guided {method} {dims}-D"
            marks[name] = of_weights(trained(name, *more, model=method))
        for name, more in ((f"ct {method}", []), (f"ct {method} 3-D", THREE_D)):
            marks[f"weights: {name}"] = of_weights(trained(name, *more, model=method, domain="ct"))
    for dims, more in ((2, []), (3, THREE_D)):
        marks[f"weights: gan {dims}-D"] = of_weights(
            medaug.train_gan(out=folder / f"gan-{dims}", set_=[*settings, *more])
        )
    marks["cases: synthesized"] = of_cases(tiny_run.synthetic)
    for cell in sorted((tiny_run.evaluation / "cells").glob("*.json")):
        marks[f"scores: {cell.stem}"] = of_json(cell)
    marks["summary"] = of_json(tiny_run.evaluation / "summary.json")
    marks["audit"] = of_json(tiny_run.audit / "realism.json")
    return marks


if __name__ == "__main__":
    print(json.dumps(marks_of(Path(sys.argv[1]), sys.argv[2:])))
