"""A folder for each scan, with a file for each sequence: BraTS (`<case>/<case>_flair.nii.gz`) and bare names
(`<case>/imaging.nii.gz`, as in KiTS, SynthRAD and LUMIERE).

The folders may lie one level deeper, below a grade (`HGG/`) or a patient (`<patient>/Timepoint_1/`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from medaug.data.cases import choose_sequence, make_case
from medaug.data.records import Case
from medaug.data.suffixes import is_scan, stem_of
from medaug.data.visits import is_visit
from medaug.errors import DataError

BRATS_SEQUENCES = {"flair": ("flair", "t2f"), "t1": ("t1", "t1n"), "t1ce": ("t1ce", "t1c", "t1gd"), "t2": ("t2", "t2w")}
BRATS_NAME = re.compile(
    r"^(?P<id>.+)[_-](?P<kind>flair|t2f|t1ce|t1c|t1gd|t1n|t1|t2w|t2|segm?)\.nii(\.gz)?$", re.IGNORECASE
)
BARE_IMAGES = (
    "imaging",
    "image",
    "img",
    "volume",
    "scan",
    "ct",
    "cbct",
    "mr",
    "mri",
    "pet",
    "flair",
    "t1",
    "t1w",
    "t1n",
    "t1c",
    "t1ce",
    "t1gd",
    "t2",
    "t2w",
    "t2f",
    "adc",
    "dwi",
)
BARE_LABELS = ("segmentation", "aggregated_maj_seg", "seg", "label", "labels", "mask")
"""The first of these that is there is the label."""
SEG = "seg"

Folders = dict[Path, dict[str, Path]]


def is_brats(root: Path) -> bool:
    """Whether there is a folder with BraTS' names in it."""
    return bool(_folders(root, _brats_kind))


def is_case_folders(root: Path) -> bool:
    """Whether there is a folder with a bare name in it."""
    return bool(_folders(root, _bare_kind))


def find_brats(root: Path, sequence: str | int | None) -> list[Case]:
    """The cases with BraTS' names; `sequence` goes by any of a sequence's names."""
    aliases = {alias: name for name, names in BRATS_SEQUENCES.items() for alias in names}
    return _cases(
        root, _folders(root, _brats_kind), aliases.get(str(sequence).lower(), sequence), list(BRATS_SEQUENCES)
    )


def find_case_folders(root: Path, sequence: str | int | None) -> list[Case]:
    """The cases with bare names; a `mask` beside an MR and a CT (SynthRAD) is the body, and no label."""
    folders = _folders(root, _bare_kind)
    for files in folders.values():
        labels = [files.pop(kind) for kind in BARE_LABELS if kind in files]
        registered = {"ct"} < files.keys()
        if labels and not (registered and stem_of(labels[0]).lower() == "mask"):
            files[SEG] = labels[0]
    return _cases(root, folders, sequence, list(BARE_IMAGES))


def _folders(root: Path, kind_of: Callable[[Path], str | None]) -> Folders:
    """Per folder (at most two levels down): kind ("flair", "seg", ...) → file; only folders with an image."""
    folders: Folders = {}
    for path in sorted([*root.glob("*/*"), *root.glob("*/*/*")]) if root.is_dir() else ():
        kind = kind_of(path) if is_scan(path) else None
        if kind is None:
            continue
        if kind in folders.setdefault(path.parent, {}):
            raise DataError.about(
                path.parent,
                f"two files for {kind} ({folders[path.parent][kind].name}, {path.name})",
                "one file per sequence in a case folder",
                "Move one of them away.",
            )
        folders[path.parent][kind] = path
    return {folder: files for folder, files in folders.items() if files.keys() - {SEG, *BARE_LABELS}}


def _brats_kind(path: Path) -> str | None:
    kinds = {alias: name for name, aliases in BRATS_SEQUENCES.items() for alias in aliases}
    match = BRATS_NAME.match(path.name)
    return kinds.get(match["kind"].lower(), SEG) if match else None


def _bare_kind(path: Path) -> str | None:
    stem = stem_of(path).lower()
    return stem if stem in BARE_IMAGES or stem in BARE_LABELS else None


def _cases(root: Path, folders: Folders, sequence: str | int | None, order: list[str]) -> list[Case]:
    present = [name for name in order if any(name in files for files in folders.values())]
    chosen = choose_sequence(present, sequence, str(root)) if present else ""
    cases = []
    for (folder, files), name in zip(folders.items(), _names(root, list(folders)), strict=True):
        if chosen not in files:
            raise DataError.about(
                folder,
                f"only {', '.join(files)}",
                f"the sequence {chosen}",
                "Add the file, move this folder away, or choose another `--sequence`.",
            )
        cases.append(make_case(name, files[chosen], files.get(SEG)))
    return cases


def _names(root: Path, folders: list[Path]) -> list[str]:
    """The folders' own names, with those above where a name is there twice or only says when (`Timepoint_1`)."""
    counts = Counter(folder.name for folder in folders)
    return [
        folder.name
        if counts[folder.name] == 1 and not is_visit(folder.name)
        else "_".join(folder.relative_to(root).parts)
        for folder in folders
    ]
