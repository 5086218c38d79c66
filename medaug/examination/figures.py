"""The figures over all cases of a data set, as `survey` fills them in and `--json` gives them out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medaug.examination.scans import ScanFacts

SPECK_MM = 5.0
"""Parts of a label below this diameter (the default of crop.min_diameter_mm) are counted apart."""


@dataclass(frozen=True)
class Spread:
    """Least, median and most of some figures."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(float(min(values)), float(np.median(values)), float(max(values)))


@dataclass(frozen=True)
class Group:
    """Cases that share a shape, a voxel size or an orientation."""

    value: str
    cases: list[str]


@dataclass(frozen=True)
class LabelValue:
    """A value above 0: in how many labels and patients it occurs, and its volume in those (ml; None in 2-D).

    `name` is what it is called, and `part` what it becomes: the name of the tumor's part, "tumor", "organ" or "".
    """

    value: int
    name: str
    part: str
    cases: int
    patients: int
    volume_ml: Spread | None


@dataclass(frozen=True)
class LesionFigures:
    """Connected parts of the labels (sections of lesions in single slices); `specks` are smaller than `SPECK_MM`."""

    count: int
    specks: int
    per_patient: Spread
    diameter_mm: Spread
    volume_ml: Spread | None


@dataclass(frozen=True)
class Prevalence:
    """How often anything is labelled, among what is labelled at all."""

    slices: int
    tumor_slices: int
    patients: int
    tumor_patients: int

    @property
    def by_slice(self) -> float:
        return self.tumor_slices / self.slices


@dataclass(frozen=True)
class SequenceFigures:
    """One sequence that was looked at, over all cases.

    Attributes:
        name: None where nobody names it.
        modality: what most files say (DICOM); "CT" of what reaches down to air in HU; else what the sequence or the
            folder is called; "other" of pictures, "MR" of volumes that nothing is said of.
        looks_like_hu: most scans reach below -500.
        looks_like_suv: PET whose scans have the range of standardised uptake values.
        percentiles: median over the scans of their 0.5th, 50th and 99.5th.
        lacking: the cases without it.
        copies: of what other sequence it has the very voxels, with the cases.
    """

    name: str | None
    modality: str
    looks_like_hu: bool
    looks_like_suv: bool
    lowest: float
    highest: float
    percentiles: tuple[float, float, float]
    dtypes: list[str]
    lacking: list[str]
    copies: dict[str, list[str]]


@dataclass(frozen=True)
class DataSummary:
    """What `medaug doctor` says of one data set; groups come largest first.

    Attributes:
        looks_like: what a folder of this layout holds.
        length_unit: of diameters, "mm", or "px" where no file stores a voxel size.
        sequences: those that were looked at, of `named` where the data set names several.
        linked: how many of the cases lie behind symbolic links.
        read: how many of the cases could be.
        megabytes: of what `prepare` writes on this grid.
        seconds: what reading and looking took.
    """

    root: str
    layout: str
    looks_like: str
    length_unit: str
    sequences: list[SequenceFigures]
    named: list[str]
    cases: int
    linked: int
    read: int
    patients: int
    cases_per_patient: Spread
    labelled: int
    shapes: list[Group]
    spacings_mm: list[Group]
    orientations: list[Group]
    label_values: list[LabelValue]
    lesions: LesionFigures | None
    prevalence: Prevalence | None
    megabytes: float
    seconds: float


def grouped(facts: Sequence[ScanFacts], values: Sequence[str]) -> list[Group]:
    """Cases by value, the largest group first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for fact, value in zip(facts, values, strict=True):
        groups[value].append(fact.case)
    return [Group(value, groups[value]) for value in sorted(groups, key=lambda v: (-len(groups[v]), v))]


def by_text(sizes: Sequence[float]) -> str:
    return " × ".join(f"{size:.3g}" for size in sizes)


def spacing_text(fact: ScanFacts) -> str:
    return "not stored" if fact.spacing_mm is None else f"{by_text(fact.spacing_mm)} mm"


def lesion_figures(labelled: list[ScanFacts]) -> LesionFigures | None:
    of_all = [diameter for fact in labelled for diameter in fact.marked.diameters_mm]
    large = [diameter for diameter in of_all if diameter >= SPECK_MM]
    if not large:
        return None
    volumes: list[float] = []
    by_patient = {fact.patient: 0 for fact in labelled}
    for fact in labelled:
        kept = [index for index, diameter in enumerate(fact.marked.diameters_mm) if diameter >= SPECK_MM]
        by_patient[fact.patient] += len(kept)
        volumes += [fact.marked.volumes_ml[index] for index in kept if fact.marked.volumes_ml]
    per_patient, volume_ml = Spread.of(list(by_patient.values())), Spread.of(volumes) if volumes else None
    return LesionFigures(len(large), len(of_all) - len(large), per_patient, Spread.of(large), volume_ml)


def prevalence_in(labelled: list[ScanFacts]) -> Prevalence | None:
    if not labelled:
        return None
    slices, tumor_slices = sum(f.slices for f in labelled), sum(f.marked.tumor_slices for f in labelled)
    ill = {f.patient for f in labelled if f.marked.tumor_slices}
    return Prevalence(slices, tumor_slices, len({f.patient for f in labelled}), len(ill))
