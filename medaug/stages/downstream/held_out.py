"""Who is scored in an evaluation, and with what it may not have been made: nothing of them."""

from __future__ import annotations

from typing import Any

from medaug.errors import DataError
from medaug.evaluation.samples import Source
from medaug.io.cache import prepare_cases
from medaug.io.datalists import inside
from medaug.io.prepared import views_of
from medaug.splits import Split, refuse_leakage
from medaug.stages.config import EvaluationConfig
from medaug.stages.runs import RunDir


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


def synthetic_source(records: list[dict[str, Any]], run: RunDir, spatial_dims: int, classes: int = 1) -> Source | None:
    """The cases, decoded; each keeps the window it was written with. Labels hold the numbers of `classes` classes."""
    manifest = run.synthetic / "datalist.json"
    cases = [record | {key: str(inside(manifest, record[key])) for key in ("image", "label")} for record in records]
    if not cases:
        return None
    folder = run.evaluation / "prepared"
    numbers = tuple((number,) for number in range(1, classes + 1))
    entries, _ = prepare_cases(cases, folder, spatial_dims=spatial_dims, classes=numbers)
    return Source(views_of(entries, folder, spatial_dims), folder)
