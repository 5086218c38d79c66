"""What the viewer of a page shows: views of a run before and after an edit, synthetic cases beside their parents, the
first of both of a run's folds or blocks, and single scans on a page of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from medaug.data.datalists import own_file
from medaug.data.files import read_label, read_scan
from medaug.data.opening import PICTURES, suffix_of
from medaug.data.prepared import View
from medaug.data.synthetic import SyntheticCase, synthetic_cases
from medaug.report import ReportPage, Section, render
from medaug.report.viewer import EncodedCase, Shown, Viewer, ViewerCase, by_heading, encode, read_cases
from medaug.runs.folder import RunDir
from medaug.volumes import Window, length_unit

SHOWN = 3
"""Cases of each kind on a page."""
LOOK = "Look around"
SYNTHETIC_TEXT = "synthetic cases are the files that networks train on, with their labels."
SYNTHETIC = {"inserted": "Synthetic set, tumors inserted", "removed": "Synthetic set, tumors removed"}
"""Kind of a record → its heading."""
NAMED = {name: name.capitalize() for name in ("scan", "mask", "seed", "method", "weights", "unit", "from", "to")}
NAMED["length_unit"] = "Lengths in"
"""Facts of a manifest that its page shows."""
NAME_LENGTH = 48


def look_section(cases: Sequence[EncodedCase], text: str = "") -> list[Section]:
    """A section with a viewer; none without cases."""
    viewer = Viewer.of(cases)
    return [] if viewer is None else [Section(LOOK, text, viewer=viewer)]


def case_of_view(
    view: View, before: tuple[str, np.ndarray], after: tuple[str, np.ndarray], label: np.ndarray, group: str
) -> ViewerCase:
    """A view of prepared data before and after an edit.

    Args:
        before, after: a name and the image (*S) in [-1, 1] of the view's window.
    """
    window = view.window
    first, second = (
        Shown(name, window.denormalize(image.astype(np.float32)), window) for name, image in (before, after)
    )
    oriented, unit = is_oriented(view.case.path), view.case.length_unit
    return ViewerCase(view.name, first, second, view.affine, label, oriented=oriented, group=group, length_unit=unit)


def case_of_scan(
    title: str,
    scan: MetaTensor,
    edited: MetaTensor,
    names: tuple[str, str],
    windows: tuple[Window, Window],
    label: MetaTensor | None = None,
    *,
    comparable: bool = True,
) -> ViewerCase:
    """A single scan (1, *S) and what was made of it, rounded where whole numbers are written.

    Args:
        names, windows: of the scan and of what was made.
        comparable: whether both have one unit.
    """
    images = [np.asarray(x.as_tensor())[0] for x in (scan, edited)]
    if comparable and np.issubdtype(np.dtype(scan.meta["dtype"]), np.integer):
        images = [np.rint(image) for image in images]
    before, after = (Shown(*values) for values in zip(names, images, windows, strict=True))
    marked = None if label is None else np.asarray(label.as_tensor())[0]
    oriented = scan.meta["spacing_known"] and is_oriented(scan.meta["path"])
    unit = length_unit(scan.meta)
    return ViewerCase(
        title, before, after, scan.affine.numpy(), marked, oriented=oriented, comparable=comparable, length_unit=unit
    )


def run_cases(run: RunDir, most: int = SHOWN) -> list[EncodedCase]:
    """What a run kept of held-out patients and of its synthetic set: at most so many cases a heading."""
    kept = read_cases(run.evaluation / "viewer.json") + read_cases(run.audit / "viewer.json")
    kept = [case for cases in by_heading(kept).values() for _, case in cases[:most]]
    return kept + _synthetic_cases(run, most)


def part_cases(parts: Mapping[str, RunDir]) -> list[EncodedCase]:
    """The first case of every heading of each part, under the part's name."""
    return [
        replace(case, facts=case.facts | {"group": f"{name}: {case.facts['group']}"})
        for name, run in parts.items()
        for case in run_cases(run, most=1)
    ]


def view_page(path: Path, title: str, cases: Sequence[EncodedCase], facts: Mapping[str, Any]) -> Path:
    """Writes a page with a viewer of single scans and what their manifest says of them; returns its path."""
    rows = [(NAMED[key], str(facts[key])[:NAME_LENGTH]) for key in NAMED if facts.get(key) is not None]
    page = ReportPage(title, "Before and after, to look around in", None, rows, look_section(cases))
    return render(page, path)


def is_oriented(path: str | Path) -> bool:
    """Whether a file says how the patient lies: pictures do not."""
    return suffix_of(path) not in PICTURES


def _synthetic_cases(run: RunDir, most: int) -> list[EncodedCase]:
    """The first synthetic cases of each kind beside their parents, where both are there."""
    path, found = run.synthetic / "datalist.json", []
    shown: dict[str, list[SyntheticCase]] = {kind: [] for kind in SYNTHETIC}
    for record in synthetic_cases(path) if path.exists() else []:
        if record.originals and own_file(run.synthetic, record.originals[0], must_exist=False).exists():
            shown[record.kind].append(record)
    for record in (record for records in shown.values() for record in records[:most]):
        original, made = (read_scan(own_file(run.synthetic, path)) for path in (record.originals[0], record.images[0]))
        level = "" if record.parent.level is None else f", slice {record.parent.level + 1}"
        case = ViewerCase(
            f"{record.case}, made from {record.parent.case}{level}",
            Shown("original", original.numpy()[0], record.windows[0]),
            Shown("synthetic", made.numpy()[0], record.windows[0]),
            original.affine.numpy(),
            read_label(own_file(run.synthetic, record.label)).numpy()[0],
            oriented=is_oriented(record.images[0]),
            group=SYNTHETIC[record.kind],
            length_unit=record.length_unit,
        )
        found.append(encode(case))
    return found
