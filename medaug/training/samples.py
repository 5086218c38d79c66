"""What insertion trains on: crops around lesions of training patients, healthy and with a tumor.

Sample i depends on (seed, i) alone, whatever the number of workers or processes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medaug.data.prepared import View
from medaug.errors import DataError
from medaug.lesions.drawing import draw_lesion
from medaug.lesions.geometry import extract
from medaug.lesions.prior import Lesion, LesionPrior
from medaug.lesions.reference import match_surroundings
from medaug.seeds import rng_of

ENDLESS = 2**40
TRIES = 50
GAIN = 0.15
SHIFT_VOXELS = 3


class TumorCropSamples(Dataset):
    """Batches of the mask-guided translators: see `translators.insertion.base` for the keys.

    Args:
        healthy: views that healthy crops are cut from (away from any tumor in them).
        prior: fitted on the training fold; its references are the real tumor crops.
    """

    def __init__(self, healthy: list[View], folder: Path, prior: LesionPrior, *, seed: int):
        if not healthy:
            raise DataError(
                "no slice to cut healthy crops from; set crop.healthy=anywhere, widen crop.level_tolerance, or add "
                "training patients"
            )
        self.healthy, self.folder, self.prior, self.seed = healthy, folder, prior, seed

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = rng_of(self.seed, index)
        healthy, lesion = self._healthy_crop(rng)
        healthy = _gained(healthy, rng)
        a, reference_a, mask_a = _moved([healthy, match_surroundings(lesion, healthy), lesion.mask], rng)
        reference = self.prior.references[rng.randint(len(self.prior.references))]
        b, mask_b = _moved([_gained(reference.image, rng), reference.mask], rng)
        crops = {"a": a, "mask_a": mask_a, "reference_a": reference_a, "b": b, "mask_b": mask_b}
        return {key: _channel(crop) for key, crop in crops.items()} | {"seed": torch.tensor(int(rng.randint(2**31)))}

    def _healthy_crop(self, rng: np.random.RandomState) -> tuple[np.ndarray, Lesion]:
        for _ in range(TRIES):
            arrays = self.healthy[rng.randint(len(self.healthy))].read(self.folder)
            lesion = draw_lesion(self.prior, arrays.organ, arrays.label, rng)
            if lesion is not None:
                return extract(arrays.image[0], lesion.box, -1.0), lesion
        raise DataError(
            f"no room for a lesion in {TRIES} healthy slices; lower data.organ_margin_mm, or check the images"
        )


def healthy_views(views: list[View], where: str, level_tolerance: float) -> list[View]:
    """The views that healthy crops may come from.

    Args:
        where: "anywhere" (every view; tumors in it are kept clear of), or "tumor-free" (views without a tumor whose
            relative level is within `level_tolerance` of one that has a tumor: matched by slice level).
    """
    if where == "anywhere":
        return views
    levels = np.array([view.relative_level for view in views if view.tumor_voxels])
    free = [view for view in views if not view.tumor_voxels]
    return [v for v in free if levels.size == 0 or np.abs(levels - v.relative_level).min() <= level_tolerance]


def _gained(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Another brightness, as another scanner would have it."""
    return ((image + 1) * rng.uniform(1 - GAIN, 1 + GAIN) - 1).clip(-1, 1)


def _moved(crops: list[np.ndarray], rng: np.random.RandomState) -> list[np.ndarray]:
    """Crops flipped and shifted together, borders repeated: few real lesions must not be learnt by heart."""
    flips = tuple(axis for axis in range(crops[0].ndim) if rng.random_sample() < 0.5)
    shift = rng.randint(0, 2 * SHIFT_VOXELS + 1, crops[0].ndim)
    window = tuple(slice(s, s + n) for s, n in zip(shift, crops[0].shape, strict=True))
    return [np.flip(np.pad(crop, SHIFT_VOXELS, mode="edge")[window], flips) for crop in crops]


def _channel(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None]
