"""Translate single images between two domains at random (an array transform); see `translation`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.transforms import RandomizableTransform

from medaug.models.base import Direction
from medaug.models.weights import Weights
from medaug.transforms.base import Windows
from medaug.transforms.containers import Bounds
from medaug.transforms.planning import Facts, Style
from medaug.transforms.translation import TranslateDomain, Translates
from medaug.transforms.windows import seeded_style


class RandTranslateDomain(RandomizableTransform, Translates):
    """With probability `prob`, translates an image to the other domain, in a drawn style where the method knows styles.

    `drawn` is what `TranslateDomain` needs for the same result (`direction`, `seed`, `style`), or None where nothing is
    to be translated. Images that show background alone come back as they are, and are counted.

    Args:
        direction: "a2b", "b2a", or "random" for either; the image has to be of both domains' modality then.
        weights, window, style, body: as in `TranslateDomain`.
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        prob: float = 0.5,
        direction: Direction | Literal["random"] = "a2b",
        *,
        window: Bounds | None = None,
        style: Style | None = None,
        body: Literal["auto", False] = "auto",
    ):
        RandomizableTransform.__init__(self, prob)
        Translates.__init__(self, weights, window)
        self.direction, self.body_wanted = direction, body
        first: Direction = "a2b" if direction == "random" else direction
        self.style = TranslateDomain(self.weights, first, window=window, style=style, body=body).style
        self.drawn: Facts | None = None

    _unit_of_own = TranslateDomain._unit_of_own

    def randomize(self, data: Any = None) -> None:
        """Draws whether to translate, the style's seed, and the direction where that is random."""
        super().randomize(None)
        seed, direction = int(self.R.randint(2**31)), self.direction
        if direction == "random":
            direction = get_args(Direction)[self.R.randint(2)]
        style = self.style or seeded_style(self.weights, seed)
        drawn = {"direction": direction, "seed": seed} | ({"style": list(style)} if style else {})
        self.drawn = drawn if self._do_transform else None

    def __call__(
        self,
        img: NdarrayTensor,
        body: NdarrayOrTensor | None = None,
        randomize: bool = True,
        window: Windows | None = None,
        label: NdarrayOrTensor | None = None,
    ) -> NdarrayTensor:
        """The image in the target domain, or the very input; body, window and label as in `TranslateDomain`."""
        if randomize:
            self.randomize()
        drawn = self.drawn
        self._note(None, None)
        if drawn is None:
            return img
        translate = TranslateDomain(self.weights, **drawn, window=self.window, body=self.body_wanted)
        known = self._windows_if_any(translate._seen(img), translate.source, window)
        if known is None:
            return img
        result = translate(img, body, known, label)
        self._note(translate.body, translate.resampled_from_mm)
        return result
