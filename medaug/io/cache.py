"""Decodes each case once: checked, on the wanted grid, as .npy files that training maps into memory.

Per case the folder holds `<case>.image.npy` (float32, the scan's own unit), `<case>.label.npy` (uint8, class numbers)
and `<case>.source.json` with the prepared entry and a fingerprint of the sources and options. Arrays are (X, Y) or
(X, Y, Z) in Fortran order, so one Z slice is one piece of the file.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medaug.errors import ConfigError, DataError
from medaug.io.atomic import atomic_path, read_json, to_json, write_error
from medaug.io.cases import Case, source_stamps
from medaug.io.files import read_label, read_scan
from medaug.io.grid import grid_of_spacing, resample_classes, resample_image, resampled_affine
from medaug.volumes import affine_of, check_same_grid, spacing_of

log = logging.getLogger(__name__)

FORMAT = 2  # part of the fingerprint: raise it when prepared files change their meaning


@dataclass(frozen=True)
class Unreadable:
    """A case that was left out: the file at fault and the whole message."""

    path: str
    reason: str


@dataclass(frozen=True)
class Options:
    """How cases are prepared; part of each case's fingerprint.

    Attributes:
        spatial_dims: 2 takes pictures and volumes (used slice by slice), 3 takes volumes only.
        tumor_labels: label values that count as tumor; None counts every value but 0.
        classes: label values of class 1, class 2, ...; None: one class, the tumor.
        grid_size: size to resample to, (X, Y) in the plane or (X, Y, Z) of volumes; None keeps the file's grid.
        resample_mm: voxel size to resample to instead, in the plane or of volumes, as near as the field of view allows.
        spacing_mm: voxel size of files that do not store one (pictures); 1 mm by default.
        known_labels: all values that a label may hold; None allows any.
    """

    spatial_dims: int
    tumor_labels: tuple[int, ...] | None = None
    classes: tuple[tuple[int, ...], ...] | None = None
    grid_size: tuple[int, ...] | None = None
    resample_mm: tuple[float, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None
    known_labels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.grid_size is not None and self.resample_mm is not None:
            raise ConfigError("grid_size and resample_mm both say which grid: give one of them")

    def to_dict(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, Sequence) else value for name, value in vars(self).items()}


def prepare_cases(
    cases: Sequence[Case], folder: str | Path, *, skip_unreadable: bool = False, workers: int = 2,
    progress: Callable[[int, int], None] | None = None, **options: Any,
) -> tuple[list[dict[str, Any]], list[Unreadable]]:  # fmt: skip
    """Prepares all cases in threads; the result has the order of `cases`.

    Args:
        cases: as from `find_cases`.
        folder: where the prepared files go.
        skip_unreadable: leave out cases that cannot be used and report them, instead of stopping at the first.
        workers: number of threads.
        progress: called with (done, total) after each case.
        **options: fields of `Options`.

    Raises:
        DataError: the first case, in order, that cannot be used; or that none of them can.
    """
    chosen = Options(**options)
    prepared: list[dict[str, Any]] = []
    unreadable: list[Unreadable] = []
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        tasks = [pool.submit(_prepare, case, Path(folder), chosen) for case in cases]
        try:
            for done, (case, task) in enumerate(zip(cases, tasks, strict=True), start=1):
                try:
                    prepared.append(task.result())
                except DataError as error:
                    if not skip_unreadable:
                        raise
                    unreadable.append(Unreadable(_file_at_fault(case, error), str(error)))
                if progress is not None:
                    progress(done, len(cases))
        finally:
            pool.shutdown(cancel_futures=True)
    if unreadable and not prepared:
        raise DataError(f"none of the {len(cases)} cases can be used; the first: {unreadable[0].reason}")
    return prepared, unreadable


def prepare_case(case: Case, folder: str | Path, **options: Any) -> dict[str, Any]:
    """Prepares one case, or returns what is there if its sources and options have not changed.

    Args:
        case: one dict of `find_cases`.
        folder: where the prepared files go.
        **options: fields of `Options`.

    Returns:
        The case with "arrays" (paths relative to `folder`; "label" only if the case has one), "affine",
        "spacing_mm", "shape" and "source_dtype"; and "resampled_from_mm", the stored voxel size, if that was changed,
        and "source_modality" if the file says it.

    Raises:
        DataError: for files that cannot be read, image and label on different grids, a constant image, an
            undeclared label value, or dimensions that do not fit.
        ConfigError: if `spacing_mm`, `grid_size` or `resample_mm` has the wrong length, or a picture has no voxel size
            to resample from.
        RunError: if the folder cannot be written.
    """
    return _prepare(case, Path(folder), Options(**options))


def is_current(case: Case, folder: str | Path, **options: Any) -> bool:
    """Whether a case is prepared already from the same files (size, time) with the same options."""
    return _stored_entry(case, Path(folder), Options(**options)) is not None


def store_array(folder: str | Path, name: str, array: np.ndarray) -> str:
    """Writes `<name>.npy` atomically, slices contiguous, and returns its path relative to `folder`.

    Raises:
        RunError: if it cannot be written.
    """
    relative = f"{_file_name(name)}.npy"
    with atomic_path(Path(folder) / relative, durable=False) as temporary, temporary.open("wb") as file:
        np.save(file, np.asfortranarray(array), allow_pickle=False)
    return relative


def open_array(folder: str | Path, relative: str) -> np.memmap:
    """Maps a stored array into memory, read-only.

    Raises:
        DataError: if it is missing or damaged.
    """
    path = Path(folder) / relative
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError.about(
            path, f"no usable array ({error})", "a prepared .npy file", "Delete the folder and prepare the data again."
        ) from error


def _prepare(case: Case, folder: Path, options: Options) -> dict[str, Any]:
    stored = _stored_entry(case, folder, options)
    if stored is not None:
        return stored
    fingerprint = _fingerprint(case, options)  # before reading: a file that changes meanwhile is decoded again
    image, label, affine, facts = _read_pair(case, options)
    stored_mm = spacing_of(affine, image.ndim)
    grid = _wanted_grid(options, image.shape, stored_mm, case["image"])
    if grid != image.shape[: len(grid)]:
        affine = resampled_affine(affine, image.shape, grid)
        image = resample_image(image, grid)
        if label is not None:
            had = label.any()
            label = resample_classes(label, grid)
            if had and not label.any():
                log.warning("%s: its label is too small for the grid %s and is lost", case["label"], grid)
    sidecar = folder / f"{_file_name(case['case'])}.source.json"
    try:
        sidecar.unlink(missing_ok=True)  # no fingerprint may describe arrays that are being replaced
    except OSError as error:
        raise write_error(sidecar, error) from error
    arrays = {"image": store_array(folder, f"{case['case']}.image", image)}
    if label is not None:
        arrays["label"] = store_array(folder, f"{case['case']}.label", label)
    entry = {
        **case, "arrays": arrays, "affine": affine.tolist(), "spacing_mm": list(spacing_of(affine, image.ndim)),
        "shape": list(image.shape), **facts,
    }  # fmt: skip
    if tuple(entry["spacing_mm"]) != stored_mm:
        entry["resampled_from_mm"] = list(stored_mm)
    sizes = {relative: (folder / relative).stat().st_size for relative in arrays.values()}
    with atomic_path(sidecar, durable=False) as temporary:
        temporary.write_text(to_json({"fingerprint": fingerprint, "sizes": sizes, "entry": entry}), encoding="utf-8")
    return entry


def _wanted_grid(options: Options, shape: tuple[int, ...], spacing_mm: tuple[float, ...], path: str) -> tuple[int, ...]:
    """The size along the first axes to bring an image to; as it is where nothing is asked for."""
    asked = options.grid_size or options.resample_mm or ()
    if len(asked) > len(shape):
        name = "grid_size" if options.grid_size else "resample_mm"
        raise ConfigError(f"{name} has {len(asked)} sizes; {path} is a picture. Give two sizes.")
    if options.resample_mm is not None:
        return grid_of_spacing(shape, spacing_mm, options.resample_mm)
    return tuple(asked)


def _read_pair(case: Case, options: Options) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, dict[str, str]]:
    """The checked image, its class numbers (uint8, or None), the affine, and what the file says of its values."""
    scan = read_scan(case["image"], channel=case.get("channel"), series_uid=case.get("series_uid"))
    image, affine = scan.as_tensor()[0].numpy(), scan.affine.numpy()
    if image.ndim < options.spatial_dims:
        raise DataError.about(
            case["image"], f"a 2-D image of shape {image.shape}", "a volume, because the method is 3-D",
            "Set spatial_dims to 2, or give volumes.",
        )  # fmt: skip
    if image.min() == image.max():
        raise DataError.about(
            case["image"], f"a constant image (all {image.min():g})", "an image with contrast",
            "Leave it out, or choose another `--sequence`.",
        )  # fmt: skip
    if not scan.meta["spacing_known"]:
        if options.resample_mm is not None and options.spacing_mm is None:
            raise ConfigError(f"resample_mm needs a voxel size, and {case['image']} stores none: give spacing_mm")
        spacing = options.spacing_mm or (1.0,) * image.ndim
        if len(spacing) != image.ndim:
            raise ConfigError(f"spacing_mm has {len(spacing)} values; {case['image']} has {image.ndim} axes")
        affine = affine_of(tuple(spacing))
    facts = {"source_dtype": scan.meta["dtype"]}
    if scan.meta["modality"] is not None:
        facts["source_modality"] = scan.meta["modality"]
    if case.get("label") is None:
        return image, None, affine, facts
    label_scan = read_label(case["label"])
    label = label_scan.as_tensor()[0].numpy()
    both_known = scan.meta["spacing_known"] and label_scan.meta["spacing_known"]
    label_affine = label_scan.affine.numpy() if both_known else affine
    check_same_grid(image.shape, label.shape, affine, label_affine, case["image"], case["label"])
    return image, _classes_of(label, case["label"], options), affine, facts


def _classes_of(label: np.ndarray, path: str, options: Options) -> np.ndarray:
    if options.known_labels is not None:
        unknown = sorted(set(np.unique(label).tolist()) - {0, *options.known_labels})
        if unknown:
            raise DataError.about(
                path, f"label values {unknown}", f"only 0 and {sorted(options.known_labels)}",
                "Declare them in the label map, or correct the file.",
            )  # fmt: skip
    if options.classes is None:
        tumor = label != 0 if options.tumor_labels is None else np.isin(label, options.tumor_labels)
        return tumor.astype(np.uint8)
    classes = np.zeros(label.shape, dtype=np.uint8)
    for number, values in enumerate(options.classes, start=1):
        classes[np.isin(label, values)] = number
    return classes


def _stored_entry(case: Case, folder: Path, options: Options) -> dict[str, Any] | None:
    sidecar = folder / f"{_file_name(case['case'])}.source.json"
    if not sidecar.is_file():
        return None
    try:
        stored = read_json(sidecar)
        sizes = {relative: (folder / relative).stat().st_size for relative in stored["sizes"]}
        same = stored["fingerprint"] == _fingerprint(case, options) and stored["sizes"] == sizes
        return stored["entry"] if same else None
    except (DataError, OSError, KeyError, TypeError):
        return None


def _fingerprint(case: Case, options: Options) -> dict[str, Any]:
    return {"format": FORMAT, "case": dict(case), "sources": source_stamps(case), "options": options.to_dict()}


def _file_name(name: str) -> str:
    """A name that any disk takes; where characters had to go, a hash keeps it unique."""
    safe = re.sub(r"[^\w.-]", "_", name).lstrip(".")[:150]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _file_at_fault(case: Case, error: DataError) -> str:
    label = case.get("label")
    return label if label is not None and str(error).startswith(f"{label}:") else case["image"]
