"""Does translation help across domains? Labels in A only, tests in A and in B (Sandfort 2019, Sci Rep 9:16884).

Reads: `prepared/`, `prepared_b/`, `split.json`, `synthetic/datalist.json`. Writes `evaluation/`: `cells/`, and for each
test set (`source`, `target`) a `scores-*.csv`; `summary.json` holds both test sets. The labels of B's training patients
are read by the arm `target-labels` alone: it says how good a network with those labels would be, and is no method.
That network also looks at the source's held-out scans as translated: labelled lesions it does not find there were lost,
what it finds beside them was gained; on real target scans that is its own error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from medaug.audits.registered import translated_entry
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.data.prepared import View, views_of, without_labels
from medaug.data.records import PreparedCase, prepared_cases
from medaug.data.synthetic import SyntheticCase, synthetic_cases
from medaug.errors import DataError
from medaug.evaluation.detection import lost_and_gained
from medaug.evaluation.samples import ViewFolder, say_sample_size
from medaug.experiment.arms import arms_of, check_arms, refuse_own_arms
from medaug.experiment.cells import made_of, trained_cells
from medaug.experiment.downstream import Segmentation
from medaug.experiment.held_out import check_provenance, held_out_patients, synthetic_source
from medaug.experiment.records import Cell
from medaug.experiment.summary import write_domain_summary
from medaug.models.weights import load_weights
from medaug.progress import track
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_print, essential, fingerprint, run_stage
from medaug.runs.provenance import refuse_known
from medaug.transforms import TranslateDomain

logger = logging.getLogger(__name__)

TESTS = ("source", "target")


def evaluate_domains(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        DataError: if there are too few patients to score, or a test set has no labels.
        LeakageError: if the synthetic cases or the weights were made from validation or test patients.
    """
    check_arms(config)
    synthetic = synthetic_cases(run.synthetic / "datalist.json")
    datalists = [data_print(path) for path in (run.datalist, run.datalist_b)]
    inputs = [essential(config.evaluation), *datalists, fingerprint([case.to_json() for case in synthetic])]
    source = made_of(config.evaluation, *inputs[1:])

    def work() -> None:
        _evaluate(config, run, synthetic, source)

    return run_stage(run, "evaluate_domains", inputs, [run.evaluation], work, keep=True)


def check_labels(config: PipelineConfig, run: RunDir) -> None:
    """Refuses data that cannot be trained or evaluated on: after the reading, not after an hour of training.

    Raises:
        DataError: naming the patients or the class without labels.
    """
    task = _tasks(config, run, [])["source"]
    say_sample_size([task.real, task.target_labelled], config.evaluation.patch_size)
    _check_classes(config, task.real, "data")
    arms = arms_of(config.evaluation)
    if any(arms[name].target for name in config.evaluation.arms):
        assert task.target_labelled is not None  # `_tasks` sets it
        _check_classes(config, task.target_labelled, "target")


def _evaluate(config: PipelineConfig, run: RunDir, synthetic: list[SyntheticCase], source: str) -> None:
    split = run.read_split()
    check_provenance(synthetic, split)
    refuse_known(read_json(run.weights / "model.json"), run, split, f"weights {run.weights}")
    settings, tasks, arms = config.evaluation, _tasks(config, run, synthetic), arms_of(config.evaluation)

    def cell(arm: str, seed: int) -> Cell:
        network, losses = tasks["source"].fitted(arm, arms[arm], seed)
        tests = {name: task.results(network) for name, task in tasks.items()}
        lesions = _lesions(config, run, tasks, network) if arms[arm].target else {}
        return Cell(arm=arm, seed=seed, tests=tests, losses=losses, lesions=lesions)

    write_domain_summary(run, trained_cells(run, settings, source, cell), tasks)


def _lesions(config: PipelineConfig, run: RunDir, tasks: dict[str, Segmentation], network: nn.Module) -> dict[str, Any]:
    """By kind of image and patient: scans, labelled lesions, those lost, and what was gained; any class counts."""
    translate = TranslateDomain(load_weights(run.weights), "a2b", seed=config.synthesis.seed)
    task = tasks["target"]

    def of_real(entry: PreparedCase) -> tuple[np.ndarray, np.ndarray]:
        return task.segmented(network, entry)

    def of_translated(entry: PreparedCase) -> tuple[np.ndarray, np.ndarray]:
        image, window = translated_entry(entry, run.prepared, translate)
        seen = window.normalize(image.astype(np.float32))
        return task.predicted(network, seen), View(entry, None, 0).classes(run.prepared)

    return {
        "real target": _counts(task.entries, of_real),
        "translated": _counts(tasks["source"].entries, of_translated),
    }


def _counts(
    entries: list[PreparedCase], segmented: Callable[[PreparedCase], tuple[np.ndarray, np.ndarray]]
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


def _tasks(config: PipelineConfig, run: RunDir, synthetic: list[SyntheticCase]) -> dict[str, Segmentation]:
    """By test set; they differ in nothing but the patients to score."""
    split, dims = run.read_split(), config.data.spatial_dims
    refuse_own_arms(config.evaluation, run, split)
    held_out = held_out_patients(config.evaluation, split)
    a, b = (
        _Domain(prepared_cases(path), folder)
        for path, folder in ((run.datalist, run.prepared), (run.datalist_b, run.prepared_b))
    )
    invented = synthetic_source(synthetic, run, dims, len(config.data.class_names), organs=False)
    shared: dict[str, Any] = {
        "config": config,
        "real": a.views(split.train, dims, labelled=True),
        "synthetic": invented,
        "counterparts": ViewFolder([], run.prepared),
        "target": b.views(split.train, dims, labelled=False),
        "target_labelled": b.views(split.train, dims, labelled=True),
    }
    return {
        name: Segmentation(**shared, entries=domain.labelled(held_out, f"test set {name}"), folder=domain.folder)
        for name, domain in zip(TESTS, (a, b), strict=True)
    }


class _Domain(NamedTuple):
    """The prepared cases of one domain."""

    entries: list[PreparedCase]
    folder: Path

    def views(self, patients: Collection[str], spatial_dims: int, *, labelled: bool) -> ViewFolder:
        """Views of the labelled cases of these patients, or of all of them without their labels.

        What is stored of them as an organ is the whole body.
        """
        chosen = [e for e in self.entries if e["patient"] in patients]
        chosen = [e for e in chosen if "label" in e["arrays"]] if labelled else without_labels(chosen)
        return ViewFolder(views_of(chosen, self.folder, spatial_dims), self.folder, organs=False)

    def labelled(self, patients: Collection[str], what: str) -> list[PreparedCase]:
        """Of the patients to score, those cases that can be."""
        chosen = [e for e in self.entries if e["patient"] in patients]
        entries = [e for e in chosen if "label" in e["arrays"]]
        if len(scored := {entry["patient"] for entry in entries}) < 2:
            raise DataError(
                f"evaluation, {what}: found labels of {len(scored)} of the patients {', '.join(patients)}; expected "
                "labels of at least 2, to score against. Add them, or change split.seed."
            )
        if len(entries) < len(chosen):
            names = ", ".join(e["case"] for e in chosen if "label" not in e["arrays"])
            logger.warning("%s: not scored, for want of a label: %s", what, names)
        return entries


def _check_classes(config: PipelineConfig, source: ViewFolder, key: str) -> None:
    """Every class must be in some training label: a network learns nothing of one that is not."""
    seen = {int(n) for view in source.views if view.tumor_voxels for n in np.unique(view.classes(source.folder))}
    missing = [name for number, name in enumerate(config.data.class_names, start=1) if number not in seen]
    if missing:
        raise DataError(
            f"{key}: found no label of a training patient with {', '.join(missing)}; expected some of every class, to "
            f"train the networks of the test on. Add labels, or check {key}.classes and {key}.tumor_labels"
            + (", or leave the arm target-labels out." if key == "target" else ".")
        )
