"""Does translation help across domains? Labels in A only, tests in A and in B (Sandfort 2019, Sci Rep 9:16884).

Reads: `prepared/`, `prepared_b/`, `split.json`, `synthetic/datalist.json`. Writes `evaluation/`: `cells/`, and for each
test set (`source`, `target`) a `scores-*.csv`; `summary.json` holds both test sets. The labels of B's training patients
are read by the arm `target-labels` alone: it says how good a network with those labels would be, and is no method.
That network also looks at the source's held-out scans as translated: labelled lesions it does not find there were lost,
what it finds beside them was gained; on real target scans that is its own error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from medaug.errors import DataError
from medaug.evaluation import lost_and_gained
from medaug.evaluation.samples import Source
from medaug.io.atomic import read_json, write_json
from medaug.io.prepared import View, views_of
from medaug.progress import track
from medaug.splits import Split
from medaug.stages.arms import ARMS, check_arms
from medaug.stages.config import PipelineConfig
from medaug.stages.downstream import Segmentation
from medaug.stages.held_out import check_provenance, held_out_patients, synthetic_source
from medaug.stages.registered import translated_entry
from medaug.stages.runs import RunDir, essential, fingerprint, run_stage
from medaug.stages.summary import write_domain_summary
from medaug.transforms import TranslateDomain
from medaug.translators.weights import load_weights
from medaug.volumes import Window

TESTS = ("source", "target")


def evaluate_domains(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        DataError: if a test set has too few labelled patients.
        LeakageError: if the synthetic cases or the weights were made from validation or test patients.
    """
    check_arms(config.evaluation.arms, two_domains=True)
    synthetic = read_json(run.synthetic / "datalist.json")["training"]
    datalists = [fingerprint(read_json(path)) for path in (run.datalist, run.datalist_b)]
    inputs = [essential(config.evaluation), *datalists, fingerprint(synthetic)]
    return run_stage(run, "evaluate_domains", inputs, [run.evaluation], lambda: _evaluate(config, run, synthetic))


def check_labels(config: PipelineConfig, run: RunDir) -> None:
    """Refuses data that cannot be evaluated on: after the reading, not after an hour of training.

    Raises:
        DataError: naming the domain without labels.
    """
    _tasks(config, run, [])


def _evaluate(config: PipelineConfig, run: RunDir, synthetic: list[dict[str, Any]]) -> None:
    check_provenance(synthetic, Split.from_dict(read_json(run.split)))
    settings, tasks = config.evaluation, _tasks(config, run, synthetic)
    cells: dict[str, list[dict[str, Any]]] = {arm: [] for arm in settings.arms}
    for seed in settings.seeds:
        for arm in settings.arms:
            path = run.evaluation / "cells" / f"{arm}-seed{seed}.json"
            if not path.exists():
                network, losses = tasks["source"].fitted(arm, ARMS[arm], seed)
                tests = {name: task.results(network) for name, task in tasks.items()}
                cell = {"arm": arm, "seed": seed, "tests": tests, "losses": losses}
                if ARMS[arm].target:
                    cell["lesions"] = _lesions(config, run, tasks, network)
                write_json(path, cell)
            cells[arm].append(read_json(path))
    write_domain_summary(run, cells, tasks)


def _lesions(
    config: PipelineConfig, run: RunDir, tasks: dict[str, Segmentation], network: nn.Module
) -> dict[str, Any]:  # fmt: skip
    """By kind of image and patient: scans, labelled lesions, those lost, and what was gained; any class counts."""
    translate = TranslateDomain(load_weights(run.weights), "a2b", seed=config.synthesis.seed)
    task = tasks["target"]

    def of_real(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        return task.segmented(network, entry)

    def of_translated(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        image, window = translated_entry(entry, run.prepared, translate)
        seen = Window(**window).normalize(image.astype(np.float32))
        return task.predicted(network, seen), View(entry, None, 0).classes(run.prepared)

    return {
        "real target": _counts(task.entries, of_real),
        "translated": _counts(tasks["source"].entries, of_translated),
    }


def _counts(
    entries: list[dict[str, Any]], segmented: Callable[[dict[str, Any]], tuple[np.ndarray, np.ndarray]]
) -> dict[str, dict[str, int]]:
    """By patient, summed over scans."""
    by_patient: dict[str, dict[str, int]] = {}
    with track("count lesions", len(entries)) as tracker:
        for entry in entries:
            prediction, truth = segmented(entry)
            counts = by_patient.setdefault(entry["patient"], {"scans": 0, "lesions": 0, "lost": 0, "gained": 0})
            for name, count in ({"scans": 1} | lost_and_gained(prediction > 0, truth > 0)._asdict()).items():
                counts[name] += count
            tracker.advance()
    return by_patient


def _tasks(config: PipelineConfig, run: RunDir, synthetic: list[dict[str, Any]]) -> dict[str, Segmentation]:
    """By test set; they differ in nothing but the patients to score."""
    split, dims = Split.from_dict(read_json(run.split)), config.data.spatial_dims
    held_out, training = held_out_patients(config.evaluation, split), {}
    tested: dict[str, list[dict[str, Any]]] = {}
    folders = {"source": run.prepared, "target": run.prepared_b}
    for name, datalist in (("source", run.datalist), ("target", run.datalist_b)):
        entries = read_json(datalist)["cases"]
        tested[name] = [e for e in entries if e["patient"] in held_out and "label" in e["arrays"]]
        if len({entry["patient"] for entry in tested[name]}) < 1:
            raise DataError(
                f"evaluation, test set {name}: found no {config.evaluation.patients} patient with a label; expected "
                "labels to score against. Add them, or change split.seed."
            )
        views = views_of([e for e in entries if e["patient"] in split.train], folders[name], dims)
        training[name] = Source(views, folders[name])
    real = training["source"]
    labelled = Source([view for view in real.views if "label" in view.entry["arrays"]], real.folder)
    shared = (
        config,
        labelled,
        synthetic_source(synthetic, run, dims, len(config.data.class_names)),
        Source([], real.folder),
    )
    return {name: Segmentation(*shared, tested[name], folders[name], training["target"]) for name in TESTS}
