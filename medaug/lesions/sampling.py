"""Drawing one lesion from a prior: a training lesion is bent to the drawn size, then a place is found for it.

The shape costs most, so each is tried in several places before another is drawn. Sizes are in mm; the prior's grid and
the target's may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from medaug.errors import ConfigError, DataError
from medaug.lesions.crops import CropBox
from medaug.lesions.geometry import equivalent_diameter_mm, largest_component, voxels_of_diameter
from medaug.lesions.placing import Target
from medaug.lesions.shapes import clear_of_edge, draw_warp, procedural_blob, sampled, stretched, warp_points

if TYPE_CHECKING:
    from medaug.lesions.prior import LesionPrior

Shape = Literal["bank", "blob", "mixed"]
MARGIN_VOXELS = 3
"""Masks stay this far from their crop's edge."""
SIZE_SPREAD = 0.2
"""Standard deviation of the log-normal kernel around a drawn reference's size."""
CONTRAST_SPREAD = 0.15
"""As `SIZE_SPREAD`, of the contrast: other patients differ by more than a few training patients do."""
SCALING = (0.7, 1.4)
"""References are enlarged by so much, if there are any of about the drawn size."""
VOXELS_TOLERANCE = 0.2
"""How far the bent reference's voxels may be from the drawn size's."""
SIZE_SLACK = 0.13
"""How far a lesion on the target may be from the asked sizes."""
PLACES = (True, True, False, False)
"""Where a shape is tried: about where a training lesion was (relative to the organ), or else anywhere in it."""
PLACE_SPREAD = 0.06
WARPS = 4
"""How often a reference is bent anew where it misses the size or leaves the crop."""


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
            "patient": self.patient,
            "reference": self.reference,
            "diameter_mm": round(self.diameter_mm, 2),
            "contrast": round(self.contrast, 4),
            "start": list(self.box.start),
            "size": list(self.box.size),
        }


def draw_lesion(
    prior: LesionPrior,
    organ: np.ndarray,
    occupied: np.ndarray,
    rng: np.random.RandomState,
    *,
    spacing_mm: Sequence[float],
    size_mm: tuple[float, float] | None,
    shape: Shape,
    reference: int | None,
    max_tries: int,
) -> Lesion | None:
    """See `LesionPrior.sample`."""
    if shape not in get_args(Shape):
        raise ConfigError(f"shape: found {shape!r}; expected bank, blob or mixed")
    _check_size(prior, size_mm)
    check_reference(prior, reference)
    if not organ.any():
        return None
    target = Target.of(organ, occupied, spacing_mm, prior.crop_size, prior.spacing_mm)
    for attempt in range(max_tries):
        late = max(0, attempt - max_tries // 2 + 1)
        drawn = _Drawn.of(prior, rng, size_mm, shape, reference, 0.85**late if size_mm is None else 1.0)
        if drawn is None:
            continue
        region = target.region(drawn.mask)
        if region is None or not _has_size(region, spacing_mm, size_mm):
            continue
        for usual in PLACES:
            center = _usual_place(prior, target, rng) if usual else target.anywhere(rng)
            if center is None:
                return None
            placed = target.place(drawn.mask, region, center)
            if placed is not None:
                return drawn.lesion(prior, *placed)
    return None


def largest_mm(prior: LesionPrior) -> float:
    """The largest diameter that fits the prior's crop."""
    return float(min((n - 2 * MARGIN_VOXELS - 1) * s for n, s in zip(prior.crop_size, prior.spacing_mm, strict=True)))


def check_reference(prior: LesionPrior, reference: int | None) -> None:
    """Refuses the number of a reference that is not there.

    Raises:
        DataError: naming how many there are.
    """
    if reference is not None and not 0 <= reference < len(prior.references):
        raise DataError(f"reference: found {reference}; these weights have 0 to {len(prior.references) - 1}")


@dataclass(frozen=True)
class _Drawn:
    """A shape with its texture at the centre of a crop, not yet placed."""

    reference: int
    mask: np.ndarray
    texture: np.ndarray
    contrast: float

    @classmethod
    def of(
        cls,
        prior: LesionPrior,
        rng: np.random.RandomState,
        size_mm: tuple[float, float] | None,
        shape: Shape,
        reference: int | None,
        shrink: float,
    ) -> _Drawn | None:
        """One draw; None where it does not fit the crop."""
        sizes = prior.diameters_mm
        if size_mm is not None:
            diameter = rng.uniform(*size_mm)
        else:
            usual = sizes[rng.randint(len(sizes)) if reference is None else reference]
            usual *= np.exp(rng.normal(0, SIZE_SPREAD))
            diameter = min(max(usual * shrink, min(usual, sizes.min())), largest_mm(prior))
        if reference is None:
            reference = _of_like_size(sizes, diameter, rng)
        chosen = prior.references[reference]
        contrast = chosen.contrast * float(np.exp(rng.normal(0, CONTRAST_SPREAD)))
        if shape == "bank" or (shape == "mixed" and rng.random_sample() < 0.5):
            warped = _warped(prior, reference, diameter, rng)
            if warped is not None:
                return cls(reference, *warped, contrast)
            if size_mm is None:
                return None
        mask = procedural_blob(rng, diameter, prior.spacing_mm, prior.crop_size, margin=MARGIN_VOXELS)
        return cls(reference, mask, stretched(chosen.image, chosen.mask, mask), contrast)

    def lesion(self, prior: LesionPrior, box: CropBox, mask: np.ndarray) -> Lesion:
        """It, placed there with this much of its mask."""
        chosen = prior.references[self.reference]
        return Lesion(
            mask=mask,
            texture=self.texture,
            box=box,
            reference=self.reference,
            patient=chosen.patient,
            diameter_mm=equivalent_diameter_mm(mask, prior.spacing_mm),
            contrast=self.contrast,
            reference_contrast=chosen.contrast,
            surroundings=chosen.surroundings,
        )


def _has_size(region: np.ndarray, spacing_mm: Sequence[float], size_mm: tuple[float, float] | None) -> bool:
    """Whether a lesion's voxels on the target have the asked size; coarse voxels can only come near it."""
    low, high = (0.0, np.inf) if size_mm is None else size_mm
    return low * (1 - SIZE_SLACK) <= equivalent_diameter_mm(region, spacing_mm) <= high * (1 + SIZE_SLACK)


def _usual_place(prior: LesionPrior, target: Target, rng: np.random.RandomState) -> np.ndarray:
    location = np.asarray(prior.references[rng.randint(len(prior.references))].location)
    return target.at(location + rng.normal(0, PLACE_SPREAD, len(location)))


def _of_like_size(sizes: np.ndarray, diameter: float, rng: np.random.RandomState) -> int:
    scale = diameter / sizes
    near = np.flatnonzero((scale > SCALING[0]) & (scale < SCALING[1]))
    return int(near[rng.randint(len(near))]) if len(near) else int(np.abs(np.log(scale)).argmin())


def _warped(
    prior: LesionPrior, reference: int, diameter: float, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray] | None:
    """(mask, texture) of a reference bent to this diameter; None if it leaves the crop however it is turned."""
    chosen = prior.references[reference]
    wanted = voxels_of_diameter(diameter, prior.spacing_mm)
    warp = None
    for _ in range(WARPS):
        warp = warp or draw_warp(rng, len(prior.crop_size), scale=diameter / chosen.diameter_mm)
        points = warp_points(warp, chosen.mask.shape)
        inside, texture = sampled([chosen.mask, chosen.image], points)
        mask = largest_component(inside >= 0.5)
        voxels = np.count_nonzero(mask)
        if not voxels:
            warp = None
        elif abs(voxels - wanted) > max(1, VOXELS_TOLERANCE * wanted):
            warp = warp.enlarged((wanted / voxels) ** (1 / mask.ndim))
        elif clear_of_edge(mask, MARGIN_VOXELS):
            return mask, texture.clip(-1, 1)
        else:
            warp = None
    return None


def _check_size(prior: LesionPrior, size_mm: tuple[float, float] | None) -> None:
    if size_mm is None:
        return
    (low, high), unit = size_mm, prior.length_unit
    if not 0 < low <= high:
        raise ConfigError(
            f"size_mm: found {low:g} to {high:g}; expected the least, then the most diameter, above 0 {unit}"
        )
    largest = largest_mm(prior)
    if high > largest:
        crop = " × ".join(map(str, prior.crop_size))
        raise DataError(
            f"size_mm: found lesions of up to {high:g} {unit}; the largest that fits the {crop} voxels of a crop is "
            f"{largest:.1f} {unit}. Lower size_mm, or train with a larger crop.size."
        )
