"""What the GAN from noise trains on: crops around lesions (class "tumor") and of tissue without any (class "healthy").

Both from training patients only. Sample i depends on (seed, i) alone, whatever the number of workers or processes; the
classes take turns, so that every batch of even size holds as many of each.
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
from medaug.lesions.geometry import bounding_box, box_around, components, equivalent_diameter_mm, extract
from medaug.models.noise.config import CLASSES, HEALTHY
from medaug.seeds import rng_of

ENDLESS = 2**40
TRIES = 50
SHIFT_VOXELS = 3


class ClassCropSamples(Dataset):
    """`samples[i]`: `x` (1, *size) in [-1, 1], `label` (the class's position in `CLASSES`), `seed`.

    A tumor crop is centred on a lesion, up to `SHIFT_VOXELS` aside; a healthy one lies anywhere in the organ where it
    holds no tumor voxel. Half of them are mirrored along the first axis (left and right).

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

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = rng_of(self.seed, index)
        label = index % len(CLASSES)
        crop = self._crop(label, rng)
        if rng.random_sample() < 0.5:
            crop = np.flip(crop, 0)
        x = torch.from_numpy(np.ascontiguousarray(crop, dtype=np.float32))[None]
        return {"x": x, "label": torch.tensor(label), "seed": torch.tensor(int(rng.randint(2**31)))}

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
