"""Scans of a run between two kinds of image: as they are stored, translated, and registered pairs to compare them with.

Reads: `prepared/`, `prepared_b/`. In HU and grey levels (a fixed window) images are compared as they are; where a
scan's window is its own (percentiles), there is no common unit, and they are compared in window units [-1, 1].

Two trivial translations, fitted on training patients, give a score of a trained one its meaning: the mean image, and
intensity alone. What a GAN adds is what it scores beyond the better of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medaug.audits.measures.similarity import GREY_LEVELS, HOUNSFIELD, Scale
from medaug.data.prepared import Prepared, View
from medaug.data.records import PreparedCase
from medaug.errors import DataError
from medaug.evaluation.intervals import mean_interval
from medaug.runs.folder import RunDir
from medaug.training.domains import registered_pairs
from medaug.transforms import TranslateDomain
from medaug.volumes import Window

WINDOW_UNITS = Scale("window units", -1.0, 1.0)
BOUNDS = {"share": (0.0, 1.0), "blood_share": (0.0, 1.0), "sd_hu": (0.0, np.inf), "mae_hu": (0.0, np.inf)}
"""The bounds of figures that cannot be everywhere."""
BINS = 64
"""Bins of the source's intensities in [-1, 1], in a regression on intensity."""


class ScanArrays(NamedTuple):
    """One case: the image (X, Y[, Z]) in its unit and the window to see it in, body (bool), class numbers."""

    case: str
    image: np.ndarray
    window: Window
    body: np.ndarray
    classes: np.ndarray
    spacing_mm: tuple[float, ...]

    @property
    def normalized(self) -> np.ndarray:
        """The image in [-1, 1]."""
        return self.window.normalize(self.image.astype(np.float32)).astype(np.float32)


def read_scan(case: PreparedCase, folder: Path) -> ScanArrays:
    """A prepared scan, whole."""
    view = View(case, None, 0)
    image = np.asarray(view.raw(folder, "image")[0], dtype=np.float32)
    return ScanArrays(case.case, image, view.window, view.body(folder), view.classes(folder), view.spacing_mm)


def translated_scan(case: PreparedCase, folder: Path, translate: TranslateDomain) -> ScanArrays:
    """The same case as `read_scan` reads it, with the translation as its image."""
    image, window = translated_image(case, folder, translate)
    return read_scan(case, folder)._replace(image=image.astype(np.float32), window=window)


def translated_image(case: PreparedCase, folder: Path, translate: TranslateDomain) -> tuple[np.ndarray, Window]:
    """A prepared scan (*S) in the target's unit, and the window to see it in.

    Raises:
        DataError: if the weights read labels, and the scan has none.
    """
    view = View(case, None, 0)
    if translate.label_classes and "label" not in case.arrays:
        raise DataError.about(
            case.path,
            "a scan without a label",
            "one, because the weights read labels (translator.label_input)",
            "Add the label, move the scan away, or train without translator.label_input.",
        )
    body = np.array(view.raw(folder, "body"))[None] if "body" in case.arrays else None
    label = view.classes(folder)[None] if translate.label_classes else None
    result = translate(view.tensor(folder), body, window=view.windows, label=label)
    return np.asarray(result.as_tensor())[0], translate.windows_of_result(view.windows)[0]


Figures = Mapping[str, "float | Figures"]
"""Figures of a patient, nested by what they are of."""


def averaged(by_patient: Sequence[Figures]) -> dict[str, object]:
    """Nested figures of patients as {"mean", "low", "high", "patients"}: 95 % over the patients that have the figure.

    With one patient low and high are None.
    """
    found: dict[str, object] = {}
    for name in dict.fromkeys(name for figures in by_patient for name in figures):
        values = [figures[name] for figures in by_patient if name in figures]
        if nested := [value for value in values if isinstance(value, Mapping)]:
            found[name] = averaged(nested)
            continue
        figure: dict[str, object] = {"mean": values[0], "low": None, "high": None}
        if len(values) > 1:
            interval = mean_interval(np.array(values, dtype=float)[:, None], np.random.RandomState(0))
            kept = asdict(interval.within(*BOUNDS.get(name, (-np.inf, np.inf))))
            figure = {key: kept[key] for key in figure}
        found[name] = figure | {"patients": len(values)}
    return found


class Registered(NamedTuple):
    """Patient → the views (whole cases) that it has in both domains, and why the others have none."""

    pairs: dict[str, list[tuple[View, View]]]
    left_out: dict[str, str]


class RegisteredCase(NamedTuple):
    """A registered case: the source in [-1, 1], the real target in its `Scale`, the target's body; (X, Y[, Z]) each."""

    source: np.ndarray
    target: np.ndarray
    body: np.ndarray


def registered(run: RunDir, patients: Sequence[str]) -> Registered:
    """The registered cases of these patients, whole: volumes are not cut into slices."""
    a, b = (Prepared(datalist).whole_views(patients) for datalist in (run.datalist, run.datalist_b))
    found = Registered({}, {})
    for patient in patients:
        try:
            found.pairs[patient] = registered_pairs(a, b, [patient])
        except DataError as error:
            found.left_out[patient] = str(error)
    return found


def scale_of(run: RunDir, window: Any) -> Scale:
    """In what images of the target domain are compared.

    Args:
        window: of the domain, a `Window` if it is fixed.
    """
    if not isinstance(window, Window):
        return WINDOW_UNITS
    if window.unit == "HU":
        return HOUNSFIELD
    types = {case.source_dtype for case in Prepared(run.datalist_b).cases}
    eight_bit = types == {"uint8"} and (window.low, window.high) == (GREY_LEVELS.low, GREY_LEVELS.high)
    return GREY_LEVELS if eight_bit else Scale(window.unit, window.low, window.high)


def read_case(run: RunDir, pair: tuple[View, View], scale: Scale) -> RegisteredCase:
    """The arrays of a registered pair."""
    source = pair[0].normalized(run.prepared)[0]
    return RegisteredCase(source, *read_target(run, pair[1], scale))


def read_target(run: RunDir, view: View, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """A target's image in its scale, and its body."""
    image = view.normalized(run.prepared_b) if scale == WINDOW_UNITS else view.raw(run.prepared_b, "image")
    return np.asarray(image[0], dtype=np.float32), view.body(run.prepared_b)


def translated(run: RunDir, view: View, translate: TranslateDomain, scale: Scale) -> np.ndarray:
    """What a translation makes of a source, in the target's scale."""
    result, window = translated_image(view.case, run.prepared, translate)
    return window.normalize(result) if scale == WINDOW_UNITS else result


class MeanImage:
    """The voxelwise mean of all target images of one shape; of a shape never seen, their mean intensity in the body.

    Args:
        targets: (image, body mask), (X, Y[, Z]) each, in the target's unit; at least one.
    """

    def __init__(self, targets: Iterable[tuple[np.ndarray, np.ndarray]]):
        sums: dict[tuple[int, ...], np.ndarray] = {}
        counts: dict[tuple[int, ...], int] = {}
        inside, voxels = 0.0, 0
        for image, mask in targets:
            sums[image.shape] = sums.get(image.shape, 0.0) + image.astype(np.float64)
            counts[image.shape] = counts.get(image.shape, 0) + 1
            inside, voxels = inside + float(image[mask].sum(dtype=np.float64)), voxels + int(mask.sum())
        self.means = {shape: total / counts[shape] for shape, total in sums.items()}
        self.level = inside / voxels

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """What stands for the translation of a source (*S)."""
        mean = self.means.get(source.shape)
        return np.full(source.shape, self.level) if mean is None else mean


class IntensityRegression:
    """The mean target value at every source intensity: bins, joined by straight lines; nothing of place or shape.

    Args:
        examples: registered pairs, at least one.
    """

    def __init__(self, examples: Iterable[RegisteredCase]):
        sums, counts, places = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
        for source, target, body in examples:
            values = source[body].astype(np.float64)
            bins = np.clip(((values + 1) * BINS / 2).astype(int), 0, BINS - 1)
            counts += np.bincount(bins, minlength=BINS)
            places += np.bincount(bins, values, BINS)
            sums += np.bincount(bins, target[body].astype(np.float64), BINS)
        met = counts > 0
        self.places, self.values = places[met] / counts[met], sums[met] / counts[met]

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """The regression's target for a source (*S) in [-1, 1]."""
        return np.interp(source, self.places, self.values)
