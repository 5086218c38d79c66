"""One tumor grown in a single scan: image and label at each step, a manifest, an animation and a page in a folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medaug.data.atomic import atomic_path, write_json
from medaug.figures.charts import learning_curves
from medaug.figures.pictures import Picture, animated, picture_grid
from medaug.progress import track
from medaug.report import Figure, ReportPage, Section, Table, render
from medaug.report.viewing import look_section
from medaug.scans.opened import AnyPath, OpenScan, as_array, unnamed
from medaug.transforms import GrowTumor
from medaug.volumes import as_meta, widest_slice

CLOSE_UP = 1.0
"""A close-up has this much of the largest lesion's extent on every side."""
COLUMNS = 6


@dataclass(frozen=True)
class _Shot:
    """One step's slice through the lesion: image and mask (X, Y), and its caption."""

    image: np.ndarray
    mask: np.ndarray
    title: str


def grow_in(scan: OpenScan, grow: GrowTumor, seed: int, organ_mask: AnyPath | None) -> list[Path]:
    """Writes the series; returns the paths of images and labels step by step, manifest, animation and page.

    Raises:
        DataError: if the series does not fit (naming the largest size that does).
    """
    organ, unit = scan.mask(organ_mask), scan.length_unit
    grow.set_random_state(seed=seed)
    grow.randomize()
    rows: list[dict[str, Any]] = []
    shots: list[_Shot] = []
    paths: list[Path] = []
    cases, level = [], None
    with track("grow", grow.plan.steps) as tracker:
        for k, step in enumerate(grow.each_step(scan.image, None, organ, scan.window)):
            files = (
                scan.write_edited(f"grown_{k:02d}", step.image),
                scan.write_label(f"grown_{k:02d}_label", step.label),
            )
            image, mask = as_array(step.image), as_array(as_meta(step.label)) > 0
            if mask.ndim == 3:
                level = widest_slice(mask) if level is None else level
                image, mask = image[..., level], mask[..., level]
            rows.append(step.size | {"image": files[0].name, "label": files[1].name})
            title = f"day {step.size['days']:g}: {_size_text(step.size, unit)}"
            shots.append(_Shot(np.array(image, dtype=float), mask, title))
            cases.append(scan.seen_with(step.image, title.partition(":")[0], step.label, title))
            paths += files
            tracker.advance(title)
    facts = {
        "scan": scan.path.name,
        "seed": seed,
        "weights": grow.weights.facts["sha256"],
        "length_unit": unit,
        **asdict(grow.plan),
        "mass_effect": grow.effect.strength,
        "reach_mm": grow.effect.reach_mm,
        "lesion": unnamed(step.lesion),
        "slice": level,
        "steps_made": rows,
    }
    manifest, animation, page = (scan.file("growth", ending) for ending in (".json", ".gif", ".html"))
    write_json(manifest, facts)
    frames = _frames(shots, scan.stem if level is None else f"{scan.stem}, slice z = {level}")
    with atomic_path(animation) as temporary:
        temporary.write_bytes(animated(frames, "GIF"))
    described = _page(scan.stem, shots, frames, facts)
    described.sections.extend(look_section(cases))
    render(described, page)
    return [*paths, manifest, animation, page]


def _size_text(size: dict[str, float], unit: str) -> str:
    extent = f"{size['volume_ml']:.2f} ml" if "volume_ml" in size else f"{size['area_mm2']:.0f} {unit}²"
    return f"{size['diameter_mm']:.1f} {unit}, {extent}"


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
