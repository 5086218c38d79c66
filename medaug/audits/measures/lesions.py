"""Lesions measured alike, one by one and as sets: what the audits of sets compare, each with the patient it belongs to.

Comparing sizes, edges and textures of real and synthetic lesions shows *how* synthetic ones differ, where the probe
only shows *that* they do. Images are float32 in [-1, 1], (C, *S), one channel a sequence; lesions are part numbers
(*S), 0 outside; S is (X, Y) or (X, Y, Z), distances are in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medaug.audits.measures.features import FEATURE_NAMES, checked_lesion, feature_table
from medaug.errors import DataError
from medaug.lesions.geometry import CropBox, box_around, equivalent_diameter_mm, extract, grow, relative_location, ring
from medaug.lesions.prior import AIR

OWN = tuple(name for name in FEATURE_NAMES if name.startswith(("inside", "edge", "contrast")))
"""Features of the lesion itself: not of the tissue around it, which belongs to the patient it was put into."""
RING_MM = (2.0, 8.0)
"""From where to where a lesion's surroundings reach: past the partial-volume edge, before other tissue."""
_COLUMNS = np.array([FEATURE_NAMES.index(name) for name in OWN])
_BRIGHTNESS = np.array([i for i, name in enumerate(OWN) if name.startswith(("inside quantile", "inside mean"))])
_SURROUNDINGS = FEATURE_NAMES.index("ring quantile 50")


@dataclass(frozen=True)
class LesionView:
    """One lesion in one view (a slice or a volume).

    Attributes:
        name, patient: of the view.
        image: (C, *S) the view, normalised.
        parts: (*S) uint8, the lesion.
        organ: (*S) bool, where tissue is.
        spacing_mm: by axis.
    """

    name: str
    patient: str
    image: np.ndarray
    parts: np.ndarray
    organ: np.ndarray
    spacing_mm: tuple[float, ...]

    @property
    def mask(self) -> np.ndarray:
        """The whole lesion (bool, *S)."""
        return self.parts > 0

    def crop(self, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(image (C, *size), mask (*size)) around the lesion; air (-1) where that leaves the view."""
        return self.around(self.image, size), self.around(self.parts, size) > 0

    def around(self, array: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """What an array (C, *S), or one of part numbers (*S), has around the lesion's centre; air or 0 beyond it."""
        box = box_around(np.argwhere(self.mask).mean(axis=0).round().astype(int), size)
        if array.ndim == self.parts.ndim:
            return extract(array, box, 0)
        return np.stack([extract(channel, box, -1.0) for channel in array])


@dataclass(frozen=True)
class Insertion(LesionView):
    """An edit of a held-out view: `image` is the view after it, `parts` what is newly labelled.

    Attributes:
        before: (C, *S) the view as it was, normalised.
        label: (*S) bool, all real tumors of the view.
        changed: (C, *S) bool, voxels whose value in the scan's own unit is not the same, bit for bit.
        reference_patient: whose lesion was the reference; None without one.
        seed: of the transform.
        corner: the first voxel of the crop that the generator saw, which may lie outside the view; where it is None,
            crops lie around the lesion's centre.
    """

    before: np.ndarray
    label: np.ndarray
    changed: np.ndarray
    reference_patient: str | None
    seed: int
    corner: tuple[int, ...] | None = None

    def as_seen(self, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(image, untouched image (C, *size), mask (*size)) in the places of the crop that the generator saw."""
        if self.corner is None:
            image, mask = self.crop(size)
            return image, self.crop_before(size), mask
        box = CropBox(self.corner, tuple(size))
        image, before = (np.stack([extract(c, box, -1.0) for c in whole]) for whole in (self.image, self.before))
        return image, before, extract(self.parts, box, 0) > 0

    def crop_before(self, size: Sequence[int]) -> np.ndarray:
        """The untouched image of the crop that `crop` takes."""
        return self.around(self.before, size)


def lesion_statistics(
    image: np.ndarray, mask: np.ndarray, spacing_mm: Sequence[float], organ: np.ndarray | None = None
) -> dict[str, float]:
    """Contrast, edge, texture and size of the lesion in `mask`.

    Args:
        image: normalized, (X, Y) or (X, Y, Z).
        mask: the lesion, same shape.
        spacing_mm: voxel size along each array axis.
        organ: where the surroundings may lie (keeps air and bone out of the ring); None = anywhere.

    Returns:
        contrast: mean inside minus mean of the ring 2 to 8 mm around it;
        std_inside: of the intensities inside;
        edge_gradient_per_mm: mean gradient magnitude over the mask's surface voxels and their neighbours;
        texture_gradient_per_mm: mean gradient magnitude inside, away from the edge (the whole mask if it is all edge);
        diameter_mm: of the disc or ball of the same area or volume.

    Raises:
        DataError: if shapes differ, the image is not finite, the mask is empty, or no surroundings are left.
    """
    image, mask = checked_lesion(image, mask)
    if organ is not None and np.shape(organ) != image.shape:
        raise DataError(
            f"organ: found shape {np.shape(organ)}; expected the image's {image.shape}. Use one grid for both."
        )
    if len(spacing_mm) != image.ndim:
        raise DataError(f"spacing_mm: found {tuple(spacing_mm)}; expected {image.ndim} values, one per array axis.")
    spacing = tuple(float(s) for s in spacing_mm)
    around = ring(mask, inner_mm=RING_MM[0], outer_mm=RING_MM[1], spacing_mm=spacing)
    around = around if organ is None else around & np.asarray(organ).astype(bool)
    if not around.any():
        raise DataError(
            f"mask: found no voxel between {RING_MM[0]:g} and {RING_MM[1]:g} mm around it"
            f"{'' if organ is None else ' inside the organ'}; expected some surroundings to compare with. "
            "Crop with a wider margin, or pass organ=None."
        )
    axes = [axis for axis, n in enumerate(image.shape) if n > 1]  # an axis of one voxel counts as flat
    slope = np.sqrt(sum(np.gradient(image, spacing[axis], axis=axis) ** 2 for axis in axes))
    step = min(spacing)
    edge = (grow(mask, step, spacing) & ~mask) | (mask & grow(~mask, step, spacing))
    core = mask & ~edge if (mask & ~edge).any() else mask
    return {
        "contrast": float(image[mask].mean() - image[around].mean()),
        "std_inside": float(image[mask].std()),
        "edge_gradient_per_mm": float(slope[edge].mean()),
        "texture_gradient_per_mm": float(slope[core].mean()),
        "diameter_mm": equivalent_diameter_mm(mask, spacing),
    }


def measured_by_sequence(view: LesionView) -> list[dict[str, float]]:
    """The `lesion_statistics` of every channel; what is air in all of them is no tissue around the lesion."""
    tissue = np.any(view.image > AIR, axis=0)
    return [lesion_statistics(channel, view.mask, view.spacing_mm, organ=tissue) for channel in view.image]


@dataclass(frozen=True)
class LesionSet:
    """Lesions of one kind, as crops of one size (*S) and measured.

    Attributes:
        images: (N, C, *S).
        parts: (N, *S) uint8.
        patients: whose scan each lies in.
        sources: the patient whose training lesion each was drawn after; None where there is none, as for real lesions.
        pasted: whether a synthetic lesion is its source's own tissue, warped and worked over (reference content).
        diameters_mm, contrasts, locations: (N,), (N, C) in window units, (N, D) relative to the organ's box; None for
            lesions that only serve as neighbours.
        n_parts: how many parts a tumor has.
    """

    images: np.ndarray
    parts: np.ndarray
    patients: np.ndarray
    sources: tuple[str | None, ...]
    diameters_mm: np.ndarray | None = None
    contrasts: np.ndarray | None = None
    locations: np.ndarray | None = None
    pasted: bool = False
    n_parts: int = 1

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.parts), len(self.patients), len(self.sources)}
        if len(counts) > 1 or (self.images.shape[0], *self.images.shape[2:]) != self.parts.shape:
            raise DataError(
                f"lesions: found {self.images.shape} images, {self.parts.shape} parts, {len(self.patients)} patients "
                f"and {len(self.sources)} sources; expected one map of parts, patient and source an image (C, *S)."
            )

    @classmethod
    def of(
        cls, views: Sequence[LesionView], crop_size: Sequence[int], *, pasted: bool = False, n_parts: int = 1
    ) -> LesionSet:
        """Cut out and measured; sizes, contrasts and places come from the whole view.

        Raises:
            DataError: if one has no tissue around it.
        """
        measured = [measured_by_sequence(view) for view in views]
        images = np.array([view.around(view.image, crop_size) for view in views], dtype=np.float32)
        parts = np.array([view.around(view.parts, crop_size) for view in views], dtype=np.uint8)
        return cls(
            images=images if len(views) else np.zeros((0, 1, *crop_size), dtype=np.float32),
            parts=parts.reshape(-1, *crop_size),
            patients=np.array([view.patient for view in views], dtype=str),
            sources=tuple(view.reference_patient if isinstance(view, Insertion) else None for view in views),
            diameters_mm=np.array([found[0]["diameter_mm"] for found in measured]),
            contrasts=np.array([[channel["contrast"] for channel in found] for found in measured]),
            locations=np.array([relative_location(v.mask, v.organ) for v in views]).reshape(-1, len(crop_size)),
            pasted=pasted,
            n_parts=n_parts,
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def masks(self) -> np.ndarray:
        """(N, *S) bool, the whole lesions."""
        return self.parts > 0

    @property
    def shares(self) -> np.ndarray:
        """(N, P) the share of a lesion's volume that each part has."""
        voxels = [
            (self.parts == part).sum(axis=tuple(range(1, self.parts.ndim))) for part in range(1, self.n_parts + 1)
        ]
        return np.stack(voxels, axis=-1) / self.masks.sum(axis=tuple(range(1, self.parts.ndim)))[:, None]

    @cached_property
    def origins(self) -> np.ndarray:
        """(N,) the patient who made the lesion what it is: its source, or who it lies in where it has none."""
        return np.array([source or patient for source, patient in zip(self.sources, self.patients, strict=True)])

    @cached_property
    def features(self) -> np.ndarray:
        """(N, C · len(OWN)): brightness counts from that of the surroundings, which is the patient's."""
        table = feature_table(zip(self.images, self.masks, strict=True))
        own = table[..., _COLUMNS]
        own[..., _BRIGHTNESS] -= table[..., [_SURROUNDINGS]]
        return own.reshape(len(own), -1)

    def counts(self, name: str) -> dict[str, int]:
        """How many, as a finding's `n`."""
        return {f"{name} lesions": len(self), f"{name} patients": len(np.unique(self.patients))}


def standardised(features: np.ndarray, real: np.ndarray) -> np.ndarray:
    """z-scores by the mean and standard deviation of `real`; features that are constant there are left out."""
    spread = real.std(axis=0)
    varies = spread > 1e-9 * np.maximum(1.0, np.abs(real).max(axis=0, initial=0.0))
    return (features[:, varies] - real.mean(axis=0)[varies]) / spread[varies]
