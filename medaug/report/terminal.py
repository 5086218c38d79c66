"""Tables for the terminal, as text of a fixed width: the same wherever they are printed."""

from __future__ import annotations

from io import StringIO
from typing import Any

import rich.table
from rich.console import Console
from rich.text import Text

from medaug.errors import visible


class Table(rich.table.Table):
    """Its cells are shown as they are: names hold no markup, and nothing that a terminal would act on."""

    def __init__(self, *headers: str, **options: Any):
        super().__init__(**options)
        for header in headers:
            self.add_column(Text(visible(header)))

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in cells), **options)


def table_text(table: Table, width: int = 140) -> str:
    """The table without colours, no blanks or newline behind it."""
    stream = StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(table)
    return stream.getvalue().rstrip()
