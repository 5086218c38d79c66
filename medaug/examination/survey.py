"""One data set, looked at whole: its layout, its cases, and the figures over all of them."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from medaug.config.data import modality_of
from medaug.data.atomic import read_json
from medaug.data.datalists import sequence_names
from medaug.data.label_names import Tumors, label_names, tumors_of
from medaug.data.layouts import LAYOUTS, find_cases, mixture_in, recognise
from medaug.data.records import Case
from medaug.data.synthetic import is_synthetic
from medaug.errors import SequenceError
from medaug.examination.scans import Refusal, ScanFacts, look_at
from medaug.progress import track
from medaug.volumes import HU_OF_AIR

SPECK_MM = 5.0
"""Parts of a label below this diameter (the default of crop.min_diameter_mm) are counted apart."""
WITH_LABELS = ("msd", "images-labels")
"""Layouts with a folder of labels: something is amiss where it is empty."""
PREFERRED = "flair"
"""The sequence that is taken where none is chosen and there is one of this name."""


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
    """A value above 0: in how many labels and patients it occurs, and its volume in those (ml; None in 2-D)."""

    value: int
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
class DataSummary:
    """What `medaug doctor` says of one data set; groups come largest first.

    Attributes:
        looks_like: what a folder of this layout holds.
        length_unit: of diameters, "mm", or "px" where no file stores a voxel size.
        sequence: the one that was looked at, of `sequences` where the data set names several.
        linked: how many of the cases lie behind symbolic links.
        read: how many of the cases could be.
        modality: what most files say (DICOM); "CT" of what reaches down to air in HU; else what the sequence or the
            folder is called; "other" of pictures, "MR" of volumes that nothing is said of.
        looks_like_hu: some voxels are below -500.
        percentiles: median over the scans of their 0.5th, 50th and 99.5th.
        megabytes: of what `prepare` writes on this grid.
        seconds: what reading and looking took.
    """

    root: str
    layout: str
    looks_like: str
    length_unit: str
    sequence: str | int | None
    sequences: list[str]
    cases: int
    linked: int
    read: int
    patients: int
    cases_per_patient: Spread
    labelled: int
    shapes: list[Group]
    spacings_mm: list[Group]
    orientations: list[Group]
    dtypes: list[str]
    modality: str
    looks_like_hu: bool
    lowest: float
    highest: float
    percentiles: tuple[float, float, float]
    label_values: list[LabelValue]
    lesions: LesionFigures | None
    prevalence: Prevalence | None
    megabytes: float
    seconds: float


@dataclass(frozen=True)
class Survey:
    """What was found of one data set; `facts` holds the readable cases, `refusals` the others.

    Attributes:
        synthetic: names of cases that are no real scans, which are not looked at.
        mixture: what `data.layouts.mixture_in` says of DICOM and other images in one folder.
    """

    root: Path
    layout: str
    sequence: str | int | None
    sequences: list[str]
    patient_regex: str | None
    tumors: Tumors
    cases: list[Case]
    facts: list[ScanFacts] = field(repr=False)
    refusals: list[Refusal]
    seconds: float
    synthetic: list[str] = field(default_factory=list)
    mixture: str | None = None

    @cached_property
    def modality(self) -> str:
        if said := Counter(fact.modality for fact in self.facts if fact.modality is not None).most_common(1):
            return modality_of(str(said[0][0])) or "other"
        if self.looks_like_hu:
            return "CT"
        if self.layout in ("brats", "kaggle-lgg"):
            return "MR"
        path, number = self.root if self.root.is_file() else self.root / "dataset.json", str(self.sequence or 0)
        named = sequence_names(read_json(path, object), path) if self.layout == "msd" and path.is_file() else []
        chosen = named[int(number)] if number.isdecimal() and int(number) < len(named) else ""
        words = [str(self.sequence), chosen, *re.split(r"[^a-z0-9]+", self.root.resolve().name.lower())]
        kinds = [kind for word in words if (kind := modality_of(word)) is not None]
        return kinds[0] if kinds else ("other" if self.length_unit == "px" else "MR")

    @property
    def looks_like_hu(self) -> bool:
        """Most scans reach down to air."""
        return 2 * sum(fact.lowest < HU_OF_AIR for fact in self.facts) > len(self.facts)

    @property
    def length_unit(self) -> str:
        """The unit of sizes: "px" where no file stores a voxel size."""
        return "px" if self.facts and all(fact.spacing_mm is None for fact in self.facts) else "mm"

    @property
    def is_for_tumors(self) -> bool:
        """Whether there are labels to learn from, or there should be; else it is one side of a translation."""
        return self.layout in WITH_LABELS or any(case.label is not None for case in self.cases)

    @property
    def labelled(self) -> list[ScanFacts]:
        return [fact for fact in self.facts if fact.labelled]

    @cached_property
    def rare_values(self) -> dict[int, str]:
        """Label values of one patient alone where half of at least five labelled patients share another one."""
        patients: dict[int, set[str]] = defaultdict(set)
        for fact in self.labelled:
            for value in fact.marked.voxels:
                patients[value].add(fact.patient)
        everybody = len({fact.patient for fact in self.labelled})
        common = any(2 * len(who) >= everybody for who in patients.values())
        return {value: min(who) for value, who in patients.items() if everybody >= 5 and common and len(who) == 1}

    @cached_property
    def summary(self) -> DataSummary:
        """The figures over all readable cases."""
        facts, root = self.facts, self.root.resolve()
        of_patients = Counter(case.patient for case in self.cases)
        middle = np.median([fact.percentiles for fact in facts] or [(0.0, 0.0, 0.0)], axis=0).tolist()
        return DataSummary(
            root=str(self.root),
            layout=self.layout,
            looks_like=LAYOUTS[self.layout].looks_like,
            length_unit=self.length_unit,
            sequence=self.sequence,
            sequences=self.sequences,
            cases=len(self.cases),
            linked=sum(not Path(case.image).resolve().is_relative_to(root) for case in self.cases),
            read=len(facts),
            patients=len(of_patients),
            cases_per_patient=Spread.of(list(of_patients.values())),
            labelled=sum(case.label is not None for case in self.cases),
            shapes=grouped(facts, [by_text(fact.shape) for fact in facts]),
            spacings_mm=grouped(facts, [spacing_text(fact) for fact in facts]),
            orientations=grouped(facts, [fact.orientation or "not stored" for fact in facts]),
            dtypes=sorted({fact.dtype for fact in facts}),
            modality=self.modality,
            looks_like_hu=self.looks_like_hu,
            lowest=min((fact.lowest for fact in facts), default=0.0),
            highest=max((fact.highest for fact in facts), default=0.0),
            percentiles=(middle[0], middle[1], middle[2]),
            label_values=_label_values(self.labelled),
            lesions=_lesion_figures(self.labelled),
            prevalence=_prevalence(self.labelled),
            megabytes=sum(int(np.prod(fact.shape)) for fact in facts) * (4 + 1 + 1) / 1e6,  # image, label, organ
            seconds=round(self.seconds, 1),
        )


def survey_of(
    root: Path,
    layout: str = "auto",
    sequence: str | int | None = None,
    patient_regex: str | None = None,
    tumor_labels: tuple[int, ...] | None = None,
) -> Survey:
    """Finds and reads all cases; where several sequences are there and none is chosen, FLAIR or the first is taken.

    Raises:
        DataError: if no layout is recognised, or the folder is not complete in its layout.
        ConfigError: for an unknown layout or sequence.
    """
    began, sequences = time.monotonic(), []
    try:
        found = find_cases(root, layout=layout, sequence=sequence, patient_regex=patient_regex)
    except SequenceError as error:
        sequences = error.names
        sequence = next((name for name in sequences if name.lower() == PREFERRED), sequences[0])
        found = find_cases(root, layout=layout, sequence=sequence, patient_regex=patient_regex)
    name = recognise(root) if layout == "auto" else layout
    mixture, names = mixture_in(root, name, found), label_names(root)
    synthetic, cases = [case.case for case in found if is_synthetic(case)], [c for c in found if not is_synthetic(c)]
    tumors = Tumors(tumor_labels, "as you say") if tumor_labels else tumors_of(names, names, name)
    with track("look at scans", len(cases)) as tracker:
        facts, refusals = look_at(cases, tracker.advance, tumors.values)
    survey = Survey(
        root=root,
        layout=name,
        sequence=sequence,
        sequences=sequences,
        patient_regex=patient_regex,
        tumors=tumors,
        cases=cases,
        facts=facts,
        refusals=refusals,
        seconds=time.monotonic() - began,
        synthetic=synthetic,
        mixture=mixture,
    )
    if tumor_labels:
        return survey
    values = {value for fact in facts for value in fact.marked.voxels} - set(survey.rare_values)
    return replace(survey, tumors=tumors_of(names, values, name))


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


def _label_values(labelled: list[ScanFacts]) -> list[LabelValue]:
    found = []
    for value in sorted({value for fact in labelled for value in fact.marked.voxels}):
        holders = [fact for fact in labelled if value in fact.marked.voxels]
        volumes = [
            fact.marked.voxels[value] * float(np.prod(fact.spacing_mm)) / 1000
            for fact in holders
            if len(fact.shape) == 3 and fact.spacing_mm is not None
        ]
        patients = len({fact.patient for fact in holders})
        found.append(LabelValue(value, len(holders), patients, Spread.of(volumes) if volumes else None))
    return found


def _lesion_figures(labelled: list[ScanFacts]) -> LesionFigures | None:
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


def _prevalence(labelled: list[ScanFacts]) -> Prevalence | None:
    if not labelled:
        return None
    slices, tumor_slices = sum(f.slices for f in labelled), sum(f.marked.tumor_slices for f in labelled)
    ill = {f.patient for f in labelled if f.marked.tumor_slices}
    return Prevalence(slices, tumor_slices, len({f.patient for f in labelled}), len(ill))
