"""Which cases of a data set are synthetic, and whom they were made from; and the record of one that a run makes.

A `Case` of a real scan has no `synthetic`; that of another holds "made_from" (patients, and fingerprints of their
scans: the parent's, and those of whoever's lesion was pasted) and "trained_on" (patients that the generator learnt
from), or nothing where neither is known. It is read from datalists and `dataset.json` as `medaug export` writes them,
from a run's own `synthetic/datalist.json`, and from BIDS sidecars; the names that an export gives tell it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medaug.data.atomic import read_json
from medaug.data.opening import stem_of
from medaug.data.records import Case, Provenance, Record
from medaug.errors import DataError
from medaug.volumes import Window

KINDS = ("inserted", "removed", "translated")
NAME = re.compile(rf"^synthetic-({'|'.join(KINDS)})-|_desc-synthetic(_|$)")


@dataclass(frozen=True, kw_only=True)
class Parent(Record):
    """The view that a synthetic case was made from; `level` is its slice, None of a whole picture or volume."""

    case: str
    patient: str
    level: int | None


@dataclass(frozen=True, kw_only=True)
class SyntheticCase(Record):
    """One case that a run made, as its `synthetic/datalist.json` and `synthetic/records/` hold it.

    Attributes:
        kind: one of `KINDS`.
        images, label, originals: files relative to `synthetic/`, of images one a channel; the originals are the view
            before an edit.
        windows: by channel, as of the view that it was made from, or of the domain that it was translated to.
        lesions: what was inserted; "patient" is whose lesion was pasted, or None.
        weights, training_patients, split_hash: what it was made with (see `models.weights`).
        agreement, draws: of the quality gate, where it was asked: the accepted draw's, and how many there were.
    """

    case: str
    patient: str
    kind: str
    images: tuple[str, ...]
    label: str
    originals: tuple[str, ...] = ()
    parent: Parent
    windows: tuple[Window, ...]
    length_unit: str = "mm"
    seed: int
    lesions: tuple[dict[str, Any], ...]
    weights: str
    training_patients: tuple[str, ...]
    split_hash: str
    agreement: float | None = None
    draws: int | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SyntheticCase:
        several = {f"{key}s": _listed(values.get(key)) for key in ("image", "original", "window")}
        found = super().from_json(dict(values) | several)
        return replace(found, parent=Parent.from_json(values["parent"]))

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and the keys that a MONAI datalist has beside them.

        "image", "original" and "window" stand for one channel, or are lists of several.
        """
        written = super().to_json() | {"scan": self.case, "channel": None}
        for key in ("image", "original", "window"):
            if values := written.pop(f"{key}s", None):
                written[key] = values[0] if len(values) == 1 else values
        return written

    @property
    def made_from(self) -> set[str]:
        """The patients with a part in it: the parent's, and those whose lesions were pasted."""
        return {self.parent.patient, *(lesion["patient"] for lesion in self.lesions)} - {None}


def synthetic_cases(datalist: str | Path) -> list[SyntheticCase]:
    """The cases of a run's `synthetic/datalist.json`.

    Raises:
        DataError: if it is missing, or no such list.
    """
    return [SyntheticCase.from_json(values) for values in read_json(datalist)["training"]]


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
        replace(case, synthetic=_by_sidecar(Path(case.path)))
        if case.synthetic is None and NAME.search(stem_of(case.path))
        else case
        for case in cases
    ]


def is_synthetic(case: Case) -> bool:
    """Whether a case is known to be no real scan."""
    return case.synthetic is not None


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


def _listed(value: Any) -> list[Any]:
    """The values of a manifest's key: a list, one alone, or none."""
    return value if isinstance(value, list) else [] if value is None else [value]
