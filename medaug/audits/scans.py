"""Scans of a run between two kinds of image: as they are stored, translated, and registered pairs to compare them with.

Reads: `prepared/`, `prepared_b/`. In HU and grey levels (a fixed window) images are compared as they are; where a
scan's window is its own (percentiles), there is no common unit, and they are compared in window units [-1, 1].

Two trivial translations, fitted on training patients, give a score of a trained one its meaning: the mean image, and
intensity alone. What a GAN adds is what it scores beyond the better of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medaug.audits.measures.similarity import GREY_LEVELS, HOUNSFIELD, WINDOW_UNITS, Scale
from medaug.data.prepared import Prepared, View
from medaug.data.records import PreparedCase
from medaug.errors import DataError
from medaug.evaluation.intervals import mean_interval
from medaug.runs.folder import RunDir
from medaug.training.domains import registered_pairs
from medaug.transforms import TranslateDomain
from medaug.volumes import Domain, Percentiles, Window

BOUNDS = {"share": (0.0, 1.0), "blood_share": (0.0, 1.0), "sd_hu": (0.0, np.inf), "mae_hu": (0.0, np.inf)}
"""The bounds of figures that cannot be everywhere."""
SWEEPS = 20
BINS = 64
"""Bins of the source's intensities in [-1, 1], in a regression on intensity."""


class ScanArrays(NamedTuple):
    """One case: its sequences (C, X, Y[, Z]) in their units, and the windows to see them in; body, class numbers.

    `image`, `window` and `normalized` are of the first sequence, at which audits look.
    """

    case: str
    images: np.ndarray
    windows: tuple[Window, ...]
    body: np.ndarray
    classes: np.ndarray
    spacing_mm: tuple[float, ...]

    @property
    def image(self) -> np.ndarray:
        image: np.ndarray = self.images[0]
        return image

    @property
    def window(self) -> Window:
        return self.windows[0]

    @property
    def normalized(self) -> np.ndarray:
        """The image in [-1, 1]."""
        return self.window.normalize(self.image.astype(np.float32)).astype(np.float32)

    @property
    def all_normalized(self) -> np.ndarray:
        """Every sequence in [-1, 1], (C, *S)."""
        seen = [w.normalize(c.astype(np.float32)) for w, c in zip(self.windows, self.images, strict=True)]
        return np.stack(seen).astype(np.float32)


def read_scan(case: PreparedCase, folder: Path) -> ScanArrays:
    """A prepared scan, whole."""
    view = View(case, None, 0)
    images = np.asarray(view.raw(folder, "image"), dtype=np.float32)
    return ScanArrays(case.case, images, view.windows, view.body(folder), view.classes(folder), view.spacing_mm)


def translated_scan(case: PreparedCase, folder: Path, translate: TranslateDomain) -> ScanArrays:
    """The same case as `read_scan` reads it, with the translation as its image."""
    images, windows = translated_image(case, folder, translate)
    return read_scan(case, folder)._replace(images=images.astype(np.float32), windows=windows)


def translated_image(
    case: PreparedCase, folder: Path, translate: TranslateDomain
) -> tuple[np.ndarray, tuple[Window, ...]]:
    """A prepared scan (C', *S) in the target's units, and the windows to see it in.

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
    body = translate.room_of(view.body(folder), view.spacing_mm)[None] if "body" in case.arrays else None
    label = view.classes(folder)[None] if translate.label_classes else None
    result = translate(view.tensor(folder), body, window=view.windows, label=label)
    return np.asarray(result.as_tensor()), translate.windows_of_result(view.windows)


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
            interval = mean_interval(np.array(values, dtype=float)[:, None])
            kept = asdict(interval.within(*BOUNDS.get(name, (-np.inf, np.inf))))
            figure = {key: kept[key] for key in figure}
        found[name] = figure | {"patients": len(values)}
    return found


class Registered(NamedTuple):
    """Patient → the views (whole cases) that it has in both domains, and why the others have none."""

    pairs: dict[str, list[tuple[View, View]]]
    left_out: dict[str, str]


class RegisteredCase(NamedTuple):
    """A registered case: the source (C, *S) in [-1, 1], the real target (C', *S) in its `Scale`, its body (*S)."""

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


def scale_of(run: RunDir, domain: Domain) -> Scale:
    """In what images of the target domain are compared: window units, unless all its sequences share another scale."""
    scales = {_scale_of(run, number, channel.window) for number, channel in enumerate(domain.channels)}
    return scales.pop() if len(scales) == 1 else WINDOW_UNITS


def _scale_of(run: RunDir, channel: int, window: Window | Percentiles) -> Scale:
    if not isinstance(window, Window):
        return WINDOW_UNITS
    if window.unit == "HU":
        return HOUNSFIELD
    types = {case.source_dtypes[channel] for case in Prepared(run.datalist_b).cases}
    eight_bit = types == {"uint8"} and (window.low, window.high) == (GREY_LEVELS.low, GREY_LEVELS.high)
    return GREY_LEVELS if eight_bit else Scale(window.unit, window.low, window.high)


def read_case(run: RunDir, pair: tuple[View, View], scale: Scale) -> RegisteredCase:
    """The arrays of a registered pair."""
    return RegisteredCase(pair[0].normalized(run.prepared), *read_target(run, pair[1], scale))


def read_target(run: RunDir, view: View, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """A target's image (C', *S) in its scale, and its body."""
    image = view.normalized(run.prepared_b) if scale == WINDOW_UNITS else view.raw(run.prepared_b, "image")
    return np.asarray(image, dtype=np.float32), view.body(run.prepared_b)


def translated(run: RunDir, view: View, translate: TranslateDomain, scale: Scale) -> np.ndarray:
    """What a translation makes of a source (C', *S), in the target's scale."""
    result, windows = translated_image(view.case, run.prepared, translate)
    if scale != WINDOW_UNITS:
        return result
    return np.stack([window.normalize(channel) for window, channel in zip(windows, result, strict=True)])


class MeanImage:
    """The voxelwise mean of all target images of one shape; of a shape never seen, their mean intensity in the body.

    Args:
        targets: (image, body mask), (C, *S) in the target's unit and (*S); at least one.
    """

    def __init__(self, targets: Iterable[tuple[np.ndarray, np.ndarray]]):
        sums: dict[tuple[int, ...], np.ndarray] = {}
        counts: dict[tuple[int, ...], int] = {}
        inside, voxels = np.zeros(1), 0
        for image, mask in targets:
            sums[image.shape] = sums.get(image.shape, 0.0) + image.astype(np.float64)
            counts[image.shape] = counts.get(image.shape, 0) + 1
            inside, voxels = inside + image[:, mask].sum(axis=1, dtype=np.float64), voxels + int(mask.sum())
        self.means = {shape: total / counts[shape] for shape, total in sums.items()}
        self.levels = inside / voxels

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """What stands for the translation of a source (C, *S)."""
        shape = (len(self.levels), *source.shape[1:])
        mean = self.means.get(shape)
        return np.stack([np.full(shape[1:], level) for level in self.levels]) if mean is None else mean


class IntensityRegression:
    """The mean target value at every source intensity: bins, joined by straight lines; nothing of place or shape.

    Of several source sequences each adds a curve of its own (an additive model, Hastie and Tibshirani 1986), fitted
    together by least squares: sweep by sweep, every curve takes up what the others leave (Gauss-Seidel).

    Args:
        examples: registered pairs, at least one.
    """

    def __init__(self, examples: Iterable[RegisteredCase]):
        sums, counts, places, met_with = (np.zeros(1) for _ in range(4))
        for source, target, body in examples:
            values = source[:, body].astype(np.float64)  # (C, voxels)
            channels, size = len(values), len(values) * BINS
            bins = np.clip(((values + 1) * BINS / 2).astype(int), 0, BINS - 1)
            bins += BINS * np.arange(channels)[:, None]  # a range of numbers a channel
            counts = counts + np.bincount(bins.reshape(-1), minlength=size)
            places = places + np.bincount(bins.reshape(-1), values.reshape(-1), size)
            wanted = [np.tile(channel[body].astype(np.float64), channels) for channel in target]
            sums = sums + np.stack([np.bincount(bins.reshape(-1), of_channel, size) for of_channel in wanted])
            together = [np.bincount(one * size + other, minlength=size**2) for one, other in permutations(bins, 2)]
            met_with = met_with + np.sum(together, axis=0).reshape(-1, size) if together else np.zeros((size, size))
        met, curves = counts > 0, np.zeros_like(sums)
        each = [np.flatnonzero(met & (np.arange(len(met)) // BINS == number)) for number in range(len(met) // BINS)]
        for _ in range(SWEEPS):
            for of_channel in each:
                left = sums[:, of_channel] - curves @ met_with[:, of_channel]
                curves[:, of_channel] = left / counts[of_channel]
        self.places = [places[of_channel] / counts[of_channel] for of_channel in each]
        self.values = [curves[:, of_channel] for of_channel in each]

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """The regression's target (C', *S) for a source (C, *S) in [-1, 1]."""
        curves = zip(source, self.places, self.values, strict=True)
        parts = [[np.interp(channel, places, curve) for curve in values] for channel, places, values in curves]
        total: np.ndarray = np.sum(parts, axis=0)
        return total
