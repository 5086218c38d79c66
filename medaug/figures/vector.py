"""Figures as SVG, for print: letters are drawn as paths, so that they look the same wherever they are opened."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.figure import Figure


def to_svg(figure: Figure) -> bytes:
    """Encodes a figure; it holds no date and no chance, so the same numbers give the same bytes."""
    encoded = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "medaug", "svg.fonttype": "path"}):
        figure.savefig(encoded, format="svg", metadata={"Date": None, "Creator": None})
    return encoded.getvalue()
