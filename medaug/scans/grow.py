"""Grow one tumor in a single scan: image and label at each step, a manifest, an animation and a page in a folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from medaug.data.atomic import atomic_path, write_json
from medaug.data.stored import StoredScan
from medaug.data.suffixes import stem_of
from medaug.figures.animation import animated
from medaug.figures.charts import learning_curves
from medaug.figures.pictures import Picture, picture_grid
from medaug.models.weights import load_weights
from medaug.progress import track
from medaug.report import Figure, ReportPage, Section, Table, render
from medaug.report.viewer import EncodedCase, encode
from medaug.report.viewing import case_of_scan, look_section
from medaug.scans.reading import output_suffix, read_mask, read_one, unnamed, window_for
from medaug.transforms import GrowTumor
from medaug.volumes import as_meta, length_unit, widest_slice

CLOSE_UP = 1.0
"""A close-up has this much of the largest lesion's extent on every side."""
COLUMNS = 6


@dataclass(frozen=True)
class _Shot:
    """One step's slice through the lesion: image and mask (X, Y), and its caption."""

    image: np.ndarray
    mask: np.ndarray
    title: str


def grow_in_scan(
    scan: Path,
    weights: Path,
    out: Path,
    *,
    steps: int = 6,
    start_mm: float = 4.0,
    doubling_days: float = 60.0,
    interval_days: float = 30.0,
    mass_effect: float = 0.0,
    reach_mm: float = 20.0,
    seed: int = 0,
    organ_mask: Path | None = None,
    sequence: str | None = None,
) -> list[Path]:
    """Writes the series; returns the paths of images and labels step by step, manifest, animation and page.

    Raises:
        ConfigError: if a setting makes no sense.
        DataError: if the scan cannot be used, or the series does not fit (naming the largest size that does).
        WeightsError: if the weights cannot be used.
    """
    loaded = load_weights(weights)
    grow = GrowTumor(loaded, steps, start_mm, doubling_days, interval_days, mass_effect, reach_mm)
    image = read_one(scan, sequence, loaded)
    organ = read_mask(organ_mask, image, scan) if organ_mask is not None else None
    grow.set_random_state(seed=seed)
    grow.randomize()
    window, suffix, stored = window_for(loaded, image, scan), output_suffix(scan, image), StoredScan(image)
    rows, shots, cases, paths, level = [], [], [], [], None
    unit = length_unit(image.meta)
    with track("grow", steps) as tracker:
        for k, step in enumerate(grow.each_step(image, None, organ, window)):
            grown, label = step.image, step.label
            files = [out / f"{stem_of(scan)}_grown_{k:02d}{kind}{suffix}" for kind in ("", "_label")]
            stored.write_edited(files[0], grown)
            stored.write(files[1], label, "uint8")
            level = _widest(as_meta(label)) if level is None else level
            rows.append(step.size | {"image": files[0].name, "label": files[1].name})
            shots.append(_shot(grown, as_meta(label), level, rows[k], unit))
            paths += files
            names = ("original", shots[k].title.partition(":")[0])
            cases.append(encode(case_of_scan(shots[k].title, image, grown, names, (window, window), as_meta(label))))
            tracker.advance(shots[k].title)
    facts = {
        "scan": scan.name,
        "seed": seed,
        "weights": loaded.facts["sha256"],
        "length_unit": unit,
        **asdict(grow.plan),
        "mass_effect": mass_effect,
        "reach_mm": reach_mm,
        "lesion": unnamed(step.lesion),
        "slice": level,
        "steps_made": rows,
    }
    return [*paths, *_summary(out, stem_of(scan), shots, cases, facts)]


def _widest(label: MetaTensor) -> int | None:
    """The slice of a volume with most of the lesion; None of a picture."""
    mask = label.as_tensor().numpy()[0] > 0
    return widest_slice(mask) if mask.ndim == 3 else None


def _shot(image: MetaTensor, label: MetaTensor, level: int | None, row: dict[str, Any], unit: str) -> _Shot:
    arrays = [x.as_tensor().numpy()[0] for x in (image, label)]
    plane, mask = (x if level is None else x[..., level] for x in arrays)
    return _Shot(np.asarray(plane, dtype=float).copy(), mask > 0, f"day {row['days']:g}: {_size_text(row, unit)}")


def _size_text(row: dict[str, Any], unit: str) -> str:
    size = f"{row['volume_ml']:.2f} ml" if "volume_ml" in row else f"{row['area_mm2']:.0f} {unit}²"
    return f"{row['diameter_mm']:.1f} {unit}, {size}"


def _summary(out: Path, stem: str, shots: list[_Shot], cases: list[EncodedCase], facts: dict[str, Any]) -> list[Path]:
    """Manifest, animation and page."""
    paths = [out / f"{stem}_growth{suffix}" for suffix in (".json", ".gif", ".html")]
    frames = _frames(shots, stem if facts["slice"] is None else f"{stem}, slice z = {facts['slice']}")
    write_json(paths[0], facts)
    with atomic_path(paths[1]) as temporary:
        temporary.write_bytes(animated(frames, "GIF"))
    page = _page(stem, shots, frames, facts)
    page.sections.extend(look_section(cases))
    render(page, paths[2])
    return paths


def _frames(shots: list[_Shot], title: str) -> list[bytes]:
    """Per step: the whole slice, a close-up, and the close-up with the label's outline, in one grey window."""
    low, high = np.percentile(np.concatenate([shot.image.ravel() for shot in shots]), [0.5, 99.8])
    near, grey = _close_up(shots[-1].mask), (float(low), float(high))
    columns = ["slice", "close-up", "label"]
    return [
        picture_grid(
            [
                [
                    Picture(s.image, *grey),
                    Picture(s.image[near], *grey),
                    Picture(s.image[near], *grey, contour=s.mask[near]),
                ]
            ],
            column_titles=columns,
            title=f"{title}, {s.title}",
            tile=240,
        )
        for s in shots
    ]


def _close_up(mask: np.ndarray) -> tuple[slice, ...]:
    where = np.argwhere(mask)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    reach = int((high - low).max() * (0.5 + CLOSE_UP)) + 2
    return tuple(slice(max(0, m - reach), m + reach) for m in (low + high) // 2)


def _page(stem: str, shots: list[_Shot], frames: list[bytes], facts: dict[str, Any]) -> ReportPage:
    made, key = facts["steps_made"], "volume_ml" if "volume_ml" in facts["steps_made"][0] else "area_mm2"
    length = facts["length_unit"]
    unit, dims = {"volume_ml": ("ml", 3), "area_mm2": (f"{length}²", 2)}[key]
    days = [row["days"] for row in made]
    asked = [made[0][key] * 2 ** (day / facts["doubling_days"] * dims / 3) for day in days]
    curve = learning_curves(
        {"label": (days, [row[key] for row in made]), "doubling time": (days, asked)},
        smooth=1,
        title="Volume" if dims == 3 else "Area of the section",
        xlabel="day",
        ylabel=unit,
    )
    table = Table(
        "Steps",
        ["Day", f"Diameter ({length})", f"{'Volume' if dims == 3 else 'Area'} ({unit})", "Image", "Label"],
        [[f"{row['days']:g}", row["diameter_mm"], row[key], row["image"], row["label"]] for row in made],
        "Measured on the label's voxels. The diameter is that of the sphere (2-D: circle) of equal size.",
    )
    alt = f"One slice at {len(made)} steps: {shots[0].title} to {shots[-1].title}"
    near = _close_up(shots[-1].mask)
    tiles: list[Picture | None] = [Picture(shot.image[near]) for shot in shots]
    width = min(COLUMNS, len(tiles))
    tiles += [None] * (-len(tiles) % width)
    grid = [tiles[i : i + width] for i in range(0, len(tiles), width)]
    titles = [f"days {days[i * width]:g} to {days[min((i + 1) * width, len(days)) - 1]:g}" for i in range(len(grid))]
    still = picture_grid(grid, column_titles=[""] * width, row_titles=titles, tile=110)
    figures = [
        Figure("Growth", animated(frames, "PNG"), "The outline is the label.", alt),
        Figure("All steps", still, "Close-ups of the same slice.", f"{alt}, side by side"),
        Figure("Size over time", curve, "The first step and the doubling time give the second curve.", "Size by day"),
    ]
    run = [
        ("Scan", facts["scan"]),
        ("Seed", str(facts["seed"])),
        ("Weights", facts["weights"][:16]),
        ("Volume doubles in", f"{facts['doubling_days']:g} days"),
        ("Mass effect", f"{facts['mass_effect']:g}, within {facts['reach_mm']:g} {length}"),
        ("Reference lesion", f"number {facts['lesion']['reference']} of the weights"),
    ]
    return ReportPage(f"Growth series: {stem}", alt, None, run, [Section("Series", "", [table], figures)])
