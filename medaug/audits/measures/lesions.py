"""Lesions measured alike, one by one and as sets: what the audits of sets compare, each with the patient it belongs to.

Comparing sizes, edges and textures of real and synthetic lesions shows *how* synthetic ones differ, where the probe
only shows *that* they do. Images are float32 in [-1, 1], (X, Y) or (X, Y, Z), masks bool; distances in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medaug.audits.measures.cases import Insertion, LesionView
from medaug.audits.measures.features import FEATURE_NAMES, lesion_features
from medaug.errors import DataError
from medaug.lesions.geometry import equivalent_diameter_mm, grow, relative_location, ring
from medaug.lesions.prior import AIR, LesionPrior

OWN = tuple(name for name in FEATURE_NAMES if name.startswith(("inside", "edge", "contrast")))
"""Features of the lesion itself: not of the tissue around it, which belongs to the patient it was put into."""
RING_MM = (2.0, 8.0)
"""From where to where a lesion's surroundings reach: past the partial-volume edge, before other tissue."""
_COLUMNS = np.array([FEATURE_NAMES.index(name) for name in OWN])
_BRIGHTNESS = np.array([i for i, name in enumerate(OWN) if name.startswith(("inside quantile", "inside mean"))])
_SURROUNDINGS = FEATURE_NAMES.index("ring quantile 50")


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
    mask, organ, spacing = _checked(image, mask, organ, spacing_mm)
    image = np.asarray(image, dtype=np.float64)
    around = ring(mask, inner_mm=RING_MM[0], outer_mm=RING_MM[1], spacing_mm=spacing) & (
        True if organ is None else organ
    )
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


@dataclass(frozen=True)
class LesionSet:
    """Lesions of one kind, as crops of one size (*S) and measured.

    Attributes:
        images, masks: (N, *S).
        patients: whose scan each lies in.
        sources: the patient whose training lesion each was drawn after; None where there is none, as for real lesions.
        pasted: whether a synthetic lesion is its source's own tissue, warped and worked over (reference content).
        diameters_mm, contrasts, locations: (N,), (N,) in window units, (N, D) relative to the organ's box; None for
            lesions that only serve as neighbours.
    """

    images: np.ndarray
    masks: np.ndarray
    patients: np.ndarray
    sources: tuple[str | None, ...]
    diameters_mm: np.ndarray | None = None
    contrasts: np.ndarray | None = None
    locations: np.ndarray | None = None
    pasted: bool = False

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.masks), len(self.patients), len(self.sources)}
        if len(counts) > 1 or np.shape(self.images) != np.shape(self.masks):
            raise DataError(
                f"lesions: found {np.shape(self.images)} images, {np.shape(self.masks)} masks, {len(self.patients)} "
                f"patients and {len(self.sources)} sources; expected one mask, patient and source an image."
            )

    @classmethod
    def of(cls, views: Sequence[LesionView], crop_size: Sequence[int], *, pasted: bool = False) -> LesionSet:
        """Cut out and measured; sizes, contrasts and places come from the whole view.

        Raises:
            DataError: if one has no tissue around it.
        """
        crops = [view.crop(crop_size) for view in views]
        measured = [lesion_statistics(v.image, v.mask, v.spacing_mm, organ=v.image > AIR) for v in views]
        return cls(
            images=np.array([image for image, _ in crops], dtype=np.float32).reshape(-1, *crop_size),
            masks=np.array([mask for _, mask in crops], dtype=bool).reshape(-1, *crop_size),
            patients=np.array([view.patient for view in views], dtype=str),
            sources=tuple(view.reference_patient if isinstance(view, Insertion) else None for view in views),
            diameters_mm=np.array([found["diameter_mm"] for found in measured]),
            contrasts=np.array([found["contrast"] for found in measured]),
            locations=np.array([relative_location(v.mask, v.organ) for v in views]).reshape(-1, len(crop_size)),
            pasted=pasted,
        )

    @classmethod
    def of_prior(cls, prior: LesionPrior) -> LesionSet:
        """The training lesions that weights hold, as neighbours."""
        references = prior.references
        images, masks = (np.stack([getattr(r, part) for r in references]) for part in ("image", "mask"))
        return cls(images, masks, np.array([r.patient for r in references]), (None,) * len(references))

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def origins(self) -> np.ndarray:
        """(N,) the patient who made the lesion what it is: its source, or who it lies in where it has none."""
        return np.array([source or patient for source, patient in zip(self.sources, self.patients, strict=True)])

    @cached_property
    def features(self) -> np.ndarray:
        """(N, len(OWN)): brightness counts from that of the surroundings, which is the patient's."""
        table = np.array([lesion_features(*pair) for pair in zip(self.images, self.masks, strict=True)])
        own = table[:, _COLUMNS]
        own[:, _BRIGHTNESS] -= table[:, [_SURROUNDINGS]]
        return own

    def counts(self, name: str) -> dict[str, int]:
        """How many, as a finding's `n`."""
        return {f"{name} lesions": len(self), f"{name} patients": len(np.unique(self.patients))}


def standardised(features: np.ndarray, real: np.ndarray) -> np.ndarray:
    """z-scores by the mean and standard deviation of `real`; features that are constant there are left out."""
    spread = real.std(axis=0)
    varies = spread > 1e-9 * np.maximum(1.0, np.abs(real).max(axis=0, initial=0.0))
    return (features[:, varies] - real.mean(axis=0)[varies]) / spread[varies]


def _checked(
    image: np.ndarray, mask: np.ndarray, organ: np.ndarray | None, spacing_mm: Sequence[float]
) -> tuple[np.ndarray, np.ndarray | None, tuple[float, ...]]:
    shapes = {"mask": np.shape(mask)} | ({} if organ is None else {"organ": np.shape(organ)})
    for name, shape in shapes.items():
        if shape != np.shape(image):
            raise DataError(
                f"{name}: found shape {shape}; expected the image's {np.shape(image)}. Use one grid for both."
            )
    if len(spacing_mm) != np.ndim(image):
        raise DataError(f"spacing_mm: found {tuple(spacing_mm)}; expected {np.ndim(image)} values, one per array axis.")
    if not np.isfinite(image).all():
        raise DataError("image: found NaN or infinite values; expected finite ones in [-1, 1]. Repair the image.")
    if not np.any(mask):
        raise DataError("mask: found no lesion voxel; expected at least one. Leave images without a lesion out.")
    organ = None if organ is None else np.asarray(organ).astype(bool)
    return np.asarray(mask).astype(bool), organ, tuple(float(s) for s in spacing_mm)
