"""Checks of what sequences and labels hold: which are there, in which unit, and which value is which part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from medaug.examination.survey import Survey

INTENSITY_LIMIT = 10.0
"""Times the median of the scans' 99.5th percentiles, or its inverse."""
LEAST_HOLDERS, RARE = 3, 0.1
"""Patients, and their share, below whom a part of the tumor is rare."""

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """The answer to one question; `named` lists files, cases or patients."""

    name: str
    verdict: Verdict
    sentence: str
    named: list[str] = field(default_factory=list)


def sequences_check(survey: Survey) -> Check:
    """Which of several were looked at; which cases lack one, and where one is a copy of another."""
    chosen = [str(name) for name in survey.sequences]
    others = ", ".join(name for name in survey.named if name not in chosen)
    lacking = [f"{case} lacks {s.name}" for s in survey.channels for case in s.lacking]
    copies = [
        f"{case}: {other} and {s.name} are one image"
        for s in survey.channels
        for other, of in s.copies.items()
        for case in of
    ]
    sentence = ", ".join(chosen)
    if others:
        rarely = "most cases lack " if len(chosen) > 1 else "choose another with `--sequence`: "
        sentence += f"; {rarely}{others}"
    if copies:
        doubled = {case for s in survey.channels for of in s.copies.values() for case in of}
        sentence += f"; {len(doubled)} case(s) have one image under two names"
    if lacking:
        remedy = "Add the files, leave the cases or the sequence out, or set data.missing=zero"
        return Check("sequences", "fail", f"{sentence}; {len(lacking)} are lacking. {remedy}", [*lacking, *copies])
    return Check("sequences", "warn" if others or copies else "pass", sentence, copies)


def tumors_check(survey: Survey) -> Check:
    tumors = survey.tumors
    if tumors.undecided and tumors.parts:
        named = ", ".join(tumors.parts)
        sentence = (
            f"no name says tumor ({named}): the suggestion takes all as its parts; `--tumor-labels` says otherwise"
        )
        return Check("tumors", "warn", sentence)
    return Check("tumors", "fail" if tumors.undecided else "pass", tumors.sentence)


def parts_check(survey: Survey) -> Check:
    """Which values are which part of the tumor, and which are rare."""
    patients = {fact.patient for fact in survey.labelled}
    holders = {
        part: {fact.patient for fact in survey.labelled if not set(values).isdisjoint(fact.marked.voxels)}
        for part, values in survey.tumors.parts.items()
    }
    said = [
        f"{part} = {', '.join(map(str, values))} (in {len(holders[part])} of {len(patients)} patients)"
        for part, values in survey.tumors.parts.items()
    ]
    rare = [part for part, who in holders.items() if len(who) < max(LEAST_HOLDERS, RARE * len(patients))]
    if rare:
        few = f"{', '.join(rare)}: too few patients to learn from and to score; join it to another in data.tumor"
        return Check("parts", "warn", f"{'; '.join(said)}. {few}")
    return Check("parts", "pass", "; ".join(said))


def intensity_check(survey: Survey) -> Check:
    if not survey.facts:
        return Check("intensity", "fail", "nothing could be read")
    odd: list[str] = []
    units: dict[str, list[str]] = {}
    for number, sequence in enumerate(survey.channels):
        named = "" if len(survey.channels) == 1 else f"{sequence.name}: "
        if sequence.modality == "CT" and not sequence.looks_like_hu:
            return Check("intensity", "warn", f"{named}called CT, and nothing is as dark as air in HU: grey levels")
        held = [(fact.case, channel) for fact in survey.facts if (channel := fact.channels[number]) is not None]
        highs = np.array([channel.percentiles[2] - min(channel.percentiles[0], 0) for _, channel in held])
        ratio = highs / max(float(np.median(highs)), 1e-12)
        is_odd = (ratio < 1 / INTENSITY_LIMIT) | (ratio > INTENSITY_LIMIT)
        odd += [f"{named}{case}" for (case, _), is_one in zip(held, is_odd, strict=True) if is_one]
        absolute = "HU" if sequence.looks_like_hu else "SUV" if sequence.looks_like_suv else None
        units.setdefault(absolute or "no absolute unit; each scan has its own window", []).append(str(sequence.name))
    if odd:
        sentence = (
            f"{len(odd)} scan(s) more than {INTENSITY_LIMIT:g} times brighter or darker than most; each scan has "
            "its own window, so this does no harm by itself"
        )
        return Check("intensity", "warn", sentence, odd)
    said = [f"{unit} ({', '.join(names)})" if len(survey.channels) > 1 else unit for unit, names in units.items()]
    return Check("intensity", "pass", "; ".join(said))
