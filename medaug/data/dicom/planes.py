"""One plane of a series, whether it is a file of its own or a frame of a multi-frame file, and what it has to be.

An enhanced (multi-frame) object keeps what changes in per-frame functional groups and the rest in the shared groups or
beside them (DICOM PS3.3 C.7.6.16); a classic object has one data set a slice. `Plane.get` looks in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from medaug.errors import DataError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ORIENTATION_TOLERANCE = 1e-3  # of unit vectors, as a difference of their components
SHEAR_TOLERANCE = 5e-3  # drift in the plane over the distance along the normal: 0.3 degrees
LARGEST_MM = 1e6
"""No scanner is a kilometre wide."""
TELLING = (
    "AcquisitionNumber", "TemporalPositionIdentifier", "TemporalPositionIndex", "FrameAcquisitionNumber", "EchoNumbers",
    "EchoTime", "EffectiveEchoTime", "InversionTime", "DiffusionBValue", "TriggerTime", "ContrastBolusAgent",
    "ConvolutionKernel", "KVP", "ImageType", "FrameType", "StackID", "AcquisitionTime", "ContentTime",
)  # fmt: skip
"""Tags that tell two acquisitions apart, the most telling first."""


@dataclass(frozen=True)
class Plane:
    """A plane's tags and where it stands.

    Attributes:
        file: the file it is in.
        frame: its index in a multi-frame file, None in a classic one.
        header: the file's data set.
        groups: the data sets that hold its tags, the most specific first.
    """

    file: Path
    frame: int | None
    header: Dataset = field(repr=False)  # holds the patient's name
    groups: tuple[Dataset, ...] = field(repr=False)

    @property
    def name(self) -> str:
        return self.file.name if self.frame is None else f"{self.file.name}, frame {self.frame + 1}"

    @property
    def modality(self) -> str:
        return str(self.get("Modality") or "").upper()

    def get(self, keyword: str) -> Any:
        """The value of a tag, or None if it is missing or empty."""
        for group in self.groups:
            value = group.get(keyword)
            if value is not None and value != "" and not (hasattr(value, "__len__") and len(value) == 0):
                return value
        return None

    @cached_property
    def position_mm(self) -> np.ndarray:
        """(3,) the centre of the first voxel, LPS."""
        return self._numbers("ImagePositionPatient", 3)

    @cached_property
    def orientation(self) -> np.ndarray:
        """(2, 3) unit vectors along a row (to the next column) and along a column (to the next row), LPS."""
        return self._numbers("ImageOrientationPatient", 6).reshape(2, 3)

    @cached_property
    def spacing_mm(self) -> np.ndarray:
        """(2,) between rows, between columns."""
        return self._numbers("PixelSpacing", 2)

    def number(self, keyword: str) -> float | None:
        """A tag with one number, None if it is missing; raises DataError if it is not finite."""
        return None if self.get(keyword) is None else float(self._numbers(keyword, 1)[0])

    def _numbers(self, keyword: str, count: int) -> np.ndarray:
        value = self.get(keyword)
        if value is None:
            expected = "its place in the patient (position, orientation and spacing)"
            remedy = "medaug reads cross-sectional images; leave out radiographs, screenshots and results pages."
            raise DataError.about(self.file, f"no {keyword}", expected, remedy)
        try:
            numbers = np.array(value, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        bound = np.inf if keyword.startswith(("Rescale", "PixelPadding")) else LARGEST_MM
        if numbers.shape != (count,) or not np.isfinite(numbers).all() or np.abs(numbers).max() > bound:
            found = f"a {keyword} that is not {count} finite number(s) of ordinary size"
            expected = "valid geometry and rescale tags"
            raise DataError.about(self.file, found, expected, "Export the series again, or correct the tag.")
        return numbers


def sorted_stack(planes: Sequence[Plane], where: Path) -> tuple[list[Plane], np.ndarray]:
    """Sorts planes along their normal and finds their grid.

    Args:
        planes: of one series, in any order.
        where: the file or folder, for messages.

    Returns:
        The sorted planes, and the (4, 4) affine from (column, row, plane) to mm, RAS. The third axis of a single plane
        is its normal, as long as its SliceThickness (1 mm where that is missing).

    Raises:
        DataError: for planes that are no regular grid, naming what differs and where.
    """
    from highdicom.spatial import create_affine_matrix_from_attributes, get_plane_sort_index

    _check_orientations(planes, where)
    _check_sizes(planes, where)
    axes = planes[0].orientation / np.linalg.norm(planes[0].orientation, axis=1, keepdims=True)
    directions, corners = axes.ravel().tolist(), [plane.position_mm.tolist() for plane in planes]
    order = [planes[i] for i in get_plane_sort_index(corners, directions, index_convention="RD")]
    first, step_mm = order[0], None
    thickness_mm = abs(first.number("SliceThickness") or 1.0)
    if len(order) > 1:
        positions = np.array([plane.position_mm for plane in order])
        normal = np.cross(*axes)
        _check_distinct(order, positions @ normal, where)
        _check_upright(positions - positions[0], normal, where)
        _check_even(order, positions @ normal, where)
        step_mm = (positions[-1] - positions[0]) / (len(order) - 1)
    place, spacing_mm = first.position_mm.tolist(), first.spacing_mm.tolist()
    affine = create_affine_matrix_from_attributes(place, directions, spacing_mm, thickness_mm)
    if step_mm is not None:
        affine[:3, 2] = step_mm  # as measured: within the tolerance the planes may drift
    return order, LPS_TO_RAS @ affine


def telling_tags(planes: Sequence[Plane], at_most: int | None = None) -> str:
    """The tags in which these planes differ, with their values, of which there may be `at_most`; for messages."""
    found = []
    for keyword in TELLING:
        values = sorted({str(plane.get(keyword)) for plane in planes})
        if 1 < len(values) <= (at_most or len(planes)):
            found.append(f"{keyword} ({', '.join(values[:4])}{', ...' if len(values) > 4 else ''})")
    return "; ".join(found[:3])


def _check_orientations(planes: Sequence[Plane], where: Path) -> None:
    groups: list[list[Plane]] = []
    for plane in planes:
        if np.abs(plane.orientation @ plane.orientation.T - np.eye(2)).max() > 10 * ORIENTATION_TOLERANCE:
            found = "an ImageOrientationPatient that is not two perpendicular unit vectors"
            raise DataError.about(plane.file, found, "a valid one", "Export the series again, or correct the tag.")
        off = (np.abs(group[0].orientation - plane.orientation).max() > ORIENTATION_TOLERANCE for group in groups)
        near = next((group for group, is_off in zip(groups, off, strict=True) if not is_off), None)
        if near is None:
            groups.append(near := [])
        near.append(plane)
    if len(groups) > 1:
        texts = [", ".join(f"{x:.3f}" for x in group[0].orientation.ravel()) for group in groups[:4]]
        listed = "; ".join(f"{len(group)} × [{text}]" for group, text in zip(groups, texts, strict=False))
        remedy = "A localizer or a second stack is in this series: split it by ImageOrientationPatient."
        raise DataError.about(where, f"slices of {len(groups)} orientations ({listed})", "parallel slices", remedy)


def _check_sizes(planes: Sequence[Plane], where: Path) -> None:
    sizes = sorted({(int(plane.header.Rows), int(plane.header.Columns)) for plane in planes})
    spacings = np.array([plane.spacing_mm for plane in planes])
    if len(sizes) > 1:
        found = f"slices of different sizes (Rows × Columns: {', '.join(f'{r} × {c}' for r, c in sizes)})"
        raise DataError.about(where, found, "one size", "Split the series by size.")
    if (spacings <= 0).any():
        found = f"a PixelSpacing of {spacings.min():g} mm"
        raise DataError.about(where, found, "spacings above 0", "Export the series again.")
    if np.abs(spacings / spacings[0] - 1).max() > 1e-3:
        low, high = (" × ".join(f"{mm:.4g}" for mm in bound) for bound in (spacings.min(axis=0), spacings.max(axis=0)))
        found = f"different PixelSpacing ({low} mm to {high} mm)"
        raise DataError.about(where, found, "one voxel size", "Split the series by PixelSpacing.")


def _check_distinct(order: list[Plane], levels_mm: np.ndarray, where: Path) -> None:
    """Several planes at one place are several acquisitions, or no volume at all."""
    close = np.flatnonzero(np.diff(levels_mm) < 1e-3)
    if not len(close):
        return
    tags, folders = telling_tags(order), {plane.file.parent for plane in order}
    told = f"they differ in {tags}" if tags else "no tag tells them apart"
    told += f"; the files lie in {len(folders)} folders" if len(folders) > 1 else ""
    if len(close) == len(order) - 1:
        found = f"{len(order)} slices at one position, which is not a volume ({told})"
        remedy = "A time series or a scan for timing: give one of its slices, or another series."
        raise DataError.about(where, found, "a stack of slices", remedy)
    a, b = order[close[0]], order[close[0] + 1]
    found = f"{len(close)} slices at the position of another one, such as {a.name} and {b.name}: {told}"
    remedy = "Two acquisitions are mixed: copy the files of one (by that tag) to a folder of their own."
    raise DataError.about(where, found, "one acquisition in a series", remedy)


def _check_upright(steps_mm: np.ndarray, normal: np.ndarray, where: Path) -> None:
    """The line through the slices' corners has to stand on the slices."""
    along = steps_mm @ normal
    drift = np.linalg.norm(steps_mm - along[:, None] * normal, axis=1)
    worst = int(drift.argmax())
    if drift[worst] > np.maximum(SHEAR_TOLERANCE * along[worst], min(0.05, 0.1 * along[1])):
        degrees = np.degrees(np.arctan2(drift[worst], along[worst]))
        measured = f"{drift[worst]:.3g} mm over {along[worst]:.3g} mm ({degrees:.1f} degrees: a gantry tilt)"
        found, expected = f"slices shifted against each other by {measured}", "slices stacked along their normal"
        remedy = "Undo the tilt first (for example `dcm2niix`, which resamples), or use a series without tilt."
        raise DataError.about(where, found, expected, remedy)


def _check_even(order: list[Plane], levels_mm: np.ndarray, where: Path) -> None:
    increments = np.diff(levels_mm)
    least, mean = increments.min(), float(increments.mean())
    off = np.abs(levels_mm - (levels_mm[0] + mean * np.arange(len(levels_mm)))).max()
    if off <= min(0.1 * mean, 0.01 * mean + 0.05):
        if len(order) > 2:
            return
        # two slices are always evenly spaced: only a tag can tell that nothing is missing between them
        spacing, thickness = (order[0].number(keyword) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
        if (spacing and abs(abs(spacing) - mean) <= 0.01 * mean + 0.05) or (thickness and mean <= 1.5 * thickness):
            return
        known = ["missing" if value_mm is None else f"{value_mm:g} mm" for value_mm in (spacing, thickness)]
        neither = f"neither SpacingBetweenSlices ({known[0]}) nor SliceThickness ({known[1]})"
        found = f"two slices {mean:.4g} mm apart, and {neither} says that none is missing between them"
        remedy = "Copy the missing files, or give the slices one by one."
        raise DataError.about(where, found, "a complete series", remedy)
    ratios = increments / least
    tags = telling_tags(order, at_most=len(order) // 2)  # a tag that differs from slice to slice tells nothing
    hint = f"; the slices differ in {tags}" if tags else ""
    between = f"from {least:.4g} to {increments.max():.4g} mm"
    if np.abs(ratios - np.rint(ratios)).max() <= 0.05:
        missing, gap = int(np.rint(ratios).sum()) - len(increments), int(np.argmax(np.rint(ratios) > 1))
        names = f"{order[gap].name} and {order[gap + 1].name}"
        found = f"slice increments {between}: {missing} missing slice(s), the first between {names}{hint}"
        expected = f"a slice every {least:.4g} mm"
        raise DataError.about(where, found, expected, "Copy the missing files, or keep a run of slices without a gap.")
    found = f"uneven slice increments, {between} (usually {np.median(increments):.4g}){hint}"
    remedy = "Resample it to even slices elsewhere, or use an evenly reconstructed series; medaug does not resample it."
    raise DataError.about(where, found, "evenly spaced slices", remedy)
