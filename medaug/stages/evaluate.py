"""Does it help? The same segmentation network with and without synthetic cases, over seeds, on held-out patients.

Reads: `prepared/`, `split.json`, `synthetic/datalist.json`. Writes `evaluation/`: `cells/<arm>-seed<k>.json` (one a
trained network, so a stopped evaluation goes on where it was), `scores.csv`, `summary.json`.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medaug.errors import ConfigError, DataError
from medaug.evaluation import (
    METRICS,
    Comparison,
    SegmentationConfig,
    compare,
    holm,
    mean_interval,
    predict,
    score_patient,
    train_segmenter,
)
from medaug.evaluation.samples import SegmentationSamples, Source
from medaug.io.atomic import read_json, write_json, write_text
from medaug.io.cache import prepare_cases
from medaug.io.prepared import View, views_of
from medaug.progress import track
from medaug.splits import Split, refuse_leakage
from medaug.stages.config import EvaluationConfig, PipelineConfig
from medaug.stages.runs import RunDir, essential, fingerprint, run_stage
from medaug.volumes import Window

ARMS: dict[str, bool] = {"standard": False, "standard+gan": True}
"""Arm → whether it trains on synthetic insertions too. All arms share the standard augmentation."""
REFERENCE = "standard"
LOSS_EVERY = 10


def evaluate(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        LeakageError: if the synthetic cases or the weights were made from validation or test patients.
    """
    check_arms(config.evaluation)
    synthetic = read_json(run.synthetic / "datalist.json")
    inputs = [essential(config.evaluation), fingerprint(read_json(run.datalist)), fingerprint(synthetic)]
    return run_stage(run, "evaluate", inputs, [run.evaluation], lambda: _evaluate(config, run, synthetic["training"]))


def _evaluate(config: PipelineConfig, run: RunDir, synthetic: list[dict[str, Any]]) -> None:
    split = Split.from_dict(read_json(run.split))
    check_provenance(synthetic, split)
    settings, entries = config.evaluation, read_json(run.datalist)["cases"]
    dims = config.data.spatial_dims
    real = Source(views_of([e for e in entries if e["patient"] in split.train], run.prepared, dims), run.prepared)
    invented = _synthetic_source(synthetic, run, dims)
    held_out = held_out_patients(settings, split)
    for seed in settings.seeds:
        for arm in settings.arms:
            cell = run.evaluation / "cells" / f"{arm}-seed{seed}.json"
            if not cell.exists():
                source = invented if ARMS[arm] else None
                write_json(cell, _cell(config, run, arm, seed, real, source, entries, held_out))
    write_summary(run, settings, held_out)


def check_arms(settings: EvaluationConfig) -> None:
    """Refuses arms that do not exist.

    Raises:
        ConfigError: naming them, and those that do.
    """
    unknown = [arm for arm in settings.arms if arm not in ARMS]
    if unknown:
        raise ConfigError(f"evaluation.arms: found {', '.join(unknown)}; expected some of: {', '.join(ARMS)}")


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


def write_summary(run: RunDir, settings: EvaluationConfig, patients: tuple[str, ...]) -> dict[str, Any]:
    """Scores by arm with intervals, and every arm against `standard`, from the cells on disk."""
    cells = {
        (arm, seed): read_json(run.evaluation / "cells" / f"{arm}-seed{seed}.json")
        for arm in settings.arms for seed in settings.seeds
    }  # fmt: skip
    tables = {
        arm: {
            metric: np.array([[cells[arm, seed]["scores"][p][metric] for seed in settings.seeds] for p in patients])
            for metric in METRICS
        }
        for arm in settings.arms
    }
    arms = {
        arm: {metric: asdict(mean_interval(table, np.random.RandomState(0))) for metric, table in by_metric.items()}
        for arm, by_metric in tables.items()
    }
    others = [arm for arm in settings.arms if arm != REFERENCE and REFERENCE in settings.arms]
    comparisons = [asdict(c) for metric in METRICS for c in holm([_compare(tables, arm, metric) for arm in others])]
    summary = {"patients": list(patients), "seeds": list(settings.seeds), "arms": arms, "comparisons": comparisons}
    write_json(run.evaluation / "summary.json", summary)
    write_text(run.evaluation / "scores.csv", _scores_csv(cells, patients))
    return summary


def _compare(tables: dict[str, dict[str, np.ndarray]], arm: str, metric: str) -> Comparison:
    return compare(
        tables[arm][metric], tables[REFERENCE][metric], metric=metric, rng=np.random.RandomState(0), arm=arm,
        higher_is_better=METRICS[metric].higher_is_better, reference=REFERENCE,
    )  # fmt: skip


def _cell(
    config: PipelineConfig, run: RunDir, arm: str, seed: int, real: Source, synthetic: Source | None,
    entries: list[dict[str, Any]], held_out: tuple[str, ...],
) -> dict[str, Any]:  # fmt: skip
    """Trains one network and scores it on every held-out patient."""
    settings, network_config = config.evaluation, segmentation_config(config)
    samples = SegmentationSamples(
        real, synthetic, synthetic_ratio=settings.synthetic_ratio, seed=seed, patch_size=settings.patch_size,
        length=settings.updates * settings.batch_size,
    )  # fmt: skip
    losses: list[tuple[int, float]] = []
    with track(f"segment {arm}, seed {seed}", settings.updates) as tracker:

        def on_update(update: int, loss: float) -> None:
            tracker.advance(f"loss {loss:.3f}")
            if update % LOSS_EVERY == 0:
                losses.append((update, round(loss, 5)))

        network = train_segmenter(samples, network_config, seed=seed, workers=settings.workers, on_update=on_update)
    scores = {}
    with track("score patients", len(held_out)) as tracker:
        for patient in held_out:
            mine = [entry for entry in entries if entry["patient"] == patient]
            pairs = [_segmented(network, entry, run.prepared, network_config) for entry in mine]
            spacing_mm = mine[0]["spacing_mm"][: pairs[0][0].ndim]
            scores[patient] = score_patient(pairs, spacing_mm, settings.tolerance_mm)
            tracker.advance()
    return {"arm": arm, "seed": seed, "scores": scores, "losses": losses}


def _segmented(
    network: torch.nn.Module, entry: dict[str, Any], folder: Path, config: SegmentationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """(prediction, truth) of one case, at the shape it is stored in."""
    view = View(entry, None, 0)
    image = torch.from_numpy(Window(**entry["window"]).normalize(np.array(view.raw(folder, "image"), np.float32)))
    truth = np.asarray(view.raw(folder, "label")) > 0
    if image.ndim == config.spatial_dims:
        return predict(network, image[None], config)[0].numpy(), truth
    stack = image.movedim(-1, 0)[:, None]  # (Z, 1, X, Y)
    return predict(network, stack, config)[:, 0].movedim(0, -1).numpy(), truth


def segmentation_config(config: PipelineConfig) -> SegmentationConfig:
    """The downstream network's settings out of the pipeline's."""
    s = config.evaluation
    return SegmentationConfig(
        spatial_dims=config.data.spatial_dims, channels=s.channels, updates=s.updates, batch_size=s.batch_size,
        learning_rate=s.learning_rate, precision=s.precision, patch_size=s.patch_size,
    )  # fmt: skip


def _synthetic_source(synthetic: list[dict[str, Any]], run: RunDir, spatial_dims: int) -> Source | None:
    """The inserted cases, decoded; each keeps the window of the scan it was made from."""
    inserted = [
        {**record, "image": str(run.synthetic / record["image"]), "label": str(run.synthetic / record["label"])}
        for record in synthetic if record["kind"] == "inserted"
    ]  # fmt: skip
    if not inserted:
        return None
    folder = run.evaluation / "prepared"
    entries, _ = prepare_cases(inserted, folder, spatial_dims=spatial_dims)
    return Source(views_of(entries, folder, spatial_dims), folder)


def _scores_csv(cells: dict[tuple[str, int], dict[str, Any]], patients: tuple[str, ...]) -> str:
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["arm", "seed", "patient", *METRICS])
    by_arm: dict[str, list[list[Any]]] = defaultdict(list)
    for (arm, seed), cell in cells.items():
        by_arm[arm] += [[arm, seed, p, *(round(cell["scores"][p][m], 5) for m in METRICS)] for p in patients]
    for rows in by_arm.values():
        writer.writerows(rows)
    return stream.getvalue()
