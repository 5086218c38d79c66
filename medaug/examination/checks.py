"""What could go wrong with a data set before anything is trained: one answer a question, with the cases it is about.

"fail": `prepare`, or what follows it, would refuse something, or a test patient would leak. "warn": it runs, and you
should know. The limits are named here; docs/doctor.md says why they are what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medaug.config import PipelineConfig
from medaug.config.data import DataConfig
from medaug.data.decoding import Options, decode
from medaug.data.visits import REMEDY, doubts_of
from medaug.errors import ConfigError, DataError, MedaugError
from medaug.examination.duplicates import Pair, equal_pairs, similar_pairs
from medaug.examination.looking import SPECK_MM, Look, by_text, grouped, rare_values, spacing_text, summary_of
from medaug.examination.modality import check_modality_setting
from medaug.examination.scans import Refusal, ScanFacts
from medaug.examination.suggestion import LEAST_TESTED, differ, fits, plane_spacings_mm, sections_of, split_of

PREVALENCE_LIMIT = 0.1
"""Difference, in the share of slices with something labelled, from which two domains are a risk (docs/doctor.md)."""
INTENSITY_LIMIT = 10.0
"""Times the median of the scans' 99.5th percentiles, or its inverse."""
LEAST_PATIENTS = 10
"""Labelled patients below whom intervals are wide."""

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """The answer to one question; `named` lists files, cases or patients."""

    name: str
    verdict: Verdict
    sentence: str
    named: list[str]


def refusals_of(look: Look, data: DataConfig, section: str, *, tumors: bool) -> list[Refusal]:
    """Everything `prepare` would refuse of this data set with these settings, in the order of the cases.

    Args:
        tumors: only labelled cases are read.
    """
    if tumors:
        kept = {case["image"] for case in look.cases if case["label"] is not None}
        kept |= {case["label"] for case in look.cases if case["label"] is not None}
        found = [refusal for refusal in look.refusals if refusal.path in kept]
    else:
        found = list(look.refusals)
    needs_window = not look.looks_like_hu and data.window is None
    found = [r for r in found if needs_window or "almost constant" not in r.reason]
    return found + _undeclared(look, data) + _of_other_modality(look, data, section)


def checks_of(
    look: Look, data: DataConfig, refusals: list[Refusal], config: PipelineConfig, *, tumors: bool
) -> list[Check]:
    """The checks of one data set.

    Args:
        data: the suggested settings of this data set, a part of `config`.
        refusals: from `refusals_of`.
    """
    checks = [
        _layout(look),
        _names(look),
        _readable(look, refusals),
        _intensity(look),
        _grid(look, data),
        _orientation(look),
    ]
    if look.synthetic:
        checks.append(
            Check(
                "synthetic",
                "warn",
                f"{len(look.synthetic)} case(s) were made by medaug: they are no patients, are never "
                "tested, and train only where nobody else had a part in them (docs/exports.md)",
                look.synthetic,
            )
        )
    if tumors:
        checks.append(_labels(look))
        if look.labelled:
            verdict: Verdict = "fail" if look.tumors.undecided else "pass"
            checks += [Check("tumors", verdict, look.tumors.sentence, []), _lesions(look, config)]
    return [*checks, *_duplicates(look.facts)]


def patients_check(config: PipelineConfig, look: Look, target: Look | None) -> Check:
    """Whether the suggested split has enough patients."""
    if target is None and not look.is_for_tumors:
        return Check("patients", "pass", f"{len({fact.patient for fact in look.facts})}, none with a label", [])
    if target is None and not look.labelled:
        return Check("patients", "fail", "no patient with a label; expected some to train and at least 2 to test", [])
    try:
        split = split_of(config, look, target)
    except DataError as error:
        return Check("patients", "fail", str(error), [])
    patients = (*split.train, *split.validation, *split.test)
    sentence = f"{len(split.train)} train, {len(split.validation)} validate, {len(split.test)} test"
    if len(split.test) < LEAST_TESTED:
        least = f"; found {len(split.test)} to test, expected at least {LEAST_TESTED} for an interval. Add patients."
        return Check("patients", "fail", sentence + least, [])
    few = len(patients) < LEAST_PATIENTS
    return Check("patients", "warn" if few else "pass", sentence + ("; intervals will be wide" if few else ""), [])


def prevalence_check(look: Look, target: Look | None) -> Check:
    """The risk that a translation adds or removes tumors because one domain shows more of them (Cohen 2018)."""
    of_a = summary_of(look).prevalence
    if target is None:
        sentence = (
            "no label"
            if of_a is None
            else (f"{of_a.by_slice:.0%} of slices show a tumor; insertion changes nothing outside its mask")
        )
        return Check("prevalence", "pass", sentence, [])
    of_b = summary_of(target).prevalence
    if of_a is None or of_b is None:
        side = "data" if of_a is None else "target"
        return Check(
            "prevalence",
            "warn",
            f"unknown: {side} has no label. A translation may add or remove tumors if "
            "one kind of image shows more of them; audit it with `medaug audit`.",
            [],
        )
    found = f"{of_a.by_slice:.0%} of the slices of data show something labelled, {of_b.by_slice:.0%} of target"
    if abs(of_a.by_slice - of_b.by_slice) <= PREVALENCE_LIMIT:
        return Check("prevalence", "pass", found, [])
    return Check(
        "prevalence",
        "warn",
        f"{found}: they differ by more than {PREVALENCE_LIMIT:.0%}, and a translation may add or "
        "remove tumors to even that out. Balance the two, or set pairing.tumor_share.",
        [],
    )


def _undeclared(look: Look, data: DataConfig) -> list[Refusal]:
    """Labels with values that the suggestion does not declare, in `prepare`'s words."""
    rare, cases = set(rare_values(look)), {case["case"]: case for case in look.cases}
    found = []
    for fact in look.labelled:
        if data.known_labels is not None and rare & fact.marked.voxels.keys():
            case = cases[fact.case]
            try:
                decode(case, Options(spatial_dims=2, known_labels=data.known_labels))
            except MedaugError as error:
                found.append(Refusal(case["label"], str(error)))
    return found


def _of_other_modality(look: Look, data: DataConfig, section: str) -> list[Refusal]:
    found = []
    for fact in look.facts:
        try:
            check_modality_setting(section, data.modality, fact.image, fact.lowest, fact.modality)
        except ConfigError as error:
            found.append(Refusal(fact.image, str(error)))
    return found


def _layout(look: Look) -> Check:
    said = [] if look.mixture is None else [look.mixture]
    if look.sequences:
        others = ", ".join(name for name in look.sequences if name != look.sequence)
        said.append(f"{look.sequence} was looked at. Choose another with `--sequence`: {others}.")
    return Check("layout", "warn" if said else "pass", "; ".join([look.layout, *said]), [])


def _names(look: Look) -> Check:
    """Whose scans they are."""
    patients = {case["patient"] for case in look.cases}
    doubts = doubts_of(patients, stated=look.patient_regex is not None)
    if doubts:
        return Check("names", "warn", f"{'; '.join(doubts)}. If they are of one patient, {REMEDY}", [])
    scans = {case["scan"] for case in look.cases}
    return Check("names", "pass", f"{len(scans)} scan(s) of {len(patients)} patient(s)", [])


def _readable(look: Look, refusals: list[Refusal]) -> Check:
    read = (
        f"{len(look.facts)} of {len(look.cases)} cases"
        if len(look.facts) < len(look.cases)
        else (f"all {len(look.cases)} cases")
    )
    if refusals:
        sentence = f"{read}; {len(refusals)} would be refused; `--skip-unreadable` goes on without unreadable files"
        return Check("readable", "fail", sentence, [refusal.reason for refusal in refusals])
    if len(look.facts) < len(look.cases):
        sentence = f"{read}; the others have no label, and are left out in any case"
        return Check("readable", "warn", sentence, [refusal.reason for refusal in look.refusals])
    return Check("readable", "pass", read, [])


def _intensity(look: Look) -> Check:
    if not look.facts:
        return Check("intensity", "fail", "nothing could be read", [])
    if look.modality == "CT" and not look.looks_like_hu:
        return Check("intensity", "warn", "called CT, and nothing is as dark as air in HU: grey levels, not HU", [])
    highs = np.array([fact.percentiles[2] - min(fact.percentiles[0], 0) for fact in look.facts])
    ratio = highs / max(float(np.median(highs)), 1e-12)
    odd = [
        fact.case for fact, r in zip(look.facts, ratio, strict=True) if not 1 / INTENSITY_LIMIT <= r <= INTENSITY_LIMIT
    ]
    if odd:
        return Check(
            "intensity",
            "warn",
            f"{len(odd)} scan(s) more than {INTENSITY_LIMIT:g} times brighter or darker "
            "than most; each scan has its own window, so this does no harm by itself",
            odd,
        )
    return Check(
        "intensity", "pass", "HU" if look.looks_like_hu else "no absolute unit; each scan has its own window", []
    )


def _grid(look: Look, data: DataConfig) -> Check:
    """In 2-D work only the plane has to be shared; the suggestion resamples where it is not."""
    if not look.facts:
        return Check("grid", "pass", "nothing to compare", [])
    largest = grouped(look.facts, [spacing_text(fact) for fact in look.facts])[0].value
    off = differ(plane_spacings_mm(look.facts))
    if off.any():
        odd = [f"{fact.case} ({spacing_text(fact)})" for fact, is_off in zip(look.facts, off, strict=True) if is_off]
        remedy = f"data.resample_mm={list(data.resample_mm or ())} brings all to one"
        return Check("grid", "warn", f"{len(odd)} scan(s) have another voxel size than {largest}; {remedy}", odd)
    note = ""
    if differ(np.array([fact.shape[:2] for fact in look.facts])).any():
        note = "; slices differ in size: data.grid_size would make their voxels unequal, data.resample_mm does not"
    if any(fact.spacing_mm is None for fact in look.facts):
        sentence = f"no voxel size stored: sizes are in pixels. Set data.spacing_mm if you know it{note}"
        return Check("grid", "warn", sentence, [])
    return Check("grid", "pass", f"one voxel size: {largest}{note}", [])


def _orientation(look: Look) -> Check:
    facts = [fact for fact in look.facts if fact.orientation is not None]
    if not facts:
        return Check("orientation", "pass", "not stored (2-D)", [])
    first, *others = grouped(facts, [fact.orientation or "" for fact in facts])
    if not others:
        return Check("orientation", "pass", first.value, [])
    odd = [f"{case} ({group.value})" for group in others for case in group.cases]
    turned = any(group.value[2] not in _axis(first.value[2]) for group in others)
    effect = "in another order of axes" if turned else "mirrored"
    return Check(
        "orientation",
        "warn",
        f"{len(odd)} scan(s) are stored {effect}, not as {first.value}: all are turned "
        "alike by what their headers say. Check that those are right.",
        odd,
    )


def _axis(letter: str) -> str:
    """Both ends of an axis."""
    return next(axis for axis in ("LR", "AP", "IS") if letter in axis)


def _labels(look: Look) -> Check:
    missing = [case["case"] for case in look.cases if case["label"] is None]
    if not look.is_for_tumors:
        others = [name for name in look.sequences if name != look.sequence]
        here = f", here with `--target-sequence {others[0]}`" if others else ""
        return Check(
            "labels",
            "warn",
            f"{len(missing)} images and no label: there is no tumor to learn from, and they "
            f"are one side of a translation (`--target`{here}), no more",
            [],
        )
    if len(missing) == len(look.cases):
        return Check(
            "labels",
            "fail",
            f"{len(missing)} images and no label; expected a label beside every training "
            "image. Add the labels, or translate to a second kind of image (`--target`).",
            [],
        )
    if missing:
        return Check("labels", "warn", f"{len(missing)} case(s) have no label and are left out", missing)
    empty = [fact.case for fact in look.labelled if not fact.marked.voxels]
    note = f"; {len(empty)} of them empty" if empty else ""
    return Check("labels", "pass", f"every case has one{note}", [])


def _lesions(look: Look, config: PipelineConfig) -> Check:
    found, unit = summary_of(look).lesions, look.length_unit
    if found is None:
        return Check(
            "lesions",
            "fail",
            f"no labelled part of {SPECK_MM:g} {unit} or more; expected tumors to learn "
            "from. Check the labels' values and the voxel size.",
            [],
        )
    without = sorted(
        {fact.patient for fact in look.labelled} - {fact.patient for fact in look.labelled if fact.marked.voxels}
    )
    note = f"; {len(without)} patient(s) have none" if without else ""
    return _with_crop(look, config, f"{found.count}, {found.per_patient.median:g} a patient{note}", without)


def _with_crop(look: Look, config: PipelineConfig, sentence: str, without: list[str]) -> Check:
    """How many of the lesions the suggested crop leaves out, and whether the training patients have any other."""
    crop, working = config.crop.size or (), config.data.resample_mm
    sections = sections_of(look, working[0] if working else None)
    left_out = [fact for fact, _, extent in sections if not fits(extent, crop)]
    what = "lesions" if all(len(fact.shape) == 2 for fact in look.labelled) else "slices of lesions"
    if left_out:
        sentence += (
            f". {len(left_out)} of {len(sections)} {what} do not fit the suggested crop of {by_text(crop)} voxels, and "
            "are not learned from; they are trained and scored on downstream"
        )
    try:
        training = split_of(config, look, None).train
    except DataError:  # `patients_check` says so
        training = ()
    learned = any(
        fact.patient in training and diameter >= config.crop.min_diameter_mm and fits(extent, crop)
        for fact, diameter, extent in sections
    )
    if training and not learned:
        return Check(
            "lesions",
            "fail",
            f"{sentence}. The training patients have nothing else to learn from; choose "
            "another split.seed, or add patients",
            [],
        )
    names = list(dict.fromkeys(fact.case for fact in left_out))
    return Check("lesions", "warn" if left_out else "pass", sentence, [*without, *names])


def copies_check(look: Look, target: Look) -> Iterator[Check]:
    """What `data` and `target` have in common under two names: one split is drawn over both."""
    in_data = {id(fact) for fact in look.facts}
    pairs = [(a, b) for a, b in equal_pairs([*look.facts, *target.facts]) if (id(a) in in_data) != (id(b) in in_data)]
    if across := [(a, b) for a, b in pairs if a.patient != b.patient]:
        yield Check("duplicates", "fail", f"data and target: {_under_two_names(across)}", _named(across))


def _under_two_names(pairs: list[Pair]) -> str:
    return (
        f"{len(pairs)} pair(s) of images that are the same, or share a slice, under two patients: a test patient would "
        "be trained on. Give them one patient name, or remove one."
    )


def _duplicates(facts: list[ScanFacts]) -> Iterator[Check]:
    equal, similar = equal_pairs(facts), similar_pairs(facts) if facts else []
    across = [pair for pair in equal if pair[0].patient != pair[1].patient]
    if across:
        yield Check("duplicates", "fail", _under_two_names(across), _named(across))
    elif equal:
        sentence = f"{len(equal)} pair(s) of images of one patient that are the same, or share a slice"
        yield Check("duplicates", "warn", sentence, _named(equal))
    else:
        yield Check("duplicates", "pass", "no two images are the same, or share a slice", [])
    if similar:
        yield Check(
            "near-duplicates",
            "warn",
            f"{len(similar)} pair(s) of nearly identical images under two patients: "
            "look at them; one scan may be there twice",
            _named(similar),
        )


def _named(pairs: list[Pair]) -> list[str]:
    return [f"{a.case} ({a.patient}) and {b.case} ({b.patient})" for a, b in pairs]
