"""Small cases for a viewer: a ball that turns darker, as a volume and as a picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from medaug.report.viewer import Shown, ViewerCase
from medaug.volumes import Window

AFFINE = np.array([[2.0, 0, 0, -20], [0, 2.0, 0, -30], [0, 0, 4.0, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def ball() -> Callable[..., ViewerCase]:
    """`ball("title", (24, 20, 6), group="Removed")`: noise of 100 to 160 HU, of which a ball is 150 HU darker after.

    With `sequences` of a second name there is a second channel, in au: the noise ten times as large, the ball brighter.
    """

    def make(title: str, shape: tuple[int, ...] = (24, 20, 6), **options) -> ViewerCase:
        rng = np.random.RandomState(0)
        axes = np.meshgrid(*(np.arange(size) - size // 2 for size in shape), indexing="ij")
        mask = sum(axis**2 for axis in axes[:2]) < 16
        image = (100 + 60 * rng.rand(*shape)).astype(options.pop("dtype", np.int16))
        window = Window(-160, 240, "HU")
        edited = np.where(mask, image - 150, image).astype(image.dtype)
        names = options.pop("names", ("original", "removed"))
        shown = [Shown(name, array, window) for name, array in zip(names, (image, edited), strict=True)]
        if len(options.get("sequences", ())) > 1:
            wide, bright = Window(0, 4000), np.where(mask, 3000, 10 * image)
            options["others"] = ((Shown(names[0], 10 * image, wide), Shown(names[1], bright, wide)),)
        return ViewerCase(title, *shown, AFFINE, mask, **options)

    return make
