"""Phantom lesions: noisy tissue with a textured, soft-edged disc, or the same with a flat grey one."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


def make_lesion(rng, shape=(40, 40), grey=False):
    """One crop and its mask: real texture and edge, or a flat grey disc pasted in."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    center = np.array([n / 2 for n in shape]) + rng.uniform(-2, 2, len(shape))
    radius = rng.uniform(5, 8)
    distance = np.sqrt(((grid - center.reshape(-1, *[1] * len(shape))) ** 2).sum(0))
    mask = distance <= radius
    tissue = -0.3 + 0.08 * gaussian_filter(rng.normal(size=shape), 1) * 3
    if grey:
        crop = np.where(mask, 0.2, tissue)
    else:
        edge = 1 / (1 + np.exp(distance - radius))
        crop = tissue + edge * (0.5 + 0.1 * gaussian_filter(rng.normal(size=shape), 1) * 3)
    return crop.clip(-1, 1).astype(np.float32), mask


@pytest.fixture(scope="session")
def lesion():
    return make_lesion
