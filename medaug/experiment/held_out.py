"""Who is scored in an evaluation, and with what it may not have been made: nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medaug.config import EvaluationConfig
from medaug.data.atomic import read_json
from medaug.data.cache import file_name, prepare_cases, store_array
from medaug.data.datalists import own_file
from medaug.data.prepared import View, views_of
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


def check_provenance(synthetic: list[dict[str, Any]], split: Split) -> None:
    """Refuses synthetic cases that any validation or test patient had a part in.

    Raises:
        LeakageError: naming the patients.
    """
    for record in synthetic:
        made_from = {record["parent"]["patient"], *(lesion["patient"] for lesion in record["lesions"])} - {None}
        refuse_leakage(made_from, split, f"synthetic case {record['case']} was")
        refuse_leakage(record["training_patients"], split, f"the weights behind {record['case']} were")


def synthetic_source(
    records: list[dict[str, Any]], run: RunDir, spatial_dims: int, classes: int = 1, *, organs: bool = True
) -> ViewFolder | None:
    """The cases, decoded; each keeps the window it was written with. Labels hold the numbers of `classes` classes.

    Args:
        organs: whether a case has the organ of the view that it was made from.
    """
    cases = [
        record | {key: str(own_file(run.synthetic, record[key])) for key in ("image", "label")} for record in records
    ]
    if not cases:
        return None
    folder = run.evaluation / "prepared"
    numbers = tuple((number,) for number in range(1, classes + 1))
    entries, _ = prepare_cases(cases, folder, spatial_dims=spatial_dims, classes=numbers)
    if organs:
        _add_organs(entries, folder, run)
    return ViewFolder(views_of(entries, folder, spatial_dims), folder, organs)


def _add_organs(entries: list[dict[str, Any]], folder: Path, run: RunDir) -> None:
    """Gives each written case the organ of its parent, which `prepare` found."""
    parents = {entry["case"]: entry for entry in read_json(run.datalist)["cases"]}
    for entry in entries:
        parent, name = entry["parent"], f"{entry['case']}.organ"
        stored = run.prepared / parents[parent["case"]]["arrays"]["organ"]
        copied = folder / f"{file_name(name)}.npy"
        if not copied.is_file() or copied.stat().st_mtime_ns < stored.stat().st_mtime_ns:
            store_array(folder, name, View(parents[parent["case"]], parent["level"], 0).raw(run.prepared, "organ"))
        entry["arrays"]["organ"] = copied.name
