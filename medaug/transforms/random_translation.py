"""Translate single images between two domains at random (an array transform); see `translation`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.transforms import RandomizableTransform

from medaug.transforms.base import Bounds
from medaug.transforms.styles import Style
from medaug.transforms.translation import TranslateDomain
from medaug.transforms.windows import seeded_style
from medaug.translators import Direction
from medaug.translators.weights import Weights
from medaug.volumes import Window


class RandTranslateDomain(RandomizableTransform, TranslateDomain):
    """With probability `prob`, translates an image to the other domain, in a drawn style where the method knows styles.

    After a call, `drawn` is what `TranslateDomain` needs for the same result (`direction`, `seed`, `style`), or None
    where the image was left as it is.

    Args:
        direction: "a2b", "b2a", or "random" for either; the image has to be of both domains' modality then.
        weights, window, style, body: as in `TranslateDomain`.
    """

    def __init__(
        self, weights: str | Path | Weights, prob: float = 0.5, direction: Direction | Literal["random"] = "a2b", *,
        window: Bounds | None = None, style: Style | None = None, body: Literal["auto", False] = "auto",
    ):  # fmt: skip
        RandomizableTransform.__init__(self, prob)
        self.draws_direction = direction == "random"
        first: Direction = "a2b" if direction == "random" else direction
        TranslateDomain.__init__(self, weights, first, window=window, style=style, body=body)
        self.drawn: dict[str, Any] | None = None

    def randomize(self, data: Any = None) -> None:
        """Draws whether to translate, the style's seed, and the direction where that is random."""
        super().randomize(None)
        self.seed = int(self.R.randint(2**31))
        if self.draws_direction:
            self.direction = get_args(Direction)[self.R.randint(2)]

    def __call__(
        self, img: NdarrayTensor, body: NdarrayOrTensor | None = None, randomize: bool = True,
        window: Window | None = None, label: NdarrayOrTensor | None = None,
    ) -> NdarrayTensor:  # fmt: skip
        """The image in the target domain, or the very input; body, window and label as in `TranslateDomain`."""
        if randomize:
            self.randomize()
        self.drawn = self.body = self.resampled_from_mm = None
        if not self._do_transform:
            return img
        style = self.style or seeded_style(self.weights, self.seed)
        self.drawn = {"direction": self.direction, "seed": self.seed} | ({"style": list(style)} if style else {})
        return TranslateDomain.__call__(self, img, body, window, label)
