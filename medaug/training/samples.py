"""What insertion and the GAN from noise train on: crops around lesions and of healthy tissue, of training patients.

Sample i depends on (seed, i) alone, whatever the number of workers or processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from medaug.data.prepared import View
from medaug.errors import DataError
from medaug.lesions.drawing import draw_lesion
from medaug.lesions.geometry import bounding_box, box_around, components, equivalent_diameter_mm
from medaug.lesions.prior import Lesion, LesionPrior
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
            view = self.healthy[rng.randint(len(self.healthy))]
            lesion = self._lesion(view, rng)
            if lesion is not None:
                break
        else:
            raise DataError(
                f"no room for a lesion in {TRIES} healthy slices; lower data.organ_margin_mm, or check the images"
            )
        healthy = _gained(view.crop(self.folder, lesion.box), rng)
        moved = _drawn_move(lesion.mask.shape, rng)
        a, reference_a = (_moved(image, moved) for image in (healthy, match_surroundings(lesion, healthy)))
        mask_a = shares_of(_moved(lesion.parts[None], moved)[0], self.parts)
        reference = self.prior.references[rng.randint(len(self.prior.references))]
        image = _gained(reference.image.copy(), rng)
        moved = _drawn_move(reference.parts.shape, rng)
        b, mask_b = _moved(image, moved), shares_of(_moved(reference.parts[None], moved)[0], self.parts)
        crops = {"a": a, "mask_a": mask_a, "reference_a": reference_a, "b": b, "mask_b": mask_b}
        seed = torch.tensor(int(rng.randint(2**31)))
        return {key: torch.from_numpy(crop) for key, crop in crops.items()} | {"seed": seed}

    def _lesion(self, view: View, rng: np.random.RandomState) -> Lesion | None:
        """A lesion for a view: nothing but its places is read of a volume."""
        organ, label = (view.raw(self.folder, kind) for kind in ("organ", "label"))
        voxels = None if view.level is not None else view.tissue(self.folder)
        return draw_lesion(self.prior, organ, label, rng, voxels=voxels)


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
        self._boxes: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}

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
            center = self._healthy_center(view, rng) if label == HEALTHY else self._lesion_center(view, rng)
            if center is not None:
                return view.crop(self.folder, box_around(center, self.size))[0]
        raise DataError(
            f"no place for a {CLASSES[label]} crop of {' × '.join(map(str, self.size))} voxels in {TRIES} training "
            "views; make crop.size smaller, or lower crop.min_diameter_mm or data.organ_margin_mm"
        )

    def _healthy_center(self, view: View, rng: np.random.RandomState) -> np.ndarray | None:
        """A voxel of the organ whose crop has no tumor in it; of a volume only some are tried."""
        if view.level is None:
            places = view.tissue(self.folder)
            for _ in range(TRIES if len(places) else 0):
                center: np.ndarray = places[rng.randint(len(places))]
                if not view.marks(self.folder, "label", box_around(center, self.size)).any():
                    return center
            return None
        organ, label = view.organ(self.folder), view.classes(self.folder) > 0
        # The filter's window around a voxel is the box around it, for odd and even sizes.
        touched = ndimage.maximum_filter(label.astype(np.uint8), self.size, mode="constant", cval=0)
        inside = np.flatnonzero(organ & (touched == 0))
        return np.array(np.unravel_index(inside[rng.randint(inside.size)], organ.shape)) if inside.size else None

    def _lesion_center(self, view: View, rng: np.random.RandomState) -> np.ndarray | None:
        """The middle of one of the view's lesions, a little aside."""
        lesions = self._lesions(view)
        if not lesions:
            return None
        corner, extent = lesions[rng.randint(len(lesions))]
        return corner + extent // 2 + rng.randint(-SHIFT_VOXELS, SHIFT_VOXELS + 1, len(self.size))

    def _lesions(self, view: View) -> list[tuple[np.ndarray, np.ndarray]]:
        """The boxes (first voxel, extent) of a view's lesions that are large enough, largest first; found once."""
        if view.name not in self._boxes:
            least, parts = self.min_diameter_mm, components(view.classes(self.folder) > 0)
            large = [part for part in parts if equivalent_diameter_mm(part, view.spacing_mm) >= least]
            self._boxes[view.name] = [bounding_box(part) for part in large]
        return self._boxes[view.name]


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
    """Another brightness of each channel (C, *S), as another scanner would have it; in place."""
    gain = rng.uniform(1 - GAIN, 1 + GAIN, (len(image), *[1] * (image.ndim - 1))).astype(np.float32)
    image += 1
    image *= gain
    image -= 1
    return np.clip(image, -1, 1, out=image)


class _Move(NamedTuple):
    """The axes along which a crop is flipped, and how far it is shifted along each before."""

    flips: tuple[int, ...]
    shift: tuple[int, ...]


def _drawn_move(size: tuple[int, ...], rng: np.random.RandomState) -> _Move:
    flips = tuple(axis + 1 for axis in range(len(size)) if rng.random_sample() < 0.5)
    return _Move(flips, tuple((rng.randint(0, 2 * SHIFT_VOXELS + 1, len(size)) - SHIFT_VOXELS).tolist()))


def _moved(crop: np.ndarray, move: _Move) -> np.ndarray:
    """A crop (C, *S) flipped and shifted, borders repeated: few real lesions must not be learnt by heart."""
    moved = np.empty(crop.shape, crop.dtype)
    turned = np.flip(moved, move.flips)
    kept, source = [slice(None)], [slice(None)]
    for n, by in zip(crop.shape[1:], move.shift, strict=True):
        kept.append(slice(max(0, -by), n - max(0, by)))
        source.append(slice(max(0, by), n - max(0, -by)))
    turned[tuple(kept)] = crop[tuple(source)]
    for axis, part in enumerate(kept[1:], start=1):  # what was filled so far is repeated up to the border
        lines = np.moveaxis(turned, axis, 0)
        lines[: part.start], lines[part.stop :] = lines[part.start], lines[part.stop - 1]
    return moved


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
