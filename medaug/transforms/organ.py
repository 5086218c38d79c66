"""The organ that tumors are drawn in, found once where it would otherwise be found at every insertion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from monai.config.type_definitions import NdarrayTensor

from medaug.models.weights import Weights
from medaug.transforms.array import ORGAN_MARGIN_MM
from medaug.transforms.base import Bounds, TumorTransform, with_dtype
from medaug.volumes import Window


class FindOrgan(TumorTransform):
    """Where `RandInsertTumor` and `GrowTumor` put tumors if no organ is given: brain, head or body, within a margin.

    Deterministic, so that `CacheDataset` keeps what it found: about half of the time of an insertion into a slice.

    Args:
        weights: a weights folder, or loaded `Weights`; they know how the image is windowed.
        organ_margin_mm: what is found is shrunk by this.
        window: (low, high) intensities mapped to [-1, 1]; None follows the weights' domain.
    """

    def __init__(
        self, weights: str | Path | Weights, organ_margin_mm: float = ORGAN_MARGIN_MM, window: Bounds | None = None
    ):
        super().__init__(weights, window)
        self.organ_margin_mm = organ_margin_mm

    def __call__(self, img: NdarrayTensor) -> NdarrayTensor:
        """The organ (1, *S), 0 and 1 as uint8, in the image's kind of container and on its grid."""
        return self.found(img)[0]

    def found(self, img: NdarrayTensor) -> tuple[NdarrayTensor, Window]:
        """The organ, and the window that the image was seen in.

        Raises:
            DataError: for an image without contrast, or in another unit than the weights'.
        """
        seen = self._seen(img)
        window = self._window_in(seen, self.weights.translator.domain_a, None)
        organ = seen.turn.back(self._allowed(None, seen, window, self.organ_margin_mm))
        return with_dtype(organ[None].astype(np.uint8), img, np.uint8), window
