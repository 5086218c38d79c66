"""Who is scored in an evaluation, and with what it may not have been made: nothing of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from medaug.config import EvaluationConfig
from medaug.config.data import DataConfig
from medaug.data.cache import file_name, prepare_cases, store_array
from medaug.data.datalists import own_file
from medaug.data.prepared import Prepared, View, views_of
from medaug.data.records import Case, SequenceFile
from medaug.data.synthetic import SyntheticCase
from medaug.errors import DataError
from medaug.evaluation.samples import ViewFolder
from medaug.runs.folder import RunDir
from medaug.splits import Split, refuse_leakage


def held_out_patients(settings: EvaluationConfig, split: Split) -> tuple[str, ...]:
    """The patients to score.

    Raises:
        DataError: if they are too few for an interval.
    """
    patients = split.test if settings.patients == "test" else split.validation
    if len(patients) < 2:
        raise DataError(
            f"found {len(patients)} {settings.patients} patient(s); expected at least 2 for an interval. "
            "Add patients, or lower split.train or split.validation (with folds: split.folds)."
        )
    return patients


def check_provenance(synthetic: Iterable[SyntheticCase], split: Split) -> None:
    """Refuses synthetic cases that any validation or test patient had a part in.

    Raises:
        LeakageError: naming the patients.
    """
    for record in synthetic:
        refuse_leakage(record.made_from, split, f"synthetic case {record.case} was")
        refuse_leakage(record.training_patients, split, f"the weights behind {record.case} were")


def synthetic_source(records: list[SyntheticCase], run: RunDir, data: DataConfig) -> ViewFolder | None:
    """The cases, decoded; labels hold the numbers of the data's classes.

    Each keeps the window it was written with, and has the organ of its parent, which `prepare` found, if it has one.
    """
    if not records:
        return None
    cases = []
    for record in records:
        first, *others = (str(own_file(run.synthetic, file)) for file in record.images)
        label, files = str(own_file(run.synthetic, record.label)), tuple(SequenceFile(image=file) for file in others)
        cases.append(
            Case(case=record.case, patient=record.patient, scan=record.case, image=first, label=label, others=files)
        )
    folder = run.evaluation / "prepared"
    numbers = tuple((number,) for number in range(1, len(data.class_names) + 1))
    entries, _ = prepare_cases(cases, folder, spatial_dims=data.spatial_dims, classes=numbers)
    parents = {parent.case: parent for parent in Prepared(run.datalist).cases}
    found = []
    for entry, record in zip(entries, records, strict=True):
        entry = replace(entry, windows=record.windows)
        parent, level = parents[record.parent.case], record.parent.level
        if "organ" in parent.arrays:
            stored, name = run.prepared / parent.arrays["organ"], f"{entry.case}.organ"
            copied = folder / f"{file_name(name)}.npy"
            if not copied.is_file() or copied.stat().st_mtime_ns < stored.stat().st_mtime_ns:
                store_array(folder, name, View(parent, level, 0).raw(run.prepared, "organ"))
            voxels = parent.tissue_voxels if level is None else ()
            entry = replace(entry, arrays=entry.arrays | {"organ": copied.name}, tissue_voxels=voxels)
        found.append(entry)
    return ViewFolder(views_of(found, data.spatial_dims), folder)
