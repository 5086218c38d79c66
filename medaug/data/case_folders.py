"""A folder for each scan or patient, told by the names of the files in it:

- a file for each sequence: BraTS (`<case>/<case>_flair.nii.gz`) and bare names (`<case>/imaging.nii.gz`, as in KiTS,
  SynthRAD and LUMIERE); these folders may lie one level deeper, below a grade (`HGG/`) or a patient;
- a file for each slice: Kaggle-LGG (`<patient>/<slice>.tif` with `<slice>_mask.tif`);
- a folder for each kind of image (`<patient>/<kind>/<slice>.png`): equal names in two kinds (`MRI/` and `CT/`) are one
  slice, a registered pair, and all slices of a patient are one scan.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from medaug.data.cases import Found, Lacking, by_stem, choose_channel, choose_sequence, files_in, lacks, make_case
from medaug.data.named_files import LABEL_WORDS
from medaug.data.opening import TIFF, is_scan, stem_of, suffix_of
from medaug.data.records import Case
from medaug.data.visits import is_visit
from medaug.errors import DataError

BRATS_SEQUENCES = {"flair": ("flair", "t2f"), "t1": ("t1", "t1n"), "t1ce": ("t1ce", "t1c", "t1gd"), "t2": ("t2", "t2w")}
BRATS_NAMES = {alias: name for name, aliases in BRATS_SEQUENCES.items() for alias in aliases}
BRATS_FILE = re.compile(
    r"^(?P<id>.+)[_-](?P<kind>flair|t2f|t1ce|t1c|t1gd|t1n|t1|t2w|t2|segm?|gtv)\.nii(\.gz)?$", re.IGNORECASE
)
BARE_IMAGES = (
    *("imaging", "image", "img", "volume", "scan", "ct", "cbct", "mr", "mri", "pet"),
    *("flair", "t1", "t1w", "t1n", "t1c", "t1ce", "t1gd", "t2", "t2w", "t2f", "adc", "dwi"),
)
BARE_LABELS = ("segmentation", "aggregated_maj_seg", "seg", "label", "labels", "mask")
"""The first of these that is there is the label."""
SEG = "seg"
LGG_CHANNELS = ("pre", "flair", "post")

Folders = dict[Path, dict[str, Path]]


def is_brats(root: Path) -> bool:
    """Whether there is a folder with BraTS' names in it."""
    return bool(_folders(root, _brats_kind))


def is_case_folders(root: Path) -> bool:
    """Whether there is a folder with a bare name in it."""
    return bool(_folders(root, _bare_kind))


def find_brats(root: Path, sequence: str | int | None) -> Found:
    """The cases with BraTS' names; `sequence` goes by any of a sequence's names."""
    chosen = BRATS_NAMES.get(str(sequence).lower(), sequence)
    return _cases(root, _folders(root, _brats_kind), chosen, tuple(BRATS_SEQUENCES))


def find_case_folders(root: Path, sequence: str | int | None) -> Found:
    """The cases with bare names; a `mask` beside an MR and a CT (SynthRAD) is the body, and no label."""
    folders = _folders(root, _bare_kind)
    for files in folders.values():
        labels = [files.pop(kind) for kind in BARE_LABELS if kind in files]
        registered = {"ct"} < files.keys()
        if labels and not (registered and stem_of(labels[0]).lower() == "mask"):
            files[SEG] = labels[0]
    return _cases(root, folders, sequence, BARE_IMAGES)


def is_lgg(root: Path) -> bool:
    """Whether there is a folder with a `_mask.tif` in it."""
    return any(path.name.lower().endswith(("_mask.tif", "_mask.tiff")) for path in root.glob("*/*_mask.*"))


def find_lgg(root: Path, sequence: str | int | None) -> Found:
    """The slices of Kaggle-LGG: the sequences are the channels of a picture, whose mask may lie beside it."""
    channel = choose_channel(LGG_CHANNELS, sequence, str(root))
    cases: list[Case | Lacking] = []
    for folder in filter(Path.is_dir, files_in(root)):
        files = {stem_of(path): path for path in files_in(folder) if is_scan(path) and suffix_of(path) in TIFF}
        for stem, path in files.items():
            image = stem.removesuffix("_mask")
            if image not in files:
                expected, remedy = f"{image}{path.suffix} beside it", "Copy the image again, or move the mask away."
                raise DataError.about(path, "a mask without its image", expected, remedy)
            if image == stem:
                cases.append(make_case(stem, path, files.get(f"{stem}_mask"), scan=folder.name, channel=channel))
    return cases


def is_paired_folders(root: Path) -> bool:
    """Whether some patient has a slice in two kinds; a folder of labels is none (`images/` and `labels/`)."""
    return any(
        one.keys() & other.keys()
        for kinds in _patients(root).values()
        for one, other in combinations([kinds[kind] for kind in kinds if kind.lower() not in LABEL_WORDS], 2)
    )


def find_paired_folders(root: Path, sequence: str | int | None) -> Found:
    """The slices of one kind, which `sequence` names.

    Raises:
        DataError: if a patient has no folder of it.
        ConfigError: if none is chosen where there are several, or another than those.
    """
    patients = _patients(root)
    present = sorted({kind for kinds in patients.values() for kind in kinds})
    chosen = choose_sequence(present, sequence, str(root))
    cases: list[Case | Lacking] = []
    for patient, kinds in patients.items():
        if chosen not in kinds:
            remedy = "Add it, move this patient away, or choose another `--sequence`."
            found, expected = f"only {', '.join(kinds)}", f"a folder {chosen} with images"
            raise DataError.about(root / patient, found, expected, remedy)
        cases += [make_case(f"{patient}-{stem}", path, None, scan=patient) for stem, path in kinds[chosen].items()]
    return cases


def _folders(root: Path, kind_of: Callable[[Path], str | None]) -> Folders:
    """Per folder (at most two levels down): kind ("flair", "seg", ...) → file; only folders with an image."""
    folders: Folders = {}
    for path in sorted([*root.glob("*/*"), *root.glob("*/*/*")]) if root.is_dir() else ():
        kind = kind_of(path) if is_scan(path) else None
        if kind is None:
            continue
        files = folders.setdefault(path.parent, {})
        if kind in files:
            found = f"two files for {kind} ({files[kind].name}, {path.name})"
            expected = "one file per sequence in a case folder"
            raise DataError.about(path.parent, found, expected, "Move one of them away.")
        files[kind] = path
    return {folder: files for folder, files in folders.items() if files.keys() - {SEG, *BARE_LABELS}}


def _brats_kind(path: Path) -> str | None:
    match = BRATS_FILE.match(path.name)
    return BRATS_NAMES.get(match["kind"].lower(), SEG) if match else None


def _bare_kind(path: Path) -> str | None:
    stem = stem_of(path).lower()
    return stem if stem in BARE_IMAGES or stem in BARE_LABELS else None


def _cases(root: Path, folders: Folders, sequence: str | int | None, order: Sequence[str]) -> Found:
    present = [name for name in order if any(name in files for files in folders.values())]
    chosen = choose_sequence(present, sequence, str(root))
    counts = Counter(folder.name for folder in folders)
    cases: list[Case | Lacking] = []
    for folder, files in folders.items():
        # with the names above where a name is there twice or only says when (`Timepoint_1`)
        alone = counts[folder.name] == 1 and not is_visit(folder.name)
        name = folder.name if alone else "_".join(folder.relative_to(root).parts)
        if chosen in files:
            cases.append(make_case(name, files[chosen], files.get(SEG)))
        else:
            cases.append(Lacking(name, lacks(folder, list(files), chosen)))
    return cases


def _patients(root: Path) -> dict[str, dict[str, dict[str, Path]]]:
    """Patient → kind → file name without ending → file; only folders that hold images."""
    found: dict[str, dict[str, dict[str, Path]]] = defaultdict(dict)
    for folder in sorted(filter(Path.is_dir, root.glob("*/*"))) if root.is_dir() else ():
        if slices := by_stem(folder.glob("*"), "slice"):
            found[folder.parent.name][folder.name] = slices
    return found
