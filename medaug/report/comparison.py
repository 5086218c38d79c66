"""The result of `medaug compare` as a table for the terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from medaug.audits.measures.similarity import IMAGE_METRICS
from medaug.errors import visible
from medaug.report.terminal import Table

WIDTH = 100


def comparison_text(found: dict[str, Any]) -> str:
    """What `scans.compare` found: what was compared, the scores, and in HU the errors by tissue."""
    stream = StringIO()
    console = Console(file=stream, width=WIDTH, color_system=None, highlight=False)
    unit, scale = found["unit"], found["scale"]
    for key in ("real", "synthetic", "mask"):
        console.print(f"{key:<10} {visible(found[key])}", soft_wrap=True, markup=False)
    console.print(f"{'unit':<10} {unit} ({scale[0]:g} to {scale[1]:g}), {found['voxels']} voxels")
    scores = Table("score", "value", "unit")
    for name, value in found["scores"].items():
        metric = IMAGE_METRICS.get(name)
        title, of = (metric.title, metric.unit) if metric else ("Dice of bone", "")
        infinite = value is None and name == "psnr"
        scores.add_row(title, "∞" if infinite else _number(value), unit if of is None else of)
    scores.add_row("Bias (synthetic − real)", _number(found["bias"], signed=True), unit)
    console.print(scores)
    if found.get("tissues"):
        tissues = Table("tissue of the real CT", "share", f"bias ({unit})", f"MAE ({unit})")
        for name, row in found["tissues"].items():
            tissues.add_row(
                name, f"{100 * row['share']:.1f} %", _number(row["bias_hu"], signed=True), _number(row["mae_hu"])
            )
        console.print(tissues)
    return stream.getvalue().rstrip()


def _number(value: float | None, *, signed: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if signed else ''}.4g}".replace("-", "−")
