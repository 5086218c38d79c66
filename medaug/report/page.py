"""A run's report as plain data, and its rendering to one HTML file that needs no network, and JavaScript only to look
around in images (`report.viewer`).

The page puts the verdict first, then the warnings, what was run, the sections (text, tables, figures), the settings,
files left out, and the commands that make it again. The stages fill a `ReportPage`; nothing here knows the run folder.
Every string is escaped; images are embedded as data URIs; the same page gives the same bytes.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import jinja2
from PIL import Image

from medaug import __version__
from medaug.data.atomic import write_text
from medaug.errors import visible
from medaug.report.viewer import Viewer, script, script_source

Tone = Literal["helps", "hurts", "inconclusive", "info"]
Value = str | float

ICONS: dict[str, str] = {"helps": "✓", "hurts": "✕", "inconclusive": "≈", "info": "i"}
LABELS: dict[str, str] = {"helps": "Helps", "hurts": "Hurts", "inconclusive": "Inconclusive", "info": "Result"}
DISCLAIMER = "Synthetic images, for research. Not for diagnosis."
MISSING = "–"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CSS_DPI = 96.0  # a CSS pixel is 1/96 inch


@dataclass(frozen=True)
class Verdict:
    """The answer, in one headline and one sentence.

    Raises:
        ValueError: for an unknown tone.
    """

    tone: Tone
    headline: str
    sentence: str

    def __post_init__(self) -> None:
        if self.tone not in ICONS:
            raise ValueError(f"unknown tone {self.tone!r}; expected one of {', '.join(ICONS)}")


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row. Numbers are formatted per column; NaN and None show as a dash.

    Raises:
        ValueError: if a row has not one cell per column.
    """

    title: str
    columns: list[str]
    rows: Sequence[Sequence[Value]]
    note: str = ""

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r}, row {index}: {len(row)} cells, expected {len(self.columns)}, one per column"
                )


@dataclass(frozen=True)
class Figure:
    """A PNG picture, still or animated; `alt` says in words what it shows, for readers who cannot see it.

    Raises:
        ValueError: if `png` is not PNG data or `alt` is blank.
    """

    title: str
    png: bytes
    caption: str
    alt: str

    def __post_init__(self) -> None:
        if not self.png.startswith(_PNG_SIGNATURE):
            raise ValueError(f"figure {self.title!r}: the image is not PNG data; render it with report.figures")
        if not self.alt.strip():
            raise ValueError(f"figure {self.title!r}: the alternative text is blank; say in words what it shows")


@dataclass(frozen=True)
class Section:
    """A headed part of the page; blank lines in `text` separate paragraphs. A viewer stands before the figures."""

    title: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    viewer: Viewer | None = None


@dataclass(frozen=True)
class ReportPage:
    """Everything on one page. Parts left empty do not appear."""

    title: str
    subtitle: str
    verdict: Verdict | None  # None: a page that answers no question
    facts: list[tuple[str, str]] = field(default_factory=list)  # (name, value): what was run
    sections: list[Section] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)  # (path, reason)
    settings_yaml: str = ""
    commands: list[str] = field(default_factory=list)
    footer: str = f"{DISCLAIMER} medaug {__version__}"


def render(page: ReportPage, path: Path) -> Path:
    """Writes the page to `path` (atomically: a reader sees the old file or the whole new one) and returns `path`."""
    write_text(path, to_html(page))
    return path


def to_html(page: ReportPage) -> str:
    """The page as one self-contained HTML document."""
    looks = any(section.viewer for section in page.sections)
    html = _template().render(
        page=page,
        icon=ICONS[page.verdict.tone] if page.verdict else "",
        label=LABELS[page.verdict.tone] if page.verdict else "",
        sections=list(zip(_anchors(section.title for section in page.sections), page.sections, strict=True)),
        script=script() if looks else "",
        script_source=script_source() if looks else "",
    )
    # A file name that is not UTF-8 reaches us as lone surrogates, which cannot be written.
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def format_columns(table: Table) -> list[list[str]]:
    """The cells of a table as text, row by row: one number of decimals per column, so that digits line up."""
    columns = [_format_column([row[i] for row in table.rows]) for i in range(len(table.columns))]
    return [list(row) for row in zip(*columns, strict=True)]


def numeric_columns(table: Table) -> list[bool]:
    """Which columns hold numbers (or text that starts like one, '0.74 [0.70, 0.78]') and are set flush right."""
    starts_like_number = re.compile(r"\s*([<>≤≥±~]\s*)?[+\-−]?[.\d]|\s*[–—-]?\s*$")
    return [
        i > 0 and all(not isinstance(cell := row[i], str) or starts_like_number.match(cell) for row in table.rows)
        for i in range(len(table.columns))
    ]


def _anchors(titles: Iterable[str]) -> list[str]:
    """Anchors of these headings, unique within a page and apart from the template's own."""
    taken = ["content", "verdict", "contents", "run", "warnings", "left-out", "settings", "commands"]
    own = len(taken)
    for title in titles:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        anchor, number = slug, 1
        while anchor in taken:
            number += 1
            anchor = f"{slug}-{number}"
        taken.append(anchor)
    return taken[own:]


def _format_column(cells: list[Value]) -> list[str]:
    floats = [abs(float(c)) for c in cells if isinstance(c, Real) and not isinstance(c, Integral) and math.isfinite(c)]
    largest = max(floats, default=0.0)
    decimals = 3 if largest < 10 else 2 if largest < 100 else 1
    form = ".3g" if any(0 < value < 1e-3 for value in floats) else f",.{decimals}f"
    return [_format_cell(cell, form) for cell in cells]


def _format_cell(cell: Value | None, form: str) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if cell is None or not isinstance(cell, Real):
        return MISSING if cell is None else str(cell)
    if not math.isfinite(cell):
        return MISSING if math.isnan(cell) else "∞" if cell > 0 else "−∞"
    text = (f"{int(cell):,}" if isinstance(cell, Integral) else f"{float(cell):{form}}").replace("-", "−")
    return text.lstrip("−") if re.fullmatch(r"−[0.]+", text) else text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _css_size(png: bytes | str) -> tuple[int, int]:
    """Width and height in CSS pixels of a PNG, or of its base64: scaled by its density where it states one."""
    with Image.open(io.BytesIO(base64.b64decode(png) if isinstance(png, str) else png)) as image:
        density = image.info.get("dpi", (_CSS_DPI, _CSS_DPI))[0] or _CSS_DPI
        width, height = (max(1, round(size * _CSS_DPI / density)) for size in image.size)
    return width, height


def _shown(value: Any) -> Any:
    """What the page shows of a text: line ends stay, names cannot turn the writing around."""
    return visible(value, keep="\n\t") if type(value) is str else value


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("medaug", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "base64": _base64,
        "css_size": _css_size,
        "format_columns": format_columns,
        "numeric_columns": numeric_columns,
    }
    return environment.get_template("page.html")
