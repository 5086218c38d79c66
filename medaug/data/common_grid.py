"""What views that one network trains on have in common: their voxel size and their axes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from medaug.data.prepared import View
from medaug.errors import DataError
from medaug.orientation import LPS, turn_of
from medaug.volumes import SPACING_TOLERANCE, length_unit


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
