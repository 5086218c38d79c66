"""Rivals that change the appearance alone: the same anatomy as another scanner, sequence or phase might show it.

Random convolutions: random shallow networks (GIN: Ouyang 2022, IEEE TMI, arXiv 2111.12525, after Xu 2021, ICLR, arXiv
2007.13003). Histogram matching: the grey levels of another image. Both act inside the body only, for how much
background an image has says nothing of its contrast. Images (C, *S) in [-1, 1], each channel by itself; labels are not
looked at. The rivals without a GAN of domain translation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import RandomizableTransform
from skimage.exposure import match_histograms
from torch import Tensor
from torch.nn import functional

from medaug.errors import ConfigError
from medaug.lesions.anatomy import find_foreground
from medaug.transforms.base import Seeded
from medaug.transforms.baselines.base import RANGE, RandAppearanceD, check_items, image_array, leaves_alone
from medaug.transforms.containers import like_source
from medaug.volumes import shows_nothing

LAYERS, CHANNELS, KERNELS, SLOPE = 4, 2, (1, 3), 0.01
"""Sizes of a random network: its depth, its channels between first and last layer, its kernel widths, its leak."""


class RandConvolutions(Seeded):
    """With probability `prob`, passes each channel through a random network; the result is clipped to [-1, 1].

    Images, and channels, that show background alone come back as they are; such images are counted.
    """

    def __init__(self, prob: float = 0.5):
        super().__init__(prob)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """The image (C, *S), changed or as it is; each channel has draws of its own."""
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        before, rng = image_array(img), np.random.RandomState(self._seed)
        if leaves_alone(self, before):
            return img
        after = before.copy()
        for channel in after:
            if not shows_nothing(channel, RANGE):
                channel[...] = random_convolutions(channel, find_foreground(channel), rng).clip(-1, 1)
        return like_source(after, before, img)


class RandConvolutionsd(RandAppearanceD):
    """Dictionary twin of `RandConvolutions`: the same draw for all `keys`.

    Example:
        >>> RandConvolutionsd("image", prob=0.5)   # doctest: +SKIP
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.5, allow_missing_keys: bool = False):
        super().__init__(keys, RandConvolutions(1.0), prob, allow_missing_keys)


RandConvolutionsD = RandConvolutionsDict = RandConvolutionsd


class RandHistogramMatch(RandomizableTransform):
    """With probability `prob`, gives the body of an image the histogram of a reference's body, channel by channel.

    Images, and references, that show background alone change nothing, and are counted.

    Args:
        references: images (C, *S) in [-1, 1], any shapes; read when they are drawn.
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
        """The image (C, *S), matched or as it is; the background keeps its bits.

        Raises:
            DataError: if the reference has other channels.
        """
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        before, number, weight = image_array(img), self._number, self._weight
        reference = image_array(self.references[number], f"reference {number}", len(before))
        if leaves_alone(self, before) or leaves_alone(self, reference):
            return img
        after = before.copy()
        for channel, other in zip(after, reference, strict=True):
            if not (shows_nothing(channel, RANGE) or shows_nothing(other, RANGE)):
                body = find_foreground(channel)
                matched = match_histograms(channel[body], other[find_foreground(other)])
                channel[body] += np.float32(weight) * (matched.astype(np.float32) - channel[body])
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


def random_convolutions(image: np.ndarray, body: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """One draw of GIN inside the body (section III-B of Ouyang 2022): α g(x) + (1 − α) x with α ~ U(0, 1).

    g is a network of random convolutions with leaky ReLU between them. The blend is scaled to the Frobenius norm of x.

    Departs from the paper:
        - x is standardised by mean and deviation of the body, not of the whole image, and the norm is the body's; the
          background keeps its bits. In [-1, 1] it would else carry most of the energy.

    Args:
        image: (*S) in [-1, 1].
        body: (*S) bool, not empty.

    Returns:
        (*S) float32, about in [-1, 1] (a linear map of the blend: not clipped).
    """
    mean, spread = float(image[body].mean()), float(image[body].std())
    if spread == 0:
        return image.copy()
    x = (image - mean) / spread
    alpha = rng.uniform()
    blend = alpha * _shallow_network(torch.from_numpy(x)[None], rng)[0].numpy() + (1 - alpha) * x
    scale = np.linalg.norm(x[body]) / max(float(np.linalg.norm(blend[body])), 1e-6)
    return np.where(body, mean + spread * scale * blend, image).astype(np.float32)


def _shallow_network(x: Tensor, rng: np.random.RandomState) -> Tensor:
    """x (1, *S) through `LAYERS` convolutions with weights and biases from N(0, 1); edges are repeated."""
    dims = x.ndim - 1
    convolve = functional.conv2d if dims == 2 else functional.conv3d
    for layer in range(LAYERS):
        inputs, outputs = len(x), 1 if layer == LAYERS - 1 else CHANNELS
        width = KERNELS[rng.randint(len(KERNELS))]
        weight = torch.from_numpy(rng.standard_normal((outputs, inputs, *[width] * dims)).astype(np.float32))
        bias = torch.from_numpy(rng.standard_normal(outputs).astype(np.float32))
        x = convolve(functional.pad(x[None], [width // 2] * 2 * dims, mode="replicate"), weight, bias)[0]
        if layer < LAYERS - 1:
            x = functional.leaky_relu(x, SLOPE)
    return x
