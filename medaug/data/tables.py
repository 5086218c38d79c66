"""CSV for spreadsheets and back: a text that a spreadsheet would run as a formula is stored as the text that it is.

A cell that begins with one of `= + - @`, a tab or a line end gets an apostrophe in front, and so does one that begins
with an apostrophe, so that reading takes exactly one away. Numbers, also negative ones, stay numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from medaug.data.opening import read_file
from medaug.errors import DataError

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> str:
    """A table with one line a row, and a first one of the columns' names."""
    lines = []
    for row in (columns, *rows):
        stream = StringIO()
        csv.writer(stream, delimiter=delimiter).writerow([_as_text(cell) for cell in row])
        lines.append(stream.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table that `csv_text` made, a dict each.

    Raises:
        DataError: if it is missing, or no such table.
    """
    try:
        rows = list(csv.reader(StringIO(read_file(path).decode("utf-8", "surrogateescape"), newline=""), strict=True))
        columns, *others = [[cell[1:] if cell.startswith("'") else cell for cell in row] for row in rows]
        return [dict(zip(columns, row, strict=True)) for row in others]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError.about(
            path, f"no readable table ({error})", "the CSV file as it was written", "Run the command that writes it."
        ) from error


def _as_text(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) and not _is_number(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
