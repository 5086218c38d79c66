"""Head phantoms in [-1, 1] with their tumors, as the downstream networks get them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from monai.data import MetaTensor

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


@pytest.fixture(scope="session")
def ellipse_case() -> Callable[..., dict]:
    """`ellipse_case(tissue, lesion=0.7, spacing_mm=2.0)`: an 80 mm disk with a 20 mm lesion, as MetaTensors."""

    def made(tissue: float, lesion: float | None, spacing_mm: float = 2.0) -> dict:
        x, y = (np.mgrid[: round(96 / spacing_mm), : round(96 / spacing_mm)] + 0.5) * spacing_mm - 48
        organ = np.hypot(x, y) < 40
        label = (np.hypot(x - 10, y) < 10) & (lesion is not None)
        image = np.where(label, lesion or 0.0, np.where(organ, tissue, -1.0))
        affine = np.diag([spacing_mm, spacing_mm, 1.0, 1.0])
        arrays = {"image": image, "label": label, "organ": organ}
        return {k: MetaTensor(v[None].astype(np.float32), affine=affine) for k, v in arrays.items()}

    return made
