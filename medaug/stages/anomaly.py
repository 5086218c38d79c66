"""Are tumors found as what is not healthy? Every held-out slice scored by removal, or by latent search.

Reads: `prepared/`, `split.json`, weights. Writes `anomaly/`: `patients/<patient>.json` (slice by slice; a stopped
scoring goes on with the next patient), `scores.csv`, `summary.json` (AUC of tumor against tumor-free slices, beside
what plain brightness reaches), `pictures.png` and `roc.png`. The method is not told where a tumor is; labels only
say what was to be found.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medaug.audits.anomaly_scores import Rows, anomaly_method, anomaly_pictures, scored_slices, write_results
from medaug.config import PipelineConfig
from medaug.data.atomic import atomic_path, read_json, write_json
from medaug.data.cache import file_name
from medaug.data.prepared import Prepared, View
from medaug.evaluation.metrics import check_kinds
from medaug.models.weights import read_facts
from medaug.progress import track
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_prints, essential, run_stage
from medaug.runs.provenance import refuse_known
from medaug.splits import Split


def anomaly(config: PipelineConfig, run: RunDir, weights: Path | None = None) -> bool:
    """The stage; says whether it had anything to do. `weights`: others than the run's own.

    Raises:
        LeakageError: if the weights were trained on validation or test patients of this run.
        DataError: if there are not two patients with and two without tumor slices to tell apart.
    """
    weights = weights or run.weights
    facts = read_facts(weights)
    split = run.read_split()
    refuse_known(facts, run, split, f"weights {weights}")
    settings = [essential(config.anomaly), config.precision, config.evaluation.patients]
    inputs = [*settings, facts.sha256, *data_prints(run), split.hash]
    return run_stage(run, "anomaly", inputs, [run.anomaly], lambda: _anomaly(config, run, weights, split))


def _anomaly(config: PipelineConfig, run: RunDir, weights: Path, split: Split) -> None:
    patients = split.test if config.evaluation.patients == "test" else split.validation
    views = Prepared(run.datalist).views(patients, config.data.spatial_dims)
    mine = {patient: [view for view in views if view.patient == patient] for patient in patients}
    check_kinds([np.concatenate([_tumor_by_level(view, run) for view in members]) for members in mine.values()])
    judge = anomaly_method(weights, config)
    with track("score slices", len(views)) as tracker:
        for patient in patients:
            path = _kept(run, patient)
            if path.exists():
                tracker.advance(steps=len(mine[patient]))
                continue
            rows: Rows = []
            for view in mine[patient]:
                rows += scored_slices(view, view.read(run.prepared), judge.scorer, config.anomaly)
                tracker.advance()
            write_json(path, {"patient": patient, "slices": rows})
    by_patient = {p: read_json(_kept(run, p))["slices"] for p in patients}
    with atomic_path(run.anomaly / "pictures.png") as temporary:
        names = config.data.sequence_names
        temporary.write_bytes(anomaly_pictures(mine, by_patient, run, judge.scorer, names))
    write_results(run, by_patient, judge, config.anomaly)


def _kept(run: RunDir, patient: str) -> Path:
    return run.anomaly / "patients" / f"{file_name(patient)}.json"


def _tumor_by_level(view: View, run: RunDir) -> np.ndarray:
    label = np.asarray(view.raw(run.prepared, "label"))
    return np.asarray(label.reshape(*label.shape[:2], -1).any(axis=(0, 1)))
