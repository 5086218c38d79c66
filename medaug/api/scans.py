"""Single scans: insert, remove, vary and grow tumors in one, and score it; MedaugError for what is refused.

With `overwrite` the results of an earlier call in the same folder are replaced; without, that is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medaug.api.paths import AnyPath, check_seed, path_of


@dataclass(frozen=True)
class AnomalyScores:
    """Of a scan its score and slices, of a run the figures of its held-out slices; and the files written."""

    summary: dict[str, Any]
    files: list[Path]


def insert(
    scan: AnyPath,
    *,
    weights: AnyPath,
    out: AnyPath,
    count: int = 1,
    seed: int = 0,
    size_mm: tuple[float, float] | None = None,
    organ_mask: AnyPath | None = None,
    mask: AnyPath | None = None,
    avoid: AnyPath | None = None,
    tumor_labels: Sequence[int] | None = None,
    style_from: AnyPath | None = None,
    style_mask: AnyPath | None = None,
    sequence: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Inserts tumors into one scan; returns the paths of image, label, picture and manifest."""
    check_seed(seed)
    _check_unwritten(scan, out, overwrite, "inserted")
    from medaug.scans.single import insert_into_scan

    return insert_into_scan(
        Path(scan),
        Path(weights),
        Path(out),
        count=count,
        seed=seed,
        size_mm=size_mm,
        organ_mask=path_of(organ_mask),
        mask=path_of(mask),
        avoid=path_of(avoid),
        tumor_labels=tumor_labels,
        style_from=path_of(style_from),
        style_mask=path_of(style_mask),
        sequence=sequence,
    )


def styles(
    scan: AnyPath,
    *,
    mask: AnyPath,
    weights: AnyPath,
    out: AnyPath,
    count: int = 10,
    seed: int = 0,
    sequence: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Fills one mask with many different tumors; returns the paths of images, label and picture."""
    check_seed(seed)
    _check_unwritten(scan, out, overwrite, "style-00", "styles", "label")
    from medaug.scans.styles import insert_styles

    where = Path(scan), Path(mask), Path(weights), Path(out)
    return insert_styles(*where, count=count, seed=seed, sequence=sequence)


def remove(
    scan: AnyPath,
    *,
    mask: AnyPath,
    weights: AnyPath,
    out: AnyPath,
    seed: int = 0,
    tumor_labels: Sequence[int] | None = None,
    sequence: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Removes a marked tumor from one scan; returns the paths of image, label, picture and manifest."""
    check_seed(seed)
    _check_unwritten(scan, out, overwrite, "removed")
    from medaug.scans.single import remove_from_scan

    where = Path(scan), Path(mask), Path(weights), Path(out)
    return remove_from_scan(*where, seed=seed, tumor_labels=tumor_labels, sequence=sequence)


def grow(
    scan: AnyPath,
    *,
    weights: AnyPath,
    out: AnyPath,
    steps: int = 6,
    start_mm: float = 4.0,
    doubling_days: float = 60.0,
    interval_days: float = 30.0,
    mass_effect: float = 0.0,
    reach_mm: float = 20.0,
    seed: int = 0,
    organ_mask: AnyPath | None = None,
    sequence: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Grows one tumor in one scan; returns the paths of images, labels, animation and page."""
    check_seed(seed)
    _check_unwritten(scan, out, overwrite, "grown", "growth")
    from medaug.scans.grow import grow_in_scan

    return grow_in_scan(
        Path(scan),
        Path(weights),
        Path(out),
        steps=steps,
        start_mm=start_mm,
        doubling_days=doubling_days,
        interval_days=interval_days,
        mass_effect=mass_effect,
        reach_mm=reach_mm,
        seed=seed,
        organ_mask=path_of(organ_mask),
        sequence=sequence,
    )


def anomaly(
    source: AnyPath,
    *,
    weights: AnyPath | None = None,
    out: AnyPath | None = None,
    organ_mask: AnyPath | None = None,
    sequence: str | None = None,
    set_: Sequence[str] | None = None,
    overwrite: bool = False,
) -> AnomalyScores:
    """Scores a scan by its distance from its pseudo-healthy version; of a run folder, all held-out slices."""
    if out is not None:
        _check_unwritten(source, out, overwrite, "anomaly", "healthy")
    from medaug.benchmarks.revisit import score_anomalies
    from medaug.data.atomic import read_json

    files = score_anomalies(
        Path(source),
        path_of(weights),
        path_of(out),
        organ_mask=path_of(organ_mask),
        sequence=sequence,
        overrides=list(set_ or []),
    )
    return AnomalyScores(read_json(files[-1]), files)


def _check_unwritten(scan: AnyPath, out: AnyPath, overwrite: bool, *kinds: str) -> None:
    from medaug.data.atomic import check_unwritten
    from medaug.data.suffixes import stem_of

    check_unwritten(Path(out), [f"{stem_of(Path(scan))}_{kind}" for kind in kinds], overwrite=overwrite)
