"""One data set, looked at whole: its layout, its cases, and the figures over all of them."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from medaug.config.data import modality_of
from medaug.data.atomic import read_json
from medaug.data.datalists import sequence_names
from medaug.data.label_names import Tumors, names_for, tumors_of
from medaug.data.layouts import LAYOUTS, find_cases, mixture_in, recognise, sequences_in
from medaug.data.records import Case
from medaug.data.synthetic import is_synthetic
from medaug.errors import DataError
from medaug.examination.figures import (
    DataSummary,
    LabelValue,
    SequenceFigures,
    Spread,
    by_text,
    grouped,
    lesion_figures,
    prevalence_in,
    spacing_text,
)
from medaug.examination.scans import ChannelFacts, Refusal, ScanFacts, look_at
from medaug.progress import track
from medaug.volumes import HU_OF_AIR

WITH_LABELS = ("msd", "images-labels")
"""Layouts with a folder of labels: something is amiss where it is empty."""
PREFERRED = "flair"
"""The sequence that is taken where one is, none is chosen, and there is one of this name."""
SUV = (-1.0, 100.0)
"""The range of standardised uptake values: counts and Bq/ml go far beyond it (0.5th to 99.5th percentile)."""


@dataclass(frozen=True)
class Survey:
    """What was found of one data set; `facts` holds the readable cases, `refusals` the others.

    Attributes:
        synthetic: names of cases that are no real scans, which are not looked at.
        mixture: what `data.layouts.mixture_in` says of DICOM and other images in one folder.
    """

    root: Path
    layout: str
    sequences: tuple[str | int | None, ...]
    named: list[str]
    patient_regex: str | None
    names: dict[int, str]
    tumors: Tumors
    cases: list[Case]
    facts: list[ScanFacts] = field(repr=False)
    refusals: list[Refusal]
    seconds: float
    synthetic: list[str] = field(default_factory=list)
    mixture: str | None = None

    @cached_property
    def channels(self) -> list[SequenceFigures]:
        """The figures of each sequence."""
        return [self._figures_of(number) for number in range(len(self.sequences))]

    def _figures_of(self, number: int) -> SequenceFigures:
        found = [(fact.case, channel) for fact in self.facts if (channel := fact.channels[number]) is not None]
        held = [channel for _, channel in found]
        middle = np.median([channel.percentiles for channel in held] or [(0.0, 0.0, 0.0)], axis=0).tolist()
        in_hu = 2 * sum(channel.lowest < HU_OF_AIR for channel in held) > len(held)
        modality = self._modality_of(number, held, in_hu)
        suv = modality == "PET" and all(c.lowest >= SUV[0] and c.percentiles[2] <= SUV[1] for c in held)
        copies: dict[str, list[str]] = defaultdict(list)
        for case, channel in found:
            if channel.copy_of is not None:
                copies[str(self.sequences[channel.copy_of])].append(case)
        name = self.sequences[number]
        return SequenceFigures(
            name=None if name is None else str(name),
            modality=modality,
            looks_like_hu=in_hu,
            looks_like_suv=suv,
            lowest=min((channel.lowest for channel in held), default=0.0),
            highest=max((channel.highest for channel in held), default=0.0),
            percentiles=(middle[0], middle[1], middle[2]),
            dtypes=sorted({channel.dtype for channel in held}),
            lacking=[case.case for case in self.cases if not case.sequences[number].image],
            copies=dict(copies),
        )

    def _modality_of(self, number: int, held: list[ChannelFacts], in_hu: bool) -> str:
        if said := Counter(channel.modality for channel in held if channel.modality is not None).most_common(1):
            return modality_of(str(said[0][0])) or "other"
        if in_hu:
            return "CT"
        if self.layout in ("brats", "kaggle-lgg"):
            return "MR"
        path, chosen = (
            self.root if self.root.is_file() else self.root / "dataset.json",
            str(self.sequences[number] or 0),
        )
        listed = sequence_names(read_json(path, object), path) if self.layout == "msd" and path.is_file() else []
        called = listed[int(chosen)] if chosen.isdecimal() and int(chosen) < len(listed) else ""
        words = [chosen, called, *re.split(r"[^a-z0-9]+", self.root.resolve().name.lower())]
        kinds = [kind for word in words if (kind := modality_of(word)) is not None]
        return kinds[0] if kinds else ("other" if self.length_unit == "px" else "MR")

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
        return DataSummary(
            root=str(self.root),
            layout=self.layout,
            looks_like=LAYOUTS[self.layout].looks_like,
            length_unit=self.length_unit,
            sequences=self.channels,
            named=self.named,
            cases=len(self.cases),
            linked=sum(not Path(case.path).resolve().is_relative_to(root) for case in self.cases),
            read=len(facts),
            patients=len(of_patients),
            cases_per_patient=Spread.of(list(of_patients.values())),
            labelled=sum(case.label is not None for case in self.cases),
            shapes=grouped(facts, [by_text(fact.shape) for fact in facts]),
            spacings_mm=grouped(facts, [spacing_text(fact) for fact in facts]),
            orientations=grouped(facts, [fact.orientation or "not stored" for fact in facts]),
            label_values=self.label_values,
            lesions=lesion_figures(self.labelled),
            prevalence=prevalence_in(self.labelled),
            # image, label, organ
            megabytes=sum(int(np.prod(fact.shape)) for fact in facts) * (4 * len(self.sequences) + 1 + 1) / 1e6,
            seconds=round(self.seconds, 1),
        )

    @cached_property
    def label_values(self) -> list[LabelValue]:
        """What the labels hold."""
        found = []
        for value in sorted({value for fact in self.labelled for value in fact.marked.voxels}):
            holders = [fact for fact in self.labelled if value in fact.marked.voxels]
            volumes = [
                fact.marked.voxels[value] * float(np.prod(fact.spacing_mm)) / 1000
                for fact in holders
                if len(fact.shape) == 3 and fact.spacing_mm is not None
            ]
            patients = len({fact.patient for fact in holders})
            spread = Spread.of(volumes) if volumes else None
            found.append(
                LabelValue(value, self.names.get(value, ""), self._part_of(value), len(holders), patients, spread)
            )
        return found

    def _part_of(self, value: int) -> str:
        if part := next((name for name, values in self.tumors.parts.items() if value in values), None):
            return part
        if value in self.tumors.organ:
            return "organ"
        return "tumor" if self.tumors.values is None or value in self.tumors.values else ""


def survey_of(
    root: Path,
    layout: str = "auto",
    sequence: str | int | None = None,
    patient_regex: str | None = None,
    tumor_labels: tuple[int, ...] | None = None,
    *,
    together: bool = True,
) -> Survey:
    """Finds and reads all cases, with all sequences that most of them have, where none is chosen.

    Args:
        together: whether several sequences are channels of one image; else, and where there is no label, FLAIR or the
            first is taken.

    Raises:
        DataError: if no layout is recognised, or the folder is not complete in its layout.
        ConfigError: for an unknown layout or sequence.
    """
    began = time.monotonic()
    found, sequences, named = _found(root, layout, sequence, patient_regex, together)
    name = recognise(root) if layout == "auto" else layout
    mixture, names = mixture_in(root, name, found), names_for(root, name, found)
    synthetic, cases = [case.case for case in found if is_synthetic(case)], [c for c in found if not is_synthetic(c)]
    tumors = Tumors(tumor_labels, "as you say") if tumor_labels else tumors_of(names, names, name)
    with track("look at scans", len(cases)) as tracker:
        facts, refusals = look_at(cases, tracker.advance, tumors.values)
    survey = Survey(
        root=root,
        layout=name,
        sequences=sequences,
        named=named,
        patient_regex=patient_regex,
        names=names,
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


def _found(
    root: Path, layout: str, sequence: str | int | None, patient_regex: str | None, together: bool
) -> tuple[list[Case], tuple[str | int | None, ...], list[str]]:
    """The cases, the sequences that are their channels, and the names of all that the data set has."""

    def cases(one: str | int | None = None, several: tuple[str, ...] | None = None) -> list[Case]:
        return find_cases(
            root, layout=layout, sequence=one, sequences=several, missing="zero", patient_regex=patient_regex
        )

    named = sequences_in(root, layout) if sequence is None else []
    if not named:
        return cases(sequence), (sequence,), []
    preferred = next((name for name in named if name.lower() == PREFERRED), named[0])
    try:
        found = cases(several=tuple(named)) if together else []
    except DataError:  # their cases have other names
        found = []
    if not any(case.label for case in found):
        return cases(preferred), (preferred,), named
    lacking = [sum(not case.sequences[number].image for case in found) for number in range(len(named))]
    common = tuple(name for name, count in zip(named, lacking, strict=True) if 2 * count < len(found)) or (preferred,)
    if len(common) == 1:
        return cases(common[0]), common, named
    return found if len(common) == len(named) else cases(several=common), common, named
