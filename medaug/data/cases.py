"""One case as a dict, the order of cases, and the choice of one sequence (FLAIR, T1, ...) of several."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from medaug.data.opening import is_scan, stem_of
from medaug.data.records import Case, SequenceFile
from medaug.errors import ConfigError, DataError, SequenceError

log = logging.getLogger(__name__)


def make_case(
    case: str,
    image: Path,
    label: Path | None,
    *,
    patient: str | None = None,
    scan: str | None = None,
    channel: int | None = None,
    series_uid: str | None = None,
) -> Case:
    """One case; the scan defaults to the case itself, the patient to what `visits.with_patients` finds in its name.

    Args:
        series_uid: which DICOM series, where `image` is a folder of several.
    """
    return Case(
        case=case,
        patient=patient or "",
        scan=scan or case,
        image=str(image),
        label=None if label is None else str(label),
        channel=channel,
        series_uid=series_uid,
    )


class Lacking(NamedTuple):
    """A case that lacks the sequence that was asked for, and the error that says so."""

    case: str
    error: DataError


def lacks(where: Path, present: Sequence[str], sequence: str) -> DataError:
    """The error of a case, in this folder or file, that has these sequences and not that one."""
    remedy = "Add the file, move the case away, choose another `--sequence`, or set data.missing=zero to fill it in."
    return DataError.about(where, f"only {', '.join(present)}", f"the sequence {sequence}", remedy)


Found = Sequence[Case | Lacking]
"""What a layout finds of one sequence."""


def joined(by_sequence: Sequence[Found], root: Path, *, fill: bool = False) -> list[Case]:
    """The cases of a data set, each with one file a sequence.

    Args:
        by_sequence: what was found of each sequence, in the order of the channels.
        fill: leave a sequence that a case lacks empty; it may not lack all.

    Raises:
        DataError: if a case lacks a sequence, or the cases of two sequences have other names.
    """
    listed = [{found.case: found for found in sequence} for sequence in by_sequence]
    cases: list[Case] = []
    for name in dict.fromkeys(name for found in listed for name in found):
        files: list[SequenceFile] = []
        there: list[Case] = []
        for number, found in enumerate(listed, start=1):
            if name not in found:
                raise DataError.about(
                    root,
                    f"no case {name} in sequence {number}, which holds {', '.join(list(found)[:3])}, ...",
                    "one name a case in all sequences",
                    'Rename the files, or write a datalist with "image": [one path a sequence].',
                )
            one = found[name]
            if isinstance(one, Case):
                there.append(one)
            elif not fill:
                raise one.error
            files.append(one.sequences[0] if isinstance(one, Case) else SequenceFile(image=""))
        if not there:
            raise next(one.error for found in listed if isinstance(one := found[name], Lacking))
        first, *others = files
        cases.append(replace(there[0], **vars(first), others=tuple(others)))
    return cases


def with_organs_of(cases: Sequence[Case], root: Path, folder: Path) -> list[Case]:
    """The cases with their masks of the organ, `<folder>/<case>.nii.gz` (or another format that is read).

    Args:
        folder: as it stands, or relative to the data's root.

    Raises:
        DataError: if there is no such folder, or no mask of a case in it.
    """
    place = next((path for path in (folder, root / folder) if path.is_dir()), None)
    if place is None:
        raise DataError.about(folder, "no such folder", "a mask of the organ for every case", "Correct data.organ.")
    masks = by_stem(files_in(place), "mask")
    for case in cases:
        if case.case not in masks:
            raise DataError.about(
                place, f"no mask of the case {case.case}", "one named as each case", "Add it, or leave the case out."
            )
    return [replace(case, organ=str(masks[case.case])) for case in cases]


def source_stamps(case: Case) -> list[list[Any] | None]:
    """What changes when an image, the label or the organ changes on the disk, one of each; None for a missing file."""
    paths = [Path(path) for path in (case.image, case.label, *(f.image for f in case.others), case.organ) if path]
    return [_stamp(path) if path.exists() else None for path in paths]


def files_below(root: Path, *, tell: bool = False) -> Iterator[Path]:
    """The files of a folder and of all folders below it, links to folders too, in natural order.

    Names that start with a dot are left out. A folder that is reached twice is read once, and one above `root` is not.

    Args:
        tell: warn of links that are not followed for that.
    """
    top = os.path.realpath(root)
    seen = {top}
    for folder, folders, names in os.walk(root, followlinks=True):
        kept = []
        for below in sorted(
            (Path(folder) / name for name in folders if not name.startswith(".")),
            key=lambda path: (path.is_symlink(), natural_key(path.name)),
        ):
            place = os.path.realpath(below)
            if place in seen or Path(top).is_relative_to(place):
                if tell:
                    log.warning("%s: a link to %s, which is read already or lies above; it is left out", below, place)
                continue
            seen.add(place)
            kept.append(below.name)
        folders[:] = kept
        yield from (Path(folder) / name for name in sorted(names, key=natural_key) if not name.startswith("."))


def natural_key(text: str) -> list[tuple[int, str]]:
    """A sort key that compares the numbers inside a name by value: `slice_2` before `slice_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def by_stem(paths: Iterable[Path], one_of: str = "case") -> dict[str, Path]:
    """Name without ending → file, of the images among these, by their names.

    Raises:
        DataError: if two have one name.
    """
    files: dict[str, Path] = {}
    for path in sorted(filter(is_scan, paths)):
        if other := files.get(stem_of(path)):
            expected = f"one file per {one_of}"
            raise DataError.about(path, f"the same name as {other.name}", expected, "Rename one of them.")
        files[stem_of(path)] = path
    return files


def files_in(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where there is none."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def refuse_orphans(labels: Sequence[Path], expected: str) -> None:
    """Refuses labels that have no image.

    Raises:
        DataError: naming the first.
    """
    if labels:
        found = f"{len(labels)} label(s) without an image"
        raise DataError.about(labels[0], found, expected, "Add the image, or move the label away.")


def choose_sequence(names: Sequence[str], sequence: str | int | None, where: str) -> str:
    """The chosen name; without a choice, the only one, and "" where there are none at all.

    Raises:
        SequenceError: if there are several and none is chosen.
        ConfigError: if the choice is not among them.
    """
    return names[choose_channel(names, sequence, where) or 0] if names else ""


def choose_channel(names: Sequence[str], sequence: str | int | None, where: str) -> int | None:
    """The channel number of a sequence; None where nothing needs to be chosen (no names and no choice, or one name).

    Args:
        names: the channels' names in order; empty if the data set does not name them.
        sequence: a name (upper or lower case), a number, or a number as text.
        where: the data set, for messages.

    Raises:
        SequenceError, ConfigError: as `choose_sequence`.
    """
    if sequence is None:
        if len(names) > 1:
            message = f"{where}: holds several sequences; choose one with `--sequence`: {_listed(names)}"
            raise SequenceError(message, list(names))
        return None
    lowered = [name.lower() for name in names]
    if str(sequence).lower() in lowered:
        index = lowered.index(str(sequence).lower())
    elif isinstance(sequence, int) or sequence.isdecimal():
        index = int(sequence)
        if index < 0 or (names and index >= len(names)):
            raise ConfigError(f"{where}: no channel {index}; choose one of {_listed(names) or 'the numbers from 0'}")
    elif not names:
        raise ConfigError(f"{where}: the channels have no names here; choose by number, for example `--sequence 0`")
    else:
        near = get_close_matches(sequence.lower(), lowered, n=1)
        hint = f". Did you mean {names[lowered.index(near[0])]}?" if near else ""
        raise ConfigError(f"{where}: no sequence {sequence!r}; choose one of {_listed(names)}{hint}")
    return index if len(names) != 1 else None


def _stamp(path: Path) -> list[Any]:
    """Size and time of a file; of a folder, all its bytes, and a hash over the names, sizes and times of its files."""
    if not path.is_dir():
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]
    files = {str(file): file.stat() for file in files_below(path) if file.is_file()}
    listed = repr([(name, status.st_size, status.st_mtime_ns) for name, status in files.items()])
    return [sum(status.st_size for status in files.values()), hashlib.sha256(listed.encode()).hexdigest()]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"{name} ({index})" for index, name in enumerate(names))
