"""What a run reads: the cases of its data, of the healthy pool and of the target, as their files' names tell them.

Nothing is opened here but JSON and DICOM headers (see `data.layouts`).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from medaug.config import PipelineConfig
from medaug.config.data import DataConfig, PhantomData
from medaug.data.cases import with_organs_of
from medaug.data.layouts import find_cases
from medaug.data.records import Case
from medaug.data.writers import write_phantoms
from medaug.errors import DataError, LeakageError
from medaug.runs.folder import RunDir
from medaug.runs.markers import run_stage

PHANTOM_SEQUENCES = {"head": "flair", "abdomen": "contrast"}


class Source(NamedTuple):
    """One kind of image: its section of the settings, where it lies, its cases, and the folder they are prepared in."""

    name: str
    data: DataConfig
    root: Path
    cases: list[Case]
    folder: Path


def find_sources(config: PipelineConfig, run: RunDir | None = None) -> list[Source]:
    """The data, and the target where there is one.

    Args:
        run: phantoms are drawn there; without it they are named, and not drawn.

    Raises:
        DataError, ConfigError: as `find_cases`.
        LeakageError: if a patient of the healthy pool is among the others, too.
    """
    place = run or RunDir(Path())
    kinds = [("data", config.data, place.scans)]
    if config.target is not None:
        kinds.append(("target", config.target, place.scans_b))
    sources = []
    for name, data, folder in kinds:
        if data.root is not None:
            cases = _cases(data, data.root)
        else:
            cases = _named_phantoms(data.phantoms) if run is None else _drawn_phantoms(data, run)
        sources.append(Source(name, data, data.root or place.phantoms, cases, folder))
    return sources


def _named_phantoms(settings: PhantomData) -> list[Case]:
    names = [f"phantom-{number:03d}" for number in range(settings.patients + settings.healthy)]
    return [
        Case(case=name, patient=name, scan=name, image=name, label=name, healthy=number >= settings.patients)
        for number, name in enumerate(names)
    ]


def _drawn_phantoms(data: DataConfig, run: RunDir) -> list[Case]:
    outputs = [run.phantoms, *([run.phantoms_healthy] if data.phantoms.healthy else [])]

    def draw() -> None:
        for folder in outputs:  # what a killed run had drawn so far
            shutil.rmtree(folder, ignore_errors=True)
        write_phantoms(run.phantoms, "msd", **data.phantoms.model_dump())

    run_stage(RunDir(run.outer or run.root), "phantoms", data.phantoms.model_dump(mode="json"), outputs, draw)
    if data.phantoms.healthy and data.healthy is None:
        data = data.model_copy(update={"healthy": run.phantoms_healthy})
    if data.sequence is None and data.sequences is None:
        data = data.model_copy(update={"sequence": PHANTOM_SEQUENCES[data.phantoms.anatomy]})
    return _cases(data, run.phantoms)


def _cases(data: DataConfig, root: Path) -> list[Case]:
    """All cases of the data in `root`, and of the healthy pool, whose names say so."""

    def found(folder: Path, layout: str) -> list[Case]:
        return find_cases(
            folder,
            layout=layout,
            sequence=data.sequence,
            sequences=data.sequences,
            missing=data.missing,
            patient_regex=data.patient_regex,
        )

    cases, pool = found(root, data.layout), [] if data.healthy is None else found(data.healthy, "auto")
    if isinstance(data.organ, Path):
        cases, pool = with_organs_of(cases, root, data.organ), with_organs_of(pool, root, data.organ)
    elif data.organ is not None and (bare := next((case for case in pool if case.label is None), None)):
        raise DataError.about(
            bare.path,
            "no label, in the healthy pool (data.healthy)",
            "the organ's values in one, because data.organ says where tumors may lie",
            "Add labels with the organ and without a tumor, or give masks of it (data.organ: a folder).",
        )
    if both := sorted({case.patient for case in cases} & {case.patient for case in pool}):
        raise LeakageError(
            f"{data.healthy}: found scans of {', '.join(both)}, who are among the patients of {root} too; expected "
            "other patients in the healthy pool (data.healthy). Move them away, or rename them if they are others.",
            both,
        )
    return [
        *cases,
        *(replace(case, case=f"healthy-{case.case}", scan=f"healthy-{case.scan}", healthy=True) for case in pool),
    ]
