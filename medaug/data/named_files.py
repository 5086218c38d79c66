"""Images and labels told apart by words in the names of their files, wherever these lie.

In BIDS (bids-specification.readthedocs.io) they are `sub-*/[ses-*/]anat/sub-*_FLAIR.nii.gz`: a sequence is what a name
says beyond subject and session (`FLAIR`, `ce-gad_T1w`), and labels are the files whose names say so (`_seg`, `_mask`,
`label-lesion_...`), in `derivatives/` or beside the images. Elsewhere image and label lie beside each other: `volume-0`
and `segmentation-0` (LiTS), `a` and `a_seg`. The same look at names finds the cases of a folder in no layout, to show a
datalist of them.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

from medaug.data.cases import Found, Lacking, choose_sequence, lacks, make_case, natural_key
from medaug.data.opening import DICOM, is_scan, stem_of, suffix_of
from medaug.data.records import Case
from medaug.data.visits import patient_in
from medaug.errors import DataError

LABEL_WORDS = {
    *("seg", "segm", "segmentation", "segmentations"),
    *("label", "labels", "labelstr", "labelsts"),
    *("mask", "masks", "msk", "roi"),
    *("gt", "groundtruth", "annotation", "annotations"),
}
IMAGE_WORDS = {
    *("volume", "vol", "image", "images", "imagestr", "img", "imgs", "imaging", "scan", "orig"),
    *("ct", "mr", "mri", "flair", "t1", "t1w", "t1c", "t1ce", "t2", "t2w"),
}
LOOKED_AT = 20_000
"""Files of a folder in no layout, at most."""
BIDS_NAME = re.compile(r"(?P<scan>sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)_(?P<rest>.+)")
BIDS_LABEL = re.compile(
    r"(?:^|[_-])(?:d?seg|segm|segmentation|mask|msk|lesions?|roi|label|labels|tumou?r)(?:[_-]|$)", re.IGNORECASE
)
NO_TUMOR = re.compile(r"brain|body|head|tissue|aseg|aparc|probseg", re.IGNORECASE)
"""Masks of something else."""
OWN = re.compile(r"run-[A-Za-z0-9]+|desc-synthetic")
"""Parts of a name that make it another scan, and no other sequence."""
RUN = re.compile(r"_run-[A-Za-z0-9]+$")
"""A label may leave it out."""
DERIVATIVES = "derivatives"

Key = tuple[str, ...]


def is_bids(root: Path) -> bool:
    """Whether there is an image named after its subject, in a folder of its kind."""
    return root.is_dir() and any(
        is_scan(path) and BIDS_NAME.fullmatch(stem_of(path))
        for pattern in ("sub-*/*/sub-*", "sub-*/*/*/sub-*")
        for path in root.glob(pattern)
    )


def find_bids(root: Path, sequence: str | int | None) -> Found:
    """One case a subject, session and run; a synthetic image (`medaug export --to bids`) is a case of its own.

    Raises:
        DataError: if one lacks the sequence, or has several labels that could be meant.
        ConfigError: if no sequence is chosen where there are several, or another than those.
    """
    images: dict[str, dict[str, Path]] = defaultdict(dict)
    labels: dict[str, list[Path]] = defaultdict(list)
    for path in sorted([*root.glob("sub-*/**/*"), *root.glob(f"{DERIVATIVES}/**/*")]):
        match = BIDS_NAME.fullmatch(stem_of(path)) if is_scan(path) else None
        if match is None:
            continue
        parts = match["rest"].split("_")
        scan = "_".join([match["scan"], *(part for part in parts if OWN.fullmatch(part))])
        kind = "_".join(part for part in parts if not OWN.fullmatch(part) and part != "desc-real")
        if BIDS_LABEL.search(match["rest"]):
            labels[scan] += [] if NO_TUMOR.search(match["rest"]) else [path]
        elif DERIVATIVES not in path.relative_to(root).parts:
            images[scan][kind] = path
    kinds = sorted({kind for files in images.values() for kind in files}, key=natural_key)
    chosen = choose_sequence(kinds, sequence, str(root))
    cases: list[Case | Lacking] = []
    for scan, files in images.items():
        if chosen in files:
            label = _label_of(chosen, labels[scan] or labels[RUN.sub("", scan)])
            cases.append(make_case(scan, files[chosen], label))
        else:
            cases.append(Lacking(scan, lacks(root / scan, list(files), chosen)))
    return cases


def is_side_by_side(root: Path) -> bool:
    """Whether a label lies beside its image, in the folder or in those in it."""
    return any(label is not None for _, _, label in _pairs(_files(root))[0]) if root.is_dir() else False


def find_side_by_side(root: Path, sequence: str | int | None) -> Found:
    """The cases, named after their images; where images differ by a word (`ct_1`, `mr_1`), `sequence` chooses.

    Raises:
        DataError: for a label without an image, or two of one image.
        ConfigError: if no sequence is chosen where there are several, or another than those.
    """
    pairs, orphans = _pairs(_files(root))
    if orphans:
        found = f"{len(orphans)} label(s) without an image of their own"
        expected = "one image for each, of the same name but for a word such as volume and segmentation"
        raise DataError.about(orphans[0], found, expected, "Add the image, move the label away, or write a datalist.")
    keys = Counter(_key(Path(image.name)) for image, _, _ in pairs)
    kinds = sorted({kind for _, kind, _ in pairs}) if max(keys.values(), default=0) > 1 else []
    chosen = choose_sequence(kinds, sequence, str(root)) if kinds else None
    kept = [(image, label) for image, kind, label in pairs if chosen in (None, kind)]
    stems = Counter(stem_of(image) for image, _ in kept)
    cases: list[Case | Lacking] = []
    for image, label in kept:
        stem = stem_of(image)
        cases.append(make_case(stem if stems[stem] == 1 else f"{image.parent.name}_{stem}", image, label))
    return cases


def example_of(root: Path) -> str | None:
    """A datalist of the first cases below a folder in no layout, as far as names tell; None where there is no image."""
    found = [Path(folder) / name for folder, _, names in islice(os.walk(root), LOOKED_AT) for name in names]
    files = [path for path in found[:LOOKED_AT] if is_scan(path) and suffix_of(path) not in DICOM]
    files.sort(key=lambda path: natural_key(str(path)))
    images = [path for path in files if not _is_label(path.relative_to(root))]
    labels = [path for path in files if _is_label(path.relative_to(root))]
    entries = []
    for image in images[:2]:
        inside = image.relative_to(root)
        case = "_".join((*inside.parts[:-1], stem_of(image)))
        named = [path for path in labels if _key(Path(path.name)) == _key(Path(image.name))]
        near = [path for path in named if _key(path.relative_to(root)) == _key(inside)]
        label = next(iter(near if len(named) > 1 else named), None)
        entry = {"case": case, "patient": patient_in(stem_of(image)), "image": inside.as_posix()}
        entries.append(entry | ({"label": label.relative_to(root).as_posix()} if label else {}))
    return json.dumps({"training": entries}) if entries else None


def _label_of(sequence: str, labels: list[Path]) -> Path | None:
    """The one label, or of several the one that names the sequence."""
    named = [path for path in labels if sequence.lower() in stem_of(path).lower()]
    found = named if len(labels) > 1 and named else labels
    if len(found) > 1:
        meant = f"{len(found)} labels that could be meant (also {found[1].name})"
        raise DataError.about(found[0], meant, "one label a scan", "Move the others away, or write a datalist.")
    return found[0] if found else None


def _files(root: Path) -> list[Path]:
    return sorted(path for pattern in ("*", "*/*") for path in root.glob(pattern) if is_scan(path))


def _pairs(files: list[Path]) -> tuple[list[tuple[Path, str, Path | None]], list[Path]]:
    """((image, the words that say so, label or None) in order, labels without an image or beside another label)."""
    labels: dict[tuple[Path, Key], Path] = {}
    images: list[tuple[tuple[Path, Key], Path]] = []
    orphans = []
    for path in files:
        name = Path(path.name)
        place = (path.parent, _key(name))
        if not _is_label(name):
            images.append((place, path))
        elif labels.setdefault(place, path) != path:
            orphans.append(path)
    taken = {place for place, _ in images}
    orphans += [path for place, path in labels.items() if place not in taken]
    return [(path, _kind(path), labels.get(place)) for place, path in images], orphans


def _words(*parts: str) -> list[str]:
    return [word for part in parts for word in re.split(r"[-_. ]+", part.lower()) if word]


def _is_label(path: Path) -> bool:
    """Whether the name or a folder in the path says so."""
    return not LABEL_WORDS.isdisjoint(_words(*path.parts[:-1], stem_of(path)))


def _key(path: Path) -> Key:
    """What image and label share of their names, and of the folders in the path."""
    words = _words(*path.parts[:-1], stem_of(path))
    return tuple(word for word in words if word not in LABEL_WORDS | IMAGE_WORDS)


def _kind(path: Path) -> str:
    return "-".join(word for word in _words(stem_of(path)) if word in IMAGE_WORDS)
