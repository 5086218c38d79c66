"""One picture an audit: the cases that weigh most on it, the worst first. None where there is nothing to show.

A case has a row for each sequence, and the fewer cases are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medaug.audits.measures.edits import Cycle, Reconstruction
from medaug.audits.measures.lesions import Insertion, LesionView
from medaug.audits.measures.lost_and_gained import Segmented
from medaug.audits.scans import ScanArrays
from medaug.figures.pictures import Picture, at_widest, picture_grid

ROWS = 6
TILE = 150
NAME_LENGTH = 14
Row = tuple[str, list[Picture]]


def edited(
    made: Sequence[Insertion],
    worth: np.ndarray,
    names: Sequence[str],
    size: Sequence[int] | None = None,
    channel: int | None = None,
) -> bytes | None:
    """Before, after and the change of the views (or crops of `size`) with the highest `worth`.

    Args:
        names: of the sequences.
        channel: the one to show; None: all.
    """
    rows, shown = [], range(len(names)) if channel is None else [channel]
    for k in _highest(worth, len(shown)):
        i = made[k]
        arrays = (i.before, i.image, i.parts)
        before, after, parts = arrays if size is None else (i.around(array, size) for array in arrays)
        for c in shown:
            old, new, region = at_widest(parts > 0, before[c], after[c], parts)
            row = [_grey(old), _grey(new), _grey(new, region), _change(new - old, region)]
            rows.append((_named(i.name, names, c), row))
    return _grid(rows, ["before", "after", "the same, mask outlined", "after − before"])


def segmented(
    made: Sequence[Insertion], found: Sequence[Segmented], worth: np.ndarray, names: Sequence[str]
) -> bytes | None:
    """The views with the highest `worth`, and what the segmenter finds in them."""
    rows = []
    for k in _highest(worth, len(names)):
        i = made[k]
        for c in range(len(names)):
            arrays = i.before[c], i.image[c], i.parts, i.label, *found[k]
            image, edit, parts, label, old, new = at_widest(i.mask, *arrays)
            row = [_grey(image, label), _grey(image, old), _grey(edit, parts), _grey(edit, new)]
            rows.append((_named(i.name, names, c), row))
    return _grid(rows, ["before, real tumor", "before, found", "after, inserted", "after, found"])


def nulls(made: Sequence[Insertion], worth: np.ndarray, size: Sequence[int], names: Sequence[str]) -> bytes | None:
    """Crops untouched and passed over."""
    rows = []
    for i in (made[k] for k in _highest(worth, len(names))):
        (crop, mask), untouched = i.crop(size), i.crop_before(size)
        for c in range(len(names)):
            before, after, region = at_widest(mask, untouched[c], crop[c], mask)
            rows.append((_named(i.name, names, c), [_grey(before), _grey(after), _change(after - before, region)]))
    return _grid(rows, ["untouched", "through the generator, nothing inserted", "difference"])


def lesions(
    real: Sequence[LesionView], made: Sequence[LesionView], size: Sequence[int], names: Sequence[str]
) -> bytes | None:
    """Real and inserted lesions of the same views, side by side."""
    rows = []
    for pair in list(zip(real, made, strict=True))[: _cases(len(names))]:
        crops = [(view.around(view.image, size), view.around(view.parts, size)) for view in pair]
        for c in range(len(names)):
            flat = [at_widest(parts > 0, crop[c], parts) for crop, parts in crops]
            row = [p for crop, parts in flat for p in (_grey(crop), _grey(crop, parts))]
            rows.append((_named(pair[0].name, names, c), row))
    return _grid(rows, ["real", "outlined", "inserted", "outlined"])


def filled(fills: Mapping[str, Sequence[Insertion]], size: Sequence[int], names: Sequence[str]) -> bytes | None:
    """Healthy crops, and what the same mask in them is filled with; those with the largest error of the first fill."""
    rows, first = [], next(iter(fills.values()))
    errors = np.array([np.abs(made.image - made.before)[:, made.mask].mean() for made in first])
    for k in _highest(errors, len(names)):
        crops = [first[k].crop_before(size), *(views[k].crop(size)[0] for views in fills.values())]
        parts = first[k].around(first[k].parts, size)
        for c in range(len(names)):
            region, *images = at_widest(parts > 0, parts, *(crop[c] for crop in crops))
            row = [_grey(images[0], region), *map(_grey, images)]
            rows.append((_named(first[k].name, names, c), row))
    return _grid(rows, ["the mask", "what was there", *fills])


def cycles(made: Sequence[Cycle], back: Sequence[Reconstruction], channel: int = 0) -> bytes | None:
    """Source, fake and both ways back in one sequence, of the cycles in which noise costs most."""
    rows = []
    for k in _highest(np.array([r.squares[channel, 1] - r.squares[channel, 0] for r in back])):
        i, found = made[k], back[k]
        arrays = (array[channel] for array in (i.source, i.fake, found.clean, found.noisy))
        source, fake, clean, noisy = at_widest(i.region[channel], *arrays)
        rows.append((i.patient, [*map(_grey, (source, fake, clean, noisy)), _change(noisy - clean)]))
    return _grid(rows, ["source", "fake", "back", "back from the fake with noise", "what the noise changed"])


def translated(pairs: Sequence[tuple[str, ScanArrays, ScanArrays]]) -> bytes | None:
    """Source, translation and their difference, each in its own window; of volumes the middle slice."""
    rows = []
    for patient, *scans in pairs[:ROWS]:
        images = (scan.normalized for scan in scans)
        before, after = (image[..., image.shape[-1] // 2] if image.ndim == 3 else image for image in images)
        rows.append((patient, [_grey(before), _grey(after), _change(after - before)]))
    return _grid(rows, ["source", "translated", "translated − source (each in its window)"])


def _highest(worth: np.ndarray, sequences: int = 1) -> list[int]:
    """Numbers of the cases to show, the highest first; equal ones as they come."""
    return np.argsort(-np.asarray(worth, dtype=float), kind="stable")[: _cases(sequences)].tolist()


def _cases(sequences: int) -> int:
    """How many there is room for."""
    return max(1, ROWS // sequences)


def _named(case: str, names: Sequence[str], channel: int) -> str:
    return case if len(names) == 1 else f"{short_name(case)} {names[channel]}"


def _grey(image: np.ndarray, contour: np.ndarray | None = None) -> Picture:
    return Picture(image, -1, 1, contour=contour)


def _change(image: np.ndarray, contour: np.ndarray | None = None) -> Picture:
    return Picture(image, diverging=True, contour=contour)


def _grid(rows: Sequence[Row], columns: list[str]) -> bytes | None:
    names = [" ".join(map(short_name, name.split(" "))) for name, _ in rows]
    return picture_grid([row for _, row in rows], column_titles=columns, row_titles=names, tile=TILE) if rows else None


def short_name(name: str) -> str:
    """The end of a long name, as it fits beside a row."""
    return name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
