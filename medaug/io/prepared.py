"""Reading what `cache` decoded: normalised views of prepared cases, memory-mapped.

A view is what one sample of a network is made from: a whole volume in 3-D work, one axial slice (`level`) of a volume
or a 2-D picture in 2-D work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medaug.errors import DataError
from medaug.io.cache import open_array
from medaug.volumes import Window

ORGAN_PIXELS_LEAST = 0.02
"""A slice with less of its area inside the organ (above the head, say) is no use as a view."""
SPACING_TOLERANCE = 0.1
"""Voxel sizes within a tenth of each other count as one."""


class ViewArrays(NamedTuple):
    """One view: image in [-1, 1] (float32), label and organ (bool), each (X, Y[, Z])."""

    image: np.ndarray
    label: np.ndarray
    organ: np.ndarray


@dataclass(frozen=True)
class View:
    """A place in a prepared data set.

    Attributes:
        entry: the prepared datalist entry.
        level: slice index, or None for a whole picture or volume.
        tumor_voxels: in this view.
        relative_level: `level` over the number of slices, 0 where there are none.
    """

    entry: dict[str, Any]
    level: int | None
    tumor_voxels: int
    relative_level: float = 0.0

    @property
    def patient(self) -> str:
        return self.entry["patient"]

    @property
    def window(self) -> Window:
        return Window(**self.entry["window"])

    @property
    def name(self) -> str:
        return self.entry["case"] if self.level is None else f"{self.entry['case']}-z{self.level:03d}"

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        spacing = tuple(self.entry["spacing_mm"])
        return spacing[:2] if self.level is not None else spacing[: len(self.entry["shape"])]

    def raw(self, folder: Path, kind: str) -> np.ndarray:
        """The stored array of this view (`image` in the scan's own units, `label`, `organ`), not copied."""
        array = open_array(folder, self.entry["arrays"][kind])
        return array if self.level is None else array[..., self.level]

    def read(self, folder: Path) -> ViewArrays:
        """The view, normalised."""
        image = self.window.normalize(np.asarray(self.raw(folder, "image"), dtype=np.float32)).astype(np.float32)
        label = np.asarray(self.raw(folder, "label")) > 0
        organ = np.asarray(self.raw(folder, "organ")) > 0 if "organ" in self.entry["arrays"] else np.ones_like(label)
        return ViewArrays(image, label, organ)


def views_of(entries: list[dict[str, Any]], folder: Path, spatial_dims: int) -> list[View]:
    """Every usable view of these cases, in order."""
    views: list[View] = []
    for entry in entries:
        label = np.asarray(open_array(folder, entry["arrays"]["label"]))
        if label.ndim == spatial_dims:
            views.append(View(entry, None, int(label.sum())))
            continue
        counts = label.reshape(-1, label.shape[-1]).sum(axis=0)
        inside = _organ_fraction(entry, folder, label.shape)
        views += [
            View(entry, z, int(counts[z]), z / label.shape[-1])
            for z in range(label.shape[-1])
            if inside[z] >= ORGAN_PIXELS_LEAST or counts[z]
        ]
    return views


def common_spacing_mm(views: list[View]) -> tuple[float, ...]:
    """The voxel size that all these views share.

    Raises:
        DataError: naming a case that differs.
    """
    spacings = np.array([view.spacing_mm for view in views])
    common = np.median(spacings, axis=0)
    off = np.abs(spacings / common - 1).max(axis=1)
    if off.max() > SPACING_TOLERANCE:
        view = views[int(off.argmax())]
        raise DataError.about(
            view.entry["image"], f"a voxel size of {_mm(view.spacing_mm)}", f"about {_mm(common)}, as in most cases",
            "Resample the scans to one voxel size, or train on those that share one.",
        )  # fmt: skip
    return tuple(float(s) for s in common)


def _mm(spacing: Any) -> str:
    return " × ".join(f"{s:.3g}" for s in spacing) + " mm"


def _organ_fraction(entry: dict[str, Any], folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    if "organ" not in entry["arrays"]:
        return np.ones(shape[-1])
    organ = np.asarray(open_array(folder, entry["arrays"]["organ"]))
    return organ.reshape(-1, shape[-1]).mean(axis=0)
