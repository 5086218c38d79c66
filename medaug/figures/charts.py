"""Plots as PNG bytes (or SVG, for print): learning curves, differences between arms, scores by patient and setting.

Drawn with matplotlib's object API (no pyplot, no global state), in the colour-blind-safe palette of Okabe and Ito, with
line styles, markers and hatchings that differ as well. A PNG states its density (192 per inch), so the page shows it at
half its pixels; it holds no metadata, so the same numbers give the same bytes.
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
    curves = {}
    for name, points in series.items():
        steps, values = (np.asarray(column, dtype=float) for column in points)
        if steps.shape != values.shape:
            expected = "expected one value per step"
            raise ValueError(f"series {name!r}: {steps.size} steps and {values.size} values; {expected}")
        kept = np.isfinite(values)
        if kept.any():
            curves[name] = steps[kept], values[kept], _running_mean(values[kept], smooth)
    for index, (steps, values, mean) in enumerate(curves.values()):
        look, marker = line_look(index), "o" if steps.size == 1 else None
        if not np.array_equal(values, mean):
            ax.plot(steps, values, color=look["color"], linewidth=0.6, alpha=0.22)
        ax.plot(steps, mean, linewidth=1.7, marker=marker, markersize=4, **look)
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
    beside = []
    for y, (_, mean, low, high, verdict) in enumerate(rows):
        marker, colour = _VERDICT_MARKS.get(verdict, ("s", SOFT))
        numbers = "not measured"
        if all(map(math.isfinite, (low, high))):
            ax.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=2)
        if math.isfinite(mean):
            ax.plot(mean, y, marker=marker, color=colour, markersize=8, markeredgecolor="white", zorder=3)
            numbers = f"{mean:+.3f}  [{low:+.3f}, {high:+.3f}]".replace("-", "−")
        beside.append(plain(f"{numbers}   {verdict}"))
    if not rows:
        say_no_data(ax)
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    right = ax.twinx()
    right.set_ylim(ax.get_ylim())
    right.spines[:].set_visible(False)
    ax.spines["left"].set_visible(False)
    for side, texts in ((ax, [plain(row[0]) for row in rows]), (right, beside)):
        side.set_yticks(range(len(rows)), texts, color=INK, fontsize=9)
        side.tick_params(axis="y", length=0)
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
        name = plain(arm).replace(" ", "\n", 1) if len(arm) > 16 else plain(arm)
        labels.append(f"{name}\nmean {mean}, n = {kept.size}".replace("-0.", "−0."))
    if not any(np.isfinite(column).any() for column in values.values()):
        say_no_data(ax)
    ax.set_xticks(range(len(values)), labels, fontsize=8, color=INK)
    ax.set_xlim(-0.55, max(len(values), 1) - 0.45)
    ax.tick_params(axis="x", length=0)
    label(ax, ylabel=ylabel)
    return encode(figure)


def by_setting(
    series: Mapping[str, Sequence[Interval | None]],
    *,
    ticks: Sequence[str],
    xlabel: str,
    ylabel: str,
    bars: bool = False,
    encode: Encode = to_png,
) -> bytes:
    """Figures with intervals over equally spaced settings: a line an arm, or a group of bars a tick.

    The arms stand beside each other at a tick; where there is no figure, nothing is drawn.

    Args:
        series: arm → a figure for each of `ticks`.
    """
    figure, ax = axes(width_in=8.2, height_in=4.0 if bars else 4.2)
    spread = 0.8 if bars else min(0.6, _DODGE * len(series))
    for index, intervals in enumerate(series.values()):
        look = line_look(index)
        x = np.arange(len(ticks)) + ((index + 0.5) / len(series) - 0.5) * spread
        values = [[math.nan] * 3 if i is None else [i.mean, i.low, i.high] for i in intervals]
        mean, low, high = np.array(values, dtype=float).T
        if bars:
            mean, low, high = np.nan_to_num([mean, low, high])
            filled: Look = {"color": look["color"], "hatch": _HATCHES[index % len(_HATCHES)], "edgecolor": "white"}
            ax.bar(x, mean, 0.88 * spread / len(series), alpha=0.75, linewidth=0, zorder=2, **filled)
            ax.vlines(x, low, high, color=INK, linewidth=1.1, zorder=3)
        else:
            look |= {"marker": _MARKERS[index % len(_MARKERS)], "markersize": 6, "markeredgecolor": "white"}
            ax.plot(x, mean, linewidth=1.6, zorder=3, **look)
            ax.vlines(x, low, high, color=look["color"], linewidth=1.3, zorder=2)
    if bars:
        ax.set_ylim(bottom=0)
    ax.set_xticks(range(len(ticks)), [plain(tick) for tick in ticks], color=INK)
    ax.set_xlim(-0.6, len(ticks) - 0.4)
    columns = min(4, math.ceil(len(series) / 2) if len(series) > 4 else len(series))
    legend(ax, list(ax.containers if bars else ax.lines), list(series), columns)
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


def line_look(index: int) -> Look:
    """Colour and style of a plot's lines, by their number."""
    return {"color": CYCLE[index % len(CYCLE)], "linestyle": STYLES[index % len(STYLES)]}


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


def _running_mean(values: np.ndarray, width: int | None) -> np.ndarray:
    """Centred; near the ends the window is cut short, not padded."""
    width = max(1, round(0.02 * values.size) if width is None else min(width, values.size))
    sums = (np.convolve(column, np.ones(width))[width // 2 :] for column in (values, np.ones(values.size)))
    total, count = (column[: values.size] for column in sums)
    return np.asarray(total / count)


def _zoom_to_means(ax: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Keeps single spikes from flattening the curves; how many values lie off the axis is written on the plot."""
    means = np.concatenate([mean for _, _, mean in curves.values()])
    raw = np.concatenate([values for _, values, _ in curves.values()])
    margin = 0.35 * (float(np.ptp(means)) or abs(float(means[0])) or 1.0)
    low, high = max(means.min() - margin, raw.min()), min(means.max() + margin, raw.max())
    if not ((raw < low) | (raw > high)).any():
        return
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    ax.set_ylim(low, high)
    if outside := int(((raw < low) | (raw > high)).sum()):
        note = f"{outside} value{'s' if outside > 1 else ''} off the axis"
        ax.text(1.0, 1.01, note, transform=ax.transAxes, ha="right", va="bottom", fontsize=7.5, color=SOFT)


def _spread(count: int) -> np.ndarray:
    """Sideways offsets in (−0.18, 0.18), the same for a patient in every arm: a golden-ratio sequence, not chance."""
    return 0.36 * ((np.arange(count) * 0.6180339887498949) % 1.0 - 0.5)
