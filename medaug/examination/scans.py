"""Reads every scan and label of a data set once, as `prepare` does, and keeps what there is to know of each.

A file that cannot be used becomes a `Refusal`, and the look goes on: all of them are named, not the first. Arrays are
dropped as soon as they are measured, so memory is that of the largest scan. Images that are there twice are found by
`equal_twins` (the same voxels, of a slice or all) and `similar_twins` (the same but for intensities or noise): a scan
that two patients share would be on both sides of a split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from scipy import ndimage

from medaug.data.decoding import Decoded, Options, decode
from medaug.data.files import read_label
from medaug.data.fingerprints import holders_of
from medaug.data.records import Case
from medaug.errors import DataError, MedaugError
from medaug.lesions.geometry import component_voxels, diameter_of_voxels
from medaug.volumes import Percentiles, spacing_of

SAMPLED = 200_000
"""Voxels of a scan that its percentiles are taken from."""
THUMBNAIL = (24, 24, 8)
"""Voxels of a scan that near-duplicates are known by."""
ALIKE = 0.998
"""Correlation of two thumbnails from which on they count as the same picture."""
ROWS = 512
"""Thumbnails compared with all others at once: memory grows linearly."""


@dataclass(frozen=True)
class Refusal:
    """What `prepare` would refuse: the file at fault and the whole message."""

    path: str
    reason: str


@dataclass(frozen=True)
class LabelFacts:
    """What a label marks: voxels by value, the size of each connected part, and how many slices show any.

    `sections`: of each part of each slice its diameter (as `diameters_mm`), and its extent in voxels, (X, Y).
    """

    voxels: dict[int, int] = field(default_factory=dict)
    diameters_mm: list[float] = field(default_factory=list)
    volumes_ml: list[float] = field(default_factory=list)
    tumor_slices: int = 0
    sections: list[tuple[float, int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class ChannelFacts:
    """What there is to know of one sequence of one case.

    Attributes:
        image: the path.
        modality: what the file says (DICOM).
        lowest, highest: intensity, in the file's own unit.
        percentiles: the 0.5th, 50th and 99.5th.
        copy_of: the number of an earlier sequence that has the same voxels.
    """

    image: str
    dtype: str
    modality: str | None
    lowest: float
    highest: float
    percentiles: tuple[float, float, float]
    copy_of: int | None = None


@dataclass(frozen=True)
class ScanFacts:
    """What there is to know of one case.

    Attributes:
        channels: by sequence; None of one that the case lacks.
        shape: (X, Y) or (X, Y, Z), turned (see `medaug.orientation`).
        spacing_mm: by axis; None where the file stores none: sizes are in pixels then.
        orientation: where the stored axes point to, "RAS" for example; None where the file does not say it.
        fingerprints: of the decoded image and its slices (`data.fingerprints`).
        thumbnail: (24·24[·8],) standardised voxels of the first sequence.
        labelled: whether the case has a label; `marked` is empty where it has none.
    """

    case: str
    patient: str
    channels: tuple[ChannelFacts | None, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    orientation: str | None
    fingerprints: list[str]
    thumbnail: np.ndarray
    labelled: bool
    marked: LabelFacts

    @property
    def slices(self) -> int:
        return self.shape[2] if len(self.shape) == 3 else 1


Twins = tuple[ScanFacts, ScanFacts]


def look_at(
    cases: list[Case], on_case: Callable[[], None], tumor_labels: tuple[int, ...] | None = None
) -> tuple[list[ScanFacts], list[Refusal]]:
    """The facts of every case that can be read, and what `prepare` would refuse, each in the order of the cases.

    `on_case` is called after each; `tumor_labels` are the values that are tumor, None: all above 0.
    """
    scans: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        scans[case.scan].append(case)
    facts: list[ScanFacts] = []
    refused: list[Refusal] = []
    for members in scans.values():
        decoded = []
        for case in members:
            found, problems = _read(case, tumor_labels)
            refused += problems
            decoded += [] if found is None else [(case, found)]
            on_case()
        for channel in range(len(members[0].sequences)):  # the slices of one scan share a window
            held = [(case.sequences[channel].image, found.image[channel].reshape(-1)) for case, found in decoded]
            held = [(path, voxels) for path, voxels in held if path]
            try:
                if held:
                    voxels = [voxels for _, voxels in held]
                    Percentiles().window_of(voxels[0] if len(voxels) == 1 else np.concatenate(voxels), held[0][0])
            except DataError as error:
                refused.append(Refusal(held[0][0], str(error)))
        facts += [_facts(case, found) for case, found in decoded]
    return facts, refused


def equal_twins(facts: Sequence[ScanFacts]) -> list[Twins]:
    """Cases that share a slice or the whole image, voxel by voxel."""
    pairs = {pair for same in holders_of(fact.fingerprints for fact in facts) for pair in combinations(same, 2)}
    return [(facts[one], facts[other]) for one, other in sorted(pairs)]


def similar_twins(facts: Sequence[ScanFacts]) -> list[Twins]:
    """Cases of different patients whose images have one shape and correlate above `ALIKE`, but are not identical."""
    by_shape: dict[tuple[int, ...], list[ScanFacts]] = defaultdict(list)
    for fact in facts:
        by_shape[fact.shape].append(fact)
    pairs: list[Twins] = []
    for same in by_shape.values():
        thumbnails = np.stack([fact.thumbnail for fact in same])
        for start in range(0, len(same), ROWS):
            alike = thumbnails[start : start + ROWS] @ thumbnails.T / thumbnails.shape[1] > ALIKE
            pairs += [(same[start + row], same[column]) for row, column in np.argwhere(alike) if start + row < column]
    return [(a, b) for a, b in pairs if a.patient != b.patient and set(a.fingerprints).isdisjoint(b.fingerprints)]


def _read(case: Case, tumor_labels: tuple[int, ...] | None) -> tuple[Decoded | None, list[Refusal]]:
    """The decoded case; a label is looked at too where its image is refused."""
    label = case.label
    try:
        return decode(case, Options(spatial_dims=2, tumor_labels=tumor_labels)), []
    except MedaugError as error:
        if label is not None and str(error).startswith(f"{label}:"):
            return None, [Refusal(label, str(error))]
        at_fault = next(
            (file.image for file in case.sequences if file.image and str(error).startswith(file.image)), case.path
        )
        refusals = [Refusal(at_fault, str(error))]
    if label is not None:
        try:
            read_label(label)
        except MedaugError as error:
            refusals.append(Refusal(label, str(error)))
    return None, refusals


def _facts(case: Case, found: Decoded) -> ScanFacts:
    first, unknown = found.image[0], "length_unit" in found.facts
    spacing_mm = spacing_of(found.affine, first.ndim)
    picks = [np.linspace(0, size - 1, wanted).astype(int) for size, wanted in zip(first.shape, THUMBNAIL, strict=False)]
    small = first[np.ix_(*picks)].astype(np.float32).reshape(-1)
    return ScanFacts(
        case=case.case,
        patient=case.patient,
        channels=tuple(_channel(case, found, number) for number in range(len(found.image))),
        shape=first.shape,
        spacing_mm=None if unknown else spacing_mm,
        orientation=None if unknown or first.ndim == 2 else found.facts["source_axes"],
        fingerprints=found.facts["fingerprints"],
        thumbnail=(small - small.mean()) / (float(small.std()) or 1.0),
        labelled=found.label is not None,
        marked=LabelFacts() if found.label is None else _marked(found.label, found.label_voxels, spacing_mm),
    )


def _channel(case: Case, found: Decoded, number: int) -> ChannelFacts | None:
    image, path = found.image[number], case.sequences[number].image
    if not path:
        return None
    values = image.reshape(-1)[:: max(1, image.size // SAMPLED)]
    low, middle, high = (float(value) for value in np.percentile(values, (0.5, 50, 99.5)))
    same = (other for other in range(number) if np.array_equal(found.image[other], image))
    return ChannelFacts(
        image=path,
        dtype=found.facts["source_dtypes"][number],
        modality=found.facts["source_modalities"][number] if "source_modalities" in found.facts else None,
        lowest=float(image.min()),
        highest=float(image.max()),
        percentiles=(low, middle, high),
        copy_of=next(same, None),
    )


def _marked(tumor: np.ndarray, voxels: dict[int, int], spacing_mm: tuple[float, ...]) -> LabelFacts:
    sizes = component_voxels(tumor) if tumor.any() else np.zeros(0, dtype=int)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    slices = tumor.reshape(*tumor.shape[:2], -1)
    in_plane = np.zeros((3, 3, 3), dtype=bool)  # what 2-D work sees of the parts: each is cut into slices
    in_plane[:, :, 1] = True
    parts, count = ndimage.label(slices, structure=in_plane)
    areas = np.bincount(parts.reshape(-1), minlength=count + 1)[1:]
    return LabelFacts(
        {value: count for value, count in voxels.items() if value},
        [diameter_of_voxels(int(size), spacing_mm) for size in sizes],
        [float(size * voxel_ml) for size in sizes] if tumor.ndim == 3 else [],
        int(np.count_nonzero(slices.any(axis=(0, 1)))),
        [
            (diameter_of_voxels(int(area), spacing_mm[:2]), x.stop - x.start, y.stop - y.start)
            for area, (x, y, _) in zip(areas, ndimage.find_objects(parts), strict=True)
        ],
    )
