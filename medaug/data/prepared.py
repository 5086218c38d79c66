"""Reading what `cache` decoded: normalised views of prepared cases, memory-mapped.

A view is what one sample of a network is made from: a whole volume in 3-D work, one axial slice (`level`) of a volume
or a 2-D picture in 2-D work.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.data.cache import VOXELS_KEPT, open_array
from medaug.data.records import PreparedCase, prepared_cases
from medaug.errors import DataError
from medaug.lesions.geometry import CropBox, extract
from medaug.splits import Split
from medaug.volumes import Window

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

    def affine_at(self, start: Sequence[int]) -> np.ndarray:
        """(4, 4), voxels of a patch that begins at this voxel of the view to mm."""
        affine = self.affine
        affine[:3, 3] += affine[:3, : len(start)] @ np.asarray(start, dtype=np.float64)
        return affine

    def tensor(self, folder: Path, kind: str = "image", region: Region | None = None) -> MetaTensor:
        """A stored array, or a region of it, as transforms take it: (C, *S) float32, a copy, with its affine."""
        array = copied(self.part(folder, kind, region))
        affine = self.affine if region is None else self.affine_at([part.start for part in region])
        return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine))

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

    def patch(
        self, folder: Path, start: Sequence[int], size: Sequence[int], fill: float = -1.0, slices: int = 1
    ) -> ViewArrays:
        """A box of the view, normalised; nothing else is read. Its affine is `affine_at(start)`.

        Args:
            start: its first voxel, which may lie outside, as its last may: there the image is `fill` (the window's
                floor), no class and no organ.
            size: by axis of the view.
            slices: as in `part`; the image then has (C * slices) channels.
        """
        box = CropBox(tuple(start), tuple(size))
        image = self.crop(folder, box, fill, slices)
        return ViewArrays(image, self.marks(folder, "label", box), self.marks(folder, "organ", box).astype(bool))

    def crop(self, folder: Path, box: CropBox, fill: float = -1.0, slices: int = 1) -> np.ndarray:
        """The image of a `patch`."""
        inside, within = box.overlap(self.shape)
        if all(part.start == 0 and part.stop == n for part, n in zip(within, box.size, strict=True)):
            return self.normalized(folder, inside, slices)
        image = np.full((len(self.windows) * slices, *box.size), fill, dtype=np.float32)
        image[:, *within] = self.normalized(folder, inside, slices)
        return image

    def marks(self, folder: Path, kind: str, box: CropBox) -> np.ndarray:
        """A box of the label (class numbers), the organ or the body, uint8, 0 outside the view; nothing else is read.

        A case without a label has no class anywhere, one without an organ (a body) is all organ (body).
        """
        if kind in self.case.arrays:
            return extract(self.raw(folder, kind), box, 0)
        crop = np.zeros(box.size, dtype=np.uint8)
        crop[box.overlap(self.shape)[1]] = kind != "label"
        return crop

    @property
    def classes_present(self) -> list[int]:
        """The numbers of the classes that the view has voxels of."""
        counts = self.case.class_voxels if self.case.labelled else ()
        of_view = [sum(levels) if self.level is None else levels[self.level] for levels in counts]
        return [number for number, voxels in enumerate(of_view, start=1) if voxels]

    def foreground(self, folder: Path, classes: Sequence[int] | None = None) -> np.ndarray:
        """Voxels (N, dims) of these classes, None: of all.

        Of a volume or picture they are the stored ones, at most `cache.VOXELS_KEPT` a class, drawn alike where there
        are more; the label itself is not read. Of a slice, one piece of the label's file, they are all of them.
        """
        counts = self.case.class_voxels if self.case.labelled else ()
        numbers = range(1, len(counts) + 1) if classes is None else [n for n in classes if 1 <= n <= len(counts)]
        if self.level is not None:
            return np.argwhere(np.isin(self.classes(folder), numbers))
        ends = np.cumsum([0, *(min(VOXELS_KEPT, sum(levels)) for levels in counts)])
        stored = self._stored_voxels(folder, "label") if numbers else np.empty(0, np.uint32)
        return self._at(np.concatenate([np.empty(0, np.uint32), *(stored[ends[n - 1] : ends[n]] for n in numbers)]))

    def tissue(self, folder: Path, kind: str = "organ") -> np.ndarray:
        """Voxels (N, dims) of the organ or the body, as `foreground` has those of a class.

        Raises:
            DataError: if the case has none, which counts as all organ (all body).
        """
        if self.level is not None:
            return np.argwhere(self.raw(folder, kind))
        return self._at(self._stored_voxels(folder, kind))

    def _stored_voxels(self, folder: Path, kind: str) -> np.ndarray:
        if kind not in self.case.voxels:
            found, wanted = f"no voxels of its {kind} in its datalist", "those that preparing stores"
            raise DataError.about(self.case.path, found, wanted, "Prepare the data again.")
        return open_array(folder, self.case.voxels[kind])

    def _at(self, places: np.ndarray) -> np.ndarray:
        return np.stack(np.unravel_index(places, self.shape), axis=-1)

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
        return self.in_windows(copied(self.part(folder, "image", region, slices)))

    def in_windows(self, image: np.ndarray) -> np.ndarray:
        """An image (C * slices, *S) in the scan's own unit, each channel in [-1, 1] by its window; float32."""
        seen = np.empty(image.shape, dtype=np.float32)
        for number, channel in enumerate(image):
            seen[number] = self.windows[number % len(self.windows)].normalize(channel)
        return seen

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


def copied(stored: np.ndarray) -> np.ndarray:
    """A copy (C, *S) in C order, float32, of what is stored in Fortran order: as much at a time as a cache holds."""
    array = np.empty(stored.shape, dtype=np.float32)
    for row in range(stored.shape[2]):
        array[:, :, row] = stored[:, :, row]
    return array


def filled_up(image: np.ndarray, size: Sequence[int] | None, value: float = -1.0) -> np.ndarray:
    """(*S) with `value` added at the far ends of the first axes, to at least `size`; the window's floor is -1."""
    missing = [(0, max(0, want - have)) for want, have in zip(size or (), image.shape, strict=False)]
    return np.pad(image, [*missing, *[(0, 0)] * (image.ndim - len(missing))], constant_values=value)


def without_labels(cases: Sequence[PreparedCase]) -> list[PreparedCase]:
    """The same cases as if they were not labelled: no view of them can read a label, or be there because of one."""
    return [
        replace(case, arrays=_but_label(case.arrays), voxels=_but_label(case.voxels), class_voxels=()) for case in cases
    ]


def _but_label(files: dict[str, str]) -> dict[str, str]:
    return {kind: name for kind, name in files.items() if kind != "label"}


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
