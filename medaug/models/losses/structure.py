"""Terms that keep the anatomy while the appearance changes: for an image and its translation, 2-D and 3-D.

They compare what two kinds of image share: edges, statistical dependence, and what a segmentation network sees.
Images are (B, C, *S) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CHUNK_VOXELS = 2**15
"""Voxels whose Parzen windows are in memory at once."""


def gradient_difference(x: Tensor, y: Tensor) -> Tensor:
    """Mean difference of the absolute gradients along each axis (Mathieu 2016, arXiv 1511.05440, equation 6, α = 1).

    Absolute, so that an edge may change its sign (dark to bright) but not its place or height.

    Args:
        x, y: (B, C, *S).
    """
    terms = []
    for axis in range(2, x.ndim):
        steepness_x, steepness_y = x.float().diff(dim=axis).abs(), y.float().diff(dim=axis).abs()
        terms.append((steepness_x - steepness_y).abs().mean())
    return torch.stack(terms).mean()


def mutual_information(x: Tensor, y: Tensor, weight: Tensor | None = None, *, bins: int = 32) -> Tensor:
    """Σ p(x, y) log(p(x, y) / p(x) p(y)) in nats (Viola and Wells 1997, DOI 10.1023/A:1007958904918), larger is better.

    Each voxel votes for the bins around its value with a Gaussian Parzen window one bin wide, so there are gradients
    to both images. One histogram an image and channel; the mean over them is returned. Windows are made for
    `CHUNK_VOXELS` voxels at a time and again in the backward pass: memory does not grow with the image.

    Args:
        x, y: (B, C, *S) in [-1, 1]; values outside vote for the nearest bins.
        weight: (B, 1, *S) of 0 or more, how much a voxel counts; None counts all alike.
        bins: of each marginal.
    """
    votes = torch.ones_like(x[:, :1]) if weight is None else weight
    votes = votes.float().expand_as(x).reshape(-1, x[0, 0].numel())  # (B·C, N)
    values_x, values_y = (image.float().reshape(votes.shape) for image in (x, y))
    joint = torch.zeros(len(votes), bins, bins, device=x.device)
    for chunk in range(0, votes.shape[1], CHUNK_VOXELS):
        part = slice(chunk, chunk + CHUNK_VOXELS)
        joint = joint + checkpoint(
            _histogram,
            values_x[:, part],
            values_y[:, part],
            votes[:, part],
            bins,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    joint = joint / joint.sum(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    independent = joint.sum(dim=2, keepdim=True) * joint.sum(dim=1, keepdim=True)
    tiny = torch.finfo(torch.float32).tiny
    ratio = joint.clamp(min=tiny).log() - independent.clamp(min=tiny).log()
    return (joint * ratio).sum(dim=(1, 2)).mean()


def segmentation_consistency(
    segmenter: Callable[[Tensor], Tensor], fake: Tensor, source: Tensor, label: Tensor | None = None
) -> Tensor:
    """What `segmenter` sees in the translation must be what is in its source (Hoffman 2018, arXiv 1711.03213, eq. 4).

    Cross-entropy plus soft Dice (1 − Dice), per image and channel of the segmenter.

    Args:
        segmenter: frozen; (B, C, *S) → logits (B, K, *S).
        fake, source: (B, C, *S), the translation and its input.
        label: (B, K, *S) in [0, 1], the truth of `source`; None takes the segmenter's own output on it.
    """
    if label is None:
        with torch.no_grad():
            label = torch.sigmoid(segmenter(source).float())
    logits = segmenter(fake).float()
    label = label.to(logits)
    seen, axes = torch.sigmoid(logits), tuple(range(2, logits.ndim))
    dice = (2 * (seen * label).sum(axes) + 1) / (seen.square().sum(axes) + label.square().sum(axes) + 1)
    return functional.binary_cross_entropy_with_logits(logits, label) + (1 - dice).mean()


def _histogram(x: Tensor, y: Tensor, votes: Tensor, bins: int) -> Tensor:
    """The joint histogram (R, bins, bins) of rows of values (R, N) with their votes."""
    return torch.einsum("rni,rnj->rij", _windows(x, bins) * votes[..., None], _windows(y, bins))


def _windows(values: Tensor, bins: int) -> Tensor:
    """How much each value (R, N) belongs to each bin (R, N, bins); sums to 1 over the bins."""
    centers = torch.linspace(-1, 1, bins, device=values.device)
    distance = (values.clamp(-1, 1)[..., None] - centers) * ((bins - 1) / 2)  # in bins
    return torch.softmax(-0.5 * distance.square(), dim=-1)
