"""The grid of a stack of planes: sorted along their normal, checked to be regular, as one affine (DICOM PS3.3 C.7.6.2).

Positions are trusted; SliceThickness, SpacingBetweenSlices and the order of files are not. What is no regular grid is
refused: a gantry tilt is a shear, and uneven or missing slices would need resampling.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medaug.data.dicom.planes import Plane
from medaug.errors import DataError

log = logging.getLogger(__name__)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ORIENTATION_TOLERANCE = 1e-3  # of unit vectors, as a difference of their components
SHEAR_TOLERANCE = 5e-3  # drift in the plane over the distance along the normal: 0.3 degrees
TELLING = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "FrameAcquisitionNumber",
    "EchoNumbers",
    "EchoTime",
    "EffectiveEchoTime",
    "InversionTime",
    "DiffusionBValue",
    "TriggerTime",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "KVP",
    "ImageType",
    "FrameType",
    "StackID",
    "AcquisitionTime",
    "ContentTime",
)
"""Tags that tell two acquisitions apart, the most telling first."""


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
    _check_orientations(planes, where)
    _check_sizes(planes, where)
    normal = planes[0].normal
    order = sorted(planes, key=lambda plane: float(plane.position_mm @ normal))
    if len(order) == 1:
        return order, _affine(order[0], normal * abs(order[0].number("SliceThickness") or 1.0))
    positions = np.array([plane.position_mm for plane in order])
    _check_distinct(order, positions @ normal, where)
    _check_upright(positions, normal, where)
    _check_even(order, positions @ normal, where)
    if len(order) == 2:
        _check_pair(order, float(np.diff(positions @ normal)[0]), where)
    return order, _affine(order[0], (positions[-1] - positions[0]) / (len(order) - 1))


def telling_tags(planes: Sequence[Plane], at_most: int | None = None) -> str:
    """The tags in which these planes differ, with their values, of which there may be `at_most`; for messages."""
    found = []
    for keyword in TELLING:
        values = {str(plane.get(keyword)) for plane in planes}
        if 1 < len(values) <= (at_most or len(planes)):
            listed = sorted(values)
            found.append(f"{keyword} ({', '.join(listed[:4])}{', ...' if len(listed) > 4 else ''})")
    return "; ".join(found[:3])


def _affine(first: Plane, step_mm: np.ndarray) -> np.ndarray:
    between_rows, between_columns = first.spacing_mm
    along_row, along_column = first.orientation
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = along_row * between_columns, along_column * between_rows
    lps[:3, 2], lps[:3, 3] = step_mm, first.position_mm
    return LPS_TO_RAS @ lps


def _check_orientations(planes: Sequence[Plane], where: Path) -> None:
    for plane in planes:
        gram = plane.orientation @ plane.orientation.T
        if np.abs(gram - np.eye(2)).max() > 10 * ORIENTATION_TOLERANCE:
            raise DataError.about(
                plane.file,
                "an ImageOrientationPatient that is not two perpendicular unit vectors",
                "a valid one",
                "Export the series again, or correct the tag.",
            )
    groups: list[tuple[np.ndarray, int]] = []
    for plane in planes:
        for index, (orientation, count) in enumerate(groups):
            if np.abs(orientation - plane.orientation).max() <= ORIENTATION_TOLERANCE:
                groups[index] = (orientation, count + 1)
                break
        else:
            groups.append((plane.orientation, 1))
    if len(groups) > 1:
        listed = "; ".join(
            f"{count} × [{', '.join(f'{x:.3f}' for x in orientation.ravel())}]" for orientation, count in groups[:4]
        )
        raise DataError.about(
            where,
            f"slices of {len(groups)} orientations ({listed})",
            "parallel slices",
            "A localizer or a second stack is in this series: split it by ImageOrientationPatient.",
        )


def _check_sizes(planes: Sequence[Plane], where: Path) -> None:
    sizes = {(int(plane.header.Rows), int(plane.header.Columns)) for plane in planes}
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} × {columns}" for rows, columns in sorted(sizes))
        raise DataError.about(
            where, f"slices of different sizes (Rows × Columns: {listed})", "one size", "Split the series by size."
        )
    spacings = np.array([plane.spacing_mm for plane in planes])
    if (spacings <= 0).any():
        raise DataError.about(
            where, f"a PixelSpacing of {spacings.min():g} mm", "spacings above 0", "Export the series again."
        )
    if np.abs(spacings / spacings[0] - 1).max() > 1e-3:
        low, high = spacings.min(axis=0), spacings.max(axis=0)
        raise DataError.about(
            where,
            f"different PixelSpacing ({_mm(*low)} to {_mm(*high)})",
            "one voxel size",
            "Split the series by PixelSpacing.",
        )


def _check_distinct(order: list[Plane], levels_mm: np.ndarray, where: Path) -> None:
    """Several planes at one place are several acquisitions, or no volume at all."""
    close = np.diff(levels_mm) < 1e-3
    if not close.any():
        return
    pairs = [(order[i], order[i + 1]) for i in np.flatnonzero(close)]
    tags = telling_tags(order)
    told = f"they differ in {tags}" if tags else "no tag tells them apart"
    folders = sorted({str(plane.file.parent) for plane in order})
    spread = f"; the files lie in {len(folders)} folders" if len(folders) > 1 else ""
    if close.all():
        raise DataError.about(
            where,
            f"{len(order)} slices at one position, which is not a volume ({told}{spread})",
            "a stack of slices",
            "A time series or a scan for timing: give one of its slices, or another series.",
        )
    a, b = pairs[0]
    raise DataError.about(
        where,
        f"{len(pairs)} slices at the position of another one, such as {a.name} and {b.name}: {told}{spread}",
        "one acquisition in a series",
        "Two acquisitions are mixed: copy the files of one (by that tag) to a folder of their own.",
    )


def _check_upright(positions_mm: np.ndarray, normal: np.ndarray, where: Path) -> None:
    """The line through the slices' corners has to stand on the slices."""
    steps = positions_mm - positions_mm[0]
    along = steps @ normal
    drift = np.linalg.norm(steps - along[:, None] * normal, axis=1)
    worst = int(drift.argmax())
    if drift[worst] > np.maximum(SHEAR_TOLERANCE * along[worst], min(0.05, 0.1 * along[1])):
        degrees = np.degrees(np.arctan2(drift[worst], along[worst]))
        raise DataError.about(
            where,
            f"slices shifted against each other by {drift[worst]:.3g} mm over {along[worst]:.3g} mm "
            f"({degrees:.1f} degrees: a gantry tilt)",
            "slices stacked along their normal",
            "Undo the tilt first (for example `dcm2niix`, which resamples), or use a series without tilt.",
        )


def _check_even(order: list[Plane], levels_mm: np.ndarray, where: Path) -> None:
    increments = np.diff(levels_mm)
    mean = (levels_mm[-1] - levels_mm[0]) / len(increments)
    off = np.abs(levels_mm - (levels_mm[0] + mean * np.arange(len(levels_mm)))).max()
    if off <= min(0.1 * mean, 0.01 * mean + 0.05):
        return
    usual = float(np.median(increments))
    ratios = increments / increments.min()
    gaps = np.flatnonzero(np.rint(ratios) > 1)
    tags = telling_tags(order, at_most=len(order) // 2)  # a tag that differs from slice to slice tells nothing
    hint = f"; the slices differ in {tags}" if tags else ""
    between = f"from {increments.min():.4g} to {increments.max():.4g} mm"
    if np.abs(ratios - np.rint(ratios)).max() <= 0.05:
        missing = int(np.rint(ratios).sum()) - len(increments)
        a, b = order[gaps[0]], order[gaps[0] + 1]
        raise DataError.about(
            where,
            f"slice increments {between}: {missing} missing slice(s), the first between {a.name} and {b.name}{hint}",
            f"a slice every {increments.min():.4g} mm",
            "Copy the missing files, or keep a run of slices without a gap.",
        )
    raise DataError.about(
        where,
        f"uneven slice increments, {between} (usually {usual:.4g}){hint}",
        "evenly spaced slices",
        "Resample it to even slices elsewhere, or use an evenly reconstructed series; medaug does not do it silently.",
    )


def _check_pair(order: list[Plane], distance_mm: float, where: Path) -> None:
    """Two slices are always evenly spaced: only a tag can tell that nothing is missing between them."""
    spacing, thickness = (order[0].number(keyword) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
    if spacing and abs(abs(spacing) - distance_mm) <= 0.01 * distance_mm + 0.05:
        return
    if thickness and distance_mm <= 1.5 * thickness:
        return
    raise DataError.about(
        where,
        f"two slices {distance_mm:.4g} mm apart, and neither SpacingBetweenSlices ({_known(spacing)}) nor "
        f"SliceThickness ({_known(thickness)}) says that none is missing between them",
        "a complete series",
        "Copy the missing files, or give the slices one by one.",
    )


def _known(value_mm: float | None) -> str:
    return "missing" if value_mm is None else f"{value_mm:g} mm"


def _mm(rows: float, columns: float) -> str:
    return f"{rows:.4g} × {columns:.4g} mm"
