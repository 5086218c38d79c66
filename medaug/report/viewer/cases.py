"""What a viewer shows of one case, as arrays (`ViewerCase`) and as text that fits into a page (`EncodedCase`).

The text is NIfTI (gzip, base64), cut to what is not background, with a still picture.
Whole numbers of up to 16 bits keep their values. Others are stored in `LEVELS` steps over the range of both images, as
fine as a scanner stores them, so that equal values stay equal. Cases that would be larger than `CASE_LIMIT_BYTES` keep
the slices around the one to look at first, and say so.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medaug.data.atomic import read_json, write_json
from medaug.figures.charts import OKABE_ITO
from medaug.figures.pictures import Picture, part_numbers, picture_grid
from medaug.volumes import Window, spacing_of

CASE_LIMIT_BYTES = 6 * 2**20
"""The most text that one case may be."""
LEVELS = 4095
BACKGROUND = 0.02
"""A part of the grey window: what is darker at the borders of all slices is cut off."""
MARGIN = 4
"""Voxels kept around what is not background."""
GUESS_BYTES = 0.4
"""Text that a voxel of one image takes: less than most need, so that the first try of a large case is not too small."""
SATURATION = 99.9
"""Percentile of the differences that are not zero which the colours end at."""
CLASS_COLOURS = [
    [int(OKABE_ITO[name][i : i + 2], 16) for i in (1, 3, 5)]
    for name in ("orange", "sky", "green", "yellow", "purple", "vermillion", "blue")
]


@dataclass(frozen=True)
class Shown:
    """One image of a case.

    Attributes:
        name: what it is, in a word or two: "original", "synthetic CT".
        image: (X, Y) or (X, Y, Z), in the window's unit.
        window: the grey window to show it in.

    Raises:
        ValueError: for another number of axes, or values that are not finite.
    """

    name: str
    image: np.ndarray
    window: Window

    def __post_init__(self) -> None:
        if self.image.ndim not in (2, 3) or 0 in self.image.shape:
            raise ValueError(f"{self.name!r}: a viewer needs (X, Y) or (X, Y, Z); found shape {self.image.shape}")
        if not np.isfinite(self.image).all():
            raise ValueError(f"{self.name!r}: a viewer needs finite intensities; found NaN or infinity")


@dataclass(frozen=True)
class ViewerCase:
    """Two images of one grid, each with all its channels, and what is labelled there.

    Attributes:
        title: how the list of cases calls it.
        before, after: the first channel.
        affine: (4, 4), RAS.
        label: class numbers or bool, or None.
        oriented: whether the affine says how the patient lies. Where it does not (pictures), X runs to the right and Y
            downwards, and no letters are shown.
        comparable: whether after − before means something: both in one unit.
        group: a heading in the list of cases.
        class_names: class number → name; a class without one is called by its number.
        length_unit: of the affine.
        others: before and after of the second channel, and so on.
        sequences: what the channels are called, where there are several.

    Raises:
        ValueError: if the shapes differ, or there are more or fewer names than channels.
    """

    title: str
    before: Shown
    after: Shown
    affine: np.ndarray
    label: np.ndarray | None = None
    oriented: bool = True
    comparable: bool = True
    group: str = ""
    class_names: Mapping[int, str] = field(default_factory=dict)
    length_unit: str = "mm"
    others: tuple[tuple[Shown, Shown], ...] = ()
    sequences: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        shapes = [shown.image.shape for pair in self.channels for shown in pair]
        shapes += [] if self.label is None else [self.label.shape]
        if len(set(shapes)) != 1:
            raise ValueError(f"case {self.title!r}: before, after and label need one shape; found {shapes}")
        if len(self.sequences) != len(self.channels):
            raise ValueError(f"case {self.title!r}: {len(self.channels)} channels need names; found {self.sequences}")

    @property
    def channels(self) -> tuple[tuple[Shown, Shown], ...]:
        """Before and after of every channel."""
        return ((self.before, self.after), *self.others)

    @property
    def difference(self) -> np.ndarray:
        """after − before of the first channel, float32."""
        return _difference(self.before, self.after)

    def start(self) -> tuple[int, ...]:
        """The voxel to look at first: the middle of the label's fullest slice, else of the slice that changed most."""
        if self.label is not None and self.label.any():
            weight = (self.label > 0).astype(np.float32)
        else:
            weight = np.abs(self.difference) if self.comparable else np.zeros(self.before.image.shape, np.float32)
        plane: tuple[int, ...] = ()
        if weight.ndim == 3:
            level = int(weight.sum(axis=(0, 1)).argmax()) if weight.any() else weight.shape[2] // 2
            weight, plane = weight[..., level], (level,)
        if not weight.any():
            return (*(size // 2 for size in weight.shape), *plane)
        total = float(weight.sum())
        middle = (np.indices(weight.shape) * weight).sum(axis=(1, 2)) / total
        return (*(int(round(float(m))) for m in middle), *plane)


@dataclass(frozen=True)
class EncodedCase:
    """A case as plain text.

    Attributes:
        facts: what the viewer's script reads of it.
        volumes: NIfTI files, gzip and base64, by the names that `facts` gives; equal ones have equal names.
        still: a PNG, base64, of the slice to look at first; `alt` says what it shows.
    """

    facts: dict[str, Any]
    volumes: dict[str, str]
    still: str
    alt: str

    @property
    def size(self) -> int:
        """Bytes on the page."""
        return sum(map(len, self.volumes.values())) + len(self.still)


def encode(case: ViewerCase, limit_bytes: int = CASE_LIMIT_BYTES) -> EncodedCase:
    """The case, cut to what fits."""
    case = _without_border(case)
    width, height, depth = np.atleast_3d(case.before.image).shape
    kept = min(depth, max(1, int(limit_bytes / (2 * len(case.channels) * GUESS_BYTES * width * height))))
    while True:
        part, note = case, ""
        if kept < depth:  # slices around the one to look at first
            first = min(max(case.start()[2] - kept // 2, 0), depth - kept)
            part = _cut(case, (slice(None), slice(None), slice(first, first + kept)))
            note = f"Slices {first + 1} to {first + kept} of {depth} are here: all of them would not fit on the page."
        encoded = _encoded(part, note)
        if encoded.size <= limit_bytes or kept == 1:
            return encoded
        kept = max(1, min(kept - 1, int(0.95 * kept * limit_bytes / encoded.size)))


def write_cases(path: Path, cases: Sequence[EncodedCase]) -> None:
    """Keeps cases in a run folder, for a later page."""
    write_json(path, [asdict(case) for case in cases], indent=None)


def read_cases(path: Path) -> list[EncodedCase]:
    """What `write_cases` wrote; none where it wrote nothing."""
    return [EncodedCase(**values) for values in read_json(path, list)] if path.exists() else []


def _encoded(case: ViewerCase, note: str) -> EncodedCase:
    from medaug.data.files import RawImage, nifti_bytes  # brings all readers, which plots need not wait for

    x, y, z = spacing_of(case.affine, 3)
    affine = case.affine if case.oriented else np.diag([x, -y, z, 1.0])  # X to the right, Y downwards
    data: list[bytes] = []
    for pair in case.channels:
        images = [shown.image for shown in pair]
        stored = _stored(images) if case.comparable else [part for image in images for part in _stored([image])]
        data += [
            nifti_bytes(RawImage(_volume(array), affine, slope=slope, intercept=low)) for array, slope, low in stored
        ]
    marked = [] if case.label is None else [int(value) for value in np.unique(case.label) if value]
    if case.label is not None and marked:
        kind = np.uint8 if marked[-1] <= np.iinfo(np.uint8).max else np.int16
        data.append(nifti_bytes(RawImage(_volume(case.label.astype(kind)), affine)))
    classes = [
        {
            "value": value,
            "name": case.class_names.get(value, f"class {value}" if len(marked) > 1 else "label"),
            "rgb": CLASS_COLOURS[(value - 1) % len(CLASS_COLOURS)],
        }
        for value in marked
    ]
    names = [hashlib.sha256(content).hexdigest()[:16] for content in data]
    start = case.start()
    channels: list[dict[str, Any]] = []
    for number, (name, pair) in enumerate(zip(case.sequences, case.channels, strict=True)):
        limit = None
        if case.comparable:
            changes = np.abs(_difference(*pair))
            limit = float(np.percentile(changes[changes > 0], SATURATION)) if changes.any() else 1.0
        sides = {
            side: {"name": shown.name, "volume": volume} | asdict(shown.window)
            for side, shown, volume in zip(("before", "after"), pair, names[2 * number :], strict=False)
        }
        channels.append({"name": name, "unit": pair[0].window.unit, "difference": limit, **sides})
    facts = {
        "title": case.title,
        "group": case.group,
        "note": note,
        "dims": case.before.image.ndim,
        "oriented": case.oriented,
        "length_unit": case.length_unit,
        "start_mm": (affine @ [*start, *(0,) * (3 - len(start)), 1])[:3].tolist(),
        **{key: value for key, value in channels[0].items() if key != "name"},
        "label": names[-1] if classes else None,
        "classes": classes,
    }
    if case.others:
        facts["channels"] = channels
    still, alt = _still(case, start, [channel["difference"] for channel in channels])
    texts = [base64.b64encode(content).decode("ascii") for content in (*data, still)]
    return EncodedCase(facts, dict(zip(names, texts, strict=False)), texts[-1], alt)


def _stored(images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, float, float]]:
    """Each image as (whole numbers, slope, intercept), with one slope and intercept for all of them."""
    low, high = min(float(image.min()) for image in images), max(float(image.max()) for image in images)
    limits = np.iinfo(np.int16)
    whole = all(np.issubdtype(image.dtype, np.integer) or np.array_equal(image, np.rint(image)) for image in images)
    if whole and limits.min <= low and high <= limits.max:
        kind = np.uint8 if low >= 0 and high <= np.iinfo(np.uint8).max else np.int16
        return [(image.astype(kind), 1.0, 0.0) for image in images]
    slope = (high - low) / LEVELS or 1.0
    return [(np.rint((image.astype(np.float64) - low) / slope).astype(np.int16), slope, low) for image in images]


def _volume(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.atleast_3d(array))


def _without_border(case: ViewerCase) -> ViewerCase:
    """Cut in the plane, so that slices keep their numbers."""
    images = [
        shown.image > shown.window.low + BACKGROUND * (shown.window.high - shown.window.low)
        for pair in case.channels
        for shown in pair
    ]
    labels = [] if case.label is None else [case.label > 0]
    marked = np.any([np.atleast_3d(mask).any(axis=2) for mask in images + labels], axis=0)
    if not marked.any():
        return case
    where = [np.flatnonzero(marked.any(axis=axis)) for axis in (1, 0)]
    return _cut(case, tuple(slice(max(0, int(at[0]) - MARGIN), int(at[-1]) + 1 + MARGIN) for at in where))


def _cut(case: ViewerCase, box: tuple[slice, ...]) -> ViewerCase:
    affine = np.array(case.affine, dtype=np.float64)
    offset = [(part.start or 0) for part in box] + [0] * (3 - len(box))
    affine[:3, 3] += affine[:3, :3] @ offset
    first, *others = (
        (replace(before, image=before.image[box]), replace(after, image=after.image[box]))
        for before, after in case.channels
    )
    label = None if case.label is None else case.label[box]
    return replace(case, affine=affine, label=label, before=first[0], after=first[1], others=tuple(others))


def _difference(before: Shown, after: Shown) -> np.ndarray:
    return after.image.astype(np.float32) - before.image.astype(np.float32)


def _still(case: ViewerCase, start: tuple[int, ...], limits: Sequence[float | None]) -> tuple[bytes, str]:
    """Before, after, the difference and the label, of a volume in the slice to look at first; a row a channel."""
    at = (..., start[2]) if len(start) == 3 else (...,)
    several, rows, names = len(case.channels) > 1, [], []
    label = None if case.label is None else part_numbers(case.label)[at]
    for (before, after), limit in zip(case.channels, limits, strict=True):
        row = [
            (before.name, Picture(before.image[at], before.window.low, before.window.high)),
            (after.name, Picture(after.image[at], after.window.low, after.window.high)),
        ]
        if limit is not None:
            change, end = _difference(before, after)[at], limit
            if several:  # which share a colour bar, and no unit
                change, end = change / limit, 1.0
            name = "difference" if several else f"difference ({before.window.unit})"
            row.append((name, Picture(change, -end, end, diverging=True)))
        if label is not None:
            row.append(("label outlined", Picture(after.image[at], after.window.low, after.window.high, contour=label)))
        names = [name for name, _ in row]
        rows.append([picture for _, picture in row])
    title = f"{case.group}: {case.title}" if case.group else case.title
    beside = case.sequences if several else None
    png = picture_grid(rows, column_titles=names, row_titles=beside, title=title, tile=210)
    return png, f"{title}: {', '.join(names)}{' of ' + ', '.join(case.sequences) if several else ''}"
