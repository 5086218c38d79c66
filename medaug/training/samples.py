"""What insertion and the GAN from noise train on: crops around lesions and of healthy tissue, of training patients.

Sample i depends on (seed, i) alone, whatever the number of workers or processes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from medaug.data.prepared import View, ViewArrays
from medaug.errors import DataError
from medaug.lesions.drawing import draw_lesion
from medaug.lesions.geometry import bounding_box, box_around, components, equivalent_diameter_mm, extract
from medaug.lesions.prior import LesionPrior
from medaug.lesions.reference import match_surroundings, shares_of
from medaug.models.noise.config import CLASSES, HEALTHY
from medaug.seeds import rng_of

TRIES = 50
GAIN = 0.15
SHIFT_VOXELS = 3


class TumorCropSamples(Dataset):
    """Batches of the mask-guided translators: see `models.insertion.base` for the keys.

    Args:
        healthy: views that healthy crops are cut from (away from any tumor in them).
        prior: fitted on the training fold; its references are the real tumor crops.
        parts: how many parts the tumors have.
    """

    def __init__(self, healthy: list[View], folder: Path, prior: LesionPrior, *, seed: int, parts: int = 1):
        if not healthy:
            raise DataError(
                "no slice to cut healthy crops from; set crop.healthy=anywhere, widen crop.level_tolerance, or add "
                "training patients"
            )
        self.healthy, self.folder, self.prior, self.seed, self.parts = healthy, folder, prior, seed, parts

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = rng_of(self.seed, index)
        for _ in range(TRIES):
            arrays = self.healthy[rng.randint(len(self.healthy))].read(self.folder)
            lesion = draw_lesion(self.prior, arrays.organ, arrays.label, rng)
            if lesion is not None:
                break
        else:
            raise DataError(
                f"no room for a lesion in {TRIES} healthy slices; lower data.organ_margin_mm, or check the images"
            )
        healthy = _gained(np.stack([extract(channel, lesion.box, -1.0) for channel in arrays.image]), rng)
        mask = shares_of(lesion.parts, self.parts)
        a, reference_a, mask_a = _moved([healthy, match_surroundings(lesion, healthy), mask], rng)
        reference = self.prior.references[rng.randint(len(self.prior.references))]
        b, mask_b = _moved([_gained(reference.image, rng), shares_of(reference.parts, self.parts)], rng)
        crops = {"a": a, "mask_a": mask_a, "reference_a": reference_a, "b": b, "mask_b": mask_b}
        return {key: _tensor(crop) for key, crop in crops.items()} | {"seed": torch.tensor(int(rng.randint(2**31)))}


class ClassCropSamples(Dataset):
    """`samples[i]`: `x` (1, *size) in [-1, 1], `label` (the class's position in `CLASSES`), `seed`.

    The classes take turns, so that every batch of even size holds as many of each. A tumor crop is centred on a lesion,
    up to `SHIFT_VOXELS` aside; a healthy one lies anywhere in the organ where it holds no tumor voxel. Half of them are
    mirrored along the first axis (left and right).

    Args:
        healthy: views that healthy crops are cut from; those with a tumor give what lies clear of it.
        tumor: views with tumor.
        min_diameter_mm: smaller lesions are passed over.

    Raises:
        DataError: if there is no view for one of the classes.
    """

    def __init__(
        self,
        healthy: list[View],
        tumor: list[View],
        folder: Path,
        *,
        size: tuple[int, ...],
        min_diameter_mm: float,
        seed: int,
    ):
        if not healthy or not tumor:
            raise DataError(
                f"found {len(healthy)} training views for healthy crops and {len(tumor)} with a tumor; expected some "
                "of each. Add training patients, set crop.healthy=anywhere, or choose another split.seed."
            )
        self.views = (healthy, tumor)
        self.folder, self.size, self.min_diameter_mm, self.seed = folder, tuple(size), min_diameter_mm, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = rng_of(self.seed, index)
        label = index % len(CLASSES)
        crop = self._crop(label, rng)
        if rng.random_sample() < 0.5:
            crop = np.flip(crop, 0)
        return {"x": _tensor(crop[None]), "label": torch.tensor(label), "seed": torch.tensor(int(rng.randint(2**31)))}

    def _crop(self, label: int, rng: np.random.RandomState) -> np.ndarray:
        views = self.views[label]
        for _ in range(TRIES):
            view = views[rng.randint(len(views))]
            arrays = view.read(self.folder)
            center = self._healthy_center(arrays, rng) if label == HEALTHY else self._lesion_center(view, arrays, rng)
            if center is not None:
                return extract(arrays.image[0], box_around(center, self.size), -1.0)
        raise DataError(
            f"no place for a {CLASSES[label]} crop of {' × '.join(map(str, self.size))} voxels in {TRIES} training "
            "views; make crop.size smaller, or lower crop.min_diameter_mm or data.organ_margin_mm"
        )

    def _healthy_center(self, arrays: ViewArrays, rng: np.random.RandomState) -> np.ndarray | None:
        """A voxel of the organ whose crop has no tumor in it."""
        # The filter's window around a voxel is the box around it, for odd and even sizes.
        touched = ndimage.maximum_filter(arrays.label.astype(np.uint8), self.size, mode="constant", cval=0)
        places = np.flatnonzero(arrays.organ & (touched == 0))
        if not places.size:
            return None
        return np.array(np.unravel_index(places[rng.randint(places.size)], arrays.organ.shape))

    def _lesion_center(self, view: View, arrays: ViewArrays, rng: np.random.RandomState) -> np.ndarray | None:
        """The middle of one of the view's lesions, a little aside."""
        least = self.min_diameter_mm
        lesions = [part for part in components(arrays.label) if equivalent_diameter_mm(part, view.spacing_mm) >= least]
        if not lesions:
            return None
        corner, extent = bounding_box(lesions[rng.randint(len(lesions))])
        return corner + extent // 2 + rng.randint(-SHIFT_VOXELS, SHIFT_VOXELS + 1, len(self.size))


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
    """Another brightness of each channel (C, *S), as another scanner would have it."""
    gain = rng.uniform(1 - GAIN, 1 + GAIN, (len(image), *[1] * (image.ndim - 1))).astype(np.float32)
    return ((image + 1) * gain - 1).clip(-1, 1)


def _moved(crops: list[np.ndarray], rng: np.random.RandomState) -> list[np.ndarray]:
    """Crops (C, *S) flipped and shifted together, borders repeated: few real lesions must not be learnt by heart."""
    size = crops[0].shape[1:]
    flips = tuple(axis + 1 for axis in range(len(size)) if rng.random_sample() < 0.5)
    shift = rng.randint(0, 2 * SHIFT_VOXELS + 1, len(size))
    window = (slice(None), *(slice(s, s + n) for s, n in zip(shift, size, strict=True)))
    around = [(0, 0), *[(SHIFT_VOXELS, SHIFT_VOXELS)] * len(size)]
    return [np.flip(np.pad(crop, around, mode="edge")[window], flips) for crop in crops]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
