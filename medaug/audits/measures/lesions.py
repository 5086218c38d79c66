"""Sets of lesions that the audits of distributions compare: measured alike, each with the patient it belongs to.

Crops are float32 in [-1, 1] with their masks, all of one size (*S), S = (X, Y) or (X, Y, Z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medaug.audits.measures.cases import Insertion, LesionView
from medaug.audits.measures.contrast import lesion_statistics
from medaug.audits.measures.features import FEATURE_NAMES, lesion_features
from medaug.errors import DataError
from medaug.lesions.geometry import relative_location
from medaug.lesions.prior import AIR, LesionPrior

OWN = tuple(name for name in FEATURE_NAMES if name.startswith(("inside", "edge", "contrast")))
"""Features of the lesion itself: not of the tissue around it, which belongs to the patient it was put into."""
_COLUMNS = np.array([FEATURE_NAMES.index(name) for name in OWN])
_BRIGHTNESS = np.array([i for i, name in enumerate(OWN) if name.startswith(("inside quantile", "inside mean"))])
_SURROUNDINGS = FEATURE_NAMES.index("ring quantile 50")


@dataclass(frozen=True)
class Lesions:
    """Lesions of one kind.

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
    def of(cls, views: Sequence[LesionView], crop_size: Sequence[int], *, pasted: bool = False) -> Lesions:
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
    def of_prior(cls, prior: LesionPrior) -> Lesions:
        """The training lesions that weights hold, as neighbours."""
        references = prior.references
        return cls(
            images=np.stack([r.image for r in references]),
            masks=np.stack([r.mask for r in references]),
            patients=np.array([r.patient for r in references]),
            sources=(None,) * len(references),
        )

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
