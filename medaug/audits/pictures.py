"""One picture an audit: the cases that weigh most on it, the worst first. None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medaug.audits.measures.edits import Cycle, Reconstruction
from medaug.audits.measures.lesions import Insertion, LesionView
from medaug.audits.measures.lost_and_gained import Segmented
from medaug.audits.scans import ScanArrays
from medaug.figures.pictures import Picture, picture_grid
from medaug.volumes import widest_slice

ROWS = 6
TILE = 150
NAME_LENGTH = 14
Row = tuple[str, list[Picture]]


def edited(made: Sequence[Insertion], worth: np.ndarray, size: Sequence[int] | None = None) -> bytes | None:
    """Before, after and the change of the views (or crops of `size`) with the highest `worth`."""
    rows = []
    for k in _highest(worth):
        i = made[k]
        arrays = (i.before, i.image, i.mask) if size is None else (i.crop_before(size), *i.crop(size))
        before, after, mask = _flat(arrays[-1], *arrays)
        rows.append((i.name, [_grey(before), _grey(after), _grey(after, mask), _change(after - before, mask)]))
    return _grid(rows, ["before", "after", "the same, mask outlined", "after − before"])


def segmented(made: Sequence[Insertion], found: Sequence[Segmented], worth: np.ndarray) -> bytes | None:
    """The views with the highest `worth`, and what the segmenter finds in them."""
    rows = []
    for k in _highest(worth):
        i = made[k]
        image, edit, mask, label, old, new = _flat(i.mask, i.before, i.image, i.mask, i.label, *found[k])
        rows.append((i.name, [_grey(image, label), _grey(image, old), _grey(edit, mask), _grey(edit, new)]))
    return _grid(rows, ["before, real tumor", "before, found", "after, inserted", "after, found"])


def nulls(made: Sequence[Insertion], worth: np.ndarray, size: Sequence[int]) -> bytes | None:
    """Crops untouched and passed over."""
    rows = []
    for i in (made[k] for k in _highest(worth)):
        before, after, mask = _flat(i.crop(size)[1], i.crop_before(size), *i.crop(size))
        rows.append((i.name, [_grey(before), _grey(after), _change(after - before, mask)]))
    return _grid(rows, ["untouched", "through the generator, nothing inserted", "difference"])


def lesions(real: Sequence[LesionView], made: Sequence[LesionView], size: Sequence[int]) -> bytes | None:
    """Real and inserted lesions of the same views, side by side."""
    rows = []
    for pair in list(zip(real, made, strict=True))[:ROWS]:
        flat = [_flat(mask, crop, mask) for crop, mask in (view.crop(size) for view in pair)]
        rows.append((pair[0].name, [p for crop, mask in flat for p in (_grey(crop), _grey(crop, mask))]))
    return _grid(rows, ["real", "outlined", "inserted", "outlined"])


def cycles(made: Sequence[Cycle], back: Sequence[Reconstruction]) -> bytes | None:
    """Source, fake and both ways back, of the cycles in which noise costs most."""
    rows = []
    for k in _highest(np.array([r.squares[1] - r.squares[0] for r in back])):
        i, found = made[k], back[k]
        *images, clean, noisy = _flat(i.region, i.source, i.fake, found.clean, found.noisy)
        rows.append((i.patient, [*map(_grey, (*images, clean, noisy)), _change(noisy - clean)]))
    return _grid(rows, ["source", "fake", "back", "back from the fake with noise", "what the noise changed"])


def translated(pairs: Sequence[tuple[str, ScanArrays, ScanArrays]]) -> bytes | None:
    """Source, translation and their difference, each in its own window; of volumes the middle slice."""
    rows = []
    for patient, *scans in pairs[:ROWS]:
        images = (scan.normalized for scan in scans)
        before, after = (image[..., image.shape[-1] // 2] if image.ndim == 3 else image for image in images)
        rows.append((patient, [_grey(before), _grey(after), _change(after - before)]))
    return _grid(rows, ["source", "translated", "translated − source (each in its window)"])


def _highest(worth: np.ndarray) -> list[int]:
    """Numbers of the rows to show, the highest first; equal ones as they come."""
    return np.argsort(-np.asarray(worth, dtype=float), kind="stable")[:ROWS].tolist()


def _flat(mask: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays, or of volumes their slices with the most of the mask."""
    level = widest_slice(mask) if mask.ndim == 3 else None
    return [array if level is None else array[..., level] for array in arrays]


def _grey(image: np.ndarray, contour: np.ndarray | None = None) -> Picture:
    return Picture(image, -1, 1, contour=contour)


def _change(image: np.ndarray, contour: np.ndarray | None = None) -> Picture:
    return Picture(image, diverging=True, contour=contour)


def _grid(rows: Sequence[Row], columns: list[str]) -> bytes | None:
    names = [short_name(name) for name, _ in rows]
    return picture_grid([row for _, row in rows], column_titles=columns, row_titles=names, tile=TILE) if rows else None


def short_name(name: str) -> str:
    """The end of a long name, as it fits beside a row."""
    return name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
