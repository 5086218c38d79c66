"""The latent space of a trained GAN: drawing, walking, attribute arithmetic, and search for a given crop.

Codes z are (N, latent_dim); their length does not matter (see `dcgan`). Crops are (N, 1, *S) in [-1, 1]. Read
by the stages, and by whoever scores a scan's crops by `latent_residual`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medaug.models.noise.config import HEALTHY
from medaug.models.noise.dcgan import DCGAN, on_sphere

CANDIDATES = 64
"""Random codes among which a search finds its start."""
SEARCH_RATE = 0.1
SEARCH_BATCH = 32
EXTREME = 0.25


class Samples(NamedTuple):
    """Codes z (N, latent_dim) and their crops (N, 1, *S)."""

    z: Tensor
    images: Tensor


class Projection(NamedTuple):
    """What a search found: codes z (N, latent_dim), their crops (N, 1, *S), and mean |x − G(z)| of each (N,)."""

    z: Tensor
    images: Tensor
    residual: Tensor


@torch.no_grad()
def sample(gan: DCGAN, count: int, label: int, generator: torch.Generator) -> Samples:
    """Draws `count` crops of one class; `generator` (on the CPU) decides everything."""
    device = next(gan.parameters()).device
    z = on_sphere(torch.randn(count, gan.config.latent_dim, generator=generator)).to(device)
    return Samples(z, gan.generate(z, torch.full((count,), label, device=device)))


def interpolate(z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """`steps` codes (steps, D) from z0 to z1 (D,) along the arc between them (White 2016, arXiv 1609.04468).

    The direction turns evenly, the length changes evenly; a straight line would pass through codes that are too short
    to have been trained on.

    Raises:
        ValueError: for codes that point in opposite directions, or fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"an interpolation has two ends; found steps={steps}")
    lengths = z0.norm(), z1.norm()
    first, last = z0 / lengths[0], z1 / lengths[1]
    angle = torch.arccos((first * last).sum().clamp(-1, 1))
    if angle > torch.pi - 1e-3:
        raise ValueError("the codes point in opposite directions: there is no shortest arc; choose another end")
    t = torch.linspace(0, 1, steps, device=z0.device)[:, None]
    if angle < 1e-4:  # the sines vanish; on so short an arc the chord is as good
        directions = (1 - t) * first + t * last
    else:
        directions = (torch.sin((1 - t) * angle) * first + torch.sin(t * angle) * last) / torch.sin(angle)
    path = directions * ((1 - t) * lengths[0] + t * lengths[1])
    path[0], path[-1] = z0, z1
    return path


def attribute_vector(z: Tensor, values: Tensor, *, extreme: float = EXTREME) -> Tensor:
    """The direction (D,) along which an attribute grows: mean code where it is high minus mean code where it is low.

    The mean-vector arithmetic of section 6.3.2: no encoder is needed, for the samples' codes are known.

    Args:
        z: codes of samples (N, D).
        values: the attribute measured in their crops (N,), for example by `ATTRIBUTES`.
        extreme: the part of the samples that counts as high, and as low.

    Raises:
        ValueError: if all values are equal.
    """
    if values.min() == values.max():
        raise ValueError("the attribute has the same value in all samples; measure another, or draw more samples")
    order, count = values.argsort(), max(1, round(extreme * len(values)))
    return z[order[-count:]].mean(dim=0) - z[order[:count]].mean(dim=0)


def brightness(images: Tensor) -> Tensor:
    """Mean of each crop (N,)."""
    return images.flatten(1).mean(dim=1)


def center_contrast(images: Tensor) -> Tensor:
    """Mean of each crop's central half (an axis) minus the mean of the rest (N,): where a tumor crop has its tumor."""
    inside = torch.zeros(images.shape[2:], dtype=torch.bool, device=images.device)
    inside[tuple(slice(n // 4, n - n // 4) for n in images.shape[2:])] = True
    return images[:, 0, inside].mean(dim=1) - images[:, 0, ~inside].mean(dim=1)


ATTRIBUTES: dict[str, Callable[[Tensor], Tensor]] = {"brightness": brightness, "centre contrast": center_contrast}
"""Name → what measures it in crops (N, 1, *S) → (N,)."""


def project(gan: DCGAN, x: Tensor, steps: int, generator: torch.Generator, *, label: int = HEALTHY) -> Projection:
    """Searches the code whose crop is nearest to `x` (N, 1, *S), by gradient descent on mean |x − G(z)|.

    After AnoGAN (Schlegl 2017, arXiv 1703.05921, equation 3). Departs from the paper: no discrimination term, for
    weights hold no discriminator; the code cannot leave the sphere that the generator was trained on; the search starts
    from the nearest of `CANDIDATES` random codes, the same for every crop, and keeps the best code it has seen. So a
    crop's result does not depend on the crops beside it.

    Args:
        steps: of Adam; 0 returns the nearest candidate.
        generator: of the candidates, on the CPU.

    Raises:
        ValueError: if the crops are not of the GAN's size.
    """
    if tuple(x.shape[1:]) != (1, *gan.size):
        raise ValueError(f"this GAN makes crops of (N, 1, {', '.join(map(str, gan.size))}); found {tuple(x.shape)}")
    candidates = sample(gan, CANDIDATES, label, generator)
    found = [_searched(gan, batch, steps, candidates, label) for batch in x.split(SEARCH_BATCH)]
    return Projection(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def latent_residual(gan: DCGAN, crops: np.ndarray | Tensor, *, steps: int, seed: int) -> np.ndarray:
    """Anomaly scores (N,) of crops (N, 1, *S) in [-1, 1]: what the GAN cannot reproduce as healthy tissue.

    The score is mean |x − G(z*)| with z* from `project` and the label "healthy".
    """
    device = next(gan.parameters()).device
    x = torch.as_tensor(np.asarray(crops), dtype=torch.float32).to(device)
    return project(gan, x, steps, torch.Generator().manual_seed(seed)).residual.cpu().numpy()


def _searched(gan: DCGAN, x: Tensor, steps: int, candidates: Samples, label: int) -> Projection:
    distances = torch.stack([(image - x).abs().flatten(1).mean(dim=1) for image in candidates.images])
    z = candidates.z[distances.argmin(dim=0)].clone().requires_grad_()
    labels = torch.full((len(x),), label, device=x.device)
    optimizer = torch.optim.Adam([z], SEARCH_RATE)
    best = Projection(z.detach().clone(), x, torch.full((len(x),), torch.inf, device=x.device))
    with torch.enable_grad():
        for step in range(steps + 1):
            images = gan.generate(z, labels)
            residual = (images - x).abs().flatten(1).mean(dim=1)
            nearer = residual.detach() < best.residual  # crop by crop, the nearer result is kept
            found = (on_sphere(z.detach()), images.detach(), residual.detach())
            rows = [nearer.view(-1, *[1] * (part.ndim - 1)) for part in best]
            best = Projection(*(torch.where(row, new, old) for row, new, old in zip(rows, found, best, strict=True)))
            if step < steps:
                (z.grad,) = torch.autograd.grad(residual.sum(), z)
                optimizer.step()
    return best
