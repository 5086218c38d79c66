"""Head phantoms in [-1, 1] with their tumors, as the downstream networks get them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from medaug.phantoms import head_phantom
from medaug.volumes import Percentiles

Sample = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def volumes() -> list[dict[str, np.ndarray]]:
    """Three heads of 40 × 40 × 8 voxels: flair and t1 in [-1, 1], label and organ 0/1 (float32), each (X, Y, Z)."""
    heads = []
    for index in range(3):
        phantom = head_phantom(index, shape=(40, 40, 8), tumors=1)
        images = {
            name: Percentiles().window_of(scan).normalize(scan).astype(np.float32)
            for name, scan in phantom.images.items()
        }
        label, organ = ((array > 0).astype(np.float32) for array in (phantom.label, phantom.organs))
        heads.append({**images, "label": label, "organ": organ})
    return heads


@pytest.fixture(scope="session")
def sample_of(volumes) -> Callable[..., Sample]:
    """`sample_of(number, spatial_dims, "flair")`: image, label and organ (1, *S); in 2-D, the widest tumor's slice."""

    def made(number: int, spatial_dims: int, sequence: str = "flair") -> Sample:
        head = volumes[number]
        level = int(head["label"].sum(axis=(0, 1)).argmax())
        names = {"image": sequence, "label": "label", "organ": "organ"}
        arrays = {key: head[name] if spatial_dims == 3 else head[name][..., level] for key, name in names.items()}
        return {key: array[None].copy() for key, array in arrays.items()}

    return made
