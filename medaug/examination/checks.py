"""What could go wrong with a data set before anything is trained: one answer a question, with the cases it is about.

"fail": `prepare`, or what follows it, would refuse something, or a test patient would leak. "warn": it runs, and you
should know. The limits are named here; docs/doctor.md says why they are what they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medaug.config import PipelineConfig
from medaug.config.data import DataConfig
from medaug.data.decoding import check_known_labels, check_organ
from medaug.data.visits import REMEDY, doubts_of
from medaug.errors import ConfigError, DataError
from medaug.examination.content_checks import Check, intensity_check, parts_check, sequences_check, tumors_check
from medaug.examination.figures import SPECK_MM, by_text, grouped, spacing_text
from medaug.examination.scans import Refusal, ScanFacts, Twins, equal_twins, similar_twins
from medaug.examination.suggestion import LEAST_TESTED, differ, fits, plane_spacings_mm, sections_of, split_of
from medaug.examination.survey import Survey
from medaug.volumes import Percentiles

PREVALENCE_LIMIT = 0.1
"""Difference, in the share of slices with something labelled, from which two domains are a risk (docs/doctor.md)."""
LEAST_PATIENTS = 10
"""Labelled patients below whom intervals are wide."""


def refusals_of(survey: Survey, data: DataConfig, section: str, *, tumors: bool) -> list[Refusal]:
    """All that `prepare` would refuse of this data set, in the order of the cases; `tumors`: only labelled are read."""
    labels = {case.case: case.label for case in survey.cases}
    kept = {file.image for case in survey.cases if case.label is not None for file in case.sequences}
    own_windows = [isinstance(domain.window, Percentiles) for domain in data.domain("any").channels]
    windowed = {
        file.image
        for case in survey.cases
        for file, own_window in zip(case.sequences, own_windows, strict=True)
        if not own_window
    }
    found = [
        refusal
        for refusal in survey.refusals
        if (refusal.path in kept | set(labels.values()) or not tumors)
        and not ("almost constant" in refusal.reason and refusal.path in windowed)
    ]
    for fact in survey.labelled:
        label = str(labels[fact.case])
        try:
            check_known_labels(fact.marked.voxels, data.allowed_labels, label)
            if isinstance(data.organ, tuple):
                check_organ(fact.marked.voxels, data.organ, label)
        except DataError as error:
            found.append(Refusal(label, str(error)))
    for fact in survey.facts:
        for number, channel in enumerate(fact.channels):
            if channel is None:
                continue
            try:
                data.check_modality(section, channel.image, channel.lowest, channel.modality, number)
            except ConfigError as error:
                found.append(Refusal(channel.image, str(error)))
    return found


def checks_of(
    survey: Survey, data: DataConfig, refusals: list[Refusal], config: PipelineConfig, *, tumors: bool
) -> Iterator[Check]:
    """The checks of one data set; `data` is the part of `config` that is about it, `refusals` are of `refusals_of`."""
    said = [] if survey.mixture is None else [survey.mixture]
    yield Check("layout", "warn" if said else "pass", "; ".join([survey.layout, *said]))
    yield _names(survey)
    if survey.named:
        yield sequences_check(survey)
    yield _readable(survey, refusals)
    yield intensity_check(survey)
    yield _grid(survey, data)
    yield _orientation(survey)
    if survey.synthetic:
        sentence = (
            f"{len(survey.synthetic)} case(s) were made by medaug: they are no patients, are never tested, and train "
            "only where nobody else had a part in them (docs/exports.md)"
        )
        yield Check("synthetic", "warn", sentence, survey.synthetic)
    if tumors:
        yield _labels(survey)
        if survey.labelled:
            yield tumors_check(survey)
            if survey.tumors.parts:
                yield parts_check(survey)
            yield _lesions(survey, config)
    yield from _duplicates(survey.facts)


def patients_check(config: PipelineConfig, survey: Survey, target: Survey | None) -> Check:
    """Whether the suggested split has enough patients."""
    if target is None and not survey.is_for_tumors:
        return Check("patients", "pass", f"{len({fact.patient for fact in survey.facts})}, none with a label")
    if target is None and not survey.labelled:
        return Check("patients", "fail", "no patient with a label; expected some to train and at least 2 to test")
    try:
        split = split_of(config, survey, target)
    except DataError as error:
        return Check("patients", "fail", str(error))
    sentence = f"{len(split.train)} train, {len(split.validation)} validate, {len(split.test)} test"
    if len(split.test) < LEAST_TESTED:
        least = f"; found {len(split.test)} to test, expected at least {LEAST_TESTED} for an interval. Add patients."
        return Check("patients", "fail", sentence + least)
    if len(split.train) + len(split.validation) + len(split.test) < LEAST_PATIENTS:
        return Check("patients", "warn", f"{sentence}; intervals will be wide")
    return Check("patients", "pass", sentence)


def prevalence_check(survey: Survey, target: Survey | None) -> Check:
    """The risk that a translation adds or removes tumors because one domain shows more of them (Cohen 2018)."""
    of_a = survey.summary.prevalence
    if target is None:
        if of_a is None:
            return Check("prevalence", "pass", "no label")
        shown = f"{of_a.by_slice:.0%} of slices show a tumor"
        return Check("prevalence", "pass", f"{shown}; insertion changes nothing outside its mask")
    of_b = target.summary.prevalence
    if of_a is None or of_b is None:
        sentence = (
            f"unknown: {'data' if of_a is None else 'target'} has no label. A translation may add or remove tumors if "
            "one kind of image shows more of them; audit it with `medaug audit`."
        )
        return Check("prevalence", "warn", sentence)
    found = f"{of_a.by_slice:.0%} of the slices of data show something labelled, {of_b.by_slice:.0%} of target"
    if abs(of_a.by_slice - of_b.by_slice) <= PREVALENCE_LIMIT:
        return Check("prevalence", "pass", found)
    sentence = (
        f"{found}: they differ by more than {PREVALENCE_LIMIT:.0%}, and a translation may add or remove tumors to even "
        "that out. Balance the two, or set pairing.tumor_share."
    )
    return Check("prevalence", "warn", sentence)


def copies_check(survey: Survey, target: Survey) -> list[Check]:
    """What `data` and `target` have in common under two names: one split is drawn over both."""
    in_data = {id(fact) for fact in survey.facts}
    twins = equal_twins([*survey.facts, *target.facts])
    return _under_two_names([(a, b) for a, b in twins if (id(a) in in_data) != (id(b) in in_data)], "data and target: ")


def _names(survey: Survey) -> Check:
    """Whose scans they are."""
    patients, scans = {case.patient for case in survey.cases}, {case.scan for case in survey.cases}
    if doubts := doubts_of(patients, stated=survey.patient_regex is not None):
        return Check("names", "warn", f"{'; '.join(doubts)}. If they are of one patient, {REMEDY}")
    return Check("names", "pass", f"{len(scans)} scan(s) of {len(patients)} patient(s)")


def _readable(survey: Survey, refusals: list[Refusal]) -> Check:
    read, count = len(survey.facts), len(survey.cases)
    sentence = f"all {count} cases" if read == count else f"{read} of {count} cases"
    if refusals:
        sentence += f"; {len(refusals)} would be refused; `--skip-unreadable` goes on without unreadable files"
        return Check("readable", "fail", sentence, [refusal.reason for refusal in refusals])
    if read < count:
        sentence += "; the others have no label, and are left out in any case"
        return Check("readable", "warn", sentence, [refusal.reason for refusal in survey.refusals])
    return Check("readable", "pass", sentence)


def _grid(survey: Survey, data: DataConfig) -> Check:
    """Scans need to share the plane's voxel size alone, in 2-D work; the suggestion resamples where they do not."""
    if not survey.facts:
        return Check("grid", "pass", "nothing to compare")
    largest = survey.summary.spacings_mm[0].value
    off = differ(plane_spacings_mm(survey.facts))
    if off.any():
        odd = [f"{f.case} ({spacing_text(f)})" for f, is_off in zip(survey.facts, off, strict=True) if is_off]
        remedy = f"data.resample_mm={list(data.resample_mm or ())} brings all to one"
        return Check("grid", "warn", f"{len(odd)} scan(s) have another voxel size than {largest}; {remedy}", odd)
    note = ""
    if differ(np.array([fact.shape[:2] for fact in survey.facts])).any():
        note = "; slices differ in size: data.grid_size would make their voxels unequal, data.resample_mm does not"
    if any(fact.spacing_mm is None for fact in survey.facts):
        sentence = f"no voxel size stored: sizes are in pixels. Set data.spacing_mm if you know it{note}"
        return Check("grid", "warn", sentence)
    return Check("grid", "pass", f"one voxel size: {largest}{note}")


def _orientation(survey: Survey) -> Check:
    facts = [fact for fact in survey.facts if fact.orientation is not None]
    if not facts:
        return Check("orientation", "pass", "not stored (2-D)")
    first, *others = grouped(facts, [fact.orientation or "" for fact in facts])
    if not others:
        return Check("orientation", "pass", first.value)
    odd = [f"{case} ({group.value})" for group in others for case in group.cases]
    axis = next(ends for ends in ("LR", "AP", "IS") if first.value[2] in ends)
    effect = "in another order of axes" if any(group.value[2] not in axis for group in others) else "mirrored"
    sentence = (
        f"{len(odd)} scan(s) are stored {effect}, not as {first.value}: all are turned alike by what their headers "
        "say. Check that those are right."
    )
    return Check("orientation", "warn", sentence, odd)


def _labels(survey: Survey) -> Check:
    missing = [case.case for case in survey.cases if case.label is None]
    if not survey.is_for_tumors:
        others = [name for name in survey.named if name not in survey.sequences]
        here = f", here with `--target-sequence {others[0]}`" if others else ""
        sentence = (
            f"{len(missing)} images and no label: there is no tumor to learn from, and they are one side of a "
            f"translation (`--target`{here}), no more"
        )
        return Check("labels", "warn", sentence)
    if len(missing) == len(survey.cases):
        sentence = (
            f"{len(missing)} images and no label; expected a label beside every training image. Add the labels, or "
            "translate to a second kind of image (`--target`)."
        )
        return Check("labels", "fail", sentence)
    if missing:
        return Check("labels", "warn", f"{len(missing)} case(s) have no label and are left out", missing)
    empty = sum(not fact.marked.voxels for fact in survey.labelled)
    return Check("labels", "pass", "every case has one" + (f"; {empty} of them empty" if empty else ""))


def _lesions(survey: Survey, config: PipelineConfig) -> Check:
    """How many there are, how many of them the suggested crop leaves out, and whether any is left to learn from."""
    figures, labelled = survey.summary.lesions, survey.labelled
    if figures is None:
        sentence = (
            f"no labelled part of {SPECK_MM:g} {survey.length_unit} or more; expected tumors to learn from. Check the "
            "labels' values and the voxel size."
        )
        return Check("lesions", "fail", sentence)
    without = sorted({f.patient for f in labelled} - {f.patient for f in labelled if f.marked.voxels})
    sentence = f"{figures.count}, {figures.per_patient.median:g} a patient"
    sentence += f"; {len(without)} patient(s) have none" if without else ""
    crop, working = config.crop.size or (), config.data.resample_mm
    sections = sections_of(survey, working[0] if working else None)
    left_out = [fact for fact, _, extent in sections if not fits(extent, crop)]
    if left_out:
        what = "lesions" if all(len(fact.shape) == 2 for fact in labelled) else "slices of lesions"
        sentence += (
            f". {len(left_out)} of {len(sections)} {what} do not fit the suggested crop of {by_text(crop)} voxels, and "
            "are not learned from; they are trained and scored on downstream"
        )
    try:
        training = split_of(config, survey, None).train
    except DataError:  # `patients_check` says so
        training = ()
    learned = any(
        fact.patient in training and diameter >= config.crop.min_diameter_mm and fits(extent, crop)
        for fact, diameter, extent in sections
    )
    if training and not learned:
        nothing = "The training patients have nothing else to learn from; choose another split.seed, or add patients"
        return Check("lesions", "fail", f"{sentence}. {nothing}")
    names = dict.fromkeys(fact.case for fact in left_out)
    return Check("lesions", "warn" if left_out else "pass", sentence, [*without, *names])


def _duplicates(facts: list[ScanFacts]) -> Iterator[Check]:
    equal, similar = equal_twins(facts), similar_twins(facts)
    if refused := _under_two_names(equal):
        yield from refused
    elif equal:
        sentence = f"{len(equal)} pair(s) of images of one patient that are the same, or share a slice"
        yield Check("duplicates", "warn", sentence, _named(equal))
    else:
        yield Check("duplicates", "pass", "no two images are the same, or share a slice")
    if similar:
        sentence = f"{len(similar)} pair(s) of nearly identical images under two patients: look at them; one scan may "
        yield Check("near-duplicates", "warn", f"{sentence}be there twice", _named(similar))


def _under_two_names(twins: list[Twins], where: str = "") -> list[Check]:
    """The failure that twins of two patients are; none if there are none."""
    across = [(a, b) for a, b in twins if a.patient != b.patient]
    sentence = (
        f"{where}{len(across)} pair(s) of images that are the same, or share a slice, under two patients: a test "
        "patient would be trained on. Give them one patient name, or remove one."
    )
    return [Check("duplicates", "fail", sentence, _named(across))] if across else []


def _named(twins: list[Twins]) -> list[str]:
    return [f"{a.case} ({a.patient}) and {b.case} ({b.patient})" for a, b in twins]
