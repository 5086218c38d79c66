"""Plots of a benchmark: a score by labelled patients or synthetic part, and found lesions by size.

Every arm has a colour, a marker, a line style and a hatching of its own, so that no plot needs colour to be read. They
are encoded as asked for: PNG for the page, SVG for print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medaug.figures.charts import DPI, INK, LINE, OKABE_ITO, SOFT, Encode, to_png

_COLOURS = ("blue", "vermillion", "green", "orange", "purple", "sky", "black")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_STYLES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---", "ooo", "+++")
_DODGE = 0.08  # of the distance between two ticks: from one arm's interval to the next


class Estimate(NamedTuple):
    """A figure with its interval."""

    mean: float
    low: float
    high: float


NOTHING = Estimate(math.nan, math.nan, math.nan)
"""Where there is no figure: nothing is drawn."""


def score_lines(
    lines: Mapping[str, Sequence[Estimate]], *, ticks: Sequence[str], xlabel: str, ylabel: str, encode: Encode = to_png
) -> bytes:
    """One line an arm over equally spaced settings, with intervals; the arms stand beside each other at a tick.

    Args:
        lines: arm → an estimate for each of `ticks`.
    """
    figure, ax = _axes(width_in=8.2, height_in=4.2)
    spread = min(0.6, _DODGE * len(lines))
    for index, (arm, estimates) in enumerate(lines.items()):
        x = np.arange(len(ticks)) + _offset(index, len(lines)) * spread
        values = np.array(estimates, dtype=float)  # (ticks, 3)
        colour = _colour(index)
        ax.plot(
            x,
            values[:, 0],
            color=colour,
            linestyle=_STYLES[index % len(_STYLES)],
            linewidth=1.6,
            label=_plain(arm),
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=6,
            markeredgecolor="white",
            zorder=3,
        )
        ax.vlines(x, values[:, 1], values[:, 2], color=colour, linewidth=1.3, zorder=2)
    _finish(ax, ticks, xlabel, ylabel, beside=len(lines))
    return encode(figure)


def grouped_bars(
    bars: Mapping[str, Sequence[Estimate]], *, ticks: Sequence[str], xlabel: str, ylabel: str, encode: Encode = to_png
) -> bytes:
    """A group of bars a tick, one an arm, with intervals; where there is no estimate there is no bar.

    Args:
        bars: arm → an estimate for each of `ticks`.
    """
    figure, ax = _axes(width_in=8.2, height_in=4.0)
    width = 0.8 / max(len(bars), 1)
    for index, (arm, estimates) in enumerate(bars.items()):
        x = np.arange(len(ticks)) + _offset(index, len(bars)) * 0.8
        values = np.nan_to_num(np.array(estimates, dtype=float))  # (ticks, 3)
        ax.bar(
            x,
            values[:, 0],
            0.88 * width,
            color=_colour(index),
            alpha=0.75,
            hatch=_HATCHES[index % len(_HATCHES)],
            edgecolor="white",
            linewidth=0,
            label=_plain(arm),
            zorder=2,
        )
        ax.vlines(x, values[:, 1], values[:, 2], color=INK, linewidth=1.1, zorder=3)
    ax.set_ylim(bottom=0)
    _finish(ax, ticks, xlabel, ylabel, beside=len(bars))
    return encode(figure)


def _axes(*, width_in: float, height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(LINE)
    ax.tick_params(colors=SOFT, labelsize=9, color=LINE)
    ax.grid(axis="y", color=LINE, linewidth=0.6)
    return figure, ax


def _finish(ax: Axes, ticks: Sequence[str], xlabel: str, ylabel: str, *, beside: int) -> None:
    ax.set_xticks(range(len(ticks)), [_plain(tick) for tick in ticks], color=INK)
    ax.set_xlim(-0.6, len(ticks) - 0.4)
    ax.set_xlabel(xlabel, fontsize=9, color=SOFT)
    ax.set_ylabel(_plain(ylabel), fontsize=9, color=SOFT)
    ax.figure.legend(
        *ax.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(4, math.ceil(beside / 2) if beside > 4 else beside),
        fontsize=8.5,
        frameon=False,
        labelcolor=INK,
        handlelength=3.2,
        columnspacing=1.6,
    )


def _colour(index: int) -> str:
    return OKABE_ITO[_COLOURS[index % len(_COLOURS)]]


def _offset(index: int, count: int) -> float:
    """Where one of `count` neighbours stands, in (−0.5, 0.5)."""
    return (index + 0.5) / max(count, 1) - 0.5


def _plain(text: str) -> str:
    """A dollar sign opens no formula, and a name that begins with an underscore is not skipped in the legend."""
    text = str(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
