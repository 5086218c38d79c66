"""Decodes each case once: checked, on the wanted grid, as .npy files that training maps into memory.

Per case the folder holds `<case>.image.npy` (C, *S), `<case>.label.npy` (*S) and
`<case>.source.json` with the `PreparedCase`, a fingerprint of the sources and options, and what was found in the
arrays since. Arrays are in Fortran order, so one Z slice of all channels is one piece of the file. Beside the label,
the organ and the body lie the places of their voxels (`<case>.label.voxels.npy`), so that nobody reads a volume to find
a place in it. Nothing here depends on a split: the folds of a run, and the blocks of a benchmark, share one folder, to
which their datalists refer (`../../prepared/<case>.image.npy`).
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
from medaug.data.fingerprints import Seal, renewed, seal
from medaug.data.opening import check_regular
from medaug.data.records import Case, PreparedCase, frozen
from medaug.errors import DataError
from medaug.volumes import spacing_of

FORMAT = 7  # part of the fingerprint: raise it when prepared files change their meaning
VOXELS_KEPT = 10_000
"""So many voxels of each class are stored by their places, drawn alike where there are more (as nnU-Net does)."""


SHARED = re.compile(r"(\.\./){2,3}prepared(_b)?")
"""Where arrays may lie beside the datalist's own folder: in that of the run around this one."""


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
    path, parent = Path(folder) / relative, Path(relative).parent.as_posix()
    shared = SHARED.fullmatch(parent) is not None
    try:
        if parent != "." and not shared:
            raise ValueError("in another folder")
        array = np.load(check_regular(path), mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.memmap):
            raise ValueError("an archive")
        return array
    except Exception as error:  # NumPy meets damaged headers with every kind of exception
        found, remedy = f"no usable array ({error})", "Delete the folder and prepare the data again."
        if shared and not path.parent.is_dir():
            remedy = "A fold or block shares the scans of the run around it: put its folder back into that run's."
        raise DataError.about(path, found, "a prepared .npy file", remedy) from error


def _prepare(case: Case, folder: Path, options: Options) -> PreparedCase:
    """What is there already, of the same files (size, time) with the same options, or the case decoded and stored."""
    made_of = {"format": FORMAT, "case": case.to_json(), "sources": source_stamps(case), "options": vars(options)}
    # before reading: a file that changes meanwhile is decoded again; and as it is read back, with lists for tuples
    fingerprint = json.loads(to_json(made_of))
    sidecar = _sidecar(folder, case)
    with suppress(DataError, OSError, TypeError, AttributeError):
        stored = _read(sidecar)
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
    files = {relative: seal(folder / relative) for relative in prepared.files}
    _write(sidecar, {"fingerprint": fingerprint, "files": files, "entry": prepared.to_json()})
    return prepared


def completed(
    members: Sequence[PreparedCase],
    folder: Path,
    settings: Any,
    complete: Callable[[Sequence[PreparedCase]], list[PreparedCase]],
) -> list[PreparedCase]:
    """The cases of one scan with what `complete` finds in their arrays, which is kept beside them and found once.

    Args:
        members: as from `prepare_cases`.
        settings: what decides the result beside the arrays, as JSON.
    """
    sidecars = [_read(_sidecar(folder, member)) for member in members]
    decoded = [{relative: sealed[:2] for relative, sealed in sidecar["files"].items()} for sidecar in sidecars]
    made_of = _digest(to_json([settings, members, decoded]))
    kept = [sidecar.get("completed", {"made_of": ""}) for sidecar in sidecars]
    if all(
        found["made_of"] == made_of and all(renewed(folder / name, sealed) for name, sealed in found["files"].items())
        for found in kept
    ):
        return [PreparedCase.from_json(found["entry"]) for found in kept]
    entries = complete(members)
    for entry, sidecar in zip(entries, sidecars, strict=True):
        files = {name: seal(folder / name) for name in entry.files if name not in sidecar["files"]}
        found = {"made_of": made_of, "files": files, "entry": entry.to_json()}
        _write(_sidecar(folder, entry), sidecar | {"completed": found})
    return entries


def seals_of(entry: PreparedCase, folder: Path) -> dict[str, Seal]:
    """The seals of a completed case's files, by their names, as they were when they were written."""
    sidecar = _read(_sidecar(folder, entry))
    return sidecar["files"] | sidecar["completed"]["files"]


def _sidecar(folder: Path, case: Case) -> Path:
    return folder / f"{file_name(case.case)}.source.json"


def _write(sidecar: Path, values: dict[str, Any]) -> None:
    with atomic_path(sidecar, durable=False) as temporary:
        temporary.write_text(to_json(values | {"sha256": _digest(to_json(values))}), encoding="utf-8")


def _read(sidecar: Path) -> Any:
    stored = read_json(sidecar)
    if stored.pop("sha256") != _digest(to_json(stored)):
        raise DataError.about(sidecar, "other content than was written", "it unchanged", "Prepare the data again.")
    return stored


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_name(name: str) -> str:
    """A name that any disk and any command line takes; where characters had to go, a hash keeps it unique."""
    safe = re.sub(r"[^\w.-]", "_", name).lstrip(".-").encode()[:150].decode(errors="ignore")
    if safe and safe == name:
        return safe
    return f"{safe or 'case'}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
