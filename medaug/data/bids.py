"""Data sets in BIDS (bids-specification.readthedocs.io): `sub-*/[ses-*/]anat/sub-*_FLAIR.nii.gz`.

A sequence is what a name says beyond subject and session (`FLAIR`, `ce-gad_T1w`). Labels are the files whose names say
so (`_seg`, `_mask`, `label-lesion_...`), in `derivatives/` or beside the images.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from medaug.data.cases import choose_sequence, make_case, natural_key
from medaug.data.records import Case
from medaug.data.suffixes import is_scan, stem_of
from medaug.errors import DataError

NAME = re.compile(r"(?P<scan>sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)_(?P<rest>.+)")
LABEL = re.compile(r"(?:^|[_-])(?:d?seg|segm|segmentation|mask|msk|lesions?|roi|label|labels|tumou?r)(?:[_-]|$)", re.I)
NO_TUMOR = re.compile(r"brain|body|head|tissue|aseg|aparc|probseg", re.IGNORECASE)
"""Masks of something else."""
OWN = re.compile(r"run-[A-Za-z0-9]+|desc-synthetic")
"""Parts of a name that make it another scan, and no other sequence."""
RUN = re.compile(r"_run-[A-Za-z0-9]+$")
"""A label may leave it out."""
DERIVATIVES = "derivatives"


def is_bids(root: Path) -> bool:
    """Whether there is an image named after its subject, in a folder of its kind."""
    return root.is_dir() and any(
        is_scan(path) and NAME.fullmatch(stem_of(path))
        for pattern in ("sub-*/*/sub-*", "sub-*/*/*/sub-*")
        for path in root.glob(pattern)
    )


def find_bids(root: Path, sequence: str | int | None) -> list[Case]:
    """One case a subject, session and run; a synthetic image (`medaug export --to bids`) is a case of its own.

    Raises:
        DataError: if one lacks the sequence, or has several labels that could be meant.
        ConfigError: if no sequence is chosen where there are several, or another than those.
    """
    images: dict[str, dict[str, Path]] = defaultdict(dict)
    labels: dict[str, list[Path]] = defaultdict(list)
    for path in sorted([*root.glob("sub-*/**/*"), *root.glob(f"{DERIVATIVES}/**/*")]):
        match = NAME.fullmatch(stem_of(path)) if is_scan(path) else None
        if match is None:
            continue
        parts = match["rest"].split("_")
        scan = "_".join([match["scan"], *(part for part in parts if OWN.fullmatch(part))])
        kind = "_".join(part for part in parts if not OWN.fullmatch(part) and part != "desc-real")
        if LABEL.search(match["rest"]):
            labels[scan] += [] if NO_TUMOR.search(match["rest"]) else [path]
        elif DERIVATIVES not in path.relative_to(root).parts:
            images[scan][kind] = path
    kinds = sorted({kind for files in images.values() for kind in files}, key=natural_key)
    chosen = choose_sequence(kinds, sequence, str(root)) if kinds else ""
    cases = []
    for scan, files in images.items():
        if chosen not in files:
            raise DataError.about(
                root,
                f"only {', '.join(files)} of {scan}",
                f"the sequence {chosen}",
                "Add the file, move the subject away, choose another `--sequence`, or write a datalist.",
            )
        cases.append(make_case(scan, files[chosen], _label_of(chosen, labels[scan] or labels[RUN.sub("", scan)])))
    return cases


def _label_of(sequence: str, labels: list[Path]) -> Path | None:
    """The one label, or of several the one that names the sequence."""
    named = [path for path in labels if sequence.lower() in stem_of(path).lower()]
    found = named if len(labels) > 1 and named else labels
    if len(found) > 1:
        raise DataError.about(
            found[0],
            f"{len(found)} labels that could be meant (also {found[1].name})",
            "one label a scan",
            "Move the others away, or write a datalist.",
        )
    return found[0] if found else None
