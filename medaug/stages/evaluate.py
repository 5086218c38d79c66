"""Does it help? The same downstream network with and without synthetic cases, over seeds, on held-out patients.

Reads: `prepared/`, `split.json`, `synthetic/datalist.json`, and `train/weights` to insert online. Writes `evaluation/`:
`cells/<arm>-seed<k>.json` (one a trained network, so a stopped evaluation goes on where it was), `scores.csv`,
`summary.json`. What is trained and scored is the task's (`downstream`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.data.prepared import views_of
from medaug.data.records import prepared_cases
from medaug.data.synthetic import SyntheticCase, synthetic_cases
from medaug.evaluation.samples import ViewFolder, say_sample_size
from medaug.experiment.arms import arms_of, check_arms, refuse_own_arms
from medaug.experiment.cells import made_of, trained_cells
from medaug.experiment.downstream import DOWNSTREAM, Downstream
from medaug.experiment.edits import online_edits
from medaug.experiment.failures import failures_path, keep_failures
from medaug.experiment.gate import accepted_cases, is_judged
from medaug.experiment.held_out import check_provenance, held_out_patients, synthetic_source
from medaug.experiment.records import Cell
from medaug.experiment.summary import write_summary
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_print, essential, fingerprint, run_stage
from medaug.runs.provenance import refuse_known
from medaug.splits import Split

INSERTED = {"lesions", "size_mm", "shape"}
"""Settings of `synthesis` that decide what is inserted online."""


def evaluate(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        LeakageError: if the synthetic cases or the weights were made from validation or test patients.
    """
    check_arms(config)
    synthetic = synthetic_cases(run.synthetic / "datalist.json")
    drawn = config.synthesis.model_dump(mode="json", include=INSERTED)
    online = [read_json(run.weights / "model.json")["sha256"], drawn]
    made = fingerprint([case.to_json() for case in synthetic])
    inputs = [essential(config.evaluation), data_print(run.datalist), made, online]
    source = made_of(config.evaluation, *inputs[1:])

    def work() -> None:
        _evaluate(config, run, synthetic, source)

    return run_stage(run, "evaluate", inputs, [run.evaluation], work, keep=True)


def _evaluate(config: PipelineConfig, run: RunDir, synthetic: list[SyntheticCase], source: str) -> None:
    split = run.read_split()
    _check_leakage(run, split, synthetic)
    settings, arms = config.evaluation, arms_of(config.evaluation)
    held_out = held_out_patients(settings, split)
    task = _task(config, run, split, held_out, synthetic)
    cells = trained_cells(run, settings, source, lambda arm, seed: task.cell(arm, arms[arm], seed))
    write_summary(run, cells, held_out, task)


def evaluated_cell(config: PipelineConfig, run: RunDir, arm: str, seed: int, path: Path) -> Cell:
    """One cell alone, as a benchmark asks for it. Arms without a GAN need no synthetic cases.

    Args:
        path: where the cell will be; it is not written here, but its worst patients are kept beside it.

    Raises:
        LeakageError: if the synthetic cases or the weights were made from validation or test patients.
    """
    split = run.read_split()
    kind, synthetic = arms_of(config.evaluation)[arm], []
    if kind.synthetic:
        synthetic = synthetic_cases(run.synthetic / "datalist.json")
        _check_leakage(run, split, synthetic)
    task = _task(config, run, split, held_out_patients(config.evaluation, split), synthetic)
    return task.cell(arm, kind, seed, partial(keep_failures, failures_path(path), task))


def _check_leakage(run: RunDir, split: Split, synthetic: list[SyntheticCase]) -> None:
    """Neither the synthetic cases nor the weights, which insert online, may come from a held-out patient."""
    check_provenance(synthetic, split)
    refuse_known(read_json(run.weights / "model.json"), run, split, f"weights {run.weights}")


def check_patients(config: PipelineConfig, run: RunDir) -> None:
    """Refuses prepared patients that cannot be evaluated on: after the reading, not after an hour of training.

    Raises:
        DataError: if the patients to score are too few, or the task cannot be trained or scored on the data.
        LeakageError: if the weights of an own arm were made from one of them.
    """
    split = run.read_split()
    refuse_own_arms(config.evaluation, run, split)
    held_out = held_out_patients(config.evaluation, split)
    views = views_of(prepared_cases(run.datalist), run.prepared, config.data.spatial_dims)
    real = ViewFolder([view for view in views if view.patient in split.train], run.prepared)
    scored = {patient: [view for view in views if view.patient == patient] for patient in held_out}
    DOWNSTREAM[config.evaluation.task].check(real, scored, config.evaluation.patch_size)
    say_sample_size([real], config.evaluation.patch_size)


def _task(
    config: PipelineConfig, run: RunDir, split: Split, held_out: tuple[str, ...], synthetic: list[SyntheticCase]
) -> Downstream:
    """The configured task on this run's patients; classification also learns from removals and counterparts."""
    refuse_own_arms(config.evaluation, run, split)
    entries, dims = prepared_cases(run.datalist), config.data.spatial_dims
    real = ViewFolder(views_of([e for e in entries if e["patient"] in split.train], run.prepared, dims), run.prepared)
    kind = DOWNSTREAM[config.evaluation.task]
    inserted = [record for record in synthetic if record["kind"] == "inserted"]
    parents = {(record["parent"]["case"], record["parent"]["level"]) for record in inserted}
    counterparts = [v for v in real.views if (v.entry["case"], v.level) in parents and not v.tumor_voxels]
    written = synthetic_source([r for r in synthetic if r["kind"] in kind.learns_from], run, dims)
    return kind(
        config,
        real,
        written,
        ViewFolder(counterparts, run.prepared),
        [e for e in entries if e["patient"] in held_out],
        run.prepared,
        accepted=_accepted(config, synthetic, written),
        online=online_edits(config, run) if config.learns_online else {},
    )


def _accepted(config: PipelineConfig, synthetic: list[SyntheticCase], written: ViewFolder | None) -> ViewFolder | None:
    """Those written cases that the quality gate accepts, where it is asked."""
    if written is None or not is_judged(config):
        return None
    names = accepted_cases(config, synthetic)
    views = [view for view in written.views if view.entry["case"] in names]
    return ViewFolder(views, written.folder) if views else None
