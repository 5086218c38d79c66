"""One tumor grown in a single scan: image and label at each step, a manifest, an animation and a page in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from medaug.data.atomic import atomic_path, write_json
from medaug.figures.charts import learning_curves
from medaug.figures.pictures import Picture, animated, part_numbers, picture_grid
from medaug.lesions.growth import GrowthPlan
from medaug.progress import track
from medaug.report import Figure, ReportPage, Section, Table, render
from medaug.report.viewing import look_section
from medaug.scans.files import AnyPath
from medaug.scans.opened import OpenScan, as_array, close_up, in_rows, unnamed
from medaug.transforms import GrowTumor
from medaug.volumes import as_meta, widest_slice

COLUMNS = 6


@dataclass(frozen=True)
class _Step:
    """One step of a series: its slice through the lesion (C, X, Y), parts (X, Y), size and files.

    `title` says day and size in words; `files` are the images, a channel each, and the label.
    `size` has "days", "diameter_mm", and "volume_ml" or "area_mm2".
    """

    image: np.ndarray
    parts: np.ndarray
    size: Mapping[str, float]
    files: tuple[Path, ...]
    title: str


def grow_in(scan: OpenScan, grow: GrowTumor, seed: int, organ_mask: AnyPath | None) -> list[Path]:
    """Writes the series; returns the paths of images and labels step by step, manifest, animation and page.

    Raises:
        DataError: if the series does not fit, naming the largest size that does.
    """
    organ, unit = scan.mask(organ_mask), scan.length_unit
    grow.set_random_state(seed=seed)
    grow.randomize()
    steps: list[_Step] = []
    cases, level = [], None
    with track("grow", grow.plan.steps) as tracker:
        for k, made in enumerate(grow.each_step(scan.image, None, organ, scan.windows)):
            kind, size = f"grown_{k:02d}", made.size
            files = (*scan.write_edited(kind, made.image), scan.write_label(f"{kind}_label", made.label))
            image, parts = np.asarray(made.image.as_tensor()), part_numbers(as_array(as_meta(made.label)))
            if parts.ndim == 3:
                level = widest_slice(parts) if level is None else level
                image, parts = image[..., level], parts[..., level]
            extent = f"{size['volume_ml']:.2f} ml" if "volume_ml" in size else f"{size['area_mm2']:.0f} {unit}²"
            title = f"day {size['days']:g}: {size['diameter_mm']:.1f} {unit}, {extent}"
            steps.append(_Step(image.astype(float), parts, size, files, title))
            cases.append(scan.seen_with(made.image, title.partition(":")[0], made.label, title))
            tracker.advance(title)
    manifest, animation, page = (scan.file("growth", ending) for ending in (".json", ".gif", ".html"))
    facts = {
        "scan": scan.names,
        "seed": seed,
        "weights": grow.weights.facts.sha256,
        "length_unit": unit,
        **asdict(grow.plan),
        "mass_effect": grow.effect.strength,
        "reach_mm": grow.effect.reach_mm,
        "lesion": unnamed(made.lesion),
        "slice": level,
        "steps_made": [{**step.size, **_named(step)} for step in steps],
    }
    write_json(manifest, facts)
    frames = _frames(steps, scan.stem if level is None else f"{scan.stem}, slice z = {level}", scan.sequences)
    with atomic_path(animation) as temporary:
        temporary.write_bytes(animated(frames, "GIF"))
    alt = f"One slice at {len(steps)} steps: {steps[0].title} to {steps[-1].title}"
    about = [
        ("Scan", scan.names),
        ("Seed", str(seed)),
        ("Weights", grow.weights.facts.sha256[:16]),
        ("Volume doubles in", f"{grow.plan.doubling_days:g} days"),
        ("Mass effect", f"{grow.effect.strength:g}, within {grow.effect.reach_mm:g} {unit}"),
        ("Reference lesion", f"number {made.lesion['reference']} of the weights"),
    ]
    series = _series_section(steps, animated(frames, "PNG"), grow.plan, unit, alt, scan.sequences)
    sections = [series, *look_section(cases)]
    render(ReportPage(f"Growth series: {scan.stem}", alt, None, about, sections), page)
    return [*(path for step in steps for path in step.files), manifest, animation, page]


def _named(step: _Step) -> dict[str, str | list[str]]:
    """The names of a step's files, of several images a list."""
    *images, label = (path.name for path in step.files)
    return {"image": images if len(images) > 1 else images[0], "label": label}


def _frames(steps: list[_Step], title: str, sequences: Sequence[str]) -> list[bytes]:
    """Per step: the whole slice, a close-up, and the close-up with the label's outline; a row and window a sequence."""
    near, frames = close_up(steps[-1].parts), []
    windows = []
    for channel in range(len(sequences)):
        low, high = np.percentile(np.concatenate([step.image[channel].ravel() for step in steps]), [0.5, 99.8])
        windows.append((float(low), float(high)))
    for step in steps:
        rows = []
        for image, grey in zip(step.image, windows, strict=True):
            close, outline = image[near], step.parts[near]
            rows.append([Picture(image, *grey), Picture(close, *grey), Picture(close, *grey, contour=outline)])
        columns, named = ["slice", "close-up", "label"], f"{title}, {step.title}"
        beside = sequences if len(sequences) > 1 else None
        frames.append(picture_grid(rows, column_titles=columns, row_titles=beside, title=named, tile=240))
    return frames


def _series_section(
    steps: list[_Step], animation: bytes, plan: GrowthPlan, length: str, alt: str, sequences: Sequence[str]
) -> Section:
    """The animation, the steps side by side, the curve of sizes beside the one asked for, and a table of all."""
    in_3d = "volume_ml" in steps[0].size
    what, unit = ("Volume", "ml") if in_3d else ("Area", f"{length}²")
    days, sizes = ([step.size[key] for step in steps] for key in ("days", "volume_ml" if in_3d else "area_mm2"))
    asked = [sizes[0] * 2 ** (day / plan.doubling_days * (1 if in_3d else 2 / 3)) for day in days]
    curves, title = {"label": (days, sizes), "doubling time": (days, asked)}, what if in_3d else "Area of the section"
    curve = learning_curves(curves, smooth=1, title=title, xlabel="day", ylabel=unit)
    near = close_up(steps[-1].parts)
    grid, titles = [], []
    for channel, name in enumerate(sequences):
        grid += in_rows([Picture(step.image[channel][near]) for step in steps], COLUMNS)
        width = len(grid[0])
        for start in range(0, len(days), width):
            shown = f"days {days[start]:g} to {days[start : start + width][-1]:g}"
            titles.append(f"{name}, {shown}" if len(sequences) > 1 else shown)
    still = picture_grid(grid, column_titles=[""] * width, row_titles=titles, tile=110)
    figures = [
        Figure("Growth", animation, "The outline is the label.", alt),
        Figure("All steps", still, "Close-ups of the same slice.", f"{alt}, side by side"),
        Figure("Size over time", curve, "The first step and the doubling time give the second curve.", "Size by day"),
    ]
    table = Table(
        "Steps",
        ["Day", f"Diameter ({length})", f"{what} ({unit})", "Image", "Label"],
        [
            [f"{s.size['days']:g}", s.size["diameter_mm"], size, ", ".join(path.name for path in images), label.name]
            for s, size in zip(steps, sizes, strict=True)
            for *images, label in [s.files]
        ],
        "Measured on the label's voxels. The diameter is that of the sphere (2-D: circle) of equal size.",
    )
    return Section("Series", "", [table], figures)
