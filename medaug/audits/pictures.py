"""One picture an audit: the cases that weigh most on it, first the worst. None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medaug.audits.audit_scans import Scan
from medaug.audits.measures import Finding, Insertion, LesionView
from medaug.audits.measures.cases import cropped
from medaug.audits.measures.steganography import Cycle, Reconstruction
from medaug.figures.charts import learning_curves
from medaug.figures.pictures import Picture, picture_grid
from medaug.volumes import widest_slice

ROWS = 6
TILE = 150
NAME_LENGTH = 14


def edited(made: Sequence[Insertion], worth: np.ndarray, size: Sequence[int] | None = None) -> bytes | None:
    """Before, after and the change of the views (or crops of `size`) with the highest `worth`."""
    rows, titles = [], []
    for i in _first(made, worth):
        before, after, mask = (
            array if size is None else cropped(array, i.mask, size) for array in (i.before, i.image, i.mask)
        )
        before, after, mask = _flat(mask, before, after, mask)
        rows.append(
            [
                Picture(before, -1, 1),
                Picture(after, -1, 1),
                Picture(after, -1, 1, contour=mask),
                Picture(after - before, diverging=True, contour=mask),
            ]
        )
        titles.append(i.name)
    return _grid(rows, ["before", "after", "the same, mask outlined", "after − before"], titles)


def segmented(
    made: Sequence[Insertion], before: Sequence[np.ndarray], after: Sequence[np.ndarray], worth: np.ndarray
) -> bytes | None:
    """The views with the highest `worth`, and what the segmenter finds in them."""
    rows, titles = [], []
    for k in _order(worth)[:ROWS]:
        i = made[k]
        image, edit, mask, label, old, new = _flat(i.mask, i.before, i.image, i.mask, i.label, before[k], after[k])
        rows.append(
            [
                Picture(image, -1, 1, contour=label),
                Picture(image, -1, 1, contour=old),
                Picture(edit, -1, 1, contour=mask),
                Picture(edit, -1, 1, contour=new),
            ]
        )
        titles.append(i.name)
    return _grid(rows, ["before, real tumor", "before, found", "after, inserted", "after, found"], titles)


def nulls(made: Sequence[Insertion], size: Sequence[int]) -> bytes | None:
    """Crops untouched and passed over."""
    rows, titles = [], []
    for i in _first(made, np.array([np.abs(i.image - i.before)[i.mask].mean() for i in made])):
        crop, mask = i.crop(size)
        before, after, mask = _flat(mask, i.crop_before(size), crop, mask)
        rows.append(
            [Picture(before, -1, 1), Picture(after, -1, 1), Picture(after - before, diverging=True, contour=mask)]
        )
        titles.append(i.name)
    return _grid(rows, ["untouched", "through the generator, nothing inserted", "difference"], titles)


def lesions(real: Sequence[LesionView], made: Sequence[LesionView], size: Sequence[int]) -> bytes | None:
    """Real and inserted lesions of the same views, side by side."""
    rows, titles = [], []
    for pair in list(zip(real, made, strict=True))[:ROWS]:
        row = []
        for view in pair:
            crop, mask = view.crop(size)
            crop, mask = _flat(mask, crop, mask)
            row += [Picture(crop, -1, 1), Picture(crop, -1, 1, contour=mask)]
        rows.append(row)
        titles.append(pair[0].name)
    return _grid(rows, ["real", "outlined", "inserted", "outlined"], titles)


def cycles(made: Sequence[Cycle], back: Sequence[Reconstruction]) -> bytes | None:
    """Source, fake and both ways back, of the cycles in which noise costs most."""
    rows, titles = [], []
    for k in _order(np.array([r.squares[1] - r.squares[0] for r in back]))[:ROWS]:
        cycle, found = made[k], back[k]
        source, fake, clean, noisy = _flat(cycle.region, cycle.source, cycle.fake, found.clean, found.noisy)
        rows.append(
            [
                Picture(source, -1, 1),
                Picture(fake, -1, 1),
                Picture(clean, -1, 1),
                Picture(noisy, -1, 1),
                Picture(noisy - clean, diverging=True),
            ]
        )
        titles.append(cycle.patient)
    return _grid(rows, ["source", "fake", "back", "back from the fake with noise", "what the noise changed"], titles)


def translated(pairs: Sequence[tuple[str, Scan, Scan]]) -> bytes | None:
    """Source, translation and their difference, each in its own window; of volumes the middle slice."""
    rows, titles = [], []
    for patient, source, fake in pairs[:ROWS]:
        before, after = (
            image[..., image.shape[-1] // 2] if image.ndim == 3 else image
            for image in (source.normalized, fake.normalized)
        )
        rows.append([Picture(before, -1, 1), Picture(after, -1, 1), Picture(after - before, diverging=True)])
        titles.append(patient)
    return _grid(rows, ["source", "translated", "translated − source (each in its window)"], titles)


def profiles(finding: Finding) -> bytes | None:
    """Mean steps from voxel to voxel by distance from the mask's edge, of real and inserted lesions."""
    if finding.verdict == "skipped":
        return None
    places = [k + 0.5 for k in finding.details["voxels_from_edge"]]
    curves = {f"{kind} lesions": (places, finding.details[kind]) for kind in ("real", "inserted")}
    return learning_curves(
        curves,
        title="Steps around the mask's edge",
        xlabel="voxels outside the mask's edge",
        smooth=1,
        ylabel="mean step (window units)",
    )


def _first(made: Sequence[Insertion], worth: np.ndarray) -> list[Insertion]:
    return [made[k] for k in _order(worth)[:ROWS]]


def _order(worth: np.ndarray) -> list[int]:
    """Numbers, the highest first; equal ones as they come."""
    return np.argsort(-np.asarray(worth, dtype=float), kind="stable").tolist()


def _flat(mask: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Of volumes the slice with the most of the mask."""
    level = widest_slice(mask) if mask.ndim == 3 else None
    return [array if level is None else array[..., level] for array in arrays]


def _grid(rows: list[list[Any]], columns: list[str], titles: list[str]) -> bytes | None:
    shown = [title if len(title) <= NAME_LENGTH else f"…{title[1 - NAME_LENGTH :]}" for title in titles]
    return picture_grid(rows, column_titles=columns, row_titles=shown, tile=TILE) if rows else None
