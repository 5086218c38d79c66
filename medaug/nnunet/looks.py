"""How medaug looks at what nnU-Net has preprocessed: in which order of axes, with which voxels, in which windows.

nnU-Net crops a case to what is not zero, scales its intensities, transposes and resamples it. Each step can be followed
from its plans and from what it notes of the case:

- Axes: files run (x, y, z), nnU-Net reads (z, y, x) and transposes that (`transpose_forward`). A `Turn` leads from an
  array of nnU-Net's to the axes that weights look along (see `orientation`); a slice of the 2-D configuration is a
  volume of one slice.
- Windows: the z-score is affine, z = (v - mean) / std, so percentiles of a case are the same voxels before and after;
  what was cropped away was zeros, and counts as that. A window in HU goes through the mean and deviation in the plans;
  it has to lie inside the interval that nnU-Net clips a CT to, because beyond that all tissue looks alike.
- Where only the inside of the nonzero mask is scaled, the outside is 0 in the middle of the range: background all the
  same. Labels are -1 there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medaug.errors import ConfigError, NoContrastError
from medaug.orientation import LPS, Turn, turn_of
from medaug.volumes import Domain, Percentiles, Window, affine_of

OUTSIDE = -1
"""nnU-Net's label of what lies outside of the nonzero mask, and of the padding of a patch."""
LOOKED_AT = 1_000_000
"""Voxels of a case, evenly spread, that its windows are measured in."""
CLIP_SLACK = 0.02
"""A window may leave nnU-Net's clipping interval by so much of its own width."""
AFFINE = ("z-score", "none", "0 to 1", "RGB")
SCHEMES = {
    "ZScoreNormalization": "z-score",
    "CTNormalization": "CT",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "0 to 1",
    "RGBTo01Normalization": "RGB",
}
RGB_MOST = 255.0


@dataclass(frozen=True)
class Look:
    """One case as medaug sees its patches.

    Attributes:
        windows: by channel, in the units of the preprocessed array; none where a channel has no contrast.
        turn: from a patch's axes (d0, d1, d2) to those that are looked along.
        affine: (4, 4) of what is looked at, but for its place.
        flat: whether patches are slices: d0 has one voxel, and is dropped.
        masked: whether the outside of the nonzero mask is 0 whatever the window is.
    """

    windows: tuple[Window, ...]
    turn: Turn
    affine: np.ndarray
    flat: bool
    masked: bool

    def there(self, patch: np.ndarray) -> np.ndarray:
        """A patch (K, *S) of nnU-Net's as (K, *T), slices last."""
        volumes = patch[:, None] if self.flat else patch
        turned = np.stack([self.turn.there(volume) for volume in volumes])
        return turned[..., 0] if self.flat else turned

    def back(self, seen: np.ndarray) -> np.ndarray:
        """The inverse."""
        turned = seen[..., None] if self.flat else seen
        volumes = np.stack([self.turn.back(volume) for volume in turned])
        return volumes[:, 0] if self.flat else volumes


@dataclass(frozen=True)
class Plans:
    """What nnU-Net's plans say of the arrays of one configuration.

    Attributes:
        spacing_mm: along (d0, d1, d2), or of slices along (d1, d2).
        transpose: which axis of (z, y, x) each of (d0, d1, d2) is.
        schemes: by channel, how intensities are scaled (`SCHEMES`, or nnU-Net's name of another).
        masked: by channel, whether only the inside of the nonzero mask is.
        intensities: by channel, nnU-Net's figures of the foreground.
    """

    spacing_mm: tuple[float, ...]
    transpose: tuple[int, ...]
    schemes: tuple[str, ...]
    masked: tuple[bool, ...]
    intensities: tuple[Mapping[str, float], ...]

    @classmethod
    def of(cls, plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> Plans:
        """Reads the plans' JSON, and that of one of its configurations (complete: what it inherits filled in)."""
        figures = plans.get("foreground_intensity_properties_per_channel", {})
        schemes = tuple(SCHEMES.get(name, name) for name in configuration["normalization_schemes"])
        return cls(
            tuple(map(float, configuration["spacing"])),
            tuple(plans["transpose_forward"]),
            schemes,
            tuple(map(bool, configuration["use_mask_for_norm"])),
            tuple(figures.get(str(channel), {}) for channel in range(len(schemes))),
        )

    @property
    def flat(self) -> bool:
        """Whether it is a 2-D configuration."""
        return len(self.spacing_mm) == 2

    def file_axes(self) -> tuple[int, ...]:
        """Which of (d0, d1, d2) the files' axes (x, y, z) are."""
        return tuple(self.transpose.index(2 - axis) for axis in range(3))

    def voxel_mm(self, between_slices_mm: float) -> tuple[float, ...]:
        """Along the files' axes (x, y, z); of a 2-D configuration slices keep their own distance."""
        own = (between_slices_mm, *self.spacing_mm) if self.flat else self.spacing_mm
        return tuple(own[axis] for axis in self.file_axes())

    def clip_hu(self, channel: int) -> tuple[float, float]:
        """The interval that a CT channel is clipped to."""
        figures = self.intensities[channel]
        return figures["percentile_00_5"], figures["percentile_99_5"]

    def window(self, channel: int, domain: Domain, name: str) -> Window | Percentiles:
        """The window of a channel in preprocessed units, where it is the same for all cases; else as percentiles.

        Args:
            domain: of this channel.
            name: of the channel, for messages.

        Raises:
            ConfigError: where what the weights saw can not be had from what nnU-Net stores.
        """
        scheme, window = self.schemes[channel], domain.window
        if isinstance(window, Percentiles):
            if scheme in AFFINE:
                return window
            raise _unlike(name, "percentiles of each scan", scheme, "data.modality=CT, so that the window is in HU")
        if scheme == "CT" and window.unit == "HU":
            low, high = self.clip_hu(channel)
            slack = CLIP_SLACK * (window.high - window.low)
            if window.low < low - slack or window.high > high + slack:
                fitting = f"[{np.ceil(low):.0f}, {np.floor(high):.0f}]"
                raise ConfigError(
                    f"channel {name}: found weights with the window {window.low:g} to {window.high:g} HU; expected one "
                    f"inside {low:.5g} to {high:.5g} HU, which nnU-Net clips this data set to. Train them with "
                    f"medaug train-cycle --nnunet once the plans are there, or --set data.window_hu={fitting}."
                )
            mean, std = self.intensities[channel]["mean"], max(self.intensities[channel]["std"], 1e-8)
            return Window((window.low - mean) / std, (window.high - mean) / std)
        if scheme == "none":
            return Window(window.low, window.high)
        if scheme == "RGB":
            return Window(window.low / RGB_MOST, window.high / RGB_MOST)
        raise _unlike(name, f"a fixed window ({window.low:g}, {window.high:g})", scheme, "no data.window")

    def look(
        self, properties: Mapping[str, Any], windows: tuple[Window, ...], *, axes: str = LPS, slicewise: bool = True
    ) -> Look:
        """How a case is looked at whose `properties` nnU-Net has noted; `axes` and `slicewise` as in `turn_of`.

        Raises:
            ConfigError: if slices of the 2-D configuration run along another axis than what is looked at.
        """
        own = self.file_axes()
        mm = self.voxel_mm(float(properties["spacing"][self.transpose[0]]))
        affine = directions_of(properties) @ np.diag([*mm, 1.0])
        found = turn_of(affine, 3, axes=axes, slicewise=slicewise or self.flat)
        turn = Turn(tuple(own[axis] for axis in found.order), found.flipped, found.axes)
        if self.flat and turn.order[-1] != 0:
            raise ConfigError(
                f"nnU-Net's 2d configuration: found slices along another axis than {found.axes[-1]}, along which these "
                "weights look at slices; expected one axis. Use a 3-D configuration (3d_fullres)."
            )
        turned = np.array(affine)
        turned[:, :3] = turned[:, list(found.order)]
        turned[:, list(found.flipped)] *= -1
        return Look(windows, turn, turned, self.flat, any(self.masked))


def windows_of(
    plans: Plans, domains: Sequence[Domain], names: Sequence[str], data: Any, seg: Any, properties: Mapping[str, Any]
) -> tuple[Window, ...]:
    """By channel, the window of one preprocessed case; empty where a channel of it has no contrast.

    Args:
        data, seg: (C, d0, d1, d2) and (1, d0, d1, d2), arrays or what gives them with `[:]`.
    """
    known = [plans.window(c, domain, name) for c, (domain, name) in enumerate(zip(domains, names, strict=True))]
    if all(isinstance(window, Window) for window in known):
        return tuple(window for window in known if isinstance(window, Window))
    inside, windows = np.asarray(seg[:])[0].reshape(-1) != OUTSIDE, list[Window]()
    before, after = (
        np.prod(np.asarray(properties[key], dtype=float))
        for key in ("shape_before_cropping", "shape_after_cropping_and_before_resampling")
    )
    step = max(1, inside.size // LOOKED_AT)
    cropped = round((before / after - 1) * inside.size / step)
    for channel, window in enumerate(known):
        if isinstance(window, Percentiles):
            voxels = np.asarray(data[channel]).reshape(-1)
            floor = float(voxels.min(where=inside, initial=np.inf)) if plans.masked[channel] else float(voxels.min())
            if not np.isfinite(floor):
                return ()
            shown = np.where(inside, voxels, floor)[::step] if plans.masked[channel] else voxels[::step]
            try:
                window = window.window_of(np.concatenate([shown, np.full(cropped + 1, floor, shown.dtype)]))
            except NoContrastError:
                return ()
        windows.append(window)
    return tuple(windows)


def directions_of(properties: Mapping[str, Any]) -> np.ndarray:
    """(4, 4) with the directions of a file's axes (x, y, z) in RAS, of length 1.

    Where nnU-Net's reader notes none (pictures) they are as `affine_of` has them.
    """
    directions = affine_of((1.0, 1.0, 1.0))
    itk, nibabel = properties.get("sitk_stuff", {}), properties.get("nibabel_stuff", {})
    if len(itk.get("direction", ())) == 9:
        directions[:3, :3] = np.diag([-1.0, -1.0, 1.0]) @ np.reshape(itk["direction"], (3, 3))
    elif nibabel:
        columns = np.asarray(nibabel.get("reoriented_affine", nibabel.get("original_affine")), dtype=float)[:3, :3]
        directions[:3, :3] = columns / np.linalg.norm(columns, axis=0)
    return directions


def _unlike(name: str, found: str, scheme: str, remedy: str) -> ConfigError:
    return ConfigError(
        f"channel {name}: found weights that see {found}, and nnU-Net's intensities scaled by {scheme}; expected two "
        f"that go together. Train them again with {remedy}."
    )
