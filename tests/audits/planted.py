"""Translators with one fault each, and honest ones; all are used through the real transforms.

Mask-guided ones start from the pasted reference lesion, so one that hands its input back is an honest copy-paste.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from medaug.models.insertion.base import composite, insertion_weight, removal_weight
from medaug.models.methods import build_translator
from medaug.models.weights import Weights

BRIGHT = 0.5
"""In window units, of the smoothed image: what the stand-in for a segmenter takes for tumor."""


def bright(image: np.ndarray) -> np.ndarray:
    """A segmenter that has learnt that tumors of these phantoms are bright."""
    return ndimage.gaussian_filter(image[0], 1.0) > BRIGHT


def guided(weights: Weights, paint, paste=None, heal=None) -> Weights:
    """`weights` whose translator inserts by `paint(x, mask)` and removes by `heal(x, mask)`.

    Without `heal` it fills with the brightness around.
    """
    translator = deepcopy(weights.translator)

    class Planted(type(translator)):
        def translate(self, x, direction, *, mask=None, style=None, generator=None):
            if direction == "a2b":
                return paint(x, mask)
            if heal is not None:
                return heal(x, mask)
            around = (removal_weight(mask) == 0) & (x > -0.9)
            return composite(x, torch.full_like(x, float(x[around].median())), removal_weight(mask))

        def paste(self, background, lesion, mask):
            return super().paste(background, lesion, mask) if paste is None else paste(background, lesion, mask)

    translator.__class__ = Planted
    return replace(weights, translator=translator)


def plain(weights: Weights, there, back, **facts) -> Weights:
    """Weights that translate whole images, `there(x)` and `back(x)`."""
    settings = {"generator": "unet", "width": 2, "depth": 2, "discriminator_width": 2, "discriminator_layers": 1}
    old = weights.translator
    translator = build_translator("cyclegan", settings, old.domain_a, old.domain_b, old.spatial_dims)

    class Planted(type(translator)):
        def translate(self, x, direction, *, mask=None, style=None, generator=None):
            return there(x) if direction == "a2b" else back(x)

    translator.__class__ = Planted
    return Weights(translator.eval(), None, weights.facts.model_copy(update={"patch_size": None, **facts}))


def honest(x, mask):
    return x


def outside(x, mask):
    """Paints over the whole crop."""
    return (x + 0.3).clamp(-1, 1)


def unpasted(background, lesion, mask):
    return background


def beside(x, mask):
    """A bright square in the crop's corner, where no lesion was asked for."""
    y = x.clone()
    y[..., :7, :7] = 0.9
    return torch.where(mask > 0, x, y)


def dark(x, mask):
    """Lesions that look like the tissue around them."""
    return composite(x, torch.full_like(x, -0.4), insertion_weight(mask))


def checkered(x, mask):
    """A pattern of the stride's frequency inside the mask."""
    signs = torch.ones_like(x)
    signs[..., ::2, 1::2], signs[..., 1::2, ::2] = -1, -1
    return torch.where(mask > 0, (x + 0.2 * signs).clamp(-1, 1), x)


def watermarked(size, period):
    """Adds the same faint pattern at the same places of every crop, tumor or not."""

    def paint(x, mask):
        rng = torch.Generator().manual_seed(0)
        shape = [period or length for length in x.shape[2:]]
        signs = torch.randint(0, 2, shape, generator=rng) * 2.0 - 1
        repeats = [-(-length // own) for length, own in zip(x.shape[2:], shape, strict=True)]
        mark = signs.repeat(repeats)[tuple(slice(length) for length in x.shape[2:])]
        return torch.where(mask > 0, (x + size * mark).clamp(-1, 1), x)

    return paint


def framed(x, mask):
    """A hard step at the border of what the generator may change."""
    return torch.where(mask > 0, (x + 0.7).clamp(-1, 1), x)


def grainy(x, mask):
    """Noise wherever the generator was, tumor or not."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(1e4 * float(x.sum().abs())) % 2**31))
    return composite(x, (x + 0.4 * noise).clamp(-1, 1), insertion_weight(mask))


def flat(x, mask):
    """Every lesion of one grey."""
    return composite(x, torch.full_like(x, 0.5), insertion_weight(mask))


def honest_image(x):
    return x


def blocked(x):
    """Each window by its own brightness."""
    return x + 0.5 * x.mean(dim=(1, 2, 3), keepdim=True)


def hidden(x, mask=None):
    """A grey fake, with the source written into it a hundred times weaker."""
    weight = 1.0 if mask is None else insertion_weight(mask)
    return x + weight * (0.5 + 0.01 * x - x)


def found_again(y, mask=None):
    weight = 1.0 if mask is None else insertion_weight(mask)
    return (y - 0.5 * weight) / (1 - 0.99 * weight)


def brighter(x):
    """Some 50 HU above what it should be, in every tissue."""
    return x + 0.1


def mirrored(x):
    return x.flip(2)


def constant(x):
    return torch.zeros_like(x)
