"""Does it help? The same downstream network with and without synthetic cases, over seeds, on held-out patients.

Reads: `prepared/`, `split.json`, `synthetic/datalist.json`. Writes `evaluation/`: `cells/<arm>-seed<k>.json` (one a
trained network, so a stopped evaluation goes on where it was), `scores.csv`, `summary.json`. What is trained and scored
is the task's (`downstream`).
"""

from __future__ import annotations

from typing import Any

from medaug.errors import DataError
from medaug.evaluation.samples import Source
from medaug.io.atomic import read_json, write_json, write_text
from medaug.io.cache import prepare_cases
from medaug.io.prepared import views_of
from medaug.splits import Split, refuse_leakage
from medaug.stages.arms import ARMS, check_arms
from medaug.stages.config import EvaluationConfig, PipelineConfig
from medaug.stages.downstream import TASKS, Task
from medaug.stages.runs import RunDir, essential, fingerprint, run_stage
from medaug.stages.summary import scores_csv, summarized


def evaluate(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        LeakageError: if the synthetic cases or the weights were made from validation or test patients.
    """
    check_arms(config.evaluation.arms, two_domains=False)
    synthetic = read_json(run.synthetic / "datalist.json")
    inputs = [essential(config.evaluation), fingerprint(read_json(run.datalist)), fingerprint(synthetic)]
    return run_stage(run, "evaluate", inputs, [run.evaluation], lambda: _evaluate(config, run, synthetic["training"]))


def _evaluate(config: PipelineConfig, run: RunDir, synthetic: list[dict[str, Any]]) -> None:
    split = Split.from_dict(read_json(run.split))
    check_provenance(synthetic, split)
    settings = config.evaluation
    held_out = held_out_patients(settings, split)
    task = _task(config, run, split, held_out, synthetic)
    for seed in settings.seeds:
        for arm in settings.arms:
            cell = run.evaluation / "cells" / f"{arm}-seed{seed}.json"
            if not cell.exists():
                write_json(cell, task.cell(arm, ARMS[arm], seed))
    write_summary(run, settings, held_out, task)


def check_patients(config: PipelineConfig, run: RunDir) -> None:
    """Refuses prepared patients that cannot be evaluated on: after the reading, not after an hour of training.

    Raises:
        DataError: if the patients to score are too few, or the task cannot be trained or scored on the data.
    """
    split = Split.from_dict(read_json(run.split))
    held_out = held_out_patients(config.evaluation, split)
    views = views_of(read_json(run.datalist)["cases"], run.prepared, config.data.spatial_dims)
    real = Source([view for view in views if view.patient in split.train], run.prepared)
    scored = {patient: [view for view in views if view.patient == patient] for patient in held_out}
    TASKS[config.evaluation.task].check(real, scored, config.evaluation.patch_size)


def held_out_patients(settings: EvaluationConfig, split: Split) -> tuple[str, ...]:
    """The patients to score.

    Raises:
        DataError: if they are too few for an interval.
    """
    patients = split.test if settings.patients == "test" else split.validation
    if len(patients) < 2:
        raise DataError(
            f"found {len(patients)} {settings.patients} patient(s); expected at least 2 for an interval. "
            "Add patients, or lower split.train or split.validation."
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


def write_summary(run: RunDir, settings: EvaluationConfig, patients: tuple[str, ...], task: Task) -> None:
    """`summary.json` and `scores.csv`, from the cells on disk."""
    cells = {
        arm: [read_json(run.evaluation / "cells" / f"{arm}-seed{seed}.json") for seed in settings.seeds]
        for arm in settings.arms
    }
    write_text(run.evaluation / "scores.csv", scores_csv(cells, patients, task))
    write_json(run.evaluation / "summary.json", summarized(cells, patients, task))


def _task(
    config: PipelineConfig, run: RunDir, split: Split, held_out: tuple[str, ...], synthetic: list[dict[str, Any]]
) -> Task:
    """The configured task on this run's patients; classification also learns from removals and counterparts."""
    entries, dims = read_json(run.datalist)["cases"], config.data.spatial_dims
    real = Source(views_of([e for e in entries if e["patient"] in split.train], run.prepared, dims), run.prepared)
    kind = TASKS[config.evaluation.task]
    inserted = [record for record in synthetic if record["kind"] == "inserted"]
    parents = {(record["parent"]["case"], record["parent"]["level"]) for record in inserted}
    counterparts = [v for v in real.views if (v.entry["case"], v.level) in parents and not v.tumor_voxels]
    return kind(
        config, real, synthetic_source([r for r in synthetic if r["kind"] in kind.learns_from], run, dims),
        Source(counterparts, run.prepared), [e for e in entries if e["patient"] in held_out], run.prepared,
    )  # fmt: skip


def synthetic_source(records: list[dict[str, Any]], run: RunDir, spatial_dims: int, classes: int = 1) -> Source | None:
    """The cases, decoded; each keeps the window it was written with. Labels hold the numbers of `classes` classes."""
    cases = [
        {**record, "image": str(run.synthetic / record["image"]), "label": str(run.synthetic / record["label"])}
        for record in records
    ]
    if not cases:
        return None
    folder = run.evaluation / "prepared"
    numbers = tuple((number,) for number in range(1, classes + 1))
    entries, _ = prepare_cases(cases, folder, spatial_dims=spatial_dims, classes=numbers)
    return Source(views_of(entries, folder, spatial_dims), folder)
