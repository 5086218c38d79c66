"""A single scan opened for a command: checked on the way in, kept in its own unit, and written as it is stored.

Files are named `<stem>_<kind>...` in one folder: images and labels in the scan's format, and beside them a picture, a
manifest (JSON) and a page to look around in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor

from medaug.data.atomic import atomic_path, write_json
from medaug.data.decoding import on_grid_of
from medaug.data.files import StoredScan, read_label, read_scan
from medaug.data.opening import NIFTI, TIFF, stem_of, suffix_of
from medaug.errors import ConfigError, DataError
from medaug.figures.pictures import Picture
from medaug.models.weights import Weights, WeightsFacts
from medaug.report.viewer import EncodedCase, encode
from medaug.report.viewing import case_of_scan, view_page
from medaug.splits import pseudonym
from medaug.volumes import Domain, Window, affine_of, as_meta, check_is_label, check_modality, length_unit

LOSSLESS_PICTURES = (".png", *TIFF)
AnyPath = str | Path
Facts = Mapping[str, object]
"""What a manifest says: JSON values by name."""


@dataclass(frozen=True)
class OpenScan:
    """A scan that a command works on.

    Attributes:
        image: (1, *S) in its own unit; its meta has the "length_unit" of its sizes, "px" where none is known.
        domain: the kind of image that it is.
        out: the folder that gets what is made of it.
    """

    path: Path
    image: MetaTensor
    domain: Domain
    out: Path

    @property
    def stem(self) -> str:
        return stem_of(self.path)

    @property
    def array(self) -> np.ndarray:
        """The image, (*S)."""
        return as_array(self.image)

    @property
    def length_unit(self) -> str:
        return length_unit(self.image.meta)

    @property
    def is_picture(self) -> bool:
        """Whether it is a 2-D image without a voxel size of its own."""
        return self.image.ndim == 3 and not self.image.meta["spacing_known"]

    @cached_property
    def window(self) -> Window:
        return self.domain.window_of(self.array, str(self.path))

    @cached_property
    def stored(self) -> StoredScan:
        return StoredScan(self.image)

    @property
    def ending(self) -> str:
        """The ending of what is written: the scan's own, or the nearest that loses nothing."""
        suffix = suffix_of(self.path)
        if suffix in NIFTI:
            return suffix
        if self.is_picture:
            return suffix if suffix in LOSSLESS_PICTURES else ".png"
        return ".nii.gz"

    def file(self, kind: str, ending: str | None = None) -> Path:
        """The path of what is written: `<stem>_<kind>` and an ending, by default that of images."""
        return self.out / f"{self.stem}_{kind}{self.ending if ending is None else ending}"

    def mask(self, path: AnyPath | None) -> MetaTensor | None:
        """A mask or label (1, *S) on the scan's grid, read by `read_mask`; None for None."""
        return None if path is None else read_mask(path, self.image, self.path)

    def marked(self, path: AnyPath, remedy: str) -> MetaTensor:
        """A mask as `mask` reads it; one that marks nothing is refused, too."""
        mask = read_mask(path, self.image, self.path)
        if not bool((mask > 0).any()):
            raise DataError.about(path, "an empty mask", "marked voxels", remedy)
        return mask

    def write_edited(self, kind: str, edited: NdarrayOrTensor) -> Path:
        """Writes the scan with the voxels in which `edited` differs from it; returns the path."""
        self.stored.write_edited(self.file(kind), edited)
        return self.file(kind)

    def write_label(self, kind: str, label: NdarrayOrTensor) -> Path:
        """Writes a label on the scan's grid; returns the path."""
        self.stored.write(self.file(kind), label, "uint8")
        return self.file(kind)

    def seen_with(self, edited: MetaTensor, name: str, label: NdarrayOrTensor, title: str = "") -> EncodedCase:
        """Original and edited image side by side, with the label, for the viewer of a page."""
        windows, shown = (self.window, self.window), as_meta(label)
        return encode(case_of_scan(title or name, self.image, edited, ("original", name), windows, shown))


def open_scan(path: AnyPath, domain: Domain, facts: WeightsFacts, sequence: str | None, out: AnyPath) -> OpenScan:
    """Reads a scan; a picture without a voxel size is taken to have that of the pictures the weights learnt from.

    Args:
        facts: of the weights.

    Raises:
        ConfigError: if `sequence` is not a channel's number.
        DataError: if the scan cannot be read, or is of another modality than `domain`.
    """
    if sequence is not None and not sequence.isdigit():
        raise ConfigError(f"--sequence {sequence}: a single file's channels have no names; give the number, from 0")
    image = read_scan(Path(path), channel=int(sequence) if sequence is not None else None)
    check_modality(as_array(image), domain, str(path), image.meta["modality"])
    known = facts.picture_spacing_mm
    if known and not image.meta["spacing_known"]:
        image.affine = torch.from_numpy(affine_of(known[: image.ndim - 1]))
    image.meta["length_unit"] = "mm" if known or image.meta["spacing_known"] else "px"
    return OpenScan(Path(path), image, domain, Path(out))


def open_to_edit(path: AnyPath, weights: Weights, sequence: str | None, out: AnyPath) -> OpenScan:
    """`open_scan` for weights that edit tumors; a WeightsError says if these do not."""
    weights.check_inserts()
    return open_scan(path, weights.translator.domain_a, weights.facts, sequence, out)


def read_mask(path: AnyPath, image: MetaTensor, scan: Path) -> MetaTensor:
    """A mask (1, *S) on the scan's grid; where only its axes run otherwise, they are turned, which changes no voxel.

    Raises:
        DataError: if it lies on another grid, or is an image (the scan itself, for one).
    """
    mask = on_grid_of(read_label(Path(path)), image)
    check_is_label(as_array(mask), as_array(image), str(path), str(scan))
    return mask


def write_beside(
    stem: Path, picture: bytes, facts: Facts, title: str, cases: Sequence[EncodedCase], picture_ending: str = ".png"
) -> list[Path]:
    """Writes picture, manifest and page beside what was made; returns their paths."""
    file = stem.with_name(stem.name + picture_ending)
    with atomic_path(file) as temporary:
        temporary.write_bytes(picture)
    manifest = stem.with_name(f"{stem.name}.json")
    write_json(manifest, facts)
    return [file, manifest, view_page(stem.with_name(f"{stem.name}.html"), title, cases, facts)]


def unnamed(lesion: Facts) -> Facts:
    """What is told of an inserted lesion: the training patient whose lesion it started from goes by a pseudonym."""
    patient = lesion.get("patient")
    return lesion if patient is None else {**lesion, "patient": pseudonym(str(patient))}


def as_array(image: MetaTensor) -> np.ndarray:
    """(1, *S) as (*S)."""
    return np.asarray(image.as_tensor())[0]


def close_up(mask: np.ndarray) -> tuple[slice, ...]:
    """The surroundings of what a mask (X, Y) marks: a square with its extent on every side."""
    where = np.argwhere(mask)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    reach = int(1.5 * (high - low).max()) + 2
    return tuple(slice(max(0, middle - reach), middle + reach) for middle in (low + high) // 2)


def in_rows(pictures: Sequence[Picture], columns: int) -> list[list[Picture | None]]:
    """Pictures in rows of at most so many, the last row filled up with empty places."""
    width = min(columns, len(pictures))
    filled = [*pictures, *[None] * (-len(pictures) % width)]
    return [filled[start : start + width] for start in range(0, len(filled), width)]
