"""How well scores tell tumor from tumor-free slices: the histogram of the first score, and the ROC curve of each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from medaug.figures.charts import DPI, INK, LINE, OKABE_ITO, SOFT, to_png

_COLOURS = ("blue", "vermillion", "green", "orange", "purple")
_STYLES = ("-", "--", ":", "-.", (0, (1, 3)))
BINS = 24


def roc_and_histogram(scores: Mapping[str, np.ndarray], tumor: np.ndarray) -> bytes:
    """PNG bytes of two panels.

    Args:
        scores: name → (N,), the higher the more like a tumor; the first is the one under test.
        tumor: (N,) bool, both kinds.
    """
    figure = Figure(figsize=(9.2, 3.9), dpi=DPI, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    name, values = next(iter(scores.items()))
    edges = np.linspace(values.min(), values.max() or 1.0, BINS + 1) if np.ptp(values) else BINS
    left.hist(values[~tumor], edges, density=True, color=OKABE_ITO["blue"], alpha=0.38, label="tumor-free")
    left.hist(
        values[tumor], edges, density=True, color=OKABE_ITO["vermillion"], linewidth=1.8, histtype="step", label="tumor"
    )
    _finish(left, name, "density of slices")
    for index, (score, column) in enumerate(scores.items()):
        false_alarms, found, _ = roc_curve(tumor, column)
        label = f"{score}, {roc_auc_score(tumor, column):.2f}"
        right.plot(
            false_alarms,
            found,
            color=OKABE_ITO[_COLOURS[index % len(_COLOURS)]],
            linestyle=_STYLES[index % len(_STYLES)],
            linewidth=1.7,
            label=label,
        )
    right.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    _finish(right, "part of tumor-free slices called tumor", "part of tumor slices found")
    return to_png(figure)


def _finish(ax: Axes, xlabel: str, ylabel: str) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(LINE)
    ax.tick_params(colors=SOFT, labelsize=8.5, color=LINE)
    ax.set_xlabel(xlabel, fontsize=9, color=SOFT)
    ax.set_ylabel(ylabel, fontsize=9, color=SOFT)
    ax.legend(fontsize=8, frameon=False, labelcolor=INK)
