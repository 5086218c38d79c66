"""The records of a data set: a `Case` as a layout finds it, and a `PreparedCase` as `cache` stores it.

Both are frozen, and JSON on the disk: `from_json` and `to_json` are inverses. A `prepared/datalist.json` holds
`{"cases": [...], "unreadable": [...]}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self, cast

from medaug.data.atomic import read_json
from medaug.volumes import Window

Affine = tuple[tuple[float, ...], ...]
"""Four rows of four: voxels to mm (RAS)."""
Provenance = dict[str, list[str]]
"""Whom a synthetic case was made from (see `synthetic`)."""


class Record:
    """A dataclass that is written as one JSON object: fields that hold their default are left out."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; keys that are no fields are not read.

        Raises:
            DataError: if `values` is of a file (see `read_json`) and a field is missing.
        """
        return cls(**{name: frozen(values[name]) for name in _names_in(cls, values)})

    def to_json(self) -> dict[str, Any]:
        """The fields by name, tuples as lists."""
        return {
            f.name: thawed(getattr(self, f.name)) for f in fields(cast(Any, self)) if getattr(self, f.name) != f.default
        }


@dataclass(frozen=True, kw_only=True)
class SequenceFile(Record):
    """Where one sequence of a case lies.

    Attributes:
        image: path of a file, or of a folder with one DICOM series or several; "" where the case lacks the sequence,
            and zeros stand in for it (`data.missing`).
        channel: of a file that holds several, the number of the one to read.
        series_uid: which DICOM series, where `image` is a folder of several.
    """

    image: str
    channel: int | None = None
    series_uid: str | None = None


@dataclass(frozen=True, kw_only=True)
class Case(Record):
    """One scan session of a data set, by its files.

    Attributes:
        case: unique in the data set.
        patient: the unit of every split; "" until `visits.with_patients` has told it.
        scan: the group of cases whose intensities belong together (slices of one scan).
        image, channel, series_uid: the first sequence (see `SequenceFile`).
        label: path, or None where there is none.
        synthetic: None for a real scan; whom another was made from, as far as it is known (see `synthetic`).
        others: the second channel of the image, and so on.
        organ: path of a mask of where tumors may lie, which a folder beside the scans holds.
        healthy: whether nothing but "there is no tumor" is known of it (see `data.healthy`).
    """

    case: str
    patient: str
    scan: str
    image: str
    label: str | None
    channel: int | None = None
    series_uid: str | None = None
    synthetic: Provenance | None = None
    others: tuple[SequenceFile, ...] = ()
    organ: str | None = None
    healthy: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """As `Record.from_json`."""
        case = super().from_json(values)
        return replace(case, others=tuple(SequenceFile.from_json(cast(Any, other)) for other in case.others))

    @property
    def sequences(self) -> tuple[SequenceFile, ...]:
        """One file a channel, in order."""
        return (SequenceFile(image=self.image, channel=self.channel, series_uid=self.series_uid), *self.others)

    @property
    def path(self) -> str:
        """The first file that is there: what messages call the image by."""
        return next(file.image for file in self.sequences if file.image)


@dataclass(frozen=True, kw_only=True)
class PreparedCase(Case):
    """A case whose arrays are stored, on the grid that they are used on.

    Attributes:
        arrays: file by kind, relative to the prepared folder: "image" (C, *S), float32, each channel in its own unit;
            of labelled cases "label" (*S), uint8 class numbers; "organ" (where tumors may lie) or "body" (what is not
            background), (*S), uint8.
        voxels: file by kind of "label", "organ" and "body": (N,) flat indices (C order) of their voxels, of each class
            in turn and of at most `cache.VOXELS_KEPT` of it, ascending.
        affine: of the stored grid.
        spacing_mm, shape: by spatial axis of the arrays, (X, Y) or (X, Y, Z).
        source_dtypes, source_modalities: by channel, what the file says; a modality may be unknown (None).
        source_axes: of the first channel's file.
        label_values, tumor_values: the values of the file's label, and those that count as tumor.
        fingerprints: of the image and its slices, before any resampling (see `fingerprints`).
        length_unit: "px" where no voxel size is known, and `spacing_mm` is 1.
        resampled_from_mm: the stored voxel size, where that was changed.
        windows: by channel, the interval of intensities that networks see; none until `prepare` has set them.
        class_voxels: by class, from 1, and then by index along the last axis: the label's voxels.
        tissue_voxels: by index along the last axis: the voxels of the organ, or of the body where there is no organ.
        content: a hash of the stored arrays, set with the windows.
    """

    arrays: dict[str, str]
    voxels: dict[str, str]
    affine: Affine
    spacing_mm: tuple[float, ...]
    shape: tuple[int, ...]
    source_dtypes: tuple[str, ...]
    source_axes: str = ""
    source_modalities: tuple[str | None, ...] = ()
    label_values: tuple[int, ...] = ()
    tumor_values: tuple[int, ...] = ()
    fingerprints: tuple[str, ...] = ()
    length_unit: str = "mm"
    resampled_from_mm: tuple[float, ...] | None = None
    windows: tuple[Window, ...] = ()
    class_voxels: tuple[tuple[int, ...], ...] = ()
    tissue_voxels: tuple[int, ...] = ()
    content: str = ""

    @property
    def labelled(self) -> bool:
        """Whether a label is stored."""
        return "label" in self.arrays

    @property
    def files(self) -> list[str]:
        """Those of the arrays and of the places of voxels, as they are named."""
        return [*self.arrays.values(), *self.voxels.values()]

    def shared_from(self, folder: str) -> PreparedCase:
        """The case with its files in another folder, by a path from the datalist's own."""
        arrays, voxels = (
            {kind: str(PurePosixPath(folder) / name) for kind, name in files.items()}
            for files in (self.arrays, self.voxels)
        )
        return replace(self, arrays=arrays, voxels=voxels)


def prepared_cases(datalist: str | Path) -> list[PreparedCase]:
    """The cases of a prepared folder's datalist.

    Raises:
        DataError: if it is missing, or no such list.
    """
    return [PreparedCase.from_json(values) for values in read_json(datalist)["cases"]]


def frozen(value: Any) -> Any:
    """A value of JSON as records hold it: lists as tuples, windows as what they are."""
    if isinstance(value, list):
        return tuple(map(frozen, value))
    if isinstance(value, dict) and set(value) == {"low", "high", "unit"}:
        return Window.from_dict(value)
    return value


def thawed(value: Any) -> Any:
    """The inverse of `frozen`; records become JSON objects."""
    if isinstance(value, tuple):
        return [thawed(part) for part in value]
    if isinstance(value, Window):
        return value.to_dict()
    return value.to_json() if isinstance(value, Record) else value


def _names_in(record: type[Any], values: Mapping[str, Any]) -> list[str]:
    """The names of the fields that these values hold, and of all that they have to hold."""
    return [f.name for f in fields(record) if f.name in values or f.default is MISSING]
