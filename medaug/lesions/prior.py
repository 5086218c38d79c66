"""What lesions look like and where they sit, learnt from the training fold and from nothing else.

Every connected lesion that fits the crop becomes a reference, with all its parts and in all channels of the image: its
crop, part numbers, size in mm, place relative to the organ, and contrast. How a lesion is drawn from them is in
`drawing`, how one is laid into a given mask in `reference`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from medaug.errors import DataError
from medaug.lesions.geometry import (
    CropBox,
    bounding_box,
    box_around,
    components,
    equivalent_diameter_mm,
    extract,
    relative_location,
)
from medaug.seeds import rng_of
from medaug.volumes import SPACING_TOLERANCE

MARGIN_VOXELS = 3
"""Masks stay this far from their crop's edge."""
RING_VOXELS = (1, 4)
"""The surroundings: so far from any lesion, and so near to this one."""
MOST_BYTES = 2**30
"""All references together: they lie in the weights, and in the memory of every process that draws from them."""
AIR = -0.98
"""What is darker, in [-1, 1], is no tissue."""


@dataclass(frozen=True)
class LesionExample:
    """One training view with its lesions: image (C, *S) in [-1, 1], part numbers (*S, 0 none), organ (bool, *S)."""

    image: np.ndarray
    parts: np.ndarray
    organ: np.ndarray
    patient: str
    case: str
    level: int | None
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True)
class ReferenceLesion:
    """One training lesion, centred in a crop.

    Attributes:
        image: (C, *crop_size) in [-1, 1].
        parts: (*crop_size) uint8, which part of the tumor each voxel is, from 1; 0 outside.
        diameter_mm: of the circle or sphere of equal size.
        contrast: by channel, mean inside minus median of the surroundings.
        surroundings: by channel, median brightness of the ring around it.
        location: its centre relative to the organ's bounding box, 0 to 1 an axis.
    """

    image: np.ndarray
    parts: np.ndarray
    patient: str
    case: str
    level: int | None
    diameter_mm: float
    contrast: tuple[float, ...]
    surroundings: tuple[float, ...]
    location: tuple[float, ...]

    @property
    def mask(self) -> np.ndarray:
        """The whole lesion (bool, *crop_size)."""
        return self.parts > 0


@dataclass(frozen=True)
class Lesion:
    """One lesion for a place on a target, ready to be inserted.

    Attributes:
        parts: (*crop_size) uint8, on the prior's grid, part numbers as of `ReferenceLesion`.
        texture: (C, *crop_size), the warped reference, in [-1, 1].
        box: where the crop lies on the target's grid.
        reference, patient: which training lesion it came from, and whose.
        contrast: by channel, drawn; `reference_contrast` is what the texture has of its own.
        surroundings: by channel, brightness of the ring around the reference.
    """

    parts: np.ndarray
    texture: np.ndarray
    box: CropBox
    reference: int
    patient: str
    diameter_mm: float
    contrast: tuple[float, ...]
    reference_contrast: tuple[float, ...]
    surroundings: tuple[float, ...]

    @property
    def mask(self) -> np.ndarray:
        """The whole lesion (bool, *crop_size)."""
        return self.parts > 0

    def provenance(self) -> dict[str, object]:
        """What a manifest keeps of it; the contrast of several channels is a list."""
        contrast = [round(value, 4) for value in self.contrast]
        return {
            "patient": self.patient,
            "reference": self.reference,
            "diameter_mm": round(self.diameter_mm, 2),
            "contrast": contrast if len(contrast) > 1 else contrast[0],
            "start": list(self.box.start),
            "size": list(self.box.size),
        }


@dataclass
class LesionPrior:
    """The references of the training fold.

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
        most: int | None = None,
    ) -> LesionPrior:
        """Takes every connected lesion of at least `min_diameter_mm` that fits the crop.

        Args:
            most: more are not kept but drawn from all, each as likely as any other, the same ones each time; None: as
                many as `MOST_BYTES` hold.

        Raises:
            DataError: if no lesion is left, with the reasons, or a view has another voxel size than `spacing_mm`.
        """
        kept: list[tuple[float, int, ReferenceLesion]] = []  # a heap: what was drawn last goes first
        rng, seen = rng_of(0, 0), 0
        left_out: Counter[str] = Counter()
        wanted = np.array(spacing_mm, dtype=float)
        for example in examples:
            own = np.array(example.spacing_mm, dtype=float)
            if own.shape != wanted.shape or np.abs(own / wanted - 1).max() > SPACING_TOLERANCE:
                has, needs = (" × ".join(f"{step:.3g}" for step in spacing) + " mm" for spacing in (own, wanted))
                raise DataError.about(
                    example.case,
                    f"a voxel size of {has}",
                    f"about {needs}, as the prior's",
                    "Resample the scans to one voxel size.",
                )
            for lesion in components(example.parts > 0):
                reference = _reference(example, lesion, tuple(crop_size), min_diameter_mm, length_unit)
                if isinstance(reference, str):
                    left_out[reference] += 1
                    continue
                limit = most or max(1, MOST_BYTES // (reference.image.nbytes + reference.parts.nbytes))
                heapq.heappush(kept, (-rng.random_sample(), seen, reference))
                seen += 1
                if len(kept) > limit:
                    heapq.heappop(kept)
                    left_out[f"beyond the {limit} that are kept (crop.references)"] += 1
        references = [reference for _, _, reference in sorted(kept, key=itemgetter(1))]
        if not references:
            raise DataError(
                f"no usable lesion in the training fold ({dict(left_out) or 'no lesion at all'}); enlarge crop.size, "
                "lower crop.min_diameter_mm, or check the labels"
            )
        return cls(references, tuple(crop_size), tuple(spacing_mm), dict(left_out), length_unit)

    @cached_property
    def diameters_mm(self) -> np.ndarray:
        """The diameters of the references, in their order."""
        return np.array([r.diameter_mm for r in self.references])

    @property
    def largest_mm(self) -> float:
        """The largest diameter that fits the crop."""
        sides = zip(self.crop_size, self.spacing_mm, strict=True)
        return float(min((n - 2 * MARGIN_VOXELS - 1) * s for n, s in sides))

    def check_reference(self, number: int | None) -> None:
        """Refuses the number of a reference that is not there.

        Raises:
            DataError: naming how many there are.
        """
        if number is not None and not 0 <= number < len(self.references):
            raise DataError(f"reference: found {number}; these weights have 0 to {len(self.references) - 1}")

    def lesion(
        self,
        number: int,
        parts: np.ndarray,
        texture: np.ndarray,
        box: CropBox,
        diameter_mm: float,
        contrast: tuple[float, ...],
    ) -> Lesion:
        """The lesion that is made of a reference, in a box of a target; see `Lesion`."""
        own = self.references[number]
        return Lesion(parts, texture, box, number, own.patient, diameter_mm, contrast, own.contrast, own.surroundings)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The crops, for safetensors."""
        return {
            "images": torch.from_numpy(np.stack([r.image for r in self.references])),
            "masks": torch.from_numpy(np.stack([r.parts for r in self.references])),
        }

    def metadata(self) -> dict[str, object]:
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
    def from_parts(cls, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> LesionPrior:
        """The inverse of `tensors` and `metadata`; in those of medaug 0.1 images had no axis of channels.

        Raises:
            ValueError: if they do not belong together, or hold NaN.
        """
        spacing_mm, crop_size = tuple(map(float, metadata["spacing_mm"])), tuple(map(int, metadata["crop_size"]))
        if not 2 <= len(spacing_mm) == len(crop_size) <= 3 or not all(1e-6 <= step <= 1e4 for step in spacing_mm):
            raise ValueError(f"a prior's spacing_mm {metadata['spacing_mm']} for crops of {metadata['crop_size']}")
        if missing := {"images", "masks"} - set(tensors):
            raise ValueError(f"no tensor prior.{min(missing)}")
        images, masks, rows = tensors["images"], tensors["masks"], metadata["references"]
        images = images[:, None] if images.ndim == len(crop_size) + 1 else images
        channels, shape = images.shape[1:2], (len(rows), *crop_size)
        for name, found, expected in (("images", images, (shape[0], *channels, *crop_size)), ("masks", masks, shape)):
            if tuple(found.shape) != expected or not shape[0] or not found.isfinite().all():
                raise ValueError(f"{name} of shape {tuple(found.shape)}; expected {expected}, finite")
        references = []
        for image, parts, row in zip(images, masks, rows, strict=True):
            by_channel = {key: tuple(np.atleast_1d(row[key]).tolist()) for key in ("contrast", "surroundings")}
            numbers = np.array([row["diameter_mm"], *row["location"], *sum(by_channel.values(), ())], dtype=float)
            if not (np.isfinite(numbers).all() and row["diameter_mm"] > 0 and np.abs(numbers).max() < 1e6):
                raise ValueError(f"a reference lesion with the numbers {numbers.tolist()}")
            if {len(values) for values in by_channel.values()} != {*channels}:
                raise ValueError(f"a reference lesion of {channels[0]} channels with the contrasts {row['contrast']}")
            known = row | by_channel | {"location": tuple(row["location"])}
            references.append(ReferenceLesion(image=image.numpy(), parts=parts.numpy().astype(np.uint8), **known))
        left_out, unit = dict(metadata["left_out"]), str(metadata.get("length_unit", "mm"))
        return cls(references, crop_size, spacing_mm, left_out, unit)


def surroundings_of(mask: np.ndarray, lesions: np.ndarray) -> np.ndarray:
    """The ring around a lesion's mask (bool, *S) that keeps clear of all `lesions`, the mask included."""
    near, far = RING_VOXELS
    if not mask.any():
        return np.zeros(mask.shape, dtype=bool)
    steps = ndimage.distance_transform_cdt(~mask, "taxicab")  # along the axes, as dilations go
    others = steps if lesions is mask else ndimage.distance_transform_cdt(~lesions, "taxicab")
    return (steps <= far) & (others > near)


def _reference(
    example: LesionExample, lesion: np.ndarray, crop_size: tuple[int, ...], min_diameter_mm: float, length_unit: str
) -> ReferenceLesion | str:
    """The reference made of one component (bool, *S), or why it is none."""
    diameter_mm = equivalent_diameter_mm(lesion, example.spacing_mm)
    if diameter_mm < min_diameter_mm:
        return f"smaller than {min_diameter_mm:g} {length_unit}"
    corner, extent = bounding_box(lesion)
    if any(e + 2 * MARGIN_VOXELS > s for e, s in zip(extent, crop_size, strict=True)):
        return "larger than the crop"
    box = box_around(corner + extent // 2, crop_size)
    image = np.stack([extract(np.asarray(channel, dtype=np.float32), box, -1.0) for channel in example.image])
    parts = extract(np.where(lesion, example.parts, 0).astype(np.uint8), box, 0)
    ring = surroundings_of(parts > 0, extract(example.parts > 0, box, False))
    if not (ring & (image > AIR).any(axis=0)).any():
        return "no tissue around it"
    surroundings = tuple(_median_of_tissue(channel, ring) for channel in image)
    return ReferenceLesion(
        image=image,
        parts=parts,
        patient=example.patient,
        case=example.case,
        level=None if example.level is None else int(example.level),
        diameter_mm=diameter_mm,
        contrast=tuple(float(c[parts > 0].mean()) - s for c, s in zip(image, surroundings, strict=True)),
        surroundings=surroundings,
        location=relative_location(lesion, example.organ),
    )


def _median_of_tissue(channel: np.ndarray, ring: np.ndarray) -> float:
    """The brightness of the ring; of a channel that shows no tissue there, of all the ring."""
    tissue = ring & (channel > AIR)
    return float(np.median(channel[tissue if tissue.any() else ring]))
