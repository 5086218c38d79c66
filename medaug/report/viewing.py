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

from medaug.config.data import DataConfig
from medaug.config.files import load_config
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
    view: View,
    before: tuple[str, np.ndarray],
    after: tuple[str, np.ndarray],
    label: np.ndarray,
    group: str,
    data: DataConfig,
) -> ViewerCase:
    """A view of prepared data before and after an edit.

    Args:
        before, after: a name and the image (C, *S) in [-1, 1] of the view's windows.
        label: (*S) class numbers, or bool.
        data: what the sequences and the classes are called.
    """
    first, second = (
        [
            Shown(name, window.denormalize(x.astype(np.float32)), window)
            for x, window in zip(image, view.windows, strict=True)
        ]
        for name, image in (before, after)
    )
    return ViewerCase(
        view.name,
        first[0],
        second[0],
        view.affine,
        label,
        oriented=is_oriented(view.case.path),
        group=group,
        class_names=part_names(data.class_names),
        length_unit=view.case.length_unit,
        others=tuple(zip(first[1:], second[1:], strict=True)),
        sequences=data.sequence_names,
    )


def case_of_scan(
    title: str,
    scans: Sequence[MetaTensor],
    edited: MetaTensor,
    names: tuple[str, str],
    windows: Sequence[tuple[Window, Window]],
    label: MetaTensor | None = None,
    *,
    comparable: bool = True,
    sequences: Sequence[str] = ("",),
    class_names: Mapping[int, str] | None = None,
) -> ViewerCase:
    """A single scan, a file (1, *S) a channel, and what was made of it (C, *S).

    What was made is rounded where the files hold whole numbers.

    Args:
        names: of the scan and of what was made.
        windows: of both, a channel.
        comparable: whether both have one unit.
        sequences: the channels' names, where there are several.
        class_names: the names of the label's values.
    """
    pairs = []
    for scan, made, shown in zip(scans, np.asarray(edited.as_tensor()), windows, strict=True):
        images = [np.asarray(scan.as_tensor())[0], made]
        if comparable and np.issubdtype(np.dtype(scan.meta["dtype"]), np.integer):
            images = [np.rint(image) for image in images]
        before, after = (Shown(*values) for values in zip(names, images, shown, strict=True))
        pairs.append((before, after))
    first = scans[0]
    return ViewerCase(
        title,
        *pairs[0],
        first.affine.numpy(),
        None if label is None else np.asarray(label.as_tensor())[0],
        oriented=first.meta["spacing_known"] and is_oriented(first.meta["path"]),
        comparable=comparable,
        class_names=class_names or {},
        length_unit=length_unit(first.meta),
        others=tuple(pairs[1:]),
        sequences=tuple(sequences),
    )


def part_names(names: Sequence[str]) -> dict[int, str]:
    """The names of class numbers; of one class alone, which needs none, nothing."""
    return dict(enumerate(names, start=1)) if len(names) > 1 else {}


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
    records = [record for of_kind in shown.values() for record in of_kind[:most]]
    data = load_config(run.config, []).data if records else DataConfig()
    for record in records:
        files = zip(record.originals, record.images, strict=True)
        scans = [[read_scan(own_file(run.synthetic, path)) for path in pair] for pair in files]
        pairs = [
            (Shown("original", was.numpy()[0], window), Shown("synthetic", now.numpy()[0], window))
            for (was, now), window in zip(scans, record.windows, strict=True)
        ]
        level = "" if record.parent.level is None else f", slice {record.parent.level + 1}"
        case = ViewerCase(
            f"{record.case}, made from {record.parent.case}{level}",
            *pairs[0],
            scans[0][0].affine.numpy(),
            read_label(own_file(run.synthetic, record.label)).numpy()[0],
            oriented=is_oriented(record.images[0]),
            group=SYNTHETIC[record.kind],
            class_names=part_names(data.class_names),
            length_unit=record.length_unit,
            others=tuple(pairs[1:]),
            sequences=data.sequence_names if len(pairs) > 1 else ("",),
        )
        found.append(encode(case))
    return found
