"""What lesions look like and where they sit, learnt from the training fold and from nothing else.

Every connected lesion that fits the crop becomes a reference: its crop, mask, size in mm, place relative to the organ,
and contrast. Sampling bends a reference of the drawn size and finds it a place; the result is a `Lesion`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.crops import CropBox, box_around, extract
from medaug.lesions.geometry import components, equivalent_diameter_mm
from medaug.lesions.shapes import apply_warp, draw_warp, procedural_blob

Shape = Literal["bank", "blob", "mixed"]
MARGIN_VOXELS = 3
SIZE_SPREAD = 0.2
"""Standard deviation of the log-normal kernel around a drawn reference's size."""
SCALING = (0.7, 1.4)
INSIDE = 0.98


@dataclass(frozen=True)
class LesionExample:
    """One training view with its lesions: image in [-1, 1], label and organ bool, all (*S)."""

    image: np.ndarray
    label: np.ndarray
    organ: np.ndarray
    patient: str
    case: str
    level: int | None
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True)
class ReferenceLesion:
    """One training lesion, centred in a crop.

    Attributes:
        image, mask: (*crop_size); the image in [-1, 1].
        diameter_mm: of the circle or sphere of equal size.
        contrast: mean inside minus median of the surroundings.
        surroundings: median brightness of the ring around it.
        location: its centre relative to the organ's bounding box, 0 to 1 an axis.
    """

    image: np.ndarray
    mask: np.ndarray
    patient: str
    case: str
    level: int | None
    diameter_mm: float
    contrast: float
    surroundings: float
    location: tuple[float, ...]


@dataclass(frozen=True)
class Lesion:
    """One drawn lesion, ready to be inserted.

    Attributes:
        mask, texture: (*crop_size), on the prior's grid; the texture is the warped reference, in [-1, 1].
        box: where the crop lies on the target's grid.
        reference, patient: which training lesion it came from, and whose.
        contrast: drawn; `reference_contrast` is what the texture has of its own.
        surroundings: brightness of the ring around the reference.
    """

    mask: np.ndarray
    texture: np.ndarray
    box: CropBox
    reference: int
    patient: str
    diameter_mm: float
    contrast: float
    reference_contrast: float
    surroundings: float

    def provenance(self) -> dict[str, Any]:
        """What a manifest keeps of it."""
        return {
            "patient": self.patient, "reference": self.reference, "diameter_mm": round(self.diameter_mm, 2),
            "contrast": round(self.contrast, 4), "start": list(self.box.start), "size": list(self.box.size),
        }  # fmt: skip


@dataclass
class LesionPrior:
    """The references of the training fold, and how to draw from them.

    Attributes:
        left_out: how many lesions were not taken, by reason.
    """

    references: list[ReferenceLesion]
    crop_size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    left_out: dict[str, int] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, examples: Iterable[LesionExample], crop_size: Sequence[int], spacing_mm: Sequence[float], *,
        min_diameter_mm: float = 5.0,
    ) -> LesionPrior:  # fmt: skip
        """Takes every connected lesion of at least `min_diameter_mm` that fits the crop.

        Raises:
            DataError: if no lesion is left, with the reasons.
        """
        references: list[ReferenceLesion] = []
        left_out: Counter[str] = Counter()
        for example in examples:
            for part in components(example.label):
                reference = _reference(example, part, tuple(crop_size), min_diameter_mm)
                if isinstance(reference, str):
                    left_out[reference] += 1
                else:
                    references.append(reference)
        if not references:
            raise DataError(
                f"no usable lesion in the training fold ({dict(left_out) or 'no lesion at all'}); enlarge crop.size, "
                "lower crop.min_diameter_mm, or check the labels"
            )
        return cls(references, tuple(crop_size), tuple(spacing_mm), dict(left_out))

    def sample(
        self, organ: np.ndarray, occupied: np.ndarray, rng: np.random.RandomState, *,
        spacing_mm: Sequence[float] | None = None, size_mm: tuple[float, float] | None = None, shape: Shape = "bank",
        reference: int | None = None, max_tries: int = 20,
    ) -> Lesion | None:  # fmt: skip
        """Draws a lesion that lies in `organ` and keeps clear of `occupied`; None where there is no room.

        Args:
            organ, occupied: (*S) bool on the target's grid.
            spacing_mm: the target's voxel size; None: the prior's.
            size_mm: least and most diameter; None draws from the training fold's sizes.
        """
        ratio = np.asarray(self.spacing_mm) / np.asarray(spacing_mm or self.spacing_mm)
        if not organ.any():
            return None
        free = organ & ~_dilated(occupied)
        corner, extent = _bounding_box(organ)
        voxels: np.ndarray | None = None
        for attempt in range(max_tries):
            shrink = 1.0 if attempt < max_tries // 2 else 0.85 ** (attempt - max_tries // 2 + 1)
            drawn = self._draw(rng, size_mm, shape, reference, shrink if size_mm is None else 1.0)
            number, mask, texture, contrast = drawn
            if not mask.any():
                continue
            if attempt % 4 < 2:
                place = np.asarray(self.references[rng.randint(len(self.references))].location)
                center = corner + (place + rng.normal(0, 0.06, len(corner))) * extent
            else:
                voxels = np.flatnonzero(free) if voxels is None else voxels
                if not len(voxels):
                    return None
                center = np.array(np.unravel_index(voxels[rng.randint(len(voxels))], organ.shape))
            lesion = self._placed(number, mask, texture, contrast, center, ratio, organ, free)
            if lesion is not None:
                return lesion
        return None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The crops, for safetensors."""
        return {
            "images": torch.from_numpy(np.stack([r.image for r in self.references])),
            "masks": torch.from_numpy(np.stack([r.mask for r in self.references]).astype(np.uint8)),
        }

    def metadata(self) -> dict[str, Any]:
        """Everything else, for JSON."""
        keys = ("patient", "case", "level", "diameter_mm", "contrast", "surroundings", "location")
        return {
            "crop_size": list(self.crop_size), "spacing_mm": list(self.spacing_mm), "left_out": self.left_out,
            "references": [{key: getattr(r, key) for key in keys} for r in self.references],
        }  # fmt: skip

    @classmethod
    def from_parts(cls, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> LesionPrior:
        """The inverse of `tensors` and `metadata`."""
        references = [
            ReferenceLesion(image=image.numpy(), mask=mask.numpy() > 0, **{**row, "location": tuple(row["location"])})
            for image, mask, row in zip(tensors["images"], tensors["masks"], metadata["references"], strict=True)
        ]
        return cls(references, tuple(metadata["crop_size"]), tuple(metadata["spacing_mm"]), metadata["left_out"])

    def _draw(
        self, rng: np.random.RandomState, size_mm: tuple[float, float] | None, shape: Shape, reference: int | None,
        shrink: float,
    ) -> tuple[int, np.ndarray, np.ndarray, float]:  # fmt: skip
        """(reference, mask, texture, contrast) at the crop's centre."""
        sizes = np.array([r.diameter_mm for r in self.references])
        if size_mm is not None:
            diameter = rng.uniform(*size_mm)
        else:
            diameter = sizes[rng.randint(len(sizes))] * np.exp(rng.normal(0, SIZE_SPREAD)) * shrink
        largest = (min(self.crop_size) - 2 * MARGIN_VOXELS) * min(self.spacing_mm)
        diameter = min(diameter, largest)
        if reference is None:
            scale = diameter / sizes
            near = np.flatnonzero((scale > SCALING[0]) & (scale < SCALING[1]))
            reference = int(near[rng.randint(len(near))]) if len(near) else int(np.abs(np.log(scale)).argmin())
        chosen = self.references[reference]
        contrast = chosen.contrast * float(np.exp(rng.normal(0, 0.1)))
        warp = draw_warp(rng, len(self.crop_size), scale=diameter / chosen.diameter_mm)
        texture, mask = apply_warp([chosen.image, chosen.mask.astype(np.float32)], warp)
        mask = mask >= 0.5
        if shape == "blob" or (shape == "mixed" and rng.random_sample() < 0.5):
            mask = procedural_blob(rng, diameter, self.spacing_mm, self.crop_size)
        parts = components(mask)
        return reference, parts[0] if parts else mask, texture, contrast

    def _placed(
        self, number: int, mask: np.ndarray, texture: np.ndarray, contrast: float, center: np.ndarray,
        ratio: np.ndarray, organ: np.ndarray, free: np.ndarray,
    ) -> Lesion | None:  # fmt: skip
        """The lesion at this centre if it fits there, clipped to the organ."""
        size = tuple(int(round(s * r)) for s, r in zip(self.crop_size, ratio, strict=True))
        box = box_around(np.round(center).astype(int), size)
        room = _sampled(extract(organ, box, False), self.crop_size)
        clear = _sampled(extract(free, box, False), self.crop_size)
        voxels = mask.sum()
        if (mask & room).sum() < INSIDE * voxels or (mask & room & ~clear).any():
            return None
        parts = components(mask & room)
        if not parts:
            return None
        chosen = self.references[number]
        return Lesion(
            mask=parts[0], texture=texture, box=box, reference=number, patient=chosen.patient,
            diameter_mm=equivalent_diameter_mm(parts[0], self.spacing_mm), contrast=contrast,
            reference_contrast=chosen.contrast, surroundings=chosen.surroundings,
        )  # fmt: skip


def _reference(
    example: LesionExample, part: np.ndarray, crop_size: tuple[int, ...], min_diameter_mm: float
) -> ReferenceLesion | str:
    """The reference made of one component, or why it is none."""
    diameter_mm = equivalent_diameter_mm(part, example.spacing_mm)
    if diameter_mm < min_diameter_mm:
        return f"smaller than {min_diameter_mm:g} mm"
    corner, extent = _bounding_box(part)
    if any(e + 2 * MARGIN_VOXELS > s for e, s in zip(extent, crop_size, strict=True)):
        return "larger than the crop"
    box = box_around(corner + extent // 2, crop_size)
    image, mask = extract(example.image, box, -1.0), extract(part, box, False)
    around = _dilated(mask, 4) & ~_dilated(extract(example.label, box, False), 1) & (image > -0.98)
    if not around.any():
        return "no tissue around it"
    organ_corner, organ_extent = _bounding_box(example.organ if example.organ.any() else part)
    surroundings = float(np.median(image[around]))
    location = (corner + extent / 2 - organ_corner) / np.maximum(organ_extent, 1)
    return ReferenceLesion(
        image=image.astype(np.float32), mask=mask, patient=example.patient, case=example.case, level=example.level,
        diameter_mm=diameter_mm, contrast=float(image[mask].mean()) - surroundings, surroundings=surroundings,
        location=tuple(float(x) for x in location),
    )  # fmt: skip


def _bounding_box(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first voxel, extent) of a mask that is not empty."""
    spans = [
        np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis))) for axis in range(mask.ndim)
    ]
    low, high = np.array([s[0] for s in spans]), np.array([s[-1] for s in spans])
    return low, high - low + 1


def _dilated(mask: np.ndarray, iterations: int = 2) -> np.ndarray:
    return ndimage.binary_dilation(mask, iterations=iterations) if mask.any() else mask.astype(bool)


def _sampled(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A mask crop at another size, nearest voxel."""
    if mask.shape == tuple(size):
        return mask
    picks = [
        np.minimum((np.arange(n) + 0.5) * have / n, have - 1).astype(int)
        for n, have in zip(size, mask.shape, strict=True)
    ]
    return mask[np.ix_(*picks)]
