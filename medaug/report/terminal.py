"""Tables for the terminal, as text of a fixed width: the same wherever they are printed."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.table import Table


def table_text(table: Table, width: int = 140) -> str:
    """The table without colours, no blanks or newline behind it."""
    stream = StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(table)
    return stream.getvalue().rstrip()
