"""Which values of a label mean a tumor, its parts, or the organ it lies in: by the names in `dataset.json` (Decathlon,
nnU-Net) or of a datalist's "labels", or as public data sets number them (BraTS, KiTS, LiTS).

`{"0": "background", "1": "liver", "2": "cancer"}`, `{"background": 0, "liver": 1, "tumor": 2}` and regions
(`{"kidney": [1, 2, 3], "masses": [2, 3]}`: a value goes by the smallest region it is in) are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medaug.data.atomic import read_json
from medaug.data.opening import stem_of
from medaug.data.records import Case

TUMOR = re.compile(
    r"tumou?r|cancer|carcinom|neoplas|malign|glio(?:ma|blastoma)|adenoma|sarcoma|lymphoma|melanoma|lesion|o?edema"
    r"|enhanc|necro|nodule|metasta|infarct|\b(?:mass(?:es)?|core|gtv\w*|et|ed|ncr|net|snfh|polyps?)\b",
    re.IGNORECASE,
)
NO_TUMOR = re.compile(
    r"\b(?:no|without|normal|healthy)\b|tumou?r[- ]?free|(?:non|un)[- ]?(?:tumou?r|cancer|lesion)", re.I
)
ORGAN = re.compile(
    r"\b(?:liver|kidneys?|spleen|pancreas|lungs?|heart|prostate|brain|hippocamp\w*|bladder|colon|breast"
    r"|stomach|o?esophagus|aorta|vessels?|ventricles?|myocardium|atrium|bones?|spine|vertebra\w*|body|head|organs?|uterus"
    r"|gallbladder|duodenum|thyroid|skull|background|foreground|cysts?)\b",
    re.IGNORECASE,
)
"""What alone in a label is no tumor; a cyst is none either, and `data.tumor_labels` says otherwise."""
HOST = re.compile(
    r"\b(liver|kidney|spleen|pancreas|lung|prostate|brain|bladder|colon|breast|stomach|oesophagus|esophagus|uterus"
    r"|thyroid|adrenal|rectum|cervix|ovary|bone)s?\b",
    re.IGNORECASE,
)
"""An organ that tumors lie in."""
NAMELESS = re.compile(r"(?:label|class|value|region|structure)?[ _-]*\d*", re.IGNORECASE)
"""Names that say nothing."""
NAMED_IN = "dataset.json"
BRATS = "brats"
"""Layout whose label values are all parts of a tumor."""


@dataclass(frozen=True)
class Tumors:
    """What the values of labels mean.

    Attributes:
        values: those that are tumor; None: all above 0.
        sentence: why.
        undecided: nobody has said it.
        parts: values by the names of the tumor's parts, where there are several.
        organ: values of where it lies, if one says so.
    """

    values: tuple[int, ...] | None
    sentence: str
    undecided: bool = False
    parts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    organ: tuple[int, ...] = ()


def label_names(root: Path) -> dict[int, str]:
    """Value → name, of what is above 0; empty where no file names them.

    Raises:
        DataError: if the file that should is no JSON.
    """
    files = [root] if root.is_file() else [root / NAMED_IN, root / "datalist.json"]
    content = next((read_json(file, object) for file in files if file.suffix == ".json" and file.exists()), None)
    return names_in(content.get("labels") if isinstance(content, dict) else None)


def names_in(labels: Any) -> dict[int, str]:
    """The same of the object `labels` of such a file; empty of anything else."""
    regions: dict[int, tuple[int, str]] = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        listed = value if isinstance(value, list) else [value]
        name, values = (str(value), [key]) if _is_number(key) else (str(key), listed)
        for number in (int(v) for v in values if _is_number(v)):
            if number > 0 and len(values) < regions.get(number, (len(values) + 1,))[0]:
                regions[number] = (len(values), name)
    return {number: name for number, (_, name) in sorted(regions.items()) if not NAMELESS.fullmatch(name)}


def names_for(root: Path, layout: str, cases: Sequence[Case]) -> dict[int, str]:
    """Value → name, as `label_names`; where no file names them, as the public data set has it that the cases are of.

    BraTS up to 2021 has 1 the necrotic and non-enhancing core, 2 edema, 4 enhancing tumor; from 2023 on 3 is enhancing
    and 4 (post-treatment) the resection cavity, no tumor. BraTS-PED has an order of its own.
    """
    labelled = next((case for case in cases if case.label is not None), None)
    if (named := label_names(root)) or labelled is None:
        return named
    if layout == BRATS:
        kind = re.match(r"brats-(ped|[a-z])", labelled.case, re.IGNORECASE)
        if kind is not None and kind[1].lower() == "ped":
            return {4: "edema", 2: "nonenhancing", 1: "enhancing", 3: "cystic_tumor"}
        return {2: "edema", 1: "core", 3: "enhancing", 4: "resection_cavity" if kind else "enhancing"}
    files = "/".join(stem_of(Path(path)).lower() for path in (labelled.path, str(labelled.label)))
    if files == "imaging/segmentation" and re.fullmatch(r"case_\d{5}", labelled.case):  # KiTS
        return {1: "kidney", 2: "tumor", 3: "cyst"}
    return {1: "liver", 2: "tumor"} if re.fullmatch(r"volume-\d+/segmentation-\d+", files) else {}  # LiTS


def tumors_of(names: dict[int, str], found: Collection[int], layout: str) -> Tumors:
    """What of the values `found` in the labels is tumor, as far as the names or the layout tell."""
    values = sorted(set(found) - {0})
    marked = {value: name for value, name in names.items() if TUMOR.search(_words(name)) and not is_healthy(name)}
    others = {value: name for value, name in names.items() if value not in marked and value in values}
    unnamed = [value for value in values if value not in names]
    if marked and not unnamed:
        marked = {value: name for value, name in marked.items() if value in values} or marked
        parts, organ = _parts(marked), _host_of(marked, others, values)
        if not others:
            return Tumors(None, f"{_listed(marked)}: all that is labelled is tumor", parts=parts)
        sentence = f"{_listed(marked)} is tumor, {_listed(others)} is not"
        return Tumors(tuple(marked), sentence, parts=parts, organ=organ)
    if layout == BRATS or not values:
        return Tumors(None, "all that is labelled is tumor")
    if len(values) == 1 and not (values[0] in names and ORGAN.search(_words(names[values[0]]))):
        return Tumors(None, f"one value, {values[0]}: the tumor")
    of_values = {value: names[value] for value in values if value in names}
    said = f"named {_listed(of_values)}" if of_values else "and no name says what they mean"
    listed = ", ".join(map(str, values[:20]))
    parts = {} if unnamed or any(ORGAN.search(_words(name)) for name in of_values.values()) else _parts(of_values)
    return Tumors(
        None,
        f"the labels hold the value(s) {listed}, {said}: say which are tumor, for example "
        f"`--set data.tumor_labels=[{values[-1]}]` (`--tumor-labels {values[-1]}` for doctor and init)"
        + (
            f", or all of them as its parts: data.tumor={{{', '.join(f'{n}: {v[0]}' for n, v in parts.items())}}}"
            if parts
            else ""
        ),
        undecided=True,
        parts=parts,
    )


def _parts(names: dict[int, str]) -> dict[str, tuple[int, ...]]:
    """Values by name; empty where that is one name alone, which needs none."""
    parts: dict[str, tuple[int, ...]] = {}
    for value, name in names.items():
        parts[name] = (*parts.get(name, ()), value)
    return parts if len(parts) > 1 else {}


def _host_of(tumors: dict[int, str], others: dict[int, str], values: Collection[int]) -> tuple[int, ...]:
    """The values of the organ that the tumors' names say, or of every organ that tumors lie in."""
    hosts = {v: host[1].lower() for v, name in others.items() if v in values and (host := HOST.search(_words(name)))}
    hosts = {
        value: host for value, host in hosts.items() if not re.search(r"cyst|vessel", others[value], re.IGNORECASE)
    }
    said = {host[1].lower() for name in tumors.values() if (host := HOST.search(_words(name)))}
    return tuple(value for value, host in hosts.items() if host in said) or tuple(hosts)


def is_healthy(name: str) -> bool:
    """Whether a name denies a tumor: `no tumor`, `tumor-free liver`."""
    return NO_TUMOR.search(_words(name)) is not None


def _words(name: str) -> str:
    """Words apart, but for the hyphen of `non-enhancing`."""
    return re.sub(r"[_.]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"\d{1,6}", str(value)) is not None


def _listed(names: dict[int, str]) -> str:
    return ", ".join(f"{value} ({name})" for value, name in names.items())
