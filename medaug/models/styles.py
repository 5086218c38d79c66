"""What methods with styles share: drawing and checking a style, and how different the outputs of several styles are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from medaug.models.base import drawn_noise
from medaug.models.losses import masked_l1

STYLES = 4
"""How many fixed styles the diversity of a translator is measured with."""


def given_or_drawn(style: Tensor | None, x: Tensor, style_dim: int, generator: torch.Generator | None) -> Tensor:
    """`style` (B, style_dim), or one style a sample of `x` from N(0, I); zeros without a generator.

    Raises:
        ValueError: if a given style is of another shape.
    """
    if style is None:
        return drawn_noise(x.new_zeros(len(x), style_dim), generator)
    if style.shape != (len(x), style_dim):
        raise ValueError(
            f"expected a style of shape {(len(x), style_dim)}, one row a sample; found {tuple(style.shape)}"
        )
    return style.to(x)


@torch.no_grad()
def diversity(translate: Callable[[Tensor], Tensor], x: Tensor, style_dim: int, weight: Tensor | None = None) -> float:
    """Mean L1 distance between the outputs of each two of a few fixed styles, inside `weight` (B, 1, *S).

    Args:
        translate: from a style (B, style_dim) to images (B, C, *S); everything else in it is held fixed.
        x: images of the batch, for its size, device and type.
    """
    styles = torch.randn((STYLES, 1, style_dim), generator=torch.Generator().manual_seed(0)).to(x)
    outputs = [translate(style.expand(len(x), -1)) for style in styles]
    weight = torch.ones_like(x[:, :1]) if weight is None else weight
    distances = [float(masked_l1(one, other, weight)) for one, other in combinations(outputs, 2)]
    return sum(distances) / len(distances)
