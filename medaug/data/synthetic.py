"""Which cases of a data set are synthetic, and whom they were made from.

A case of a real scan has no "synthetic"; of another, `case["synthetic"]` holds "made_from" (patients, and fingerprints
of their scans: the parent's, and those of whoever's lesion was pasted) and "trained_on" (patients that the generator
learnt from), or nothing where neither is known. It is read from datalists and `dataset.json` as `medaug export` writes
them, from a run's own `synthetic/datalist.json`, and from BIDS sidecars; the names that an export gives tell it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medaug.data.atomic import read_json
from medaug.data.cases import Case
from medaug.data.suffixes import stem_of
from medaug.errors import DataError

KINDS = ("inserted", "removed", "translated")
NAME = re.compile(rf"^synthetic-({'|'.join(KINDS)})-|_desc-synthetic(_|$)")
Provenance = dict[str, list[str]]


def provenance_of(entry: Mapping[str, Any]) -> Provenance | None:
    """What a datalist's entry says; None if nothing in it says that it is synthetic."""
    said = entry.get("synthetic")
    if said:
        return _checked(said, ("made_from_patients", "made_from_content"), ("trained_on_patients",))
    if entry.get("kind") in KINDS and isinstance(entry.get("parent"), dict):
        lesions = entry.get("lesions")
        holders = [entry["parent"], *(lesions if isinstance(lesions, list) else [None])]
        made_from = [holder.get("patient") if isinstance(holder, dict) else 0 for holder in holders]
        facts = {
            "made_from": [name for name in made_from if name is not None],
            "trained": entry.get("training_patients"),
        }
        return _checked(facts, ("made_from",), ("trained",))
    return None


def with_provenance(cases: list[Case]) -> list[Case]:
    """The same cases; those that only a file's name gives away are marked, by their sidecar where there is one."""
    return [
        case | {"synthetic": _by_sidecar(Path(case["image"]))}
        if "synthetic" not in case and NAME.search(stem_of(case["image"]))
        else case
        for case in cases
    ]


def is_synthetic(case: Mapping[str, Any]) -> bool:
    return "synthetic" in case


def _by_sidecar(image: Path) -> Provenance:
    sidecar = image.with_name(f"{stem_of(image)}.json")
    try:
        found = provenance_of({"synthetic": read_json(sidecar).get("Provenance", True)}) or {}
    except DataError:
        return {}
    return {key: sorted({*names, *(f"sub-{name}" for name in names)}) for key, names in found.items()}


def _checked(facts: Any, made_from: tuple[str, ...], trained_on: tuple[str, ...]) -> Provenance:
    """Nothing, unless it names somebody and everything is a list of texts."""
    if not isinstance(facts, dict):
        return {}
    found = {
        name: [text for key in keys for text in facts.get(key) or []]
        if all(isinstance(facts.get(key) or [], list) for key in keys)
        else [None]
        for name, keys in (("made_from", made_from), ("trained_on", trained_on))
    }
    fits = found["made_from"] and all(isinstance(text, str) for texts in found.values() for text in texts)
    return {name: sorted(set(map(str, texts))) for name, texts in found.items()} if fits else {}
