"""Losses as pure functions of tensors; weights and combinations belong to the methods.

Adversarial terms are least squares (Mao 2017, arXiv 1611.04076) as CycleGAN uses them (Zhu 2017, section 4), and
hinges. The structure terms keep the anatomy while the appearance changes: they compare what two kinds of image share,
edges, statistical dependence, and what a segmentation network sees. Images are (B, C, *S) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from medaug.models.networks.layers import mean_of_neighbours

FAINT = 0.01
"""In window units: texture that nobody sees."""


def adversarial_generator(fake_scores: Tensor) -> Tensor:
    """E[(D(fake) − 1)²]: what the generator minimises."""
    return (fake_scores.float() - 1).square().mean()


def adversarial_discriminator(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """½ (E[(D(real) − 1)²] + E[D(fake)²]): what the discriminator minimises."""
    return 0.5 * ((real_scores.float() - 1).square().mean() + fake_scores.float().square().mean())


def hinge_generator(fake_scores: Tensor) -> Tensor:
    """−E[D(fake)]: the generator's side of the hinge loss (Lim and Ye 2017, arXiv 1705.02894)."""
    return -fake_scores.float().mean()


def hinge_discriminator(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """E[max(0, 1 − D(real))] + E[max(0, 1 + D(fake))] (Lim and Ye 2017; Miyato 2018, arXiv 1802.05957, equation 16)."""
    return (1 - real_scores.float()).relu().mean() + (1 + fake_scores.float()).relu().mean()


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference over everything."""
    return (x.float() - y.float()).abs().mean()


def masked_l1(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference weighted by `weight` (B, 1, *S), normalised by its sum sample by sample.

    So small masks count fully, and what a sample gives does not depend on the others in its batch, or on how a batch is
    split over devices.
    """
    difference = ((x.float() - y.float()).abs() * weight).flatten(1).sum(dim=1)
    return (difference / (weight.flatten(1).sum(dim=1) * x.shape[1]).clamp(min=1.0)).mean()


def texture_difference(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Mean |ln| of the ratio of how strong texture is where `weight` (B, 1, *S) is, by channel and scale.

    The scales are what the mean of a voxel's neighbours does not explain, and that of what it does (a Laplacian
    pyramid's two finest levels, at full resolution). `FAINT` is added to either side.
    """
    return (_textures(x, weight).log() - _textures(y, weight).log()).abs().mean()


def _textures(image: Tensor, weight: Tensor) -> Tensor:
    """(B, 2, C) root mean squares of both scales."""
    smooth, found = image.float(), []
    for _ in range(2):
        sharp, smooth = smooth, mean_of_neighbours(smooth)
        mean = ((sharp - smooth).square() * weight).flatten(2).sum(2) / weight.flatten(2).sum(2).clamp(min=1.0)
        found.append((mean + FAINT**2).sqrt())
    return torch.stack(found, dim=1)


def paired_l1(x: Tensor, y: Tensor, paired: Tensor) -> Tensor:
    """Mean absolute difference over those samples of a batch that are pairs, 1 in `paired` (B,); 0 if none is."""
    paired = paired.to(x).float()
    difference = (x.float() - y.float()).abs().flatten(1).mean(dim=1)
    return (difference * paired).sum() / paired.sum().clamp(min=1.0)


def kl_to_standard_normal(mean: Tensor) -> Tensor:
    """KL(N(mean, I) ‖ N(0, I)) = ½ mean², averaged over everything (Liu 2017, arXiv 1703.00848: unit variance)."""
    return 0.5 * mean.float().square().mean()


def mode_seeking(images: Tensor, others: Tensor, z: Tensor, other_z: Tensor, floor: float = 0.05) -> Tensor:
    """E[|z − z'| / |G(z) − G(z')|] over pairs (Mao 2019, arXiv 1903.05628, equation 5, inverted to be minimised).

    Large where different codes give like images. `floor` keeps it finite where they give the same.
    """
    apart, codes_apart = (
        (x.float() - y.float()).abs().flatten(1).mean(dim=1) for x, y in ((images, others), (z, other_z))
    )
    return (codes_apart / (apart + floor)).mean()


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
