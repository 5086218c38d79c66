"""Reading what `cache` decoded: normalised views of prepared cases, memory-mapped.

A view is what one sample of a network is made from: a whole volume in 3-D work, one axial slice (`level`) of a volume
or a 2-D picture in 2-D work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.data.cache import open_array
from medaug.data.records import PreparedCase, prepared_cases
from medaug.errors import DataError
from medaug.orientation import LPS, turn_of
from medaug.splits import Split
from medaug.volumes import SPACING_TOLERANCE, Window, length_unit

Region = tuple[slice, ...]

ORGAN_PIXELS_LEAST = 0.02
"""A slice with less of its area inside the organ (above the head, say) is no use as a view."""


class ViewArrays(NamedTuple):
    """One view: image in [-1, 1] (float32, (C, *S)), class numbers (uint8, *S) and organ (bool, *S).

    The classes of an unlabelled case are all 0, the organ of a case without one is all True.
    """

    image: np.ndarray
    classes: np.ndarray
    organ: np.ndarray

    @property
    def label(self) -> np.ndarray:
        """Whatever is labelled (bool, *S): in insertion, the tumor with all its parts."""
        return self.classes > 0


@dataclass(frozen=True)
class View:
    """A place in a prepared data set.

    Attributes:
        case: the prepared case.
        level: slice index, or None for a whole picture or volume.
        tumor_voxels: in this view.
        relative_level: `level` over the number of slices, 0 where there are none.
    """

    case: PreparedCase
    level: int | None
    tumor_voxels: int
    relative_level: float = 0.0

    @property
    def patient(self) -> str:
        return self.case.patient

    @property
    def windows(self) -> tuple[Window, ...]:
        """By channel, the interval of the case's intensities that networks see.

        Raises:
            DataError: if the case has none yet, or is of an earlier version.
        """
        if not self.case.windows:
            wanted = "one for every channel"
            raise DataError.about(self.case.path, "no windows in its datalist", wanted, "Prepare the data again.")
        return self.case.windows

    @property
    def name(self) -> str:
        return self.case.case if self.level is None else f"{self.case.case}-z{self.level:03d}"

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        return self.case.spacing_mm[:2] if self.level is not None else self.case.spacing_mm[: len(self.case.shape)]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.case.shape[:2] if self.level is not None else self.case.shape

    def raw(self, folder: Path, kind: str) -> np.ndarray:
        """The stored array of this view, not copied: `image` (C, *S) in the scan's own unit, the others (*S)."""
        array = open_array(folder, self.case.arrays[kind])
        return array if self.level is None else array[..., self.level]

    @property
    def affine(self) -> np.ndarray:
        """(4, 4), voxels of this view to mm; a slice lies where its level does."""
        affine = np.array(self.case.affine, dtype=np.float64)
        if self.level is not None:
            affine[:3, 3] += affine[:3, 2] * self.level
        return affine

    def tensor(self, folder: Path, kind: str = "image") -> MetaTensor:
        """A stored array as transforms take it: (C, *S) float32, a copy, with the view's affine."""
        array = np.array(self.raw(folder, kind), dtype=np.float32)
        return self.placed(array if kind == "image" else array[None])

    def placed(self, array: np.ndarray) -> MetaTensor:
        """An array (C, *S) on this view's grid as transforms take it, with the view's affine."""
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=torch.from_numpy(self.affine))

    def organ(self, folder: Path) -> np.ndarray:
        """Where tumors may lie (bool, *S); everywhere in a case without an organ."""
        return self._mask(folder, "organ")

    def body(self, folder: Path) -> np.ndarray:
        """What is not background (bool, *S); everything in a case without a body."""
        return self._mask(folder, "body")

    def classes(self, folder: Path) -> np.ndarray:
        """Class numbers (uint8, *S), 0 where there is none; all 0 in an unlabelled case."""
        if not self.case.labelled:
            return np.zeros(self.shape, dtype=np.uint8)
        return np.asarray(self.raw(folder, "label"))

    def read(self, folder: Path) -> ViewArrays:
        """The view, normalised."""
        return ViewArrays(self.normalized(folder), self.classes(folder), self.organ(folder))

    def part(self, folder: Path, kind: str, region: Region | None = None, slices: int = 1) -> np.ndarray:
        """A part of a stored array, (C * slices, *S); nothing else is read from the disk.

        Args:
            region: by axis of the view; None is all of it.
            slices: how many levels around this view's, the channels of 2.5-D work; the end slice is repeated beyond
                the volume.

        Raises:
            DataError: if several slices are asked of what is no slice of a volume.
        """
        array: np.ndarray = open_array(folder, self.case.arrays[kind])
        array = array if kind == "image" else array[np.newaxis]
        region = (slice(None),) * len(self.shape) if region is None else region
        if self.level is None:
            if slices > 1:
                raise DataError.about(
                    self.case.path,
                    "a single picture",
                    f"a volume, because data.slices is {slices}",
                    "Set data.slices to 1, or give volumes.",
                )
            return array[(slice(None), *region)]
        levels = np.clip(np.arange(slices) - slices // 2 + self.level, 0, array.shape[-1] - 1)
        return np.concatenate([array[(slice(None), *region, level)] for level in levels])

    def normalized(self, folder: Path, region: Region | None = None, slices: int = 1) -> np.ndarray:
        """The image of `part` in [-1, 1], float32."""
        part = self.part(folder, "image", region, slices).astype(np.float32)
        return self.in_windows(part)

    def in_windows(self, image: np.ndarray) -> np.ndarray:
        """An image (C * slices, *S) in the scan's own unit, each channel in [-1, 1] by its window; float32."""
        windows = self.windows * (len(image) // len(self.windows))
        return np.stack([w.normalize(channel) for w, channel in zip(windows, image, strict=True)]).astype(np.float32)

    def _mask(self, folder: Path, kind: str) -> np.ndarray:
        if kind not in self.case.arrays:
            return np.ones(self.shape, dtype=bool)
        return np.asarray(self.raw(folder, kind)) > 0


def views_of(cases: Sequence[PreparedCase], spatial_dims: int) -> list[View]:
    """Every usable view of these cases, in order: none of a slice without a tumor and with hardly any tissue."""
    views: list[View] = []
    for case in cases:
        levels = case.shape[-1]
        counts = np.zeros(levels, dtype=int)
        for voxels in case.class_voxels if case.labelled else ():
            counts += voxels
        if len(case.shape) == spatial_dims:
            views.append(View(case, None, int(counts.sum())))
            continue
        least = ORGAN_PIXELS_LEAST * math.prod(case.shape[:-1]) if case.tissue_voxels else 0.0
        inside = case.tissue_voxels or (0,) * levels
        views += [View(case, z, int(counts[z]), z / levels) for z in range(levels) if inside[z] >= least or counts[z]]
    return views


def filled_up(image: np.ndarray, size: Sequence[int] | None, value: float = -1.0) -> np.ndarray:
    """(*S) with `value` added at the far ends of the first axes, to at least `size`; the window's floor is -1."""
    missing = [(0, max(0, want - have)) for want, have in zip(size or (), image.shape, strict=False)]
    return np.pad(image, [*missing, *[(0, 0)] * (image.ndim - len(missing))], constant_values=value)


def without_labels(cases: Sequence[PreparedCase]) -> list[PreparedCase]:
    """The same cases as if they were not labelled: no view of them can read a label, or be there because of one."""
    return [
        replace(case, arrays={kind: n for kind, n in case.arrays.items() if kind != "label"}, class_voxels=())
        for case in cases
    ]


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
            view.case.path,
            f"a voxel size of {_text(view.spacing_mm, [view])}",
            f"about {_text(common, views)}, as in most cases",
            "Resample the scans to one voxel size (data.resample_mm, not grid_size), or train on those that share one.",
        )
    return tuple(float(s) for s in common)


def common_axes(views: list[View]) -> str:
    """Of the scans that most of these views are from, slices last (see `orientation`); "LPS" of pictures."""
    scans = [view.case for view in views if len(view.case.shape) == 3]
    found = Counter(turn_of(np.array(case.affine), 3).axes for case in scans)
    return found.most_common(1)[0][0] if found else LPS


def _text(spacing: Any, views: list[View]) -> str:
    return " × ".join(f"{s:.3g}" for s in spacing) + f" {length_unit(*(view.case for view in views))}"


@dataclass(frozen=True)
class Prepared:
    """The cases of a prepared data set; its datalist is read once."""

    datalist: Path

    @property
    def folder(self) -> Path:
        """The folder of their arrays."""
        return self.datalist.parent

    @cached_property
    def cases(self) -> list[PreparedCase]:
        """All of them."""
        return prepared_cases(self.datalist)

    def of(self, patients: Collection[str], *, labelled: bool = False) -> list[PreparedCase]:
        """The cases of these patients; with `labelled` those that have a label."""
        cases = [case for case in self.cases if case.patient in patients]
        return [case for case in cases if case.labelled] if labelled else cases

    def by_patient(self, patients: Collection[str]) -> dict[str, list[PreparedCase]]:
        """The same, by patient, in the order of the datalist."""
        found: dict[str, list[PreparedCase]] = {}
        for case in self.of(patients):
            found.setdefault(case.patient, []).append(case)
        return found

    def views(
        self, patients: Collection[str], spatial_dims: int, *, labelled: bool = False, blind: bool = False
    ) -> list[View]:
        """Every usable view of the cases of these patients.

        Args:
            labelled: those of cases with a label alone.
            blind: no view can read a label, or be there because of one.
        """
        cases = self.of(patients, labelled=labelled)
        return views_of(without_labels(cases) if blind else cases, spatial_dims)

    def training_views(self, split: Split, spatial_dims: int) -> list[View]:
        """All that networks may train on: views of the training patients, and the healthy pool's without a tumor."""
        pool = [view for view in self.views(split.healthy, spatial_dims) if not view.tumor_voxels]
        return [*self.views(split.train, spatial_dims), *pool]

    def whole_views(self, patients: Collection[str]) -> list[View]:
        """Every case of these patients as one view: volumes are not cut into slices."""
        return [view for case in self.of(patients) for view in views_of([case], len(case.shape))]
