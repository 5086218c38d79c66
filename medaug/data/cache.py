"""Decodes each case once: checked, on the wanted grid, as .npy files that training maps into memory.

Per case the folder holds `<case>.image.npy` (C, *S), `<case>.label.npy` (*S) and
`<case>.source.json` with the `PreparedCase` and a fingerprint of the sources and options. Arrays are in Fortran order,
so one Z slice of all channels is one piece of the file. Beside the label, the organ and the body lie the places of
their voxels (`<case>.label.voxels.npy`), so that nobody reads a volume to find a place in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medaug.data.atomic import atomic_path, read_json, to_json, write_error
from medaug.data.cases import source_stamps
from medaug.data.decoding import Options, decode
from medaug.data.fingerprints import renewed, seal
from medaug.data.opening import check_regular
from medaug.data.records import Case, PreparedCase, frozen
from medaug.errors import DataError
from medaug.volumes import spacing_of

FORMAT = 7  # part of the fingerprint: raise it when prepared files change their meaning
VOXELS_KEPT = 10_000
"""So many voxels of each class are stored by their places, drawn alike where there are more (as nnU-Net does)."""


@dataclass(frozen=True)
class Unreadable:
    """A case that was left out: the file at fault and the whole message."""

    path: str
    reason: str


def prepare_cases(
    cases: Sequence[Case],
    folder: str | Path,
    *,
    skip_unreadable: bool = False,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> tuple[list[PreparedCase], list[Unreadable]]:
    """Prepares all cases in threads; the result has the order of `cases`.

    Args:
        cases: as from `find_cases`.
        folder: where the prepared files go.
        skip_unreadable: leave out cases that cannot be used and report them, instead of stopping at the first.
        workers: number of threads.
        progress: called with (done, total) after each case.
        **options: fields of `Options`.

    Returns:
        The cases with their arrays' files and facts, without a window (a case whose sources and options have not
        changed is as it was), and those left out.

    Raises:
        DataError: for the first case, in order, with files that cannot be read, image and label on different grids, a
            constant image, an undeclared label value, or dimensions that do not fit; or if none can be used.
        ConfigError: if `spacing_mm`, `grid_size` or `resample_mm` has the wrong length.
        RunError: if the folder cannot be written.
    """
    chosen = Options(**options)
    prepared: list[PreparedCase] = []
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
                    at_fault = case.label if case.label and str(error).startswith(f"{case.label}:") else case.path
                    unreadable.append(Unreadable(at_fault, str(error)))
                if progress is not None:
                    progress(done, len(cases))
        finally:
            pool.shutdown(cancel_futures=True)
    if unreadable and not prepared:
        raise DataError(f"none of the {len(cases)} cases can be used; the first: {unreadable[0].reason}")
    return prepared, unreadable


def store_array(folder: str | Path, name: str, array: np.ndarray) -> str:
    """Writes `<name>.npy` atomically, slices contiguous (or raises RunError); returns its path relative to `folder`."""
    relative = f"{file_name(name)}.npy"
    stored = np.asfortranarray(array)
    with atomic_path(Path(folder) / relative, durable=False) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(stored))
        file.write(stored.data if stored.flags.c_contiguous else stored.T.data)  # NumPy's own write hides a full disk
    return relative


def with_array(case: PreparedCase, folder: str | Path, kind: str, array: np.ndarray) -> PreparedCase:
    """The case with its label, its organ or its body (*S), stored as by `store_array`, counted and indexed once."""
    numbered = np.asfortranarray(array.astype(np.uint8))
    arrays = case.arrays | {kind: store_array(folder, f"{case.case}.{kind}", numbered)}
    numbers = range(1, int(numbered.max()) + 1)
    of_class = [numbered == number for number in numbers] if kind == "label" else [numbered != 0]
    places = np.concatenate([np.empty(0, np.uint32), *map(_places, of_class)])
    voxels = case.voxels | {kind: store_array(folder, f"{case.case}.{kind}.voxels", places)}
    counts = tuple(tuple(np.count_nonzero(chosen, axis=tuple(range(chosen.ndim - 1))).tolist()) for chosen in of_class)
    if kind == "label":
        return replace(case, arrays=arrays, voxels=voxels, class_voxels=counts)
    return replace(case, arrays=arrays, voxels=voxels, tissue_voxels=counts[0])


def _places(chosen: np.ndarray) -> np.ndarray:
    """Flat indices (C order, ascending) of a mask's voxels, of at most `VOXELS_KEPT` that a seeded draw takes alike."""
    flat = np.flatnonzero(chosen.reshape(-1, order="F"))
    if len(flat) > VOXELS_KEPT:
        flat = flat[np.random.RandomState(0).choice(len(flat), VOXELS_KEPT, replace=False)]
    at = np.unravel_index(flat, chosen.shape, order="F")
    return np.sort(np.ravel_multi_index(at, chosen.shape)).astype(np.uint32)


def open_array(folder: str | Path, relative: str) -> np.memmap:
    """Maps a stored array read-only; raises DataError if it is missing, damaged, or in another folder."""
    path = Path(folder) / relative
    try:
        if path.parent != Path(folder):
            raise ValueError("in another folder")
        array = np.load(check_regular(path), mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.memmap):
            raise ValueError("an archive")
        return array
    except Exception as error:  # NumPy meets damaged headers with every kind of exception
        found, remedy = f"no usable array ({error})", "Delete the folder and prepare the data again."
        raise DataError.about(path, found, "a prepared .npy file", remedy) from error


def _prepare(case: Case, folder: Path, options: Options) -> PreparedCase:
    """What is there already, of the same files (size, time) with the same options, or the case decoded and stored."""
    made_of = {"format": FORMAT, "case": case.to_json(), "sources": source_stamps(case), "options": vars(options)}
    # before reading: a file that changes meanwhile is decoded again; and as it is read back, with lists for tuples
    fingerprint = json.loads(to_json(made_of))
    sidecar = folder / f"{file_name(case.case)}.source.json"
    with suppress(DataError, OSError, TypeError, AttributeError):
        stored = read_json(sidecar)
        same = stored["fingerprint"] == fingerprint
        if same and all(renewed(folder / relative, sealed) for relative, sealed in stored["files"].items()):
            return PreparedCase.from_json(stored["entry"])
    decoded = decode(case, options)
    try:
        sidecar.unlink(missing_ok=True)  # no fingerprint may describe arrays that are being replaced
    except OSError as error:
        raise write_error(sidecar, error) from error
    arrays = {"image": store_array(folder, f"{case.case}.image", decoded.image)}
    shape = decoded.image.shape[1:]
    spacing_mm = spacing_of(decoded.affine, len(shape))
    prepared = PreparedCase(
        **vars(case),
        arrays=arrays,
        voxels={},
        affine=frozen(decoded.affine.tolist()),
        spacing_mm=spacing_mm,
        shape=shape,
        resampled_from_mm=None if spacing_mm == decoded.stored_mm else decoded.stored_mm,
        **{name: frozen(fact) for name, fact in decoded.facts.items()},
    )
    for kind, array in (("label", decoded.label), ("organ", decoded.organ)):
        if array is not None:
            prepared = with_array(prepared, folder, kind, array)
    files = {relative: seal(folder / relative) for relative in (*prepared.arrays.values(), *prepared.voxels.values())}
    with atomic_path(sidecar, durable=False) as temporary:
        stored_as = {"fingerprint": fingerprint, "files": files, "entry": prepared.to_json()}
        temporary.write_text(to_json(stored_as), encoding="utf-8")
    return prepared


def file_name(name: str) -> str:
    """A name that any disk and any command line takes; where characters had to go, a hash keeps it unique."""
    safe = re.sub(r"[^\w.-]", "_", name).lstrip(".-").encode()[:150].decode(errors="ignore")
    if safe and safe == name:
        return safe
    return f"{safe or 'case'}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
