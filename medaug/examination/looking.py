"""One data set, looked at whole: its layout, its cases, and the figures over all of them."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from medaug.config.data import modality_of
from medaug.data.atomic import read_json
from medaug.data.cases import Case
from medaug.data.datalists import sequence_names
from medaug.data.label_names import Tumors, label_names, tumors_of
from medaug.data.layouts import LAYOUTS, find_cases, mixture_in, recognise
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
class Lesions:
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
    lesions: Lesions | None
    prevalence: Prevalence | None
    megabytes: float
    seconds: float


@dataclass(frozen=True)
class Look:
    """What was found of one data set; `facts` holds the readable cases, `refusals` the others.

    Attributes:
        synthetic: names of cases that are no real scans, which are not looked at.
        mixture: what `io.layouts.mixture_in` says of DICOM and other images in one folder.
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

    @property
    def modality(self) -> str:
        if said := Counter(fact.modality for fact in self.facts if fact.modality is not None).most_common(1):
            return modality_of(str(said[0][0])) or "other"
        if self.looks_like_hu:
            return "CT"
        if self.layout in ("brats", "kaggle-lgg"):
            return "MR"
        words = [str(self.sequence), self.sequence_name, *re.split(r"[^a-z0-9]+", self.root.resolve().name.lower())]
        named = next((kind for word in words if (kind := modality_of(word)) is not None), None)
        return named or ("other" if self.length_unit == "px" else "MR")

    @property
    def sequence_name(self) -> str:
        """What a dataset.json calls the sequence that was chosen by its number, or the only one; else ""."""
        path = self.root if self.root.is_file() else self.root / "dataset.json"
        names = sequence_names(read_json(path, object), path) if self.layout == "msd" and path.is_file() else []
        number = str(self.sequence or 0)
        return names[int(number)] if number.isdecimal() and int(number) < len(names) else ""

    @property
    def looks_like_hu(self) -> bool:
        """Most scans reach down to air."""
        return 2 * sum(fact.lowest < HU_OF_AIR for fact in self.facts) > len(self.facts)

    @property
    def length_unit(self) -> str:
        """Of sizes: "px" where no file stores a voxel size."""
        return "px" if self.facts and all(fact.spacing_mm is None for fact in self.facts) else "mm"

    @property
    def is_for_tumors(self) -> bool:
        """Whether there are labels to learn from, or there should be; else it is one side of a translation."""
        return self.layout in WITH_LABELS or any(case["label"] is not None for case in self.cases)

    @property
    def labelled(self) -> list[ScanFacts]:
        return [fact for fact in self.facts if fact.label is not None]


def take_look(
    root: Path,
    layout: str = "auto",
    sequence: str | int | None = None,
    patient_regex: str | None = None,
    tumor_labels: tuple[int, ...] | None = None,
) -> Look:
    """Finds and reads all cases; where several sequences are there and none is chosen, FLAIR or the first is taken.

    Raises:
        DataError: if no layout is recognised, or the folder is not complete in its layout.
        ConfigError: for an unknown layout or sequence.
    """
    began, sequences = time.monotonic(), []
    try:
        cases = find_cases(root, layout=layout, sequence=sequence, patient_regex=patient_regex)
    except SequenceError as error:
        sequences = error.names
        sequence = next((name for name in sequences if name.lower() == PREFERRED), sequences[0])
        cases = find_cases(root, layout=layout, sequence=sequence, patient_regex=patient_regex)
    synthetic = [case["case"] for case in cases if is_synthetic(case)]
    name = recognise(root) if layout == "auto" else layout
    mixture = mixture_in(root, name, cases)
    cases = [case for case in cases if not is_synthetic(case)]
    names = label_names(root)
    tumors = Tumors(tumor_labels, "as you say") if tumor_labels else tumors_of(names, names, name)
    with track("look at scans", len(cases)) as tracker:
        facts, refusals = look_at(cases, tracker.advance, tumors.values)
    seconds = time.monotonic() - began
    look = Look(
        root, name, sequence, sequences, patient_regex, tumors, cases, facts, refusals, seconds, synthetic, mixture
    )
    if tumor_labels:
        return look
    found = {value for fact in facts for value in fact.marked.voxels} - set(rare_values(look))
    return replace(look, tumors=tumors_of(names, found, name))


def rare_values(look: Look) -> dict[int, str]:
    """Label values of one patient alone where half of at least five labelled patients share another one."""
    patients: dict[int, set[str]] = {}
    for fact in look.labelled:
        for value in fact.marked.voxels:
            patients.setdefault(value, set()).add(fact.patient)
    everybody = len({fact.patient for fact in look.labelled})
    common = any(2 * len(who) >= everybody for who in patients.values())
    return {value: min(who) for value, who in patients.items() if everybody >= 5 and common and len(who) == 1}


def summary_of(look: Look) -> DataSummary:
    """The figures over all readable cases."""
    facts, labelled = look.facts, look.labelled
    cases_by_patient = Counter(case["patient"] for case in look.cases)
    middle = np.median([fact.percentiles for fact in facts] or [(0.0, 0.0, 0.0)], axis=0).tolist()
    voxels = sum(int(np.prod(fact.shape)) for fact in facts)
    return DataSummary(
        root=str(look.root),
        layout=look.layout,
        looks_like=LAYOUTS[look.layout].looks_like,
        length_unit=look.length_unit,
        sequence=look.sequence,
        sequences=look.sequences,
        cases=len(look.cases),
        linked=sum(not Path(case["image"]).resolve().is_relative_to(look.root.resolve()) for case in look.cases),
        read=len(facts),
        patients=len(cases_by_patient),
        cases_per_patient=_spread(list(cases_by_patient.values())),
        labelled=sum(case["label"] is not None for case in look.cases),
        shapes=grouped(facts, [by_text(fact.shape) for fact in facts]),
        spacings_mm=grouped(facts, [spacing_text(fact) for fact in facts]),
        orientations=grouped(facts, [fact.orientation or "not stored" for fact in facts]),
        dtypes=sorted({fact.dtype for fact in facts}),
        modality=look.modality,
        looks_like_hu=look.looks_like_hu,
        lowest=min((fact.lowest for fact in facts), default=0.0),
        highest=max((fact.highest for fact in facts), default=0.0),
        percentiles=(middle[0], middle[1], middle[2]),
        label_values=_label_values(labelled),
        lesions=_lesions(labelled),
        prevalence=_prevalence(labelled),
        megabytes=voxels * (4 + 1 + 1) / 1e6,  # image float32, label and organ one byte each
        seconds=round(look.seconds, 1),
    )


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
        found.append(
            LabelValue(value, len(holders), len({f.patient for f in holders}), _spread(volumes) if volumes else None)
        )
    return found


def _lesions(labelled: list[ScanFacts]) -> Lesions | None:
    diameters = [d for fact in labelled for d in fact.marked.diameters_mm]
    large = [d for d in diameters if d >= SPECK_MM]
    if not large:
        return None
    by_patient = {fact.patient: 0 for fact in labelled}
    volumes = []
    for fact in labelled:
        by_patient[fact.patient] += sum(d >= SPECK_MM for d in fact.marked.diameters_mm)
        pairs = zip(fact.marked.diameters_mm, fact.marked.volumes_ml, strict=False)
        volumes += [volume for diameter, volume in pairs if diameter >= SPECK_MM]
    return Lesions(
        len(large),
        len(diameters) - len(large),
        _spread(list(by_patient.values())),
        _spread(large),
        _spread(volumes) if volumes else None,
    )


def _prevalence(labelled: list[ScanFacts]) -> Prevalence | None:
    if not labelled:
        return None
    ill = {fact.patient for fact in labelled if fact.marked.tumor_slices}
    return Prevalence(
        sum(fact.slices for fact in labelled),
        sum(fact.marked.tumor_slices for fact in labelled),
        len({fact.patient for fact in labelled}),
        len(ill),
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(*(float(value) for value in (min(values), np.median(values), max(values))))
