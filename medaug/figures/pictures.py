"""Grids of image slices as PNG bytes: real, inserted, removed and difference beside each other.

An (X, Y) array is shown with X to the right and Y downwards (`array.T`, origin upper). Pixels are enlarged by whole
factors, so none is blurred. Within a row the pictures share one grey window unless they bring their own, so brightness
compares; a column of difference maps shares one range around zero, shown by the colour bar at its foot.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from medaug.figures.charts import DPI, INK, OKABE_ITO, SOFT, to_png
from medaug.volumes import widest_slice

_CONTOURS = ("#F5B800", OKABE_ITO["sky"], OKABE_ITO["green"], OKABE_ITO["vermillion"], OKABE_ITO["purple"])
"""Of a mask, or of part 1, Okabe-Ito's orange, lightened: it stands out on every grey."""
_CONTOUR_ON_DIVERGING = "#222222"
_NOT_FINITE = (204, 121, 167)
_GAP, _ROW_HEAD, _BAR = 10, 116, 34  # CSS pixels: between tiles, for titles at the side, for a colour bar at the foot
FRAME_MS = 800
_TITLE, _LINE = 28, 15  # CSS pixels: the grid's title, a line of a column title


@dataclass(frozen=True)
class Picture:
    """One (X, Y) slice of a grid.

    Attributes:
        vmin, vmax: grey window in the image's unit; None shares the window of the row.
        contour: an (X, Y) mask drawn as a thin outline; whole numbers are parts, each of its own colour.
        diverging: show signed differences around zero (red above, blue below, white at zero).

    Raises:
        ValueError: if the image is not 2-D or the contour has another shape.
    """

    image: Any
    vmin: float | None = None
    vmax: float | None = None
    contour: Any = None
    diverging: bool = False

    def __post_init__(self) -> None:
        shape = np.shape(self.image)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"a picture needs one (X, Y) slice; found shape {shape}")
        if self.contour is not None and np.shape(self.contour) != shape:
            raise ValueError(f"the contour has shape {np.shape(self.contour)}, the image {shape}; expected the same")


def picture_grid(
    rows: Sequence[Sequence[Picture | None]],
    *,
    column_titles: Sequence[str],
    row_titles: Sequence[str] | None = None,
    title: str = "",
    tile: int = 160,
) -> bytes:
    """A grid of slices, one case per row.

    Args:
        rows: the pictures, one per column title; None leaves a place empty.
        tile: about how wide a tile shows on the page, in CSS pixels; small slices are enlarged by a whole factor.

    Raises:
        ValueError: if there are no rows, or a row or the row titles do not fit the grid.
    """
    if not rows or all(picture is None for row in rows for picture in row):
        raise ValueError("a picture grid needs at least one picture")
    for number, given in enumerate(rows):
        if len(given) != len(column_titles):
            expected = f"expected {len(column_titles)}, one per column title"
            raise ValueError(f"row {number} has {len(given)} pictures, {expected}")
    if row_titles and len(row_titles) != len(rows):
        raise ValueError(f"{len(row_titles)} row titles for {len(rows)} rows")
    ranges = [_difference_range([row[i] for row in rows]) for i in range(len(column_titles))]
    panels = [[None if p is None else _Panel(p, 2 * tile) for p in row] for row in rows]
    cell = (max(p.size[0] for row in panels for p in row if p), max(p.size[1] for row in panels for p in row if p))
    layout = _Layout(cell, column_titles, row_titles or [], len(rows), title, any(r is not None for r in ranges))
    for j, row in enumerate(panels):
        window = _row_window(rows[j])
        for i, panel in enumerate(row):
            if panel is not None:
                panel.draw(layout.axes_for(i, j, panel.size), window, ranges[i])
    for i, limit in enumerate(ranges):
        if limit is not None:
            layout.colour_bar(i, limit)
    return to_png(layout.figure, exact=True)


def before_after(before: Any, after: Any, mask: Any, *, title: str, sequences: Sequence[str] = ("",)) -> bytes:
    """Four panels a channel: before, after, their difference, the mask.

    Args:
        before, after: (C, X, Y) or (C, X, Y, Z); of a volume the axial slice with the most mask voxels is shown (the
            middle one where the mask is empty), and the title names it.
        mask: (X, Y) or (X, Y, Z); every value in it is outlined in a colour of its own, and what it marks lies in the
            grey window.
        sequences: what the rows are called, where there are several. The differences of several are relative to each
            one's own grey window, for their units need not be one.

    Raises:
        ValueError: if the shapes differ or are neither 2-D nor 3-D.
    """
    images, marked = [np.asarray(array) for array in (before, after)], np.asarray(mask)
    shapes = [array.shape for array in images] + [(len(sequences), *marked.shape)]
    if len(set(shapes)) != 1 or marked.ndim not in (2, 3):
        raise ValueError(f"before, after and mask need one shape, (X, Y) or (X, Y, Z); found {shapes}")
    if marked.ndim == 3:
        title = f"{title} (slice z = {widest_slice(marked)})"
    parts = part_numbers(marked)
    (region,) = at_widest(marked, parts)
    rows: list[list[Picture | None]] = []
    for channels in zip(*images, strict=True):
        first, second = at_widest(marked, *(channel.astype(float) for channel in channels))
        change = second - first
        low, high = _row_window([Picture(first), Picture(second)])
        if (edited := second[(region > 0) & np.isfinite(second)]).size:  # a small bright tumor is not all white
            least, most = np.percentile(edited, [5, 95])
            low, high = min(low, float(least)), max(high, float(most))
        if len(sequences) > 1:
            change = change / ((high - low) or 1.0)
        rows.append(
            [
                Picture(first, vmin=low, vmax=high),
                Picture(second, vmin=low, vmax=high, contour=region),
                Picture(change, contour=region, diverging=True),
                Picture(region / max(parts.max(), 1), vmin=0.0, vmax=1.0),
            ]
        )
    columns, beside = ["before", "after", "after − before", "mask"], sequences if len(sequences) > 1 else None
    return picture_grid(rows, column_titles=columns, row_titles=beside, title=title, tile=200)


def part_numbers(label: np.ndarray) -> np.ndarray:
    """The values of a label numbered from 1, in their order; 0 where nothing is marked."""
    return np.where(label != 0, np.searchsorted(np.unique(label[label != 0]), label) + 1, 0)


def at_widest(mask: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays (X, Y) as they are, and of volumes (X, Y, Z) the slice with the most of the mask."""
    return [array if array.ndim == 2 else array[..., widest_slice(mask)] for array in arrays]


def animated(frames: Sequence[bytes], kind: Literal["GIF", "PNG"], *, frame_ms: int = FRAME_MS) -> bytes:
    """PNG frames of one size, in a loop; no two that follow each other may be equal (a GIF would merge them).

    Raises:
        ValueError: if there are no frames, or their sizes differ.
    """
    images = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    if not images or len({image.size for image in images}) != 1:
        raise ValueError(f"an animation needs frames of one size; found {[image.size for image in images]}")
    width, height = images[0].size
    strip = Image.new("RGB", (width, height * len(images)))  # an animated PNG has one palette for all its frames
    for index, image in enumerate(images):
        strip.paste(image, (0, index * height))
    palette = strip.quantize(256)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    encoded = io.BytesIO()
    options = {"dpi": (DPI, DPI)} if kind == "PNG" else {"optimize": False}
    images[0].save(encoded, kind, save_all=True, append_images=images[1:], duration=frame_ms, loop=0, **options)
    return encoded.getvalue()


class _Panel:
    """A picture made ready to draw: (rows, columns) = (Y, X), enlarged or reduced to its pixels on the page."""

    def __init__(self, picture: Picture, target: int):
        self.picture = picture
        image = np.asarray(picture.image, dtype=np.float32).T
        self.factor = max(1, round(target / max(image.shape)))
        if max(image.shape) > 1.5 * target:
            columns, rows = (max(1, round(size * target / max(image.shape))) for size in image.shape[::-1])
            image = np.asarray(Image.fromarray(image, mode="F").resize((columns, rows), Image.Resampling.BOX))
        self.image = image
        self.size = (image.shape[1] * self.factor, image.shape[0] * self.factor)  # (width, height) in pixels

    def draw(self, ax: Axes, window: tuple[float, float], difference: float | None) -> None:
        picture = self.picture
        if picture.diverging and difference is not None:
            pixels = _coloured(self.image, -difference, difference, "RdBu_r")
        else:
            low = window[0] if picture.vmin is None else picture.vmin
            high = window[1] if picture.vmax is None else picture.vmax
            pixels = _coloured(self.image, low, high if high > low else low + 1.0, "gray")
        pixels = pixels.repeat(self.factor, axis=0).repeat(self.factor, axis=1)
        shape = np.asarray(picture.image).T.shape  # contours are in the coordinates of the original slice
        extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
        ax.imshow(pixels, origin="upper", interpolation="none", extent=extent, aspect="auto")
        marked = np.pad(np.zeros(shape) if picture.contour is None else np.asarray(picture.contour).T, 1)
        parts = marked if np.issubdtype(marked.dtype, np.integer) else (marked != 0).astype(int)
        x, y = np.arange(parts.shape[1]) - 1, np.arange(parts.shape[0]) - 1
        there = np.unique(parts[parts != 0])
        level = 0.5 if len(there) == 1 else 0.75  # a little inside of each part: of two that touch both are seen
        for part in there:
            colour = _CONTOUR_ON_DIVERGING if picture.diverging else _CONTOURS[(part - 1) % len(_CONTOURS)]
            ax.contour(x, y, (parts == part).astype(float), levels=[level], colors=[colour], linewidths=0.75)
        ax.set_xlim(extent[:2])
        ax.set_ylim(extent[2:])


class _Layout:
    """Places tiles on whole pixels, so that a voxel is never resampled, and writes the titles around them."""

    def __init__(
        self, cell: tuple[int, int], columns: Sequence[str], beside: Sequence[str], rows: int, title: str, bars: bool
    ):
        scale = DPI // 96
        above = [textwrap.fill(text, max(8, cell[0] // (7 * scale))) for text in columns]
        head = 12 + _LINE * max(text.count("\n") + 1 for text in above) + (_TITLE if title else 0)
        self.cell, self.gap, self.head = cell, _GAP * scale, head * scale
        self.left = _ROW_HEAD * scale if beside else 0
        self.bar = _BAR * scale if bars else 0
        self.width = self.left + len(columns) * cell[0] + (len(columns) - 1) * self.gap
        self.height = self.head + rows * cell[1] + (rows - 1) * self.gap + self.bar
        self.figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")
        if title:
            self._write(0, 8, title, ha="left", va="top", size=10, weight="bold")
        for i, text in enumerate(above):
            self._write(self._x(i) + cell[0] / 2, self.head - 12, text, ha="center", va="bottom", size=9)
        for j, text in enumerate(beside):
            y = self.head + j * (cell[1] + self.gap) + cell[1] / 2
            self._write(self.left - 20, y, textwrap.fill(text, 15), ha="right", va="center", size=8.5)

    def axes_for(self, column: int, row: int, size: tuple[int, int]) -> Axes:
        x = self._x(column) + (self.cell[0] - size[0]) // 2
        y = self.head + row * (self.cell[1] + self.gap) + (self.cell[1] - size[1]) // 2
        return self._axes(x, y, *size)

    def colour_bar(self, column: int, limit: float) -> None:
        width = round(0.8 * self.cell[0])
        x, y = self._x(column) + (self.cell[0] - width) // 2, self.height - self.bar + 16
        ax = self._axes(x, y, width, 12)
        ax.imshow(np.linspace(-1, 1, 256)[None], cmap="RdBu_r", aspect="auto")
        ends = f"−{limit:.3g}", "0", f"+{limit:.3g}"
        for position, text, ha in zip((0.0, 0.5, 1.0), ends, ("left", "center", "right"), strict=True):
            self._write(x + position * width, y + 18, text, ha=ha, va="top", size=7.5, colour=SOFT)

    def _x(self, column: int) -> int:
        return self.left + column * (self.cell[0] + self.gap)

    def _axes(self, x: int, y: int, width: int, height: int) -> Axes:
        """Axes over these pixels, counted from the upper left."""
        bottom = (self.height - y - height) / self.height
        ax = self.figure.add_axes((x / self.width, bottom, width / self.width, height / self.height))
        ax.set_axis_off()
        return ax

    def _write(self, x: float, y: float, text: str, *, colour: str = INK, size: float, **style: Any) -> None:
        position = (x / self.width, 1 - y / self.height)
        self.figure.text(*position, text, fontsize=size, color=colour, parse_math=False, **style)


def _row_window(row: Sequence[Picture | None]) -> tuple[float, float]:
    """The grey window of the pictures of a row that bring none: percentiles 0.5 and 99.5 of them together."""
    images = [p.image for p in row if p is not None and not p.diverging and (p.vmin is None or p.vmax is None)]
    values = np.concatenate([np.asarray(image, dtype=float).ravel() for image in images] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [0.5, 99.5]) if values.size else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(values.min()), float(values.max()))


def _difference_range(column: Sequence[Picture | None]) -> float | None:
    """The range ±r of a column's difference maps: the widest given one, else the largest difference; None: no maps."""
    maps = [picture for picture in column if picture is not None and picture.diverging]
    given = [abs(v) for picture in maps for v in (picture.vmin, picture.vmax) if v is not None]
    if given:
        return max(given) or 1.0
    found = [np.abs(np.asarray(p.image, dtype=float)[np.isfinite(np.asarray(p.image, dtype=float))]) for p in maps]
    return max((float(values.max()) for values in found if values.size), default=0.0) or 1.0 if maps else None


def _coloured(image: np.ndarray, low: float, high: float, name: str) -> np.ndarray:
    """(Y, X) intensities as (Y, X, 3) bytes; a voxel that is not finite is pink, unlike any tissue."""
    table = np.rint(255 * colormaps[name](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    finite = np.isfinite(image)
    level = (np.where(finite, image, low).astype(np.float64) - low) * (255.0 / (high - low))
    return np.where(finite[..., None], table[np.rint(level.clip(0, 255)).astype(int)], np.array(_NOT_FINITE, np.uint8))
