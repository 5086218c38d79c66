"""Still frames as one animated picture: a GIF for slides, an animated PNG for the page (every PNG reader shows it)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

from PIL import Image

from medaug.figures.charts import DPI

FRAME_MS = 800


def animated(frames: Sequence[bytes], kind: Literal["GIF", "PNG"], *, frame_ms: int = FRAME_MS) -> bytes:
    """PNG frames of one size, in a loop; no two that follow each other may be equal (a GIF would merge them).

    Raises:
        ValueError: if there are no frames, or their sizes differ.
    """
    images = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    if not images or len({image.size for image in images}) != 1:
        raise ValueError(f"an animation needs frames of one size; found {[image.size for image in images]}")
    palette = _together(images).quantize(256)  # an animated PNG has one palette for all its frames
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    encoded = io.BytesIO()
    options = {"dpi": (DPI, DPI)} if kind == "PNG" else {"optimize": False}
    images[0].save(encoded, kind, save_all=True, append_images=images[1:], duration=frame_ms, loop=0, **options)
    return encoded.getvalue()


def _together(images: Sequence[Image.Image]) -> Image.Image:
    """All frames below each other."""
    width, height = images[0].size
    strip = Image.new("RGB", (width, height * len(images)))
    for index, image in enumerate(images):
        strip.paste(image, (0, index * height))
    return strip
