"""Grow a tumor in a single image (array transform): the scan at several dates, with one lesion that gets larger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np
from monai.config.type_definitions import NdarrayOrTensor, NdarrayTensor
from monai.transforms.utils_pytorch_numpy_unification import concatenate

from medaug.lesions.geometry import equivalent_diameter_mm, volume_ml
from medaug.lesions.growth import GrowthPlan, MassEffect, displacement, draw_growing
from medaug.models.weights import Weights
from medaug.transforms.array import ORGAN_MARGIN_MM
from medaug.transforms.base import Seeded, TumorTransform, Windows
from medaug.transforms.containers import Bounds
from medaug.transforms.engine import paint
from medaug.transforms.planning import Facts, Plan, Style, drawn_style
from medaug.transforms.styles import check_style
from medaug.transforms.tumor_labels import TumorLabels, with_tumor


@dataclass(frozen=True)
class GrownStep(Generic[NdarrayTensor]):
    """One date: image (C, *S), label (1, *S), the size of what is marked, and what was drawn, as manifests keep it."""

    image: NdarrayTensor
    label: NdarrayOrTensor
    size: dict[str, float]
    lesion: Facts


class GrowTumor(Seeded, TumorTransform):
    """Draws a lesion and shows it at growing sizes: one shape, place, reference texture, noise and style.

    Image and label get one channel a step, (steps, *S). Those of several channels get all of them step by step, in the
    shape (steps · C, *S): channel c of step k is number k · C + c, and `reshape(steps, C, *S)` parts them. Every step
    is made from the image that came in, never from the step before. After a call, `series` has a dict a step (`days`,
    `diameter_mm`, and `volume_ml` or, of a 2-D image, `area_mm2`: of the voxels that are marked) and `lesion` says what
    was drawn, as a manifest keeps it; of threads that share the transform they are the last call's, and `each_step`
    returns them. An image that shows background alone stays as it is at every step, with size 0, and is counted.

    Args:
        weights: a weights folder, or loaded `Weights`.
        steps: how many sizes.
        start_mm: diameter at the first step, of the sphere of equal volume (of a 2-D image: of the circle).
        doubling_days: in which the volume doubles.
        interval_days: between two steps.
        mass_effect: 0 (the lesion replaces tissue) to 1 (it pushes nearly all of it away).
        reach_mm: how far from its surface the lesion pushes.
        organ_margin_mm: where no organ mask is given, the found one is shrunk by this.
        window, style, tumor_labels: as in `InsertTumor`; one style serves all steps.

    Example:
        >>> grow = GrowTumor("out/quickstart/train/weights", steps=4, start_mm=8)   # doctest: +SKIP
        >>> images, labels = grow.set_random_state(seed=3)(image)                   # doctest: +SKIP
    """

    def __init__(
        self,
        weights: str | Path | Weights,
        steps: int = 6,
        start_mm: float = 4.0,
        doubling_days: float = 60.0,
        interval_days: float = 30.0,
        mass_effect: float = 0.0,
        reach_mm: float = 20.0,
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        window: Bounds | None = None,
        style: Style | None = None,
        tumor_labels: TumorLabels | None = None,
    ):
        Seeded.__init__(self)
        TumorTransform.__init__(self, weights, window, tumor_labels)
        self.plan = GrowthPlan(steps, start_mm, doubling_days, interval_days)
        self.effect = MassEffect(mass_effect, reach_mm)
        self.organ_margin_mm, self.style = organ_margin_mm, check_style(style, self.weights)
        self.series: list[dict[str, float]] = []
        self.lesion: Facts = {}

    def __call__(
        self,
        img: NdarrayOrTensor,
        label: NdarrayOrTensor | None = None,
        organ: NdarrayOrTensor | None = None,
        randomize: bool = True,
        window: Windows | None = None,
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor]:
        """(images, labels), (steps · C, *S) and as many labels, of the input's type; inputs are not changed.

        Args:
            label: existing tumors, which the new one keeps clear of; None starts an empty label.
            organ: where the tumor may lie, and beyond which nothing moves; None finds the head or body.
            window: of this very image, where it is known.

        Raises:
            DataError: if the series does not fit (naming the largest size that does), or its voxels are too large.
        """
        if randomize:
            self.randomize()
        made = list(self.each_step(img, label, organ, window))
        self.series, self.lesion = [step.size for step in made], made[0].lesion
        return concatenate([step.image for step in made]), concatenate([step.label for step in made])

    def each_step(
        self,
        img: NdarrayTensor,
        label: NdarrayOrTensor | None = None,
        organ: NdarrayOrTensor | None = None,
        window: Windows | None = None,
    ) -> Iterator[GrownStep[NdarrayTensor]]:
        """The series drawn last, one step after the other: a large scan needs no room for all."""
        seen, rng = self._seen(img), np.random.RandomState(self._seed)
        array, spacing_mm = seen.array, seen.spacing_mm
        truth, limits = seen.classes(label), self._limits(seen, window)
        windows = self._windows_if_any(seen, self.domain, window)
        if windows is None:
            nothing = np.zeros(array.shape[1:], dtype=bool)
            for day in self.plan.days:
                yield GrownStep(seen.image(array), seen.label(truth, label), _measured(day, nothing, spacing_mm), {})
            return
        before, values = self.tumors_in(label, seen)
        occupied, allowed = before > 0, self._allowed(organ, seen, windows, self.organ_margin_mm)
        diameters_mm = self.plan.diameters_mm
        prior = self.weights.lesion_prior
        drawn = draw_growing(prior, diameters_mm[-1], allowed, occupied, rng, spacing_mm=spacing_mm)
        noise_seed = int(rng.randint(2**31))
        style = self.style or drawn_style(self.weights, rng)
        masks = drawn.growth.masks(diameters_mm, array.shape[1:], prior.length_unit)
        lesion = drawn.lesion.provenance() | ({"style": list(style)} if style else {})
        for day, mask, diameter_mm in zip(self.plan.days, masks, diameters_mm, strict=True):
            moved = displacement(drawn.growth, drawn.growth.scale_of(diameter_mm), allowed, self.effect)
            planned = Plan(drawn.at(mask, diameter_mm), noise_seed, style, mask)
            pushed = np.stack([moved.image(channel) for channel in array])
            edit = paint(pushed, planned, windows, self.weights, limits)
            marked = seen.label(with_tumor(moved.label(truth), edit.parts, values), label)
            yield GrownStep(seen.image(edit.image), marked, _measured(day, mask, spacing_mm), lesion)


def _measured(day: float, mask: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    size = (
        {"volume_ml": volume_ml(mask, spacing_mm)}
        if mask.ndim == 3
        else {"area_mm2": float(np.count_nonzero(mask) * np.prod(spacing_mm[:2]))}
    )
    return {"days": day, "diameter_mm": equivalent_diameter_mm(mask, spacing_mm), **size}
