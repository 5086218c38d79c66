"""Slices of several kinds of image in folders beside each other: `<patient>/<kind>/<slice>.png`.

Equal file names in two kinds (`MRI/` and `CT/`) are one slice: a registered pair. All slices of a patient are one scan.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from medaug.data.cases import choose_sequence, make_case
from medaug.data.records import Case
from medaug.data.side_by_side import LABEL_WORDS
from medaug.data.suffixes import is_scan, stem_of
from medaug.errors import DataError

Kinds = dict[str, dict[str, Path]]


def is_paired_folders(root: Path) -> bool:
    """Whether some patient has a slice in two kinds; a folder of labels is none (`images/` and `labels/`)."""
    return any(
        one.keys() & other.keys()
        for kinds in _patients(root).values()
        for one, other in combinations([kinds[kind] for kind in kinds if kind.lower() not in LABEL_WORDS], 2)
    )


def find_paired_folders(root: Path, sequence: str | int | None) -> list[Case]:
    """The slices of one kind, which `sequence` names.

    Raises:
        DataError: if a patient has no folder of it.
        ConfigError: if none is chosen where there are several, or another than those.
    """
    patients = _patients(root)
    present = sorted({kind for kinds in patients.values() for kind in kinds})
    chosen = choose_sequence(present, sequence, str(root)) if present else ""
    cases = []
    for patient, kinds in patients.items():
        if chosen not in kinds:
            raise DataError.about(
                root / patient,
                f"only {', '.join(kinds)}",
                f"a folder {chosen} with images",
                "Add it, move this patient away, or choose another `--sequence`.",
            )
        cases += [make_case(f"{patient}-{stem}", path, None, scan=patient) for stem, path in kinds[chosen].items()]
    return cases


def _patients(root: Path) -> dict[str, Kinds]:
    """Patient → kind → file name without ending → file; only folders that hold images."""
    found: dict[str, Kinds] = {}
    for path in sorted(root.glob("*/*/*")) if root.is_dir() else ():
        if is_scan(path):
            patient, kind = path.parent.parent.name, path.parent.name
            slices = found.setdefault(patient, {}).setdefault(kind, {})
            if stem_of(path) in slices:
                raise DataError.about(
                    path, f"the same name as {slices[stem_of(path)].name}", "one file per slice", "Rename one of them."
                )
            slices[stem_of(path)] = path
    return found
