"""The data set of the backend `nnunet`: training views as nnU-Net's raw cases, its plan, and its preprocessed arrays.

Below `nnunet/<fingerprint of the views>/` beside the prepared arrays, so that all arms and seeds share it and other
data make another: `raw/` and `preprocessed/` (nnU-Net's folders), `organ/` (where tumors may lie, as nnU-Net keeps the
segmentations of an earlier stage), and `complete.json`, written last. A run that was stopped goes on where it was. Only
training views are in it: what is scored is read from the prepared arrays.

nnU-Net's arrays have their axes in reverse, (C, Z, Y, X), and then by `transpose_forward` of the plan.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medaug.data.atomic import read_json
from medaug.data.prepared import View
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.backends.layout import ENDING, Volume

NAME = "Dataset501_Medaug"
LOOK = "medaug"
"""The key of a case's `Look` in what nnU-Net keeps of it."""


@dataclass(frozen=True)
class TrainingCase:
    """A case to train on, by the views of it that may be looked at."""

    name: str
    views: list[View]
    folder: Path

    @property
    def levels(self) -> list[int] | None:
        """The slices that it consists of; None: all, as where no tumor lies in the slices that are no views."""
        views, case = self.views, self.views[0].case
        if views[0].level is None or sum(map(sum, case.class_voxels)) == sum(view.tumor_voxels for view in views):
            return None
        return [view.level for view in views if view.level is not None]

    def volume(self) -> Volume:
        """The image in the scan's unit, and the label."""
        view = View(self.views[0].case, None, 0)
        image, label = np.asarray(view.raw(self.folder, "image")), view.classes(self.folder)
        if (levels := self.levels) is not None:
            image, label = image[..., levels], label[..., levels]
        return Volume.of(np.ascontiguousarray(image, dtype=np.float32), label, view, ("float32",) * len(image))

    def organ(self) -> np.ndarray:
        """Where tumors may lie (uint8, (X, Y, Z))."""
        organ = View(self.views[0].case, None, 0).organ(self.folder).astype(np.uint8)
        organ = organ if self.levels is None else organ[..., self.levels]
        return organ.reshape((*organ.shape, 1)[:3])

    def files(self, channels: int) -> dict[str, Any]:
        """Where they lie, relative to the raw data set, as nnU-Net's `dataset.json` may say it."""
        images = [f"imagesTr/{self.name}_{channel:04d}{ENDING}" for channel in range(channels)]
        return {"images": images, "label": f"labelsTr/{self.name}{ENDING}"}

    @property
    def made_of(self) -> list[object]:
        """What decides its arrays."""
        case = self.views[0].case
        return [case.content, case.affine, [window.to_dict() for window in case.windows], self.levels]


def training_cases(real: ViewFolder) -> list[TrainingCase]:
    """The cases of these views, in order; files are named by running numbers, not by patients."""
    by_case: dict[str, list[View]] = {}
    for view in real.views:
        by_case.setdefault(view.case.case, []).append(view)
    return [TrainingCase(f"case_{n:05d}", views, real.folder) for n, views in enumerate(by_case.values())]


@dataclass(frozen=True)
class NnunetData:
    """The data set on the disk.

    Attributes:
        folder: of this data set.
        configuration: nnU-Net's name, "2d" or "3d_fullres".
        cases: what is in it, in order.
    """

    folder: Path
    configuration: str
    cases: list[TrainingCase]

    @property
    def raw(self) -> Path:
        return self.folder / "raw" / NAME

    @property
    def preprocessed(self) -> Path:
        """nnU-Net's folder of the data set, with its plans."""
        return self.folder / "preprocessed" / NAME

    @property
    def arrays(self) -> Path:
        """The preprocessed cases."""
        return self.preprocessed / f"nnUNetPlans_{self.configuration}"

    @property
    def organs(self) -> Path:
        return self.folder / "organ"

    @cached_property
    def dataset_json(self) -> dict[str, Any]:
        return dict(read_json(self.raw / "dataset.json"))

    @contextmanager
    def at_work(self, results: Path | None = None) -> Iterator[None]:
        """While the block runs nnU-Net has these folders and says nothing; its draws leave no trace (`isolated`)."""
        own = {
            "nnUNet_raw": str(self.raw.parent),
            "nnUNet_preprocessed": str(self.preprocessed.parent),
            "nnUNet_results": str(results or self.folder / "results"),
            "nnUNet_n_proc_DA": "1",
        }
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            with isolated(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value


@contextmanager
def isolated() -> Iterator[None]:
    """The global generators, which nnU-Net draws from, are afterwards where they were before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
