"""Files that are written whole or not at all: JSON that says what is wrong with it, and CSV for spreadsheets.

A write goes to a temporary sibling, reaches the disk (fsync), and takes the name in one step (`os.replace`): a full
disk or a killed process leaves the earlier file as it was. Read by every stage that writes into a run folder.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from functools import partial
from glob import escape
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from medaug.data.opening import read_file
from medaug.errors import DataError, RunError

ELSEWHERE = "choose another output folder."
REMEDIES = {
    errno.ENOSPC: "Free some space, or choose another output folder, then run the same command again.",
    errno.EDQUOT: f"Your disk quota is used up: free some space, or {ELSEWHERE}",
    errno.EROFS: f"The disk is read-only: {ELSEWHERE}",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Choose an output folder you may write to."),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), f"A parent of this path is a file: {ELSEWHERE}"),
    errno.EISDIR: "A folder has this name: remove it, or choose another output name.",
    errno.ENAMETOOLONG: "The name is too long for this disk: shorten the case name or the output folder.",
}

WRITE_AGAIN = "Restore the file from a copy, or delete it and run the command that writes it again."
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""What a text that a spreadsheet would run begins with, and the mark against it."""


@contextmanager
def atomic_path(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary sibling of `path` to write to; it becomes `path` when the block ends without an error.

    The sibling keeps the ending, so writers recognise the format: `scan.nii.gz` → `.tmp-<pid>-scan.nii.gz`. It may be
    made a folder, if `path` does not exist yet. Missing parent folders are made. `durable=False` leaves out the fsync,
    for files that can be computed again.

    Raises:
        RunError: if the file cannot be written, naming the path and the remedy.

    Example:
        >>> with atomic_path("notes.txt") as temporary:
        ...     _ = temporary.write_text("whole or not at all")
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            with suppress(OSError):  # some network disks cannot sync a folder; the file itself is safe
                _sync(path.parent)
    except OSError as error:
        if error.filename is None:  # a failed write names no file, a failed open names its own
            is_about_this = error.errno is not None
        else:
            named = Path(os.fsdecode(error.filename))
            is_about_this = named in (path, temporary) or named in path.parents
        if not is_about_this:
            raise
        raise write_error(path, error) from error
    finally:  # what a failed write left
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            temporary.unlink()


def write_error(path: str | Path, error: OSError) -> RunError:
    """The message for a file or folder that cannot be written: path, reason, remedy."""
    remedy = REMEDIES.get(error.errno or 0, f"Check the disk, or {ELSEWHERE}")
    return RunError(f"{path}: cannot be written ({error.strerror or error}). {remedy}")


def check_free(out: Path) -> None:
    """Refuses a path that anything is at, by a RunError that names it."""
    if out.exists():
        raise RunError(f"{out}: exists already; nothing is written over it. Choose another name, or remove it.")


def check_new(out: Path) -> None:
    """Refuses what is there already, by a RunError that names it; an empty folder may be filled."""
    if not out.is_dir() or any(out.iterdir()):
        check_free(out)


def new_folder(out: str | Path) -> Path:
    """Makes a folder to be filled; raises RunError if it holds files already, or cannot be made."""
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise RunError(f"{out}: holds files already. Choose a new folder, or empty this one.")
    except OSError as error:
        raise write_error(out, error) from error
    return out


def check_unwritten(out: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuses a folder that holds results of an earlier call.

    Args:
        names: what the results' files are named, up to their first `_` or `.`.
        overwrite: what is there may be replaced.

    Raises:
        RunError: naming a file.
    """
    there = [path for name in names for path in sorted(out.glob(f"{escape(name)}[._]*"))]
    if there and not overwrite:
        raise RunError(
            f"{there[0]}: exists already, of an earlier call; nothing is written over it. Choose another --out, or "
            "replace it with --overwrite."
        )


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically; raises RunError where it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: str | Path, obj: Any, indent: int | None = 1) -> None:
    """Writes JSON atomically; NumPy values, paths and dataclasses become plain JSON.

    Raises:
        RunError: if it cannot be written.
        TypeError: if `obj` holds something else that JSON cannot hold.
    """
    write_text(path, to_json(obj, indent))


def to_json(obj: Any, indent: int | None = 1) -> str:
    """JSON text; see `write_json`."""
    return json.dumps(obj, indent=indent, default=_plain) + "\n"


class JsonObject(dict[str, Any]):
    """An object of a JSON file. To ask for a key that it lacks is an error that names the file."""

    def __init__(self, values: Mapping[str, Any] = MappingProxyType({}), source: str = ""):
        super().__init__(values)
        self.source = source

    def __missing__(self, key: str) -> NoReturn:
        raise DataError.about(self.source, f"no '{key}' where it belongs", "what was once written there", WRITE_AGAIN)


def read_json(path: str | Path, kind: type = dict, remedy: str = WRITE_AGAIN) -> Any:
    """Reads a JSON file.

    Args:
        kind: what it holds: `dict`, `list`, or `object` for either.
        remedy: what to do where it holds something else.

    Returns:
        every object of it as a `JsonObject`.

    Raises:
        DataError: if it is missing or unreadable, malformed (naming the line), or holds something else.
    """
    try:
        content = json.loads(read_file(path).decode("utf-8-sig"), object_hook=partial(JsonObject, source=str(path)))
    except OSError as error:
        found = f"no readable file ({error.strerror})"
        raise DataError.about(path, found, "a JSON file", "Check the path and its permissions.") from error
    except DataError:
        raise
    except json.JSONDecodeError as error:
        where, found = f"{path}, line {error.lineno}, column {error.colno}", f"malformed JSON ({error.msg})"
        advice = "Correct that line; if the file was cut off, write it again."
        raise DataError.about(where, found, "valid JSON", advice) from error
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8 text (at byte {error.start})"
        raise DataError.about(path, found, "a JSON file", "Save it as UTF-8.") from error
    except (RecursionError, ValueError) as error:  # nested without end, a number of thousands of digits
        found, expected = f"JSON that cannot be read ({error})", "lists and numbers of ordinary size"
        raise DataError.about(path, found, expected, "Write the file again.") from error
    if not isinstance(content, kind):
        raise DataError.about(path, f"a JSON {type(content).__name__}", f"a JSON {kind.__name__}", remedy)
    return content


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> str:
    """A table with one line a row, and a first one of the columns' names.

    A text that a spreadsheet would run as a formula gets an apostrophe in front, and so does one that begins with an
    apostrophe, so that `read_csv` takes exactly one away. Numbers, also negative ones, stay numbers.
    """

    def as_text(cell: Any) -> Any:
        return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) and not _is_number(cell) else cell

    lines = []
    for row in (columns, *rows):
        stream = StringIO()
        csv.writer(stream, delimiter=delimiter).writerow([as_text(cell) for cell in row])
        lines.append(stream.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table that `csv_text` made, a dict each; raises DataError where there is no such table."""
    try:
        rows = list(csv.reader(StringIO(read_file(path).decode("utf-8", "surrogateescape"), newline=""), strict=True))
        columns, *others = [[cell[1:] if cell.startswith("'") else cell for cell in row] for row in rows]
        return [dict(zip(columns, row, strict=True)) for row in others]
    except (OSError, ValueError, csv.Error) as error:
        found, expected = f"no readable table ({error})", "the CSV file as it was written"
        raise DataError.about(path, found, expected, "Run the command that writes it.") from error


def _sync(path: Path) -> None:
    """Asks the system to put a file or folder on the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """What `json` does not know, as what it knows."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, tensors
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
