"""What a viewer shows of one case, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from medaug.volumes import Window


@dataclass(frozen=True)
class Shown:
    """One image of a case.

    Attributes:
        name: what it is, in a word or two: "original", "synthetic CT".
        image: (X, Y) or (X, Y, Z), in the window's unit.
        window: the grey window to show it in.

    Raises:
        ValueError: for another number of axes, or values that are not finite.
    """

    name: str
    image: np.ndarray
    window: Window

    def __post_init__(self) -> None:
        if self.image.ndim not in (2, 3) or 0 in self.image.shape:
            raise ValueError(f"{self.name!r}: a viewer needs (X, Y) or (X, Y, Z); found shape {self.image.shape}")
        if not np.isfinite(self.image).all():
            raise ValueError(f"{self.name!r}: a viewer needs finite intensities; found NaN or infinity")


@dataclass(frozen=True)
class ViewerCase:
    """Two images of one grid, and what is labelled there.

    Attributes:
        title: how the list of cases calls it.
        affine: (4, 4), RAS.
        label: class numbers or bool, or None.
        oriented: whether the affine says how the patient lies. Where it does not (pictures), X runs to the right and Y
            downwards, and no letters are shown.
        comparable: whether after − before means something: both in one unit.
        group: a heading in the list of cases.
        class_names: class number → name; a class without one is called by its number.
        length_unit: of the affine.

    Raises:
        ValueError: if the shapes differ.
    """

    title: str
    before: Shown
    after: Shown
    affine: np.ndarray
    label: np.ndarray | None = None
    oriented: bool = True
    comparable: bool = True
    group: str = ""
    class_names: Mapping[int, str] = field(default_factory=dict)
    length_unit: str = "mm"

    def __post_init__(self) -> None:
        shapes = [shown.image.shape for shown in (self.before, self.after)]
        shapes += [] if self.label is None else [self.label.shape]
        if len(set(shapes)) != 1:
            raise ValueError(f"case {self.title!r}: before, after and label need one shape; found {shapes}")

    @property
    def difference(self) -> np.ndarray:
        """after − before, float32."""
        return self.after.image.astype(np.float32) - self.before.image.astype(np.float32)

    def start(self) -> tuple[int, ...]:
        """The voxel to look at first: the middle of the label's fullest slice, else of the slice that changed most."""
        if self.label is not None and self.label.any():
            weight = (self.label > 0).astype(np.float32)
        else:
            weight = np.abs(self.difference) if self.comparable else np.zeros(self.before.image.shape, np.float32)
        plane: tuple[int, ...] = ()
        if weight.ndim == 3:
            level = int(weight.sum(axis=(0, 1)).argmax()) if weight.any() else weight.shape[2] // 2
            weight, plane = weight[..., level], (level,)
        if not weight.any():
            return (*(size // 2 for size in weight.shape), *plane)
        total = float(weight.sum())
        middle = (np.indices(weight.shape) * weight).sum(axis=(1, 2)) / total
        return (*(int(round(float(m))) for m in middle), *plane)
