"""Tables for the terminal, as text of a fixed width: the same wherever they are printed."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

import rich.table
from rich.console import Console
from rich.text import Text

from medaug.audits.measures.similarity import IMAGE_METRICS
from medaug.errors import visible

COMPARISON_WIDTH = 100


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


def comparison_text(found: Mapping[str, Any]) -> str:
    """What `medaug compare` found: what was compared, the scores, and in HU the errors by tissue."""
    unit, scale = found["unit"], found["scale"]
    lines = [f"{key:<10} {visible(found[key])}" for key in ("real", "synthetic", "mask")]
    lines.append(f"{'unit':<10} {unit} ({scale[0]:g} to {scale[1]:g}), {found['voxels']} voxels")
    scores = Table("score", "value", "unit")
    for name, value in found["scores"].items():
        metric = IMAGE_METRICS.get(name)
        title, of = (metric.title, metric.unit) if metric else ("Dice of bone", "")
        infinite = value is None and name == "psnr"
        scores.add_row(title, "∞" if infinite else _number(value), unit if of is None else of)
    scores.add_row("Bias (synthetic − real)", _number(found["bias"], signed=True), unit)
    lines.append(table_text(scores, COMPARISON_WIDTH))
    if found.get("tissues"):
        tissues = Table("tissue of the real CT", "share", f"bias ({unit})", f"MAE ({unit})")
        for name, row in found["tissues"].items():
            errors = _number(row["bias_hu"], signed=True), _number(row["mae_hu"])
            tissues.add_row(name, f"{100 * row['share']:.1f} %", *errors)
        lines.append(table_text(tissues, COMPARISON_WIDTH))
    return "\n".join(lines)


def _number(value: float | None, *, signed: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if signed else ''}.4g}".replace("-", "−")
