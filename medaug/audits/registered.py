"""Registered cases of a two-domain run: which patients have them, and their arrays in units that can be compared.

Reads: `prepared/`, `prepared_b/`. In HU and grey levels (a fixed window) images are compared as they are; where a
scan's window is its own (percentiles), there is no common unit, and they are compared in window units [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medaug.audits.measures.similarity import GREY_LEVELS, HOUNSFIELD, Scale
from medaug.data.prepared import View, views_of
from medaug.data.records import PreparedCase, prepared_cases
from medaug.errors import DataError
from medaug.runs.folder import RunDir
from medaug.training.domains import registered_pairs
from medaug.transforms import TranslateDomain
from medaug.volumes import Window

WINDOW_UNITS = Scale("window units", -1.0, 1.0)
Entry = PreparedCase


class Registered(NamedTuple):
    """Patient → the views (whole cases) that it has in both domains, and why the others have none."""

    pairs: dict[str, list[tuple[View, View]]]
    left_out: dict[str, str]


class Case(NamedTuple):
    """A registered case: the source in [-1, 1], the real target in its `Scale`, the target's body; (X, Y[, Z]) each."""

    source: np.ndarray
    target: np.ndarray
    body: np.ndarray


def registered(run: RunDir, patients: Sequence[str]) -> Registered:
    """The registered cases of these patients, whole: volumes are not cut into slices."""
    a, b = (whole_views(run, side, patients) for side in ("a", "b"))
    found = Registered({}, {})
    for patient in patients:
        try:
            found.pairs[patient] = registered_pairs(a, b, [patient])
        except DataError as error:
            found.left_out[patient] = str(error)
    return found


def whole_views(run: RunDir, side: str, patients: Iterable[str]) -> list[View]:
    """Every case of these patients on one side ("a" or "b") as one view."""
    datalist, folder = (run.datalist, run.prepared) if side == "a" else (run.datalist_b, run.prepared_b)
    entries = [entry for entry in prepared_cases(datalist) if entry["patient"] in set(patients)]
    return [view for entry in entries for view in views_of([entry], folder, len(entry["shape"]))]


def scale_of(run: RunDir, window: Any) -> Scale:
    """In what images of the target domain are compared.

    Args:
        window: of the domain, a `Window` if it is fixed.
    """
    if not isinstance(window, Window):
        return WINDOW_UNITS
    if window.unit == "HU":
        return HOUNSFIELD
    types = {entry["source_dtype"] for entry in prepared_cases(run.datalist_b)}
    eight_bit = types == {"uint8"} and (window.low, window.high) == (GREY_LEVELS.low, GREY_LEVELS.high)
    return GREY_LEVELS if eight_bit else Scale(window.unit, window.low, window.high)


def read_case(run: RunDir, pair: tuple[View, View], scale: Scale) -> Case:
    """The arrays of a registered pair."""
    source = pair[0].read(run.prepared).image
    return Case(source, *read_target(run, pair[1], scale))


def read_target(run: RunDir, view: View, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """A target's image in its scale, and its body."""
    arrays = view.read(run.prepared_b)
    image = arrays.image if scale == WINDOW_UNITS else np.asarray(view.raw(run.prepared_b, "image"), dtype=np.float32)
    return image, arrays.organ


def translated(run: RunDir, view: View, translate: TranslateDomain, scale: Scale) -> np.ndarray:
    """What a translation makes of a source, in the target's scale."""
    result, window = translated_entry(view.entry, run.prepared, translate)
    return window.normalize(result) if scale == WINDOW_UNITS else result


def translated_entry(entry: PreparedCase, folder: Path, translate: TranslateDomain) -> tuple[np.ndarray, Window]:
    """A prepared scan (*S) in the target's unit, and the window to see it in.

    Raises:
        DataError: if the weights read labels, and the scan has none.
    """
    view = View(entry, None, 0)
    if translate.label_classes and "label" not in entry["arrays"]:
        raise DataError.about(
            entry["image"],
            "a scan without a label",
            "one, because the weights read labels (translator.label_input)",
            "Add the label, move the scan away, or train without translator.label_input.",
        )
    body = np.array(view.raw(folder, "organ"))[None] if "organ" in entry["arrays"] else None
    label = view.classes(folder)[None] if translate.label_classes else None
    result = translate(view.tensor(folder), body, window=view.window, label=label)
    return np.asarray(result.as_tensor())[0], translate.window_of_result(view.window)
