"""The scans that an audit of a translation looks at, by patient, and figures by patient as means with intervals.

Reads: `prepared/`, `prepared_b/`, `split.json`. Held-out patients are those to validate and to test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medaug.audits.registered import translated_entry
from medaug.data.prepared import View
from medaug.data.records import PreparedCase, prepared_cases
from medaug.evaluation.intervals import mean_interval
from medaug.runs.folder import RunDir
from medaug.transforms import TranslateDomain
from medaug.volumes import Window

BOUNDS = {"share": (0.0, 1.0), "blood_share": (0.0, 1.0), "sd_hu": (0.0, np.inf), "mae_hu": (0.0, np.inf)}
"""Of figures that cannot be everywhere."""
Entry = PreparedCase


class Scan(NamedTuple):
    """One case: the image (X, Y[, Z]) in its unit and the window to see it in, body (bool), class numbers."""

    case: str
    image: np.ndarray
    window: Window
    body: np.ndarray
    classes: np.ndarray
    spacing_mm: tuple[float, ...]

    @property
    def normalized(self) -> np.ndarray:
        """In [-1, 1]."""
        return self.window.normalize(self.image.astype(np.float32)).astype(np.float32)


def held_out_entries(run: RunDir, datalist: Path) -> dict[str, list[Entry]]:
    """Patient → the prepared cases."""
    split = run.read_split()
    by_patient: dict[str, list[Entry]] = {}
    for entry in prepared_cases(datalist):
        if entry["patient"] in (*split.test, *split.validation):
            by_patient.setdefault(entry["patient"], []).append(entry)
    return by_patient


def read_scan_of(entry: Entry, folder: Path) -> Scan:
    view = View(entry, None, 0)
    image = np.asarray(view.raw(folder, "image"), dtype=np.float32)
    return Scan(entry["case"], image, view.window, view.read(folder).organ, view.classes(folder), view.spacing_mm)


def translated_scan(entry: Entry, folder: Path, translate: TranslateDomain) -> Scan:
    """The same case as `read_scan_of` reads it, with the translation as its image."""
    image, window = translated_entry(entry, folder, translate)
    return read_scan_of(entry, folder)._replace(image=image.astype(np.float32), window=window)


def averaged(by_patient: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Nested figures of patients as {"mean", "low", "high", "patients"}: 95 % over the patients that have the figure.

    With one patient low and high are None.
    """
    names = dict.fromkeys(name for figures in by_patient for name in figures)
    return {name: _joined(name, [figures[name] for figures in by_patient if name in figures]) for name in names}


def _joined(name: str, values: list[Any]) -> dict[str, Any]:
    if isinstance(values[0], dict):
        return averaged(values)
    if len(values) == 1:
        return {"mean": values[0], "low": None, "high": None, "patients": 1}
    interval = mean_interval(np.array(values, dtype=float)[:, None], np.random.RandomState(0))
    kept = asdict(interval.within(*BOUNDS.get(name, (-np.inf, np.inf))))
    return {key: kept[key] for key in ("mean", "low", "high")} | {"patients": len(values)}


def spread(by_patient: dict[str, list[Entry]], count: int) -> Iterator[Entry]:
    """The middle case of the first patients."""
    for entries in list(by_patient.values())[:count]:
        yield entries[len(entries) // 2]
