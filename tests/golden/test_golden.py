"""What tiny runs give, down to the last bit: no change of the code's shape may move a number.

`golden.json` holds the hashes of weights after three steps of every method, of a run's scores, synthesized cases and
audits. A change that is meant to move one writes the file anew, and its commit says why:

    MEDAUG_GOLDEN=write pytest tests/golden

Bits are those of one kind of machine; on another the rounded figures beside the hashes are compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import medaug

GOLDEN = Path(__file__).with_name("golden.json")
METHODS = ("cyclegan", "unit", "munit", "pix2pix")
THREE_D = ["data.spatial_dims=3", "data.phantoms.shape=[32,32,20]", "crop.size=[16,16,8]", "crop.min_diameter_mm=2"]
MACHINE = f"torch {torch.__version__.split('+')[0]} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


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
        digest.update(str((array.dtype.str, array.shape)).encode() + np.ascontiguousarray(array).tobytes())
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


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, tiny_settings, tiny_run) -> dict[str, Any]:
    """Everything that is compared, by name."""
    folder = tmp_path_factory.mktemp("golden")

    def trained(name: str, *more: str, **options: Any) -> Path:
        torch.manual_seed(0)
        return medaug.train_cycle(out=folder / name, set_=[*tiny_settings, *more], **options)

    marks = {}
    for guided in (True, False):
        for method in METHODS if guided else METHODS[:3]:  # plain pix2pix learns from registered pairs alone
            for dims, more in ((2, []), (3, THREE_D)):
                name = f"weights: {'mask-guided ' if guided else ''}{method} {dims}-D"
                marks[name] = of_weights(
                    trained(name, f"translator.mask_guided={str(guided).lower()}", *more, model=method)
                )
    for method in METHODS:
        marks[f"weights: ct {method}"] = of_weights(trained(f"ct {method}", model=method, domain="ct"))
    for dims, more in ((2, []), (3, THREE_D)):
        marks[f"weights: gan {dims}-D"] = of_weights(
            medaug.train_gan(out=folder / f"gan-{dims}", set_=[*tiny_settings, *more])
        )
    marks["cases: synthesized"] = of_cases(tiny_run.synthetic)
    for cell in sorted((tiny_run.evaluation / "cells").glob("*.json")):
        marks[f"scores: {cell.stem}"] = of_json(cell)
    marks["summary"] = of_json(tiny_run.evaluation / "summary.json")
    marks["audit"] = of_json(tiny_run.audit / "realism.json")
    return marks


def test_no_number_of_a_tiny_run_has_moved(found):
    if os.environ.get("MEDAUG_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps({"machine": MACHINE, "marks": found}, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert sorted(found) == sorted(golden["marks"])
    if golden["machine"] == MACHINE:
        assert found == golden["marks"]
    else:
        for name, expected in golden["marks"].items():
            assert found[name]["size"] == pytest.approx(expected["size"], rel=0.05, abs=1e-3), name
