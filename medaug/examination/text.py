"""What `medaug doctor` found as text for the terminal: figures, answers, and the suggested pipeline."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from medaug.errors import visible
from medaug.examination.examination import Examination
from medaug.examination.survey import SPECK_MM, DataSummary, Group, Spread
from medaug.report.terminal import Table

WIDTH = 140
NAMED = 5
"""So many of the cases that a check is about are named; `--json` has them all."""


def examination_text(found: Examination) -> str:
    """Tables of the data sets and of the checks, what the checks name, and the suggestion."""
    stream = StringIO()
    console = Console(file=stream, width=WIDTH, color_system=None, highlight=False)
    for summary in (found.data, found.target):
        if summary is not None:
            console.print(_figures(summary))
    checks = Table("check", "answer", "what was found")
    for check in found.checks:
        checks.add_row(check.name, check.verdict, check.sentence)
    console.print(checks)
    for check in found.checks:
        if check.named and check.verdict != "pass":
            more = f" … and {len(check.named) - NAMED} more (`--json` has all)" if len(check.named) > NAMED else ""
            console.print(f"{check.name}:", markup=False)
            for name in check.named[:NAMED]:
                console.print(f"  {visible(name)}", soft_wrap=True, markup=False)
            if more:
                console.print(f" {more}", markup=False)
    if found.suggestion:
        console.print(
            f"\nA pipeline for it:\n\n{visible(found.suggestion, keep=chr(10))}", soft_wrap=True, markup=False
        )
    console.print("usable" if found.usable else "NOT usable as it is: see the checks that fail")
    return stream.getvalue().rstrip()


def _figures(s: DataSummary) -> Table:
    table = Table("", s.root, show_lines=False)
    linked = f" ({s.linked} behind links)" if s.linked else ""
    rows = {
        "layout": f"{s.layout} ({s.looks_like})",
        "sequence": "–" if s.sequence is None else str(s.sequence),
        "cases": f"{s.cases}{linked}, {s.read} read, {s.labelled} with a label; "
        f"{_spread(s.cases_per_patient)} a patient, of {s.patients}",
        "shape": _groups(s.shapes),
        "voxel size": _groups(s.spacings_mm),
        "orientation": _groups(s.orientations),
        "intensity": f"{s.lowest:g} to {s.highest:g}; percentiles 0.5, 50, 99.5: "
        + ", ".join(f"{value:g}" for value in s.percentiles)
        + f"; stored as {', '.join(s.dtypes)}",
        "modality": f"{s.modality}{', in HU' if s.looks_like_hu else ''}",
        "label values": "; ".join(
            f"{v.value} in {v.cases} labels of {v.patients} patients"
            + ("" if v.volume_ml is None else f", {_spread(v.volume_ml)} ml")
            for v in s.label_values
        )
        or "none",
        "lesions": _lesions(s),
        "prevalence": "unknown"
        if s.prevalence is None
        else f"{s.prevalence.tumor_slices} of {s.prevalence.slices} labelled slices ({s.prevalence.by_slice:.0%}), "
        f"{s.prevalence.tumor_patients} of {s.prevalence.patients} patients",
        "cost": f"read in {s.seconds:g} s; prepared on this grid {s.megabytes:.0f} MB",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _lesions(s: DataSummary) -> str:
    if s.lesions is None:
        return "none"
    volume = "" if s.lesions.volume_ml is None else f", volume {_spread(s.lesions.volume_ml)} ml"
    return (
        f"{s.lesions.count}, {_spread(s.lesions.per_patient)} a patient; diameter {_spread(s.lesions.diameter_mm)} "
        f"{s.length_unit}{volume}; {s.lesions.specks} specks below {SPECK_MM:g} {s.length_unit}"
    )


def _groups(groups: list[Group]) -> str:
    shown = "; ".join(f"{group.value} ({len(group.cases)})" for group in groups[:NAMED])
    return shown + (f"; … {len(groups) - NAMED} more" if len(groups) > NAMED else "")


def _spread(spread: Spread) -> str:
    if spread.least == spread.most:
        return f"{spread.median:.3g}"
    return f"{spread.least:.3g} to {spread.most:.3g} (median {spread.median:.3g})"
