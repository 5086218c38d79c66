"""Reads every scan and label of a data set once, as `prepare` does, and keeps what there is to know of each.

A file that cannot be used becomes a `Refusal`, and the look goes on: all of them are named, not the first. Arrays are
dropped as soon as they are measured, so memory is that of the largest scan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medaug.data.cases import Case
from medaug.data.decoding import Decoded, Options, decode
from medaug.data.files import read_label
from medaug.errors import DataError, MedaugError
from medaug.lesions.geometry import component_voxels, diameter_of_voxels
from medaug.volumes import Percentiles, Window, spacing_of

SAMPLED = 200_000
"""Voxels of a scan that its percentiles are taken from."""
THUMBNAIL = (24, 24, 8)
"""Voxels of a scan that near-duplicates are known by."""


@dataclass(frozen=True)
class Refusal:
    """What `prepare` would refuse: the file at fault and the whole message."""

    path: str
    reason: str


@dataclass(frozen=True)
class LabelFacts:
    """Of one label: voxels by value, the size of each connected part above 0, and how many slices show any.

    `sections`: of each part of each slice its diameter (as `diameters_mm`), and its extent in voxels, (X, Y).
    """

    voxels: dict[int, int]
    diameters_mm: list[float]
    volumes_ml: list[float]
    tumor_slices: int
    sections: list[tuple[float, int, int]]


@dataclass(frozen=True)
class ScanFacts:
    """Of one case.

    Attributes:
        shape: (X, Y) or (X, Y, Z), turned (see `medaug.orientation`).
        spacing_mm: by axis; None where the file stores none: sizes are in pixels then.
        orientation: where the stored axes point to, "RAS" for example; None where the file does not say it.
        modality: what the file says (DICOM).
        lowest, highest: intensity, in the file's own unit.
        percentiles: the 0.5th, 50th and 99.5th.
        window: what `prepare` takes for a scan of no absolute unit (MR); None if it would refuse the scan for it.
        fingerprints: of the decoded image and its slices (`io.fingerprints`).
        thumbnail: (24·24[·8],) standardised voxels.
        label: None where the case has none.
    """

    case: str
    patient: str
    image: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    orientation: str | None
    dtype: str
    modality: str | None
    lowest: float
    highest: float
    percentiles: tuple[float, float, float]
    window: Window | None
    fingerprints: list[str]
    thumbnail: np.ndarray
    label: LabelFacts | None

    @property
    def marked(self) -> LabelFacts:
        """What the label marks: nothing, where there is none."""
        return self.label or LabelFacts({}, [], [], 0, [])

    @property
    def slices(self) -> int:
        return self.shape[2] if len(self.shape) == 3 else 1


def look_at(
    cases: list[Case], on_case: Callable[[], None], tumor_labels: tuple[int, ...] | None = None
) -> tuple[list[ScanFacts], list[Refusal]]:
    """The facts of every case that can be read, and what `prepare` would refuse, each in the order of the cases.

    Args:
        on_case: called after each case.
        tumor_labels: values that are tumor; None: all above 0.
    """
    scans: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        scans[case["scan"]].append(case)
    facts: list[ScanFacts] = []
    refused: list[Refusal] = []
    for members in scans.values():
        decoded = []
        for case in members:
            found, problems = _read(case, tumor_labels)
            refused += problems
            decoded += [] if found is None else [(case, found)]
            on_case()
        window, problem = _window([(case["image"], found.image) for case, found in decoded])
        refused += [] if problem is None else [problem]
        facts += [_facts(case, found, window) for case, found in decoded]
    return facts, refused


def _read(case: Case, tumor_labels: tuple[int, ...] | None) -> tuple[Decoded | None, list[Refusal]]:
    """The decoded case; a label is looked at too where its image is refused."""
    try:
        return decode(case, Options(spatial_dims=2, tumor_labels=tumor_labels)), []
    except MedaugError as error:
        refusals = [_refusal(case, error)]
    if case["label"] is not None and refusals[0].path != case["label"]:
        try:
            read_label(case["label"])
        except MedaugError as error:
            refusals.append(Refusal(case["label"], str(error)))
    return None, refusals


def _refusal(case: Case, error: MedaugError) -> Refusal:
    label = case["label"]
    return Refusal(label if label is not None and str(error).startswith(f"{label}:") else case["image"], str(error))


def _window(members: list[tuple[str, np.ndarray]]) -> tuple[Window | None, Refusal | None]:
    """The slices of one scan share a window."""
    if not members:
        return None, None
    path, first = members[0]
    whole = first if len(members) == 1 else np.concatenate([image.reshape(-1) for _, image in members])
    try:
        return Percentiles().window_of(whole, path), None
    except DataError as error:
        return None, Refusal(path, str(error))


def _facts(case: Case, found: Decoded, window: Window | None) -> ScanFacts:
    image, unknown = found.image, "length_unit" in found.facts
    spacing_mm = spacing_of(found.affine, image.ndim)
    values = image.reshape(-1)[:: max(1, image.size // SAMPLED)]
    low, middle, high = (float(value) for value in np.percentile(values, (0.5, 50, 99.5)))
    return ScanFacts(
        case=case["case"],
        patient=case["patient"],
        image=case["image"],
        shape=image.shape,
        spacing_mm=None if unknown else spacing_mm,
        orientation=None if unknown or image.ndim == 2 else found.facts["source_axes"],
        dtype=found.facts["source_dtype"],
        modality=found.facts.get("source_modality"),
        lowest=float(image.min()),
        highest=float(image.max()),
        percentiles=(low, middle, high),
        window=window,
        fingerprints=found.facts["fingerprints"],
        thumbnail=_thumbnail(image),
        label=None if found.label is None else _label(case, found.label, spacing_mm),
    )


def _label(case: Case, tumor: np.ndarray, spacing_mm: tuple[float, ...]) -> LabelFacts:
    """The stored values are read again: what `decode` gives says only where one is above 0."""
    values, counts = _counted(read_label(case["label"]).numpy())
    sizes = component_voxels(tumor) if tumor.any() else np.zeros(0, dtype=int)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    return LabelFacts(
        {int(value): int(count) for value, count in zip(values, counts, strict=True) if value},
        [diameter_of_voxels(int(size), spacing_mm) for size in sizes],
        [float(size * voxel_ml) for size in sizes] if tumor.ndim == 3 else [],
        int(np.count_nonzero(tumor.reshape(-1, tumor.shape[2]).any(axis=0))) if tumor.ndim == 3 else int(tumor.any()),
        _sections(tumor, spacing_mm),
    )


def _sections(tumor: np.ndarray, spacing_mm: tuple[float, ...]) -> list[tuple[float, int, int]]:
    """What 2-D work sees of the parts: each is cut into slices."""
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[:, :, 1] = True
    labels, count = ndimage.label(tumor.reshape(*tumor.shape[:2], -1), structure=in_plane)
    voxels = np.bincount(labels.reshape(-1), minlength=count + 1)[1:]
    return [
        (diameter_of_voxels(int(size), spacing_mm[:2]), x.stop - x.start, y.stop - y.start)
        for size, (x, y, _) in zip(voxels, ndimage.find_objects(labels), strict=True)
    ]


def _counted(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values and how often each occurs; bytes are counted without sorting millions of them."""
    if label.dtype != np.uint8:
        return np.unique(label, return_counts=True)
    counts = np.bincount(label.reshape(-1))
    return np.flatnonzero(counts), counts[counts > 0]


def _thumbnail(image: np.ndarray) -> np.ndarray:
    picks = [np.linspace(0, size - 1, wanted).astype(int) for size, wanted in zip(image.shape, THUMBNAIL, strict=False)]
    small = image[np.ix_(*picks)].astype(np.float32).reshape(-1)
    spread = float(small.std())
    return (small - small.mean()) / (spread if spread > 0 else 1.0)
