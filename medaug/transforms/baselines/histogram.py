"""Histogram matching: an image with the grey levels of another one, drawn from references (the other domain's, say).

Inside the body only: how much background an image has says nothing of its contrast. Images (1, *S) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import RandomizableTransform
from skimage.exposure import match_histograms

from medaug.errors import ConfigError
from medaug.lesions.anatomy import find_foreground
from medaug.transforms.base import like_source
from medaug.transforms.baselines.base import RandAppearanceD, check_items, image_array, leaves_alone


class RandHistogramMatch(RandomizableTransform):
    """With probability `prob`, gives the body of an image the histogram of a reference's body.

    Images, and references, that show background alone change nothing, and are counted.

    Args:
        references: images (1, *S) in [-1, 1], any shapes; read when they are drawn.
        prob: probability of matching.
        blend: least and most weight of the matched image; what is left of 1 is the image's own.
    """

    def __init__(
        self, references: Sequence[NdarrayOrTensor], prob: float = 0.5, blend: tuple[float, float] = (1.0, 1.0)
    ):
        super().__init__(prob)
        check_items("references", references, "Give images whose contrast shall be taken over.")
        if len(blend) != 2 or not 0 <= blend[0] <= blend[1] <= 1:
            raise ConfigError(f"blend: found {tuple(blend)}; expected (least, most) within 0 to 1")
        self.references, self.blend = references, (blend[0], blend[1])
        self._number, self._weight = 0, 1.0

    def randomize(self, data: Any = None) -> None:
        """Draws whether to match, the reference, and the weight."""
        super().randomize(None)
        self._number = int(self.R.randint(len(self.references)))
        self._weight = float(self.R.uniform(*self.blend))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """The image (1, *S), matched or as it is; the background keeps its bits."""
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        before, number, weight = image_array(img), self._number, self._weight
        reference = image_array(self.references[number], f"reference {number}")
        if leaves_alone(self, before) or leaves_alone(self, reference):
            return img
        body, after = find_foreground(before), before.copy()
        matched = match_histograms(before[body], reference[find_foreground(reference)])
        after[body] += np.float32(weight) * (matched.astype(np.float32) - before[body])
        return like_source(after, before, img)


class RandHistogramMatchd(RandAppearanceD):
    """Dictionary twin of `RandHistogramMatch`: one reference for all `keys`.

    Example:
        >>> RandHistogramMatchd("image", references=images_of_domain_b, prob=0.5)   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        references: Sequence[NdarrayOrTensor],
        prob: float = 0.5,
        blend: tuple[float, float] = (1.0, 1.0),
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, RandHistogramMatch(references, 1.0, blend), prob, allow_missing_keys)


RandHistogramMatchD = RandHistogramMatchDict = RandHistogramMatchd
