"""What lesions look like and where they sit, learnt from the training fold and from nothing else.

Every connected lesion that fits the crop becomes a reference: its crop, mask, size in mm, place relative to the organ,
and contrast. How a lesion is drawn from them is in `sampling`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.crops import box_around, extract
from medaug.lesions.geometry import bounding_box, components, equivalent_diameter_mm, relative_location
from medaug.lesions.sampling import MARGIN_VOXELS, Lesion, Shape, draw_lesion
from medaug.volumes import SPACING_TOLERANCE

RING_VOXELS = (1, 4)
"""The surroundings: so far from any lesion, and so near to this one."""
AIR = -0.98


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


@dataclass
class LesionPrior:
    """The references of the training fold, and how to draw from them.

    Attributes:
        left_out: how many lesions were not taken, by reason.
        length_unit: of voxel sizes and diameters, "px" of pictures that store no voxel size.
    """

    references: list[ReferenceLesion]
    crop_size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    length_unit: str = "mm"

    @classmethod
    def fit(
        cls,
        examples: Iterable[LesionExample],
        crop_size: Sequence[int],
        spacing_mm: Sequence[float],
        *,
        min_diameter_mm: float = 5.0,
        length_unit: str = "mm",
    ) -> LesionPrior:
        """Takes every connected lesion of at least `min_diameter_mm` that fits the crop.

        Raises:
            DataError: if no lesion is left, with the reasons, or a view has another voxel size than `spacing_mm`.
        """
        references: list[ReferenceLesion] = []
        left_out: Counter[str] = Counter()
        for example in examples:
            _check_spacing(example, spacing_mm)
            for part in components(example.label):
                reference = _reference(example, part, tuple(crop_size), min_diameter_mm, length_unit)
                if isinstance(reference, str):
                    left_out[reference] += 1
                else:
                    references.append(reference)
        if not references:
            raise DataError(
                f"no usable lesion in the training fold ({dict(left_out) or 'no lesion at all'}); enlarge crop.size, "
                "lower crop.min_diameter_mm, or check the labels"
            )
        return cls(references, tuple(crop_size), tuple(spacing_mm), dict(left_out), length_unit)

    def sample(
        self,
        organ: np.ndarray,
        occupied: np.ndarray,
        rng: np.random.RandomState,
        *,
        spacing_mm: Sequence[float] | None = None,
        size_mm: tuple[float, float] | None = None,
        shape: Shape = "bank",
        reference: int | None = None,
        max_tries: int = 20,
    ) -> Lesion | None:
        """Draws a lesion that lies in `organ` and keeps clear of `occupied`; None where there is no room.

        Args:
            organ, occupied: (*S) bool on the target's grid.
            spacing_mm: the target's voxel size; None: the prior's.
            size_mm: least and most diameter; None draws from the training fold's sizes.
            shape: "bank" (training masks, bent), "blob" (procedural) or "mixed".
            reference: the number of the training lesion to use; None draws one of like size.
            max_tries: how many shapes are tried, each in several places.

        Raises:
            ConfigError: if `size_mm` is not a least and a most diameter.
            DataError: if `size_mm` goes beyond what fits the crop (naming the largest), or there is no such reference.
        """
        spacing_mm = self.spacing_mm if spacing_mm is None else tuple(spacing_mm)
        return draw_lesion(
            self,
            organ,
            occupied,
            rng,
            spacing_mm=spacing_mm,
            size_mm=size_mm,
            shape=shape,
            reference=reference,
            max_tries=max_tries,
        )

    @cached_property
    def diameters_mm(self) -> np.ndarray:
        """Of the references, in order."""
        return np.array([r.diameter_mm for r in self.references])

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
            "crop_size": list(self.crop_size),
            "spacing_mm": list(self.spacing_mm),
            "left_out": dict(self.left_out),
            "length_unit": self.length_unit,
            "references": [{key: getattr(r, key) for key in keys} for r in self.references],
        }

    @classmethod
    def from_parts(cls, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> LesionPrior:
        """The inverse of `tensors` and `metadata`.

        Raises:
            ValueError: if they do not belong together, or hold NaN.
        """
        spacing_mm, crop_size = tuple(map(float, metadata["spacing_mm"])), tuple(map(int, metadata["crop_size"]))
        if not 2 <= len(spacing_mm) == len(crop_size) <= 3 or not all(1e-6 <= step <= 1e4 for step in spacing_mm):
            raise ValueError(f"a prior's spacing_mm {metadata['spacing_mm']} for crops of {metadata['crop_size']}")
        for row in metadata["references"]:
            numbers = np.array(
                [row["diameter_mm"], row["contrast"], row["surroundings"], *row["location"]], dtype=float
            )
            if not (np.isfinite(numbers).all() and row["diameter_mm"] > 0 and np.abs(numbers).max() < 1e6):
                raise ValueError(f"a reference lesion with the numbers {numbers.tolist()}")
        shape = (len(metadata["references"]), *metadata["crop_size"])
        for name in ("images", "masks"):
            found = tensors[name]
            if tuple(found.shape) != shape or not shape[0] or not found.isfinite().all():
                raise ValueError(f"{name} of shape {tuple(found.shape)}; expected {shape}, finite")
        references = [
            ReferenceLesion(image=image.numpy(), mask=mask.numpy() > 0, **{**row, "location": tuple(row["location"])})
            for image, mask, row in zip(tensors["images"], tensors["masks"], metadata["references"], strict=True)
        ]
        return cls(
            references, crop_size, spacing_mm, dict(metadata["left_out"]), str(metadata.get("length_unit", "mm"))
        )


def _reference(
    example: LesionExample, part: np.ndarray, crop_size: tuple[int, ...], min_diameter_mm: float, length_unit: str
) -> ReferenceLesion | str:
    """The reference made of one component, or why it is none."""
    diameter_mm = equivalent_diameter_mm(part, example.spacing_mm)
    if diameter_mm < min_diameter_mm:
        return f"smaller than {min_diameter_mm:g} {length_unit}"
    corner, extent = bounding_box(part)
    if any(e + 2 * MARGIN_VOXELS > s for e, s in zip(extent, crop_size, strict=True)):
        return "larger than the crop"
    box = box_around(corner + extent // 2, crop_size)
    image, mask = extract(np.asarray(example.image, dtype=np.float32), box, -1.0), extract(part, box, False)
    others = _dilated(extract(example.label.astype(bool), box, False), RING_VOXELS[0])
    around = _dilated(mask, RING_VOXELS[1]) & ~others & (image > AIR)
    if not around.any():
        return "no tissue around it"
    surroundings = float(np.median(image[around]))
    level = None if example.level is None else int(example.level)
    return ReferenceLesion(
        image=image,
        mask=mask,
        patient=example.patient,
        case=example.case,
        level=level,
        diameter_mm=diameter_mm,
        contrast=float(image[mask].mean()) - surroundings,
        surroundings=surroundings,
        location=relative_location(part, example.organ),
    )


def _dilated(mask: np.ndarray, voxels: int) -> np.ndarray:
    return ndimage.binary_dilation(mask, iterations=voxels)


def _check_spacing(example: LesionExample, spacing_mm: Sequence[float]) -> None:
    own, wanted = (np.array(s, dtype=float) for s in (example.spacing_mm, spacing_mm))
    if own.shape != wanted.shape or np.abs(own / wanted - 1).max() > SPACING_TOLERANCE:
        raise DataError.about(
            example.case,
            f"a voxel size of {_mm(own)}",
            f"about {_mm(wanted)}, as the prior's",
            "Resample the scans to one voxel size.",
        )


def _mm(spacing: np.ndarray) -> str:
    return " × ".join(f"{s:.3g}" for s in spacing) + " mm"
