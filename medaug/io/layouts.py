"""Recognises how a folder of images is laid out and lists its cases, as MONAI-style dicts.

A case is {"case": unique id, "patient": unit of every split, "scan": group whose intensities belong together,
"image": path, "label": path or None, "channel": channel of a multi-channel file or None}. The cases come in natural
order of their ids (`slice_2` before `slice_10`). Only names, JSON and DICOM headers are read here; images are opened in
`files.py`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from medaug.errors import ConfigError, DataError
from medaug.io.atomic import read_json
from medaug.io.cases import Case, choose_channel, choose_sequence, make_case, natural_key
from medaug.io.datalists import find_datalist, find_msd, is_datalist, is_msd
from medaug.io.dicom.cases import LABELS, find_dicom_cases, is_dicom_tree
from medaug.io.paired_folders import find_paired_folders, is_paired_folders
from medaug.io.suffixes import TIFF, is_scan, stem_of, suffix_of

log = logging.getLogger(__name__)
Json = TypeVar("Json", dict, list)

Sequence = str | int | None

BRATS_SEQUENCES = {"flair": ("flair", "t2f"), "t1": ("t1", "t1n"), "t1ce": ("t1ce", "t1c", "t1gd"), "t2": ("t2", "t2w")}
BRATS_NAME = re.compile(
    r"^(?P<id>.+)[_-](?P<kind>flair|t2f|t1ce|t1c|t1gd|t1n|t1|t2w|t2|segm?)\.nii(\.gz)?$", re.IGNORECASE
)
BRATS_VISIT = re.compile(r"^(?P<patient>BraTS-[A-Z]+-\d{5})-\d{3}$")  # BraTS 2023 on: the last number is the visit
LGG_CHANNELS = ("pre", "flair", "post")
BESIDE_THE_FOLDERS = 'patients.json is {"<file name without ending>": "<patient>"}, channels.json is ["<name>", ...].'


@dataclass(frozen=True)
class Layout:
    """One way to lay out a data set: how it looks, whether a folder is one, and how its cases are found."""

    name: str
    looks_like: str
    matches: Callable[[Path], bool]
    find: Callable[[Path, Sequence], list[Case]]


def find_cases(root: str | Path, *, layout: str = "auto", sequence: Sequence = None) -> list[Case]:
    """Lists the cases of a data set, in a fixed order.

    Args:
        root: the folder, or a MONAI datalist (`.json`).
        layout: a key of `LAYOUTS`, or "auto" to recognise it.
        sequence: which sequence of several: by name where the layout has names, or by channel number.

    Raises:
        DataError: if the folder is missing, empty or incomplete, or a path of a datalist leaves its folder.
        ConfigError: for an unknown layout or sequence, or none chosen where there are several.
    """
    with _readable(root):
        return _find_cases(Path(root), layout, sequence)


def check_root(root: str | Path) -> None:
    """Refuses a path with nothing there: what `find_cases` checks first, at no cost.

    Raises:
        DataError: if there is neither a folder nor a file, or it may not be looked for.
    """
    with _readable(root):
        if not Path(root).exists():
            raise DataError.about(root, "no such folder", "a data set", "Check the path.")


def recognise(root: str | Path) -> str:
    """The name of the layout that a folder or datalist file has.

    Raises:
        DataError: if it has none of them, listing what was looked for.
    """
    root = Path(root)
    found = next((layout.name for layout in LAYOUTS.values() if layout.matches(root)), None)
    if found is None:
        content = "an empty folder" if root.is_dir() and not any(root.iterdir()) else "no layout that medaug knows"
        listed = "; ".join(f"{layout.name} ({layout.looks_like})" for layout in LAYOUTS.values())
        raise DataError.about(root, content, f"one of: {listed}", "Point to the folder that directly holds these.")
    return found


@contextmanager
def _readable(root: str | Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise DataError.about(
            error.filename or root, "a folder that may not be read", "a readable data set", "Check its permissions."
        ) from error


def _find_cases(root: Path, layout: str, sequence: Sequence) -> list[Case]:
    check_root(root)
    name = recognise(root) if layout == "auto" else layout
    if name not in LAYOUTS:
        raise ConfigError(f"unknown layout {name!r}; choose one of auto, {', '.join(LAYOUTS)}")
    if root.is_file() and name not in ("datalist", "msd"):
        raise DataError.about(root, "a file", f"a folder in the layout {name}", "Point to the folder.")
    cases = LAYOUTS[name].find(root, sequence)
    if not cases:
        raise DataError.about(
            root, f"no cases in the layout {name}", LAYOUTS[name].looks_like, "Check the folder, or name its layout."
        )
    _check_unique(cases, root)
    return sorted(cases, key=lambda case: natural_key(case["case"]))


def _brats_folders(root: Path) -> dict[Path, dict[str, Path]]:
    """Per case folder (at most two levels down, as in HGG/ and LGG/): kind ("flair", "seg", ...) → file."""
    kinds = {alias: name for name, aliases in BRATS_SEQUENCES.items() for alias in aliases}
    folders: dict[Path, dict[str, Path]] = {}
    for path in sorted([*root.glob("*/*.nii*"), *root.glob("*/*/*.nii*")]):
        match = BRATS_NAME.match(path.name)
        if not match or path.name.startswith("."):
            continue
        kind = kinds.get(match["kind"].lower(), "seg")
        if kind in folders.setdefault(path.parent, {}):
            raise DataError.about(
                path.parent, f"two files for {kind} ({folders[path.parent][kind].name}, {path.name})",
                "one file per sequence in a case folder", "Move one of them away.",
            )  # fmt: skip
        folders[path.parent][kind] = path
    return {folder: files for folder, files in folders.items() if files.keys() - {"seg"}}


def _find_brats(root: Path, sequence: Sequence) -> list[Case]:
    folders = _brats_folders(root)
    present = [name for name in BRATS_SEQUENCES if any(name in files for files in folders.values())]
    aliases = {alias: name for name, names in BRATS_SEQUENCES.items() for alias in names}
    chosen = choose_sequence(present, aliases.get(str(sequence).lower(), sequence), str(root)) if present else ""
    cases = []
    for folder, files in folders.items():
        if chosen not in files:
            raise DataError.about(
                folder, f"only {', '.join(files)}", f"the sequence {chosen}",
                "Add the file, move this folder away, or choose another `--sequence`.",
            )  # fmt: skip
        visit = BRATS_VISIT.match(folder.name)
        patient = visit["patient"] if visit else folder.name
        cases.append(make_case(folder.name, files[chosen], files.get("seg"), patient=patient))
    return cases


def _find_lgg(root: Path, sequence: Sequence) -> list[Case]:
    channel = choose_channel(LGG_CHANNELS, sequence, str(root))
    cases = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = {stem_of(path): path for path in sorted(folder.iterdir()) if is_scan(path) and suffix_of(path) in TIFF}
        for stem, path in files.items():
            image = stem.removesuffix("_mask")
            if image not in files:
                raise DataError.about(
                    path, "a mask without its image", f"{image}{path.suffix} beside it",
                    "Copy the image again, or move the mask away.",
                )  # fmt: skip
            if image == stem:
                mask = files.get(f"{stem}_mask")
                cases.append(make_case(stem, path, mask, patient=folder.name, scan=folder.name, channel=channel))
    return cases


def _find_images_labels(root: Path, sequence: Sequence) -> list[Case]:
    """Optional beside the folders: patients.json {stem: patient} and channels.json [name, ...]."""
    images, labels = _by_stem(root / "images"), _by_stem(root / "labels")
    patients = _optional_json(root / "patients.json", dict)
    names = _optional_json(root / "channels.json", list) or []
    orphans = sorted(labels.keys() - images.keys(), key=natural_key)
    if orphans:
        raise DataError.about(
            labels[orphans[0]], f"{len(orphans)} label(s) without an image", "the same name in images/ and labels/",
            "Add the image, or move the label away.",
        )  # fmt: skip
    if patients is None:
        _warn_of_slices(root, list(images))
    elif missing := sorted(images.keys() - patients.keys(), key=natural_key):
        raise DataError.about(
            root / "patients.json", f"no patient for {missing[0]} ({len(missing)} missing)", "one for every image",
            'Add it: {"<file name without ending>": "<patient>"}.',
        )  # fmt: skip
    channel = choose_channel([str(name) for name in names], sequence, str(root))
    return [
        make_case(stem, path, labels.get(stem), patient=str((patients or {}).get(stem, stem)), channel=channel)
        for stem, path in images.items()
    ]


def _find_dicom(root: Path, sequence: Sequence) -> list[Case]:
    """Labels, if any, are `labels/<case>.nii.gz`."""
    return find_dicom_cases(root, _by_stem(root / LABELS), sequence)


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_scan(path):
            if stem_of(path) in files:
                raise DataError.about(
                    path, f"the same name as {files[stem_of(path)].name}", "one file per case", "Rename one of them."
                )
            files[stem_of(path)] = path
    return files


def _optional_json(path: Path, kind: type[Json]) -> Json | None:
    """The content of a JSON file that may be absent."""
    return read_json(path, kind, BESIDE_THE_FOLDERS) if path.exists() else None


def _warn_of_slices(root: Path, stems: list[str]) -> None:
    """Slices of one patient that count as patients of their own would leak across the split: say so."""
    groups: dict[str, int] = {}
    for stem in stems:
        if match := re.match(r"^(.+)[_-]\d+$", stem):
            groups[match[1]] = groups.get(match[1], 0) + 1
    shared = [name for name, count in groups.items() if count > 1]
    if 0 < len(shared) < len(stems) / 2 and len(groups) > 1:
        log.warning(
            "%s: names such as %s_* share a stem, and each file counts as a patient of its own. If they are slices of "
            'one patient, write patients.json: {"<file name without ending>": "<patient>"}.', root, shared[0],
        )  # fmt: skip


def _is_images_labels(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "labels").is_dir()


def _is_lgg(root: Path) -> bool:
    return any(path.name.lower().endswith(("_mask.tif", "_mask.tiff")) for path in root.glob("*/*_mask.*"))


def _check_unique(cases: list[Case], root: Path) -> None:
    seen: dict[str, str] = {}
    for case in cases:
        if case["case"] in seen:
            raise DataError.about(
                root, f"two cases named {case['case']} ({seen[case['case']]} and {case['image']})", "unique names",
                "Rename one of them.",
            )  # fmt: skip
        seen[case["case"]] = case["image"]


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("msd", "dataset.json with imagesTr/ and labelsTr/ (Decathlon, nnU-Net)", is_msd, find_msd),
        Layout("datalist", "a MONAI datalist .json, or a folder with datalist.json", is_datalist, find_datalist),
        Layout("dicom", "DICOM series in any folders, with labels/<case>.nii.gz or none", is_dicom_tree, _find_dicom),
        Layout("images-labels", "images/ and labels/ with equal names", _is_images_labels, _find_images_labels),
        Layout("brats", "<case>/<case>_flair.nii.gz with _seg", lambda root: bool(_brats_folders(root)), _find_brats),
        Layout(
            "paired-folders",
            "<patient>/<kind>/<slice>.png, equal names in every kind (MRI/ and CT/)",
            is_paired_folders,
            find_paired_folders,
        ),  # fmt: skip
        Layout("kaggle-lgg", "<patient>/<slice>.tif with <slice>_mask.tif", _is_lgg, _find_lgg),
    )
}
