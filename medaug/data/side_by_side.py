"""Images and labels beside each other, told apart by a word in their names: `volume-0` and `segmentation-0` (LiTS),
`a` and `a_seg`. The same look at names finds the cases of a folder in no layout, to show a datalist of them.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from itertools import islice
from pathlib import Path

from medaug.data.cases import choose_sequence, make_case, natural_key
from medaug.data.records import Case
from medaug.data.suffixes import DICOM, is_scan, stem_of, suffix_of
from medaug.data.visits import patient_in
from medaug.errors import DataError

LABEL_WORDS = {
    "seg",
    "segm",
    "segmentation",
    "segmentations",
    "label",
    "labels",
    "labelstr",
    "labelsts",
    "mask",
    "masks",
    "msk",
    "roi",
    "gt",
    "groundtruth",
    "annotation",
    "annotations",
}
IMAGE_WORDS = {
    "volume",
    "vol",
    "image",
    "images",
    "imagestr",
    "img",
    "imgs",
    "imaging",
    "scan",
    "orig",
    "ct",
    "mr",
    "mri",
    "flair",
    "t1",
    "t1w",
    "t1c",
    "t1ce",
    "t2",
    "t2w",
}
LOOKED_AT = 20_000
"""Files of a folder in no layout, at most."""

Key = tuple[str, ...]


def is_side_by_side(root: Path) -> bool:
    """Whether a label lies beside its image, in the folder or in those in it."""
    return any(label is not None for _, _, label in _pairs(_files(root))[0]) if root.is_dir() else False


def find_side_by_side(root: Path, sequence: str | int | None) -> list[Case]:
    """The cases, named after their images; where images differ by a word (`ct_1`, `mr_1`), `sequence` chooses.

    Raises:
        DataError: for a label without an image, or two of one image.
        ConfigError: if no sequence is chosen where there are several, or another than those.
    """
    pairs, orphans = _pairs(_files(root))
    if orphans:
        raise DataError.about(
            orphans[0],
            f"{len(orphans)} label(s) without an image of their own",
            "one image for each, of the same name but for a word such as volume and segmentation",
            "Add the image, move the label away, or write a datalist.",
        )
    keys = Counter(_key(image) for image, _, _ in pairs)
    kinds = sorted({kind for _, kind, _ in pairs}) if max(keys.values(), default=0) > 1 else []
    chosen = choose_sequence(kinds, sequence, str(root)) if kinds else None
    kept = [(image, label) for image, kind, label in pairs if chosen in (None, kind)]
    stems = Counter(stem_of(image) for image, _ in kept)
    return [
        make_case(
            stem_of(image) if stems[stem_of(image)] == 1 else f"{image.parent.name}_{stem_of(image)}", image, label
        )
        for image, label in kept
    ]


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
        named = [path for path in labels if _key(path) == _key(image)]
        near = [path for path in named if _far_key(path.relative_to(root)) == _far_key(inside)]
        label = next(iter(near if len(named) > 1 else named), None)
        entry = {"case": case, "patient": patient_in(stem_of(image)), "image": inside.as_posix()}
        entries.append(entry | ({"label": label.relative_to(root).as_posix()} if label else {}))
    return json.dumps({"training": entries}) if entries else None


def _files(root: Path) -> list[Path]:
    return sorted(path for pattern in ("*", "*/*") for path in root.glob(pattern) if is_scan(path))


def _pairs(files: list[Path]) -> tuple[list[tuple[Path, str, Path | None]], list[Path]]:
    """((image, the words that say so, label or None) in order, labels without an image or beside another label)."""
    labels: dict[tuple[Path, Key], Path] = {}
    orphans = []
    for path in files:
        if _is_label(Path(path.name)) and labels.setdefault((path.parent, _key(path)), path) != path:
            orphans.append(path)
    images = [path for path in files if not _is_label(Path(path.name))]
    taken = {(path.parent, _key(path)) for path in images}
    orphans += [path for key, path in labels.items() if key not in taken]
    return [(path, _kind(path), labels.get((path.parent, _key(path)))) for path in images], orphans


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[-_. ]+", text.lower()) if word]


def _is_label(path: Path) -> bool:
    return any(word in LABEL_WORDS for part in (*path.parts[:-1], stem_of(path)) for word in _words(part))


def _key(path: Path) -> Key:
    """What image and label share."""
    return tuple(word for word in _words(stem_of(path)) if word not in LABEL_WORDS | IMAGE_WORDS)


def _far_key(path: Path) -> Key:
    """What they share where they lie in folders of their own."""
    words = [word for part in (*path.parts[:-1], stem_of(path)) for word in _words(part)]
    return tuple(word for word in words if word not in LABEL_WORDS | IMAGE_WORDS)


def _kind(path: Path) -> str:
    return "-".join(word for word in _words(stem_of(path)) if word in IMAGE_WORDS)
