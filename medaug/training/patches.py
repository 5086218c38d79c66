"""Random patches of views, for the plain translators: never beyond the view, and only the patch is read.

A patch is a tuple of slices on the view's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medaug.data.prepared import Region, View
from medaug.errors import DataError

TISSUE_LEAST = 0.1
"""A patch with less of it inside the organ is as good as blank."""


def any_patch(view: View, size: tuple[int, ...], rng: np.random.RandomState) -> Region:
    """A patch anywhere in the view.

    Raises:
        DataError: if the view is smaller than the patch.
    """
    return _region([rng.randint(room + 1) for room in _room(view, size)], size)


def patch_around(view: View, folder: Path, size: tuple[int, ...], rng: np.random.RandomState) -> Region:
    """A patch that contains a voxel of the view's tumor, drawn among all of them.

    Raises:
        DataError: if the view is smaller than the patch.
    """
    label = view.raw(folder, "label")
    inside = np.flatnonzero(label.ravel(order="F"))  # as it is stored, so that nothing is copied
    voxel = np.unravel_index(inside[rng.randint(len(inside))], label.shape, order="F")
    spans = zip(voxel, size, _room(view, size), strict=True)
    return _region([rng.randint(max(0, v - s + 1), min(v, room) + 1) for v, s, room in spans], size)


def check_one_size(views: Sequence[View]) -> None:
    """Refuses whole views that no batch could hold together.

    Raises:
        DataError: naming one that differs from the first.
    """
    first = views[0]
    odd = next((view for view in views if view.shape != first.shape), None)
    if odd is not None:
        raise DataError.about(
            odd.entry["image"],
            f"an image of {odd.shape}",
            f"the size {first.shape} of {first.entry['image']}",
            "Set crop.size to train on patches.",
        )


def check_room(views: Sequence[View], size: tuple[int, ...]) -> None:
    """Refuses patches that do not fit into every view.

    Raises:
        DataError: naming a view that is smaller.
    """
    for view in views:
        _room(view, size)


def holds_tissue(view: View, folder: Path, region: Region) -> bool:
    """Whether enough of the patch lies in the organ (in any case where there is no organ mask)."""
    if "organ" not in view.entry["arrays"]:
        return True
    return float((view.part(folder, "organ", region) > 0).mean()) >= TISSUE_LEAST


def _room(view: View, size: tuple[int, ...]) -> list[int]:
    """By axis, the largest start."""
    room = [have - want for have, want in zip(view.shape, size, strict=True)]
    if min(room) < 0:
        raise DataError.about(
            view.entry["image"],
            f"shape {view.shape}",
            f"at least the patch, {tuple(size)}",
            "Lower crop.size to the smallest image, or leave it out.",
        )
    return room


def _region(start: list[int], size: tuple[int, ...]) -> Region:
    return tuple(slice(int(s), int(s) + n) for s, n in zip(start, size, strict=True))
