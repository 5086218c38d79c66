"""Pictures of the audits of distributions, as PNG bytes: both sets, and the figure among those of real against real."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medaug.figures.charts import DPI, INK, LINE, OKABE_ITO, SOFT, to_png
from medaug.figures.pictures import Picture, picture_grid
from medaug.volumes import widest_slice

REAL, SYNTHETIC = OKABE_ITO["blue"], OKABE_ITO["vermillion"]
BINS = 20
TILE = 130

Crop = tuple[np.ndarray, np.ndarray]
"""Image and mask, (X, Y) or (X, Y, Z)."""


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
    figure, panels = _panels(len(xlabels) + 1)
    for ax, (ours, theirs, xlabel) in zip(panels, columns, strict=False):
        edges = np.histogram_bin_edges(np.concatenate([ours, theirs]), BINS)
        for values, name in ((ours, "real"), (theirs, "synthetic")):
            _histogram(ax, values, edges, name)
        _finish(ax, xlabel, f"share of {of}")
    _among_floors(panels[-1], floors, value, figure_label)
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
    figure, panels = _panels(2)
    looks = {"real": (real, REAL, "o"), "synthetic": (synthetic, SYNTHETIC, "^")}
    for name, (rows, colour, marker) in looks.items():
        label = f"{name} (n = {len(rows)})"
        x, y = rows.T
        panels[0].scatter(x, y, s=18, color=colour, marker=marker, alpha=0.6, linewidths=0, label=label)
    _finish(panels[0], *labels)
    _among_floors(panels[1], floors, value, figure_label)
    return to_png(figure)


def crop_grid(rows: Sequence[Sequence[Crop]], beside: Sequence[str], *, columns: Sequence[str], title: str) -> bytes:
    """Lesions side by side, outlined; of a volume the slice with most of the mask. `beside` says what a row is."""
    pictures = [[_picture(*crop) for crop in row] for row in rows]
    return picture_grid(pictures, column_titles=columns, row_titles=beside, title=title, tile=TILE)


def _picture(image: np.ndarray, mask: np.ndarray) -> Picture:
    if image.ndim == 3:
        level = widest_slice(mask)
        image, mask = image[..., level], mask[..., level]
    return Picture(image, -1, 1, contour=mask)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(4.4 * count, 3.5), dpi=DPI, facecolor="white", layout="constrained")
    return figure, list(figure.subplots(1, count))


def _histogram(ax: Axes, values: np.ndarray, edges: np.ndarray, name: str) -> None:
    colour, real = (REAL, True) if name == "real" else (SYNTHETIC, False)
    ax.hist(
        values,
        edges.tolist(),
        weights=np.full(len(values), 1 / len(values)),
        color=colour,
        alpha=0.38 if real else 1,
        histtype="stepfilled" if real else "step",
        linewidth=1.8,
        label=f"{name} (n = {len(values)})",
    )
    ax.axvline(float(np.median(values)), color=colour, linestyle=":", linewidth=1.6)


def _among_floors(ax: Axes, floors: Sequence[float], value: float, label: str) -> None:
    edges = np.histogram_bin_edges([*floors, value], BINS)
    ax.hist(floors, edges.tolist(), color=SOFT, alpha=0.5, label="groups of real patients")
    ax.axvline(value, color=SYNTHETIC, linewidth=2, label="real and synthetic")
    _finish(ax, label, "draws")


def _finish(ax: Axes, xlabel: str, ylabel: str) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(LINE)
    ax.tick_params(colors=SOFT, labelsize=8.5, color=LINE)
    ax.set_xlabel(xlabel, fontsize=9, color=INK)
    ax.set_ylabel(ylabel, fontsize=9, color=INK)
    ax.legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
