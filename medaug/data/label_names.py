"""Which values of a label mean tumor: by the names in `dataset.json` (Decathlon, nnU-Net) or of a datalist's "labels".

`{"0": "background", "1": "liver", "2": "cancer"}`, `{"background": 0, "liver": 1, "tumor": 2}` and regions
(`{"kidney": [1, 2, 3], "masses": [2, 3]}`: a value goes by the smallest region it is in) are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medaug.data.atomic import read_json

TUMOR = re.compile(
    r"tumou?r|cancer|carcinom|neoplas|malign|glio(?:ma|blastoma)|adenoma|sarcoma|lymphoma|melanoma|lesion|o?edema"
    r"|enhanc|necro|nodule|metasta|infarct|\b(?:mass(?:es)?|core|gtv\w*|et|ed|ncr|net|snfh|polyps?)\b",
    re.IGNORECASE,
)
NO_TUMOR = re.compile(
    r"\b(?:no|without|normal|healthy)\b|tumou?r[- ]?free|(?:non|un)[- ]?(?:tumou?r|cancer|lesion)", re.I
)
ORGAN = re.compile(
    r"\b(?:liver|kidneys?|spleen|pancreas|lungs?|heart|prostate|brain|hippocamp\w*|anterior|posterior|bladder|colon|breast"
    r"|stomach|o?esophagus|aorta|vessels?|ventricles?|myocardium|atrium|bones?|spine|vertebra\w*|body|head|organs?|uterus"
    r"|gallbladder|duodenum|thyroid|skull|background|foreground|cysts?)\b",
    re.IGNORECASE,
)
"""What alone in a label is no tumor; a cyst is none either, and `data.tumor_labels` says otherwise."""
NAMELESS = re.compile(r"(?:label|class|value|region|structure)?[ _-]*\d*", re.IGNORECASE)
"""Names that say nothing."""
NAMED_IN = "dataset.json"
BRATS = "brats"
"""Layout whose label values are all parts of a tumor."""


@dataclass(frozen=True)
class Tumors:
    """Values that mean tumor; None: all above 0. `sentence` says why, `undecided` that nobody has said it."""

    values: tuple[int, ...] | None
    sentence: str
    undecided: bool = False


def label_names(root: Path) -> dict[int, str]:
    """Value → name, of what is above 0; empty where no file names them.

    Raises:
        DataError: if the file that should is no JSON.
    """
    files = [root] if root.is_file() else [root / NAMED_IN, root / "datalist.json"]
    content = next((read_json(file, object) for file in files if file.suffix == ".json" and file.exists()), None)
    labels = content.get("labels") if isinstance(content, dict) else None
    regions: dict[int, tuple[int, str]] = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        listed = value if isinstance(value, list) else [value]
        name, values = (str(value), [key]) if _is_number(key) else (str(key), listed)
        for number in (int(v) for v in values if _is_number(v)):
            if number > 0 and len(values) < regions.get(number, (len(values) + 1,))[0]:
                regions[number] = (len(values), name)
    return {number: name for number, (_, name) in sorted(regions.items()) if not NAMELESS.fullmatch(name)}


def tumors_of(names: dict[int, str], found: Collection[int], layout: str) -> Tumors:
    """What of the values `found` in the labels is tumor, as far as the names or the layout tell."""
    values = sorted(set(found) - {0})
    marked = {value: name for value, name in names.items() if TUMOR.search(_words(name)) and not is_healthy(name)}
    others = {value: name for value, name in names.items() if value not in marked}
    unnamed = [value for value in values if value not in names]
    if marked and not unnamed:
        if not others:
            return Tumors(None, f"{_listed(marked)}: all that is labelled is tumor")
        return Tumors(tuple(marked), f"{_listed(marked)} is tumor, {_listed(others)} is not")
    if layout == BRATS or not values:
        return Tumors(None, "all that is labelled is tumor")
    if len(values) == 1 and not (values[0] in names and ORGAN.search(_words(names[values[0]]))):
        return Tumors(None, f"one value, {values[0]}: the tumor")
    said = (
        f"named {_listed({v: names[v] for v in values if v in names})}" if names else "and no name says what they mean"
    )
    listed = ", ".join(map(str, values[:20]))
    return Tumors(
        None,
        f"the labels hold the value(s) {listed}, {said}: say which are tumor, for example "
        f"`--set data.tumor_labels=[{values[-1]}]` (`--tumor-labels {values[-1]}` for doctor and init)",
        undecided=True,
    )


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
