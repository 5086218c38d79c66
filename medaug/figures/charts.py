"""Plots as PNG bytes (or SVG, for print): learning curves, differences between arms, scores by patient and setting.

Drawn with matplotlib's object API (no pyplot, no global state), in the colour-blind-safe palette of Okabe and Ito, with
line styles, markers and hatchings that differ as well, so that no plot needs colour to be read. A PNG states its
density (192 per inch), so the page shows it at half its pixels; it holds no metadata, so the same numbers give the same
bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

if TYPE_CHECKING:
    from medaug.evaluation.intervals import Interval

OKABE_ITO = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
INK, SOFT, LINE = "#1b2430", "#566273", "#d5dbe3"
DPI = 192  # two device pixels per CSS pixel
CYCLE = [OKABE_ITO[name] for name in ("blue", "vermillion", "green", "orange", "purple", "sky", "black")]
STYLES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---", "ooo", "+++")
_VERDICT_MARKS = {"helps": ("^", "#00795A"), "hurts": ("v", "#B84A00"), "inconclusive": ("o", "#5f6672")}
_WIDTH_IN = 5.15  # two such plots stand side by side on the page
_DODGE = 0.08  # of the distance between two ticks: from one arm's interval to the next

Look = dict[str, Any]
"""Keyword arguments of matplotlib's."""
Encode = Callable[[Figure], bytes]
"""What makes a file of a drawn figure: `to_png`, or `to_svg`."""


def to_png(figure: Figure, *, exact: bool = False) -> bytes:
    """Draws a figure and encodes it small: a palette of 256 colours, or with `exact` every colour; no metadata."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    if not exact:
        image = image.quantize(256, dither=Image.Dither.NONE)
    encoded = io.BytesIO()
    image.save(encoded, "PNG", optimize=True, dpi=(figure.dpi, figure.dpi))
    return encoded.getvalue()


def to_svg(figure: Figure) -> bytes:
    """Encodes a figure for print; letters are paths, and it holds no date, so the same numbers give the same bytes."""
    encoded = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "medaug", "svg.fonttype": "path"}):
        figure.savefig(encoded, format="svg", metadata={"Date": None, "Creator": None})
    return encoded.getvalue()


def learning_curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    xlabel: str = "step",
    ylabel: str,
    smooth: int | None = None,
) -> bytes:
    """Curves of a quantity over training: the running mean in front, the raw values faint behind it.

    Args:
        series: name → (steps, values), of equal length; values that are not finite are left out.
        smooth: width of the centred running mean in points; None takes 2 % of them, 1 draws the values as they are.

    Raises:
        ValueError: if a series has not one value per step.
    """
    figure, ax = axes(height_in=3.4)
    curves = {name: _running_mean(*_finite_pairs(name, *points), smooth) for name, points in series.items()}
    curves = {name: curve for name, curve in curves.items() if curve[0].size}
    for index, (steps, values, mean) in enumerate(curves.values()):
        colour, style = CYCLE[index % len(CYCLE)], STYLES[index % len(STYLES)]
        marker = "o" if steps.size == 1 else None
        if not np.array_equal(values, mean):
            ax.plot(steps, values, color=colour, linewidth=0.6, alpha=0.22)
        ax.plot(steps, mean, color=colour, linestyle=style, linewidth=1.7, marker=marker, markersize=4)
    if curves:
        _zoom_to_means(ax, curves)
        lines = ax.lines[-1:] if len(curves) == 1 else [line for line in ax.lines if line.get_alpha() is None]
        legend(ax, lines, list(curves))
    else:
        say_no_data(ax)
    label(ax, title=title, xlabel=xlabel, ylabel=ylabel)
    return to_png(figure)


def difference_forest(
    rows: Sequence[tuple[str, float, float, float, str]], *, xlabel: str, encode: Encode = to_png
) -> bytes:
    """One interval per arm against the zero line, with the numbers and the verdict written beside it.

    Args:
        rows: (label, mean, low, high, verdict); the verdict ('helps', 'hurts', 'inconclusive') sets colour and marker.
    """
    figure, ax = axes(width_in=8.2, height_in=0.95 + 0.36 * max(len(rows), 1), grid="x")
    ax.axvline(0, color=INK, linewidth=1, zorder=1)
    for y, (_, mean, low, high, verdict) in enumerate(rows):
        marker, colour = _VERDICT_MARKS.get(verdict, ("s", SOFT))
        if all(map(math.isfinite, (low, high))):
            ax.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=2)
        if math.isfinite(mean):
            ax.plot(mean, y, marker=marker, color=colour, markersize=8, markeredgecolor="white", zorder=3)
    if not rows:
        say_no_data(ax)
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [plain(row[0]) for row in rows], color=INK, fontsize=9)
    ax.tick_params(axis="y", length=0)
    right = ax.twinx()
    right.set_ylim(ax.get_ylim())
    right.set_yticks(range(len(rows)), [_interval_text(*row[1:]) for row in rows], color=INK, fontsize=9)
    right.tick_params(axis="y", length=0)
    right.spines[:].set_visible(False)
    ax.spines["left"].set_visible(False)
    label(ax, xlabel=xlabel)
    return encode(figure)


def score_by_patient(scores: Mapping[str, Sequence[float]], *, ylabel: str, encode: Encode = to_png) -> bytes:
    """Every patient's score in every arm: a box, the dots, and where the arms list the same patients a line for each.

    Args:
        scores: arm → one score per patient, in the same patient order in every arm; NaN means no score.
    """
    values = {arm: np.asarray(column, dtype=float) for arm, column in scores.items()}
    figure, ax = axes(width_in=max(_WIDTH_IN, 0.9 + 1.15 * len(values)), height_in=3.6)
    paired = len(values) > 1 and len({column.size for column in values.values()}) == 1
    if paired:
        table = np.stack(list(values.values()))  # (arms, patients)
        x, alpha = np.arange(len(values))[:, None] + _spread(table.shape[1]), min(0.5, 12 / max(table.shape[1], 1))
        ax.plot(x, table, color=SOFT, linewidth=0.6, alpha=alpha, zorder=1)
    labels = []
    for at, (arm, column) in enumerate(values.items()):
        colour = CYCLE[at % len(CYCLE)]
        ax.scatter(at + _spread(column.size), column, s=11, color=colour, linewidths=0, alpha=0.75, zorder=2)
        kept = column[np.isfinite(column)]
        if kept.size:
            look: Look = {f"{part}props": {"color": INK, "linewidth": 1} for part in ("box", "whisker", "cap")}
            look |= {"medianprops": {"color": INK, "linewidth": 2}}
            ax.boxplot(kept, positions=[at], widths=0.5, showfliers=False, zorder=3, manage_ticks=False, **look)
        mean = f"{kept.mean():.3f}" if kept.size else "–"
        labels.append(f"{_wrapped(arm)}\nmean {mean}, n = {kept.size}".replace("-0.", "−0."))
    if not any(np.isfinite(column).any() for column in values.values()):
        say_no_data(ax)
    ax.set_xticks(range(len(values)), labels, fontsize=8, color=INK)
    ax.set_xlim(-0.55, max(len(values), 1) - 0.45)
    ax.tick_params(axis="x", length=0)
    label(ax, ylabel=ylabel)
    return encode(figure)


def score_lines(
    lines: Mapping[str, Sequence[Interval | None]],
    *,
    ticks: Sequence[str],
    xlabel: str,
    ylabel: str,
    encode: Encode = to_png,
) -> bytes:
    """One line an arm over equally spaced settings, with intervals; the arms stand beside each other at a tick.

    Args:
        lines: arm → a figure for each of `ticks`; nothing is drawn where there is none.
    """
    figure, ax = axes(width_in=8.2, height_in=4.2)
    spread = min(0.6, _DODGE * len(lines))
    for index, intervals in enumerate(lines.values()):
        x, values = np.arange(len(ticks)) + _offset(index, len(lines)) * spread, _columns(intervals)
        colour, style = CYCLE[index % len(CYCLE)], STYLES[index % len(STYLES)]
        mark: Look = {"marker": _MARKERS[index % len(_MARKERS)], "markersize": 6, "markeredgecolor": "white"}
        ax.plot(x, values[0], color=colour, linestyle=style, linewidth=1.6, zorder=3, **mark)
        ax.vlines(x, values[1], values[2], color=colour, linewidth=1.3, zorder=2)
    _by_setting(ax, list(ax.lines), list(lines), ticks)
    label(ax, xlabel=xlabel, ylabel=ylabel)
    return encode(figure)


def grouped_bars(
    bars: Mapping[str, Sequence[Interval | None]],
    *,
    ticks: Sequence[str],
    xlabel: str,
    ylabel: str,
    encode: Encode = to_png,
) -> bytes:
    """A group of bars a tick, one an arm, with intervals; where there is no figure there is no bar.

    Args:
        bars: arm → a figure for each of `ticks`.
    """
    figure, ax = axes(width_in=8.2, height_in=4.0)
    width = 0.88 * 0.8 / max(len(bars), 1)
    for index, intervals in enumerate(bars.values()):
        x, values = np.arange(len(ticks)) + _offset(index, len(bars)) * 0.8, np.nan_to_num(_columns(intervals))
        look: Look = {"color": CYCLE[index % len(CYCLE)], "hatch": _HATCHES[index % len(_HATCHES)], "zorder": 2}
        ax.bar(x, values[0], width, alpha=0.75, linewidth=0, edgecolor="white", **look)
        ax.vlines(x, values[1], values[2], color=INK, linewidth=1.1, zorder=3)
    ax.set_ylim(bottom=0)
    _by_setting(ax, list(ax.containers), list(bars), ticks)
    label(ax, xlabel=xlabel, ylabel=ylabel)
    return encode(figure)


def axes(*, width_in: float = _WIDTH_IN, height_in: float, grid: Literal["x", "y"] = "y") -> tuple[Figure, Axes]:
    """A figure with one plot in the manner of all."""
    figure, (ax,) = panels(1, width_in=width_in, height_in=height_in)
    ax.set_axisbelow(True)
    ax.margins(x=0.02)
    ax.grid(axis=grid, color=LINE, linewidth=0.6)
    return figure, ax


def panels(count: int, *, width_in: float, height_in: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with plots side by side in the manner of all."""
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor="white", layout="constrained")
    plots = list(figure.subplots(1, count, squeeze=False, **options)[0])
    for ax in plots:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(LINE)
        ax.tick_params(colors=SOFT, labelsize=8.5, color=LINE)
    return figure, plots


def label(ax: Axes, *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Writes what a plot shows."""
    if title:
        ax.set_title(plain(title), loc="left", fontsize=10, color=INK, fontweight="bold")
    ax.set_xlabel(plain(xlabel), fontsize=9, color=SOFT)
    ax.set_ylabel(plain(ylabel), fontsize=9, color=SOFT)


def legend(ax: Axes, handles: Sequence[Any], names: Sequence[str], columns: int | None = None) -> None:
    """Below the plot, in up to three columns unless given."""
    # A label that begins with an underscore is skipped by matplotlib; the space keeps it.
    labels = [plain(f" {name}" if name.startswith("_") else name) for name in names]
    columns = columns or (3 if max(map(len, labels)) <= 18 else 2)
    look: Look = {"fontsize": 8.5, "frameon": False, "labelcolor": INK, "handlelength": 2.4, "columnspacing": 1.4}
    ax.figure.legend(handles, labels, loc="outside lower center", ncols=columns, **look)


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign opens no formula."""
    return str(text).replace("$", r"\$")


def say_no_data(ax: Axes) -> None:
    """Writes so into an empty plot."""
    ax.text(0.5, 0.5, "no data", transform=ax.transAxes, ha="center", va="center", color=SOFT, fontsize=10)
    ax.set_xticks([])
    ax.set_yticks([])


def _by_setting(ax: Axes, handles: Sequence[Any], arms: Sequence[str], ticks: Sequence[str]) -> None:
    """The settings below the plot, and the arms below them."""
    ax.set_xticks(range(len(ticks)), [plain(tick) for tick in ticks], color=INK)
    ax.set_xlim(-0.6, len(ticks) - 0.4)
    legend(ax, handles, arms, min(4, math.ceil(len(arms) / 2) if len(arms) > 4 else len(arms)))


def _columns(intervals: Sequence[Interval | None]) -> np.ndarray:
    """(3, ticks): means, lower and upper ends; NaN where there is nothing."""
    return np.array([[math.nan] * 3 if i is None else [i.mean, i.low, i.high] for i in intervals], dtype=float).T


def _offset(index: int, count: int) -> float:
    """The place of one of `count` neighbours, in (−0.5, 0.5)."""
    return (index + 0.5) / max(count, 1) - 0.5


def _wrapped(arm: str) -> str:
    return plain(arm).replace(" ", "\n", 1) if len(arm) > 16 else plain(arm)


def _finite_pairs(name: str, steps: Sequence[float], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    if x.shape != y.shape:
        raise ValueError(f"series {name!r}: {x.size} steps and {y.size} values; expected one value per step")
    return x[np.isfinite(y)], y[np.isfinite(y)]


def _running_mean(x: np.ndarray, y: np.ndarray, width: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(steps, values, centred running mean); near the ends the window is cut short, not padded."""
    width = max(1, round(0.02 * y.size)) if width is None else max(1, min(int(width), y.size))
    if width == 1 or y.size == 0:
        return x, y, y
    before, after = (width - 1) // 2, width // 2
    total = np.concatenate([[0.0], np.cumsum(y)])
    centre = np.arange(y.size)
    first, last = np.maximum(centre - before, 0), np.minimum(centre + after + 1, y.size)
    return x, y, (total[last] - total[first]) / (last - first)


def _zoom_to_means(ax: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Keeps single spikes from flattening the curves; how many values lie off the axis is written on the plot."""
    means = np.concatenate([mean for _, _, mean in curves.values()])
    raw = np.concatenate([values for _, values, _ in curves.values()])
    margin = 0.35 * (float(np.ptp(means)) or abs(float(means[0])) or 1.0)
    low, high = max(means.min() - margin, raw.min()), min(means.max() + margin, raw.max())
    outside = int(((raw < low) | (raw > high)).sum())
    if outside:
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        outside = int(((raw < ax.get_ylim()[0]) | (raw > ax.get_ylim()[1])).sum())
    if outside:
        note = f"{outside} value{'s' if outside > 1 else ''} off the axis"
        ax.text(1.0, 1.01, note, transform=ax.transAxes, ha="right", va="bottom", fontsize=7.5, color=SOFT)


def _interval_text(mean: float, low: float, high: float, verdict: str) -> str:
    if not math.isfinite(mean):
        return plain(f"not measured   {verdict}")
    numbers = f"{mean:+.3f}  [{low:+.3f}, {high:+.3f}]".replace("-", "−")
    return plain(f"{numbers}   {verdict}")


def _spread(count: int) -> np.ndarray:
    """Sideways offsets in (−0.18, 0.18), the same for a patient in every arm: a golden-ratio sequence, not chance."""
    return 0.36 * ((np.arange(count) * 0.6180339887498949) % 1.0 - 0.5)
