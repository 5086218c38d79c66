"""Terms that compare an image with the one it should be, voxel by voxel."""

from __future__ import annotations

from torch import Tensor


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference over everything."""
    return (x.float() - y.float()).abs().mean()


def masked_l1(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference weighted by `weight` (B, 1, *S) and normalised by its sum: small masks count fully."""
    difference = (x.float() - y.float()).abs() * weight
    return difference.sum() / (weight.sum() * x.shape[1]).clamp(min=1.0)


def kl_to_standard_normal(mean: Tensor) -> Tensor:
    """KL(N(mean, I) ‖ N(0, I)) = ½ mean², averaged over everything (Liu 2017, arXiv 1703.00848: unit variance)."""
    return 0.5 * mean.float().square().mean()
