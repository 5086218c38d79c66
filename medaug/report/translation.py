"""Pictures of a translated image beside the real one: joint histogram, Bland–Altman plot, and slices side by side.

Plots in the manner of `figures`, slices in that of `pictures`; every axis and column names its unit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm

from medaug.audits.measures.similarity import HOUNSFIELD, ImagePair, Scale
from medaug.data.prepared import View
from medaug.figures.charts import INK, LINE, OKABE_ITO, SOFT, label, panels, to_png
from medaug.figures.pictures import Picture, at_widest, picture_grid
from medaug.report.viewer import Shown, ViewerCase
from medaug.report.viewing import is_oriented
from medaug.volumes import Window, widest_slice

BINS = 128
PERCENTILES = (0.05, 99.95)
"""What the axes of the histogram span; how many voxels lie beyond is written on it."""
POINTS = 1500
"""Voxels drawn of a group; the lines are of all."""
SHOWN_HU = (-1000.0, 1000.0, 500.0)
"""Grey window, and the difference that saturates."""
AGREEMENT = 1.96
"""Limits of agreement in standard deviations (Bland and Altman 1986, Lancet 1:307)."""


def joint_histogram(real: np.ndarray, synthetic: np.ndarray, *, unit: str) -> bytes:
    """How often a real value (x) meets a synthetic one (y), on a logarithmic scale; equal values lie on the line.

    Args:
        real, synthetic: the compared voxels, (N,) each, at least one.
    """
    low, high = np.percentile(np.concatenate([real, synthetic]), PERCENTILES)
    high = high if high > low else low + 1.0
    edges = np.linspace(low, high, BINS + 1)
    counts, _, _ = np.histogram2d(real, synthetic, [edges, edges])
    figure, (ax,) = panels(1, width_in=5.15, height_in=4.4)
    norm = LogNorm(1, max(2.0, counts.max()))
    mesh = ax.pcolormesh(edges, edges, np.ma.masked_equal(counts.T, 0), norm=norm, cmap="viridis", rasterized=True)
    ax.plot([low, high], [low, high], color=OKABE_ITO["vermillion"], linewidth=1, linestyle="--")
    ax.set_aspect("equal")
    bar = figure.colorbar(mesh, ax=ax)
    bar.set_label("voxels", fontsize=8.5, color=SOFT)
    bar.ax.tick_params(colors=SOFT, labelsize=8, color=LINE)
    label(ax, xlabel=f"real ({unit})", ylabel=f"synthetic ({unit})")
    beyond = real.size - int(counts.sum())
    if beyond:
        text = f"{beyond} of {real.size} voxels off the axes"
        ax.text(1, 1.01, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=7.5, color=SOFT)
    return to_png(figure)


def bland_altman(groups: Mapping[str, tuple[np.ndarray, np.ndarray]], *, unit: str) -> bytes:
    """Synthetic − real over the mean of both, a plot for every group; lines: the bias and the limits of agreement.

    Args:
        groups: name (of a tissue) → its real and its synthetic values, (N,) each, at least one; at least one group.
    """
    count = len(groups)
    figure, plots = panels(count, width_in=max(3.4, 2.2 * count), height_in=3.2, sharey=count > 1)
    for ax, (name, (real, synthetic)) in zip(plots, groups.items(), strict=True):
        difference, mean = synthetic - real, (synthetic + real) / 2
        bias, spread = float(difference.mean()), AGREEMENT * float(difference.std())
        shown = np.linspace(0, real.size - 1, min(POINTS, real.size)).round().astype(int)
        ax.scatter(mean[shown], difference[shown], s=3, linewidths=0, alpha=0.35, color=OKABE_ITO["blue"])
        ax.axhline(0, color=LINE, linewidth=1)
        ax.axhline(bias, color=OKABE_ITO["vermillion"], linewidth=1.4)
        for limit in (bias - spread, bias + spread):
            ax.axhline(limit, color=OKABE_ITO["vermillion"], linewidth=1, linestyle="--")
        title = f"{name}, n = {real.size}\n{bias:+.1f} ({bias - spread:+.1f} to {bias + spread:+.1f})"
        ax.set_title(title.replace("-", "−"), fontsize=8.5, color=INK, loc="left")
        label(ax, xlabel=f"mean of both ({unit})", ylabel=f"synthetic − real ({unit})" if ax is plots[0] else "")
    return to_png(figure)


def difference_panel(pair: ImagePair, scale: Scale) -> bytes:
    """Real, synthetic and their difference inside the mask, of a volume the slice with the largest mask."""
    title = f"slice z = {widest_slice(pair.mask)}" if pair.mask.ndim == 3 else ""
    columns = [f"real {_shown(scale)}", f"synthetic {_shown(scale)}", f"synthetic − real ({scale.unit})"]
    return picture_grid([_compared(pair, scale)], column_titles=columns, title=title, tile=260)


def translation_grid(
    rows: Mapping[str, tuple[np.ndarray, ImagePair, np.ndarray]], scale: Scale, *, rival: str
) -> bytes:
    """A row for every name: the source, the real image, the translated one, their difference, and a trivial rival.

    Args:
        rows: name → the source in [-1, 1], real and translated image with their mask, the rival's image; each
            (X, Y[, Z]).
        rival: what the last column shows.
    """
    low, high, _ = shown_range(scale)
    pictures = [
        [
            Picture(at_widest(pair.mask, source)[0], -1, 1),
            *_compared(pair, scale),
            Picture(at_widest(pair.mask, other)[0], low, high),
        ]
        for source, pair, other in rows.values()
    ]
    columns = ["source", f"real {_shown(scale)}", "translated", f"translated − real ({scale.unit})", rival]
    return picture_grid(pictures, column_titles=columns, row_titles=list(rows))


def pair_case(target: View, pair: ImagePair, scale: Scale) -> ViewerCase:
    """A registered case to look around in, real and translated, both outside of the compared mask too."""
    low, high, _ = shown_range(scale)
    window = Window(low, high, "HU" if scale == HOUNSFIELD else "au")
    real, made = Shown("real", pair.real, window), Shown("translated", pair.synthetic, window)
    return ViewerCase(
        target.case.case,
        real,
        made,
        np.asarray(target.case.affine),
        oriented=is_oriented(target.case.path),
        group="Held-out patients, real and translated",
        length_unit=target.case.length_unit,
    )


def shown_range(scale: Scale) -> tuple[float, float, float]:
    """The grey window in which images of a scale are shown, always the same, and where differences saturate."""
    return SHOWN_HU if scale.unit == "HU" else (scale.low, scale.high, scale.width / 2)


def _compared(pair: ImagePair, scale: Scale) -> list[Picture]:
    """Real, synthetic and their difference inside the mask; of volumes the slice with the largest mask."""
    pair = ImagePair(*at_widest(pair.mask, *pair))
    low, high, limit = shown_range(scale)
    difference = np.where(pair.mask, pair.synthetic - pair.real, 0.0)
    return [
        Picture(pair.real, low, high, contour=pair.mask),
        Picture(pair.synthetic, low, high),
        Picture(difference, -limit, limit, diverging=True),
    ]


def _shown(scale: Scale) -> str:
    low, high, _ = shown_range(scale)
    return f"({scale.unit}, {low:g} to {high:g})".replace("-", "−")
