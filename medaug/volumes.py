"""Intensity windows, image domains and checks of voxels: what every other room agrees on.

A volume is a MONAI `MetaTensor` of shape (C, X, Y) or (C, X, Y, Z) with an affine in mm (RAS). Networks see values in
[-1, 1]; a `Window` is the exact, invertible map between those and the scan's own unit (HU for CT, `au` otherwise).
A `Domain` is a kind of image; its `window` is either fixed (CT) or found per scan by percentiles (MR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np

from medaug.errors import DataError, NoContrastError

if TYPE_CHECKING:
    import torch
    from monai.data import MetaTensor

Unit = Literal["HU", "au"]
HU_OF_AIR = -500.0
NEVER_MEASURED, FAR = 1e30, 8192.0
SPACING_TOLERANCE = 0.1
"""Voxel sizes within a tenth of each other count as one."""
FEW_VALUES, MOST_VALUES = 20, 255
"""A label of up to `FEW_VALUES` values is one, of more than `MOST_VALUES` none."""
HU_OF_TISSUE = -200.0
"""Below it lie lung and air alone."""
HU_OF_PADDING = -1500.0
"""What lies below it is no tissue: scanners fill what they did not see."""
RAW_OF_TISSUE = (824.0, 1224.0)
"""Soft tissue lies here in a CT stored with +1024, without its rescale intercept."""
NORMALISED_MOST = 20.0
"""No HU image stays within so few units of 0; those scaled to 0…1, to [-1, 1] or by mean and deviation do."""
SEEN_SHARE = 0.002
"""A smaller share of voxels that stand out of the background is specks."""
LOOKED_AT = 200_000
"""Voxels, evenly spread, that tell an image's unit."""
Array = TypeVar("Array", "np.ndarray", "torch.Tensor")


class HasLengths(Protocol):
    """A record that says what its lengths are in (see `data.records`)."""

    @property
    def length_unit(self) -> str: ...


@dataclass(frozen=True)
class Window:
    """An intensity interval [low, high] mapped linearly to [-1, 1].

    Raises:
        ValueError: if `low < high` does not hold or a bound is not finite.
    """

    low: float
    high: float
    unit: Unit = "au"

    def __post_init__(self) -> None:
        # whole-number bounds (from YAML) would keep an integer image in its own type, where it overflows
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a window needs finite low < high; found low={self.low}, high={self.high}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Window:
        """The inverse of `to_dict`."""
        return cls(values["low"], values["high"], values["unit"])

    def normalize(self, x: Array) -> Array:
        """Maps the scan's unit to [-1, 1]; values outside the window are clipped to it."""
        with np.errstate(over="ignore"):  # padding of -FLT_MAX
            scaled = (x - self.low) * (2.0 / (self.high - self.low)) - 1.0
        return scaled.clip(-1.0, 1.0)

    def denormalize(self, x: Array) -> Array:
        """Maps [-1, 1] back to the scan's unit: the inverse of `normalize` inside the window."""
        return (x + 1.0) * ((self.high - self.low) / 2.0) + self.low

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Percentiles:
    """A window found per scan: these percentiles of the voxels above the background (MR has no absolute unit).

    The background is the scan's most negative value; where more than 99 % of the scan is background, all voxels count.
    Padding (`padding_in`) counts nowhere.
    """

    lower: float = 0.5
    upper: float = 99.8

    def __post_init__(self) -> None:
        if not 0 <= float(self.lower) < float(self.upper) <= 100:
            raise ValueError(f"percentiles from 0 to 100, the lower first; found {self.lower} and {self.upper}")

    def window_of(self, scan: np.ndarray, name: str = "scan") -> Window:
        """The robust window of one scan, any shape.

        Raises:
            NoContrastError: if the scan is constant, or nearly so.
        """
        scan = measured_in(scan)
        floor = float(scan.min())
        voxels = scan[scan > floor]
        if voxels.size < 0.01 * scan.size:
            voxels = scan.reshape(-1)
        _, high = np.percentile(voxels, [self.lower, self.upper])
        low = float(np.percentile(scan, self.lower))
        if not low < high:
            raise NoContrastError.about(
                name,
                f"an almost constant image (percentiles {low:g} and {high:g})",
                "an image with contrast",
                "Check the file, or leave it out.",
            )
        return Window(low, float(high), "au")


@dataclass(frozen=True)
class Domain:
    """A kind of image: its name, its modality, and how its intensities are windowed.

    An image of several sequences is seen through a window a channel: `others` holds the second channel's and so on,
    each by the name of its sequence.
    """

    name: str
    modality: str
    window: Window | Percentiles = Percentiles()
    others: tuple[Domain, ...] = ()

    @property
    def channels(self) -> tuple[Domain, ...]:
        """One domain a channel, in order."""
        return (replace(self, others=()), *self.others)

    @property
    def unit(self) -> Unit:
        return self.window.unit if isinstance(self.window, Window) else "au"

    def window_of(self, scan: np.ndarray, name: str = "scan") -> Window:
        """The window for this scan: the domain's fixed one, or one found by percentiles."""
        return self.window if isinstance(self.window, Window) else self.window.window_of(scan, name)

    def to_dict(self) -> dict[str, object]:
        """JSON values; `others` stands there only where the image has several channels."""
        own = {"name": self.name, "modality": self.modality, "window": asdict(self.window)}
        return own | ({"others": [other.to_dict() for other in self.others]} if self.others else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Domain:
        """The inverse of `to_dict`; a window with `low` is fixed, one with `lower` is by percentiles."""
        window = values.get("window", {})
        kind = Window if "low" in window else Percentiles
        others = tuple(cls.from_dict(other) for other in values.get("others", ()))
        return cls(values["name"], values["modality"], kind(**window), others)


def as_meta(image: np.ndarray | torch.Tensor) -> MetaTensor:
    """The image itself, which is a MetaTensor: what a transform made of one, or tensor arithmetic did.

    Raises:
        TypeError: if it is none, and so has lost its affine.
    """
    from monai.data import MetaTensor  # seconds, which windows need not wait

    if not isinstance(image, MetaTensor):
        raise TypeError(f"found a {type(image).__name__}, which has no affine; expected a MetaTensor")
    return image


def spacing_of(affine: np.ndarray | torch.Tensor, spatial_dims: int) -> tuple[float, ...]:
    """Voxel size in mm along each array axis, from a (4, 4) affine."""
    columns = np.asarray(affine, dtype=np.float64)[:3, :spatial_dims]
    return tuple(float(s) for s in np.linalg.norm(columns, axis=0))


def length_unit(*known: Mapping[str, Any] | HasLengths) -> str:
    """What lengths of these cases, weights or cells are in: "mm", or "px" where no voxel size is known ("mm or px").

    What is known of data travels with them as "length_unit": from the prepared case to weights, cells and summaries.
    """
    said = [facts.get("length_unit", "mm") if isinstance(facts, Mapping) else facts.length_unit for facts in known]
    return " or ".join(sorted({unit for units in said for unit in units.split(" or ")})) or "mm"


def widest_slice(mask: np.ndarray) -> int:
    """The slice (last axis) of a volume (X, Y, Z) with the most that is marked; the middle one where nothing is."""
    marked = (mask != 0).sum(axis=(0, 1))
    return int(marked.argmax()) if marked.any() else mask.shape[2] // 2


def affine_of(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """A diagonal (4, 4) affine with this spacing; missing axes get 1 mm.

    Three axes run to the patient's left, back and head: so volumes are looked at (`orientation`) that do not say how
    they lie.
    """
    if len(spacing_mm) == 3:
        return np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    return np.diag([*spacing_mm, *([1.0] * (3 - len(spacing_mm))), 1.0])


def padding_in(scan: np.ndarray) -> np.ndarray | None:
    """The voxels of a scan (*S) that hold what programs write in place of an image; None if there are none.

    That is every value beyond ±1e30 (-FLT_MAX, -DBL_MAX, 1e300); a lowest value of -8192 or less (-32768, say), if all
    others are at least half of it; and a highest of 8192 or more, if all others are at most a quarter of it, a corner
    of the scan has it, and so has a hundredth of its voxels: single bright ones are artefacts.
    """
    low, high = float(scan.min()), float(scan.max())
    if low > -FAR and high < FAR:
        return None
    padding = np.zeros(scan.shape, dtype=bool)
    if max(-low, high) >= NEVER_MEASURED:
        padding |= np.abs(scan) >= NEVER_MEASURED
        low, high = (float(scan[~padding].min()), float(scan[~padding].max())) if not padding.all() else (0.0, 0.0)
    if low <= -FAR and scan[(scan > low) & ~padding].min(initial=high) >= low / 2:
        padding |= scan == low
    corners = scan[np.ix_(*[(0, -1)] * scan.ndim)]
    if high >= FAR and (corners == high).any() and np.count_nonzero(scan == high) >= 0.01 * scan.size:
        others = scan[(scan < high) & ~padding]
        padding |= (scan == high) & (others.size > 0 and others.min() < others.max() <= high / 4)
    return padding if padding.any() else None


def measured_in(scan: np.ndarray) -> np.ndarray:
    """The voxels (N,) of a scan that are no padding; the scan itself where it has none, or nothing else."""
    padding = padding_in(scan)
    return scan if padding is None or padding.all() else scan[~padding]


def check_finite(array: np.ndarray, path: str) -> None:
    """Refuses NaN and infinity.

    Raises:
        DataError: naming how many voxels are not finite.
    """
    if np.issubdtype(array.dtype, np.floating):
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise DataError.about(
                path,
                f"{bad} voxels that are NaN or infinite",
                "finite intensities",
                "Repair the file (for example set them to the background), or leave it out.",
            )


def shows_nothing(image: np.ndarray, window: Window) -> bool:
    """Tells whether an image is constant, or all but specks of it lie in the lowest tenth of its window: background."""
    bright = image > window.low + 0.1 * (window.high - window.low)
    return bool(np.count_nonzero(bright) < SEEN_SHARE * image.size or image.min() == image.max())


def check_modality(array: np.ndarray, domain: Domain, path: str, said: str | None = None) -> None:
    """Refuses an image that says it is of another modality than the domain, or whose intensities cannot be in its unit.

    This is the one place where that is decided. Crops of a body are told from other units by what no crop of it has:

    - MR: voxels below -500, as in air in HU, and none ten times as bright.
    - HU, without anything below -200 (lung, air): values within 20 of 0 (scaled to 0…1 or [-1, 1]); no negative ones
      and a background of zeros (grey levels, MR); or tissue where it lies in a CT stored with +1024, alone or in air.
    - A fixed window in au: fractions that stay within a hundredth of it (scaled), or values far out of it.

    Constant images are of any unit.

    Args:
        said: what the file says (DICOM), if it does.

    Raises:
        DataError: naming the modality, or the intensities and what they look like.
    """
    if said is not None and said != domain.modality and "CT" in (said, domain.modality):
        raise DataError.about(
            path, f"the DICOM Modality {said}", f"{domain.modality}", "Give a scan of the weights' own modality."
        )
    measured = measured_in(array)
    low, high = float(measured.min()), float(measured.max())
    found = f"intensities from {low:g} to {high:g}"
    if domain.modality == "MR" and low < HU_OF_AIR and high < -10 * low:
        raise DataError.about(
            path,
            f"{found}, which look like a CT in HU",
            "an MR image",
            "Give a scan of the modality the weights were trained on.",
        )
    if not isinstance(domain.window, Window) or low == high:
        return
    some = measured.reshape(-1)[:: max(1, measured.size // LOOKED_AT)]
    odd = _not_in_hu(some) if domain.unit == "HU" else _not_in_window(some, domain.window)
    if odd is not None:
        window = f"({domain.window.low:g}, {domain.window.high:g})"
        raise DataError.about(
            path,
            f"{found}, {odd}",
            "a CT in HU, with air near -1000" if domain.unit == "HU" else f"grey levels of the window {window}",
            "Put medaug's transforms before what scales intensities (ScaleIntensityRanged, NormalizeIntensityd), give "
            f"window=(b_min, b_max) where the image was scaled from {window}, convert the scan (rescale slope and "
            "intercept), or use weights of its own modality.",
        )


def _not_in_hu(array: np.ndarray) -> str | None:
    """What an image looks like if not like HU."""
    values = array[array > HU_OF_PADDING]
    if not values.size or np.count_nonzero(values < HU_OF_TISSUE) > 0.001 * values.size:
        return None
    if np.abs(values).max() <= NORMALISED_MOST:
        return "which look normalised"
    if 0 <= values.min() < 1 and np.mean(values <= 0.05 * np.percentile(values, 99.8)) > 0.05:
        return "on a background of 0"
    tissue, air, bright = (
        np.count_nonzero(part) / values.size
        for part in ((values > RAW_OF_TISSUE[0]) & (values < RAW_OF_TISSUE[1]), np.abs(values) < 60, values > 300)
    )
    air_at_zero = air > 0.1 and tissue > max(0.05, 0.5 * bright)
    return "which look like a CT stored with +1024" if air_at_zero or tissue > 0.7 else None


def _not_in_window(array: np.ndarray, window: Window) -> str | None:
    """What an image looks like if not like grey levels of this window in au."""
    width = window.high - window.low
    small = np.abs(array).max() < 0.01 * max(abs(window.low), abs(window.high))
    if small and (array != np.rint(array)).any():
        return "which look normalised"
    low, high = np.percentile(array, (1, 99))
    return "far out of it" if low < window.low - width or high > window.high + 4 * width else None


def check_is_label(label: np.ndarray, image: np.ndarray, label_path: str, image_path: str) -> None:
    """Refuses an image in a label's place: the very image, or something with as many values as one.

    Args:
        label, image: (*S), on one grid.

    Raises:
        DataError: naming both files and what was found.
    """
    values = np.unique(label[label != 0])
    many = values.size > MOST_VALUES or (values.size > FEW_VALUES and 2 * values.size >= np.unique(image).size)
    if many or (values.size and np.array_equal(label, image)):
        found = f"{values.size} values above 0, as many as an image has" if many else f"the voxels of {image_path}"
        raise DataError.about(
            label_path, found, "a label: 0, and a whole number for each class", "Check which file is the label."
        )
