"""A single scan opened for a command: checked on the way in, kept in its own unit, and written as it is stored.

A scan of several sequences is a file each, and each is written in its own type, on its own grid. Files are named
`<stem>_<kind>...` in one folder: images and labels in the scan's format, and beside them a picture, a manifest (JSON)
and a page to look around in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor

from medaug.data.atomic import atomic_path, write_json
from medaug.data.cache import file_name
from medaug.data.decoding import on_grid_of
from medaug.data.files import StoredScan, read_label, read_scan, to_numpy
from medaug.data.opening import NIFTI, TIFF, suffix_of
from medaug.data.readers import decode
from medaug.errors import DataError
from medaug.figures.pictures import Picture
from medaug.models.facts import WeightsFacts
from medaug.models.weights import Weights
from medaug.report.viewer import EncodedCase, encode
from medaug.report.viewing import case_of_scan, view_page
from medaug.scans.files import AnyPath, ScanFiles, Scans
from medaug.splits import pseudonym
from medaug.volumes import Domain, Window, affine_of, as_meta, check_is_label, check_modality, length_unit

LOSSLESS_PICTURES = (".png", *TIFF)
Facts = Mapping[str, object]
"""What a manifest says: JSON values by name."""


@dataclass(frozen=True)
class OpenScan:
    """A scan that a command works on.

    Attributes:
        stem: what its results are called after.
        scans: by channel the file, (1, *S) in its own unit, on the grid of the first; the meta of the first has the
            "length_unit" of its sizes, "px" where none is known.
        domain: the kind of image that it is.
        out: the folder that gets what is made of it.
        sequences: the channels' names.
        parts: the values of a tumor's parts in labels, by name; none of one part alone.
        stored: by channel, the file on its own grid.
    """

    stem: str
    scans: tuple[MetaTensor, ...]
    domain: Domain
    out: Path
    sequences: tuple[str, ...] = ("",)
    parts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    stored: tuple[StoredScan, ...] = ()

    @property
    def path(self) -> Path:
        """That of the first channel."""
        return Path(self.scans[0].meta["path"])

    @property
    def names(self) -> str:
        """The names of its files, for manifests."""
        return ", ".join(dict.fromkeys(Path(scan.meta["path"]).name for scan in self.scans))

    @cached_property
    def image(self) -> MetaTensor:
        """(C, *S), with affine and meta of the first channel."""
        first = self.scans[0]
        if len(self.scans) == 1:
            return first
        channels = torch.cat([scan.as_tensor() for scan in self.scans])
        return MetaTensor(channels, affine=first.affine, meta=dict(first.meta))

    @property
    def array(self) -> np.ndarray:
        """The image, (C, *S)."""
        return np.asarray(self.image.as_tensor())

    @property
    def length_unit(self) -> str:
        return length_unit(self.image.meta)

    @property
    def is_picture(self) -> bool:
        """Whether it is a 2-D image without a voxel size of its own."""
        return self.image.ndim == 3 and not self.image.meta["spacing_known"]

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """A channel each."""
        return tuple(
            domain.window_of(np.asarray(scan.as_tensor())[0], scan.meta["path"])
            for domain, scan in zip(self.domain.channels, self.scans, strict=True)
        )

    @property
    def ending(self) -> str:
        """The ending of labels, and of a single image."""
        return self._ending_of(self.path)

    def _ending_of(self, path: str | Path) -> str:
        """The ending of what is written: the file's own, or the nearest that loses nothing."""
        suffix = suffix_of(path)
        if suffix in NIFTI:
            return suffix
        if self.is_picture:
            return suffix if suffix in LOSSLESS_PICTURES else ".png"
        return ".nii.gz"

    def file(self, kind: str, ending: str | None = None) -> Path:
        """The path of what is written: `<stem>_<kind>` and an ending, by default that of labels."""
        return self.out / f"{self.stem}_{kind}{self.ending if ending is None else ending}"

    def channel_files(self, kind: str, ending: str | None = None) -> list[Path]:
        """The path of an image, and of several one each: `<stem>_<kind>_<sequence>`; endings are the files' own."""
        several = len(self.scans) > 1
        return [
            self.file(f"{kind}_{file_name(name)}" if several else kind, ending or self._ending_of(scan.meta["path"]))
            for name, scan in zip(self.sequences, self.scans, strict=True)
        ]

    def mask(self, path: AnyPath | None) -> MetaTensor | None:
        """A mask or label (1, *S) on the scan's grid, read by `read_mask`; None for None."""
        return None if path is None else read_mask(path, self.scans[0], self.path)

    def marked(self, path: AnyPath, remedy: str) -> MetaTensor:
        """A mask as `mask` reads it; one that marks nothing is refused, too."""
        mask = read_mask(path, self.scans[0], self.path)
        if not bool((mask > 0).any()):
            raise DataError.about(path, "an empty mask", "marked voxels", remedy)
        return mask

    def write_edited(self, kind: str, edited: NdarrayOrTensor) -> list[Path]:
        """Writes every file with the voxels in which `edited` (C, *S) differs from it; returns the paths."""
        paths = self.channel_files(kind)
        for path, stored, channel in zip(paths, self.stored, to_numpy(edited), strict=True):
            placed = MetaTensor(torch.from_numpy(channel)[None], affine=self.image.affine, meta=dict(self.image.meta))
            stored.write_edited(path, placed if stored.image is self.scans[0] else on_grid_of(placed, stored.image))
        return paths

    def write_new(self, kind: str, values: np.ndarray, ending: str) -> list[Path]:
        """Writes new values (C, *S), float32 on the first file's grid; returns the paths, a channel each."""
        paths = self.channel_files(kind, ending)
        for path, channel in zip(paths, values, strict=True):
            self.stored[0].write(path, channel[None], "float32")
        return paths

    def write_label(self, kind: str, label: NdarrayOrTensor) -> Path:
        """Writes a label on the scan's grid; returns the path."""
        self.stored[0].write(self.file(kind), label, "uint8")
        return self.file(kind)

    def seen_with(self, edited: MetaTensor, name: str, label: NdarrayOrTensor, title: str = "") -> EncodedCase:
        """Original and edited image side by side, with the label, for the viewer of a page."""
        case = case_of_scan(
            title or name,
            self.scans,
            edited,
            ("original", name),
            [(window, window) for window in self.windows],
            as_meta(label),
            sequences=self.sequences,
            class_names={value: part for part, values in self.parts.items() for value in values},
        )
        return encode(case)


def open_scan(
    scans: Scans, domain: Domain, sequences: Sequence[str], facts: WeightsFacts, channel: str | None, out: AnyPath
) -> OpenScan:
    """Reads a scan; a picture without a voxel size is taken to have that of the pictures the weights learnt from.

    Args:
        scans: a file for each channel of the domain (see `ScanFiles`).
        sequences: the channels' names.
        facts: of the weights.
        channel: of a file of several channels, the numbers of those to read.

    Raises:
        ConfigError: if `channel` is not numbers, or the files are not those of the weights' sequences.
        DataError: if the scan cannot be read, its files are not on one grid, or of another modality than `domain`.
    """
    files, read = ScanFiles.of(scans), list[MetaTensor]()
    paths = files.in_order(sequences, channel)
    if len(files.paths) < len(paths) and channel is None:
        _check_channels(files.paths[0], sequences)
    for (path, number), kind in zip(paths, domain.channels, strict=True):
        image = read_scan(path, channel=number)
        check_modality(as_array(image), kind, str(path), image.meta["modality"])
        known = facts.picture_spacing_mm
        if known and not image.meta["spacing_known"]:
            image.affine = torch.from_numpy(affine_of(known[: image.ndim - 1]))
        image.meta["length_unit"] = "mm" if known or image.meta["spacing_known"] else "px"
        read.append(image)
    placed = (read[0], *(on_grid_of(image, read[0]) for image in read[1:]))
    stored, parts = tuple(map(StoredScan, read)), getattr(facts, "parts", {})
    return OpenScan(files.stem, placed, domain, Path(out), tuple(sequences), parts, stored)


def open_to_edit(scans: Scans, weights: Weights, channel: str | None, out: AnyPath) -> OpenScan:
    """`open_scan` for weights that edit tumors; a WeightsError says if these do not."""
    weights.check_inserts()
    return open_scan(scans, weights.translator.domain_a, weights.sequences, weights.facts, channel, out)


def _check_channels(path: Path, sequences: Sequence[str]) -> None:
    """Refuses a file that has not one channel for each sequence."""
    raw = decode(path)
    count = raw.array.shape[-1] if raw.has_channels else 1
    if count != len(sequences):
        wanted = ", ".join(sequences)
        each = " ".join(f"{name}=FILE" for name in sequences)
        raise DataError.about(
            path,
            f"{count} channel(s)",
            f"one for each sequence of the weights, {wanted}",
            f"Give a file each, {each}, or the numbers of {len(sequences)} channels with --sequence.",
        )


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
