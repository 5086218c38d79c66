"""Two sets beside each other as PNG bytes: histograms, points, lesions, and how well a score tells them apart.

The first set is filled and blue, the second outlined and vermillion; dotted lines are medians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from sklearn.metrics import roc_auc_score, roc_curve

from medaug.figures.charts import (
    CYCLE,
    INK,
    LINE,
    SOFT,
    Look,
    axes,
    label,
    legend,
    line_look,
    panels,
    say_no_data,
    to_png,
)
from medaug.figures.pictures import Picture, at_widest, picture_grid

LOOKS: tuple[Look, Look] = (
    {"color": CYCLE[0], "alpha": 0.38, "histtype": "stepfilled"},
    {"color": CYCLE[1], "linewidth": 1.8, "histtype": "step"},
)
BINS = 20
TILE = 130

Crop = tuple[np.ndarray, np.ndarray]
"""Image and mask, (X, Y) or (X, Y, Z)."""


def distributions(real: Sequence[float], synthetic: Sequence[float], *, xlabel: str) -> bytes:
    """Histograms of two sets over the same bins; values that are not finite are left out."""
    figure, ax = axes(height_in=3.1)
    samples = {"real": np.asarray(real, dtype=float), "synthetic": np.asarray(synthetic, dtype=float)}
    samples = {name: values[np.isfinite(values)] for name, values in samples.items()}
    together = np.concatenate(list(samples.values()))
    if together.size:
        bins = int(np.clip(2 * together.size ** (1 / 3), 5, 40))  # Rice's rule
        legend(ax, *_histograms(ax, samples, bins))
    else:
        say_no_data(ax)
    label(ax, xlabel=xlabel, ylabel="share")
    return to_png(figure)


def histograms(
    real: np.ndarray,
    synthetic: np.ndarray,
    floors: Sequence[float],
    value: float,
    *,
    xlabels: Sequence[str],
    figure_label: str,
    of: str = "lesions",
) -> bytes:
    """Histograms of both sets, a panel a column, and `value` among the same figure of groups of real patients.

    Args:
        real, synthetic: (N,) or (N, D).
        floors: the figure, real against real.
        xlabels: of the D columns.
        of: what is counted.
    """
    columns = zip(real.reshape(len(real), -1).T, synthetic.reshape(len(synthetic), -1).T, xlabels, strict=True)
    figure, plots = _plots(len(xlabels) + 1)
    for ax, (ours, theirs, xlabel) in zip(plots, columns, strict=False):
        _histograms(ax, {"real": ours, "synthetic": theirs}, BINS)
        _finish(ax, xlabel, f"share of {of}")
    _among_floors(plots[-1], floors, value, figure_label)
    return to_png(figure)


def scatter(
    real: np.ndarray,
    synthetic: np.ndarray,
    floors: Sequence[float],
    value: float,
    *,
    labels: tuple[str, str],
    figure_label: str,
) -> bytes:
    """Two columns (N, 2) of both sets, and `value` among the same figure of groups of real patients."""
    figure, plots = _plots(2)
    for rows, name, marker, look in zip((real, synthetic), ("real", "synthetic"), "o^", LOOKS, strict=True):
        named = f"{name} (n = {len(rows)})"
        x, y = rows.T
        plots[0].scatter(x, y, s=18, color=look["color"], marker=marker, alpha=0.6, linewidths=0, label=named)
    _finish(plots[0], *labels)
    _among_floors(plots[1], floors, value, figure_label)
    return to_png(figure)


def crop_grid(rows: Sequence[Sequence[Crop]], beside: Sequence[str], *, columns: Sequence[str], title: str) -> bytes:
    """Lesions side by side, outlined; of a volume the slice with most of the mask. `beside` says what a row is."""
    flat = [[at_widest(mask, image, mask) for image, mask in row] for row in rows]
    pictures = [[Picture(image, -1, 1, contour=mask) for image, mask in row] for row in flat]
    return picture_grid(pictures, column_titles=columns, row_titles=beside, title=title, tile=TILE)


def roc_and_histogram(scores: Mapping[str, np.ndarray], tumor: np.ndarray) -> bytes:
    """How well scores tell tumor from tumor-free slices: a histogram of the first, and the ROC curve of each.

    Args:
        scores: name → (N,), the higher the more like a tumor; the first is the one under test.
        tumor: (N,) bool, both kinds.
    """
    figure, (left, right) = _plots(2)
    name, values = next(iter(scores.items()))
    _histograms(left, {"tumor-free": values[~tumor], "tumor": values[tumor]}, BINS)
    _finish(left, name, "share of slices")
    for index, (score, column) in enumerate(scores.items()):
        false_alarms, found, _ = roc_curve(tumor, column)
        named = f"{score}, {roc_auc_score(tumor, column):.2f}"
        right.plot(false_alarms, found, label=named, linewidth=1.7, **line_look(index))
    right.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    _finish(right, "part of tumor-free slices called tumor", "part of tumor slices found")
    return to_png(figure)


def _histograms(ax: Axes, sets: Mapping[str, np.ndarray], bins: int) -> tuple[list[Patch], list[str]]:
    """Two of them, over the same bins; what a legend needs."""
    edges = np.histogram_bin_edges(np.concatenate(list(sets.values())), bins)
    names = [f"{name} (n = {values.size})" for name, values in sets.items()]
    for values, name, look in zip(sets.values(), names, LOOKS, strict=True):
        ax.hist(values, edges.tolist(), weights=np.full(values.size, 1 / max(values.size, 1)), label=name, **look)
        if values.size:
            ax.axvline(float(np.median(values)), color=look["color"], linestyle=":", linewidth=1.6)
    return list(ax.patches), names


def _among_floors(ax: Axes, floors: Sequence[float], value: float, name: str) -> None:
    edges = np.histogram_bin_edges([*floors, value], BINS)
    ax.hist(floors, edges.tolist(), color=SOFT, alpha=0.5, label="groups of real patients")
    ax.axvline(value, color=CYCLE[1], linewidth=2, label="real and synthetic")
    _finish(ax, name, "draws")


def _plots(count: int) -> tuple[Figure, list[Axes]]:
    return panels(count, width_in=4.4 * count, height_in=3.5)


def _finish(ax: Axes, xlabel: str, ylabel: str) -> None:
    label(ax, xlabel=xlabel, ylabel=ylabel)
    ax.legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
