"""Whose scan it is: visits of one patient are one patient in every layout, as far as their names tell it.

`TABLE` holds the names that are clear. What is not clear is said by `patients.json` beside the data, by the `patient`
of a datalist or a DICOM header, or by a regular expression (`--patient-regex`); names that only look like visits stay
as they are, and are told (`doubts_of`).
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from medaug.data.atomic import read_json
from medaug.data.cases import natural_key
from medaug.data.records import Case
from medaug.errors import ConfigError, DataError

log = logging.getLogger(__name__)

PATIENTS_JSON = '{"<case>": "<patient>", ...}'
REMEDY = f"write {PATIENTS_JSON} as patients.json beside the data, or give `--patient-regex`"

_LONG = r"ses|sess|session|visit|time[-_ ]?point"
_COUNTED = rf"{_LONG}|vis|time|tp|frame|follow[-_ ]?up|fup?|week|wk|month|mo|day|year|yr|slice|run"
_NAMED = (
    r"baseline|bl|screening|recurrence|progression|before|after|left|right|cc|mlo|ed|es|follow[-_ ]?up|fu"
    r"|(?:pre|post|intra)(?:[-_ ]?(?:op|operative|surgery|treatment|therapy|chemo|rt|contrast))?\d*"
)
_VISIT = (
    rf"(?:{_COUNTED})[-_ #]*\d+[a-z]?(?:[-_.]\d+)?|(?:{_LONG})[-_ ][a-z0-9]+|(?:{_NAMED})"
    r"|\d+[-_ ]?(?:months?|mo|weeks?|wk|days?|years?|yrs?)"
)
_DATE = r"(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])"
_SEQUENCE = r"t1|t1w|t1n|t1c|t1ce|t1gd|t2|t2w|t2f|flair|dwi|adc|swi|pd|ct|pet|mr|mri"
_NUMBERED = r"(?P<patient>.*\d.*?)"  # a name with a number in it

TABLE: dict[str, re.Pattern[str]] = {
    what: re.compile(pattern, re.IGNORECASE)
    for what, pattern in {
        "BIDS": r"(?P<patient>sub-[a-z0-9]+)_[a-z].*",
        "BraTS from 2023 on": r"(?P<patient>brats[-_][a-z]+(?:[-_]rt)?[-_]\d{4,5})[-_]\d{1,3}",
        "TCIA": (
            r"(?P<patient>tcga[-_.][a-z0-9]{2}[-_.][a-z0-9]{4}|lidc[-_]idri[-_]\d{4}|upenn[-_]gbm[-_]\d{5}"
            r"|ucsf[-_]pdgm[-_]\d{3,4}|c3[ln][-_]\d{5})[-_. ].+"
        ),
        "ADNI, OASIS": r"(?P<patient>(?:adni_)?\d{3}_s_\d{4,5}|oas[12]_\d{4}|oas3\d{4})[-_].+",
        "PI-CAI": r"(?P<patient>1\d{4})_1\d{6}",
        "a patient's number": r"(?P<patient>(?:patient|subject|subj|participant|pat|pt)[-_ ]?(?:id)?[-_ ]?\d+)[-_ ].+",
        "a visit": rf"(?P<patient>.+?)(?:[-_. ]+|(?<=\d)(?=ses|visit|time))(?:{_VISIT})",
        "a date": rf"{_NUMBERED}[-_. ]+{_DATE}",
        "a short visit": rf"{_NUMBERED}[-_. ]+(?:[tvdmwy]\d{{1,4}}|{_SEQUENCE})",
    }.items()
}
"""What a name that holds more than a patient looks like, in the order of trial; upper and lower case alike."""


def patient_in(name: str) -> str:
    """The patient that a scan's name tells: all of it where it tells no more."""
    while match := next((m for pattern in TABLE.values() if (m := pattern.fullmatch(name))), None):
        name = match["patient"]
    return name


def is_visit(name: str) -> bool:
    """Whether a name says when, and not who: `Timepoint_1`, `week-000`, `baseline`, `2019-03-28`."""
    return re.fullmatch(rf"{_VISIT}|{_DATE}", name, re.IGNORECASE) is not None


def with_patients(cases: list[Case], root: Path, regex: str | None = None) -> list[Case]:
    """The same cases, each with a patient; what was taken together, and what is in doubt, is said on the screen.

    Args:
        regex: with one group, the patient; looked for in the given patient's name, or else in the scan's.

    Raises:
        ConfigError: if it is no such expression, or patients.json is there as well.
        DataError: if it is not found in a name, or patients.json lacks a case.
    """
    file = (root if root.is_dir() else root.parent) / "patients.json"
    if regex is not None:
        if file.exists():
            raise ConfigError(f"--patient-regex and {file} both say whose scan it is: leave out one of them")
        pattern = checked_regex(regex)
        found = [replace(case, patient=_found_in(case.patient or case.scan, pattern, root)) for case in cases]
    elif file.exists():
        found = _listed(cases, file)
    else:
        told = _told_by((case.scan for case in cases if not case.patient), root)
        found = [replace(case, patient=case.patient or told[case.scan]) for case in cases]
    stated = regex is not None or file.exists()
    for doubt in doubts_of((case.patient for case in found), stated=stated):
        log.warning("%s: %s. If they are of one patient, %s.", root, doubt, REMEDY)
    return found


def checked_regex(regex: str) -> re.Pattern[str]:
    """A regular expression with one group.

    Raises:
        ConfigError: if it is none.
    """
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ConfigError(f"patient_regex {regex!r}: {error}; expected a regular expression with one group") from error
    if pattern.groups != 1:
        raise ConfigError(
            f"patient_regex {regex!r}: found {pattern.groups} groups; expected one group, the patient: '^(.+)_[0-9]+$'"
        )
    return pattern


def doubts_of(patients: Iterable[str], *, stated: bool = False) -> list[str]:
    """Sentences on patients who may be one: their names differ in spelling alone, or look like visits.

    Args:
        stated: the user has said who is one patient, so only spelling is in doubt.
    """
    names = sorted(set(patients), key=natural_key)
    spelt: dict[str, list[str]] = defaultdict(list)
    for name in names:
        one_dash = re.sub(r"(?<=\d)[-_ ]+(?=\d)", "_", name.casefold())  # 1_1 is not 11
        spelt[re.sub(r"(?<!\d)[-_ ]+|[-_ ]+(?!\d)", "", one_dash)].append(name)
    sentences = [
        f"the patients {_some(alike)} differ in case, spaces, _ or - alone, and count as {len(alike)}"
        for alike in spelt.values()
        if len(alike) > 1
    ]
    shared = {} if stated else _shared_stems(names)
    if shared:
        stem, visits = next(iter(shared.items()))
        more = f", as do the names of {len(shared) - 1} more" if len(shared) > 1 else ""
        sentences.append(
            f"{_some(visits)} share the beginning {stem}{more}: they look like visits or slices of one patient, and "
            "each counts as a patient of its own"
        )
    return sentences


def doubts_between(patients: set[str], others: set[str]) -> list[str]:
    """Sentences on patients of two data sets whose names differ in spelling alone, and so would count as two."""
    within = {*doubts_of(patients, stated=True), *doubts_of(others, stated=True)}
    return [doubt for doubt in doubts_of(patients | others, stated=True) if doubt not in within]


def _told_by(scans: Iterable[str], root: Path) -> dict[str, str]:
    """Scan → patient. A stem without a number is a name only where there are several: `brain_week_1` is nobody's."""
    told = {scan: patient_in(scan) for scan in dict.fromkeys(scans)}
    wordy = {patient for scan, patient in told.items() if patient != scan and not re.search(r"\d", patient)}
    if len(wordy) == 1:
        told = {scan: scan if patient in wordy else patient for scan, patient in told.items()}
    visits: dict[str, list[str]] = defaultdict(list)
    for scan, patient in told.items():
        visits[patient].append(scan)
    patient, together = next(((patient, both) for patient, both in visits.items() if len(both) > 1), ("", []))
    if together:
        message = "%s: %d scans are of %d patients, as their names say: %s are of %s. Where that is wrong, %s."
        log.warning(message, root, len(told), len(visits), _some(together), patient, REMEDY)
    return told


def _listed(cases: list[Case], file: Path) -> list[Case]:
    patients = read_json(file, dict, f"patients.json is {PATIENTS_JSON}.")
    missing = [case.case for case in cases if case.case not in patients and case.scan not in patients]
    if missing:
        found = f"no patient for {missing[0]} ({len(missing)} missing)"
        raise DataError.about(file, found, f"one for every case: {PATIENTS_JSON}", "Add them.")
    return [replace(case, patient=str(patients.get(case.case, patients.get(case.scan)))) for case in cases]


def _found_in(name: str, pattern: re.Pattern[str], root: Path) -> str:
    match = pattern.search(name)
    if not match or not match[1]:
        remedy = "Correct `--patient-regex`, or write patients.json instead."
        found = f"no patient in the name {name!r} by {pattern.pattern!r}"
        raise DataError.about(root, found, "a match in every name", remedy)
    return match[1]


def _shared_stems(names: Sequence[str]) -> dict[str, list[str]]:
    """Names that differ in their last part alone, by what they share; none where the whole set is numbered so."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    stems_of: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if name in (patient_in(f"{name}_1"), patient_in(f"{name}_x")):
            continue  # the table knows it for a patient's
        match = re.fullmatch(r"(.*[^-_. ])[-_. ]+([A-Za-z0-9]{1,12})|(.*\d)([A-Za-z]\d{0,2})", name)
        stem, ending = (match[1] or match[3], match[2] or match[4]) if match else (name, "")
        groups[stem][name] = ending
        stems_of[ending.casefold()].add(stem)
    for name in groups.keys() & set(names):
        groups[name][name] = ""  # case_1 beside case_1_repeat

    def like_visits(stem: str, endings: dict[str, str]) -> bool:
        """Numbers, letters behind a patient's number, or endings that others have too; not `CBICA_AAB`, `CBICA_ABE`."""
        if not re.search(r"\d", stem) and 2 * len(endings) > len(names):
            return False  # so the set is numbered
        plain = stem[-1:].isdigit() or stem in endings
        return plain or any(e[-1:].isdigit() or len(stems_of[e.casefold()]) > 1 for e in endings.values())

    shared = {stem: sorted(ends) for stem, ends in groups.items() if len(ends) > 1 and like_visits(stem, ends)}
    return shared if len(groups) > 1 else {}


def _some(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"
