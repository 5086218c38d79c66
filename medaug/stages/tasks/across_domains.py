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
from functools import partial

import numpy as np
from torch import nn

from medaug.audits.scans import translated_image
from medaug.config import PipelineConfig
from medaug.data.prepared import Prepared, View
from medaug.data.records import PreparedCase
from medaug.data.synthetic import SyntheticCase, synthetic_cases
from medaug.errors import DataError
from medaug.evaluation.detection import lost_and_gained
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.arms import arms_of, refuse_own_arms
from medaug.experiment.backends.monai import Segmentation
from medaug.experiment.cells import trained_cells
from medaug.experiment.downstream import say_plan, validation_views
from medaug.experiment.held_out import check_provenance, held_out_patients, synthetic_source
from medaug.experiment.records import Cell, Json
from medaug.experiment.summary import write_domain_summary
from medaug.models.weights import load_weights, read_facts
from medaug.progress import track
from medaug.runs.folder import RunDir
from medaug.runs.provenance import refuse_known
from medaug.transforms import TranslateDomain

logger = logging.getLogger(__name__)

TESTS = ("source", "target")


def check_labels(config: PipelineConfig, run: RunDir) -> None:
    """Refuses data that cannot be trained or evaluated on: after the reading, not after an hour of training.

    Raises:
        DataError: naming the patients or the class without labels.
    """
    task = downstream_of(config, run, [])["source"]
    _check_classes(config, task.real, "data")
    arms = arms_of(config.evaluation)
    if any(arms[name].target for name in config.evaluation.arms):
        assert task.target_labelled is not None  # `_tasks` sets it
        _check_classes(config, task.target_labelled, "target")
    say_plan(config, run, [task.real, task.target_labelled])


def evaluate(config: PipelineConfig, run: RunDir, made_of: str) -> None:
    """Trains the cells that are missing, and scores each network on both test sets."""
    synthetic, split = synthetic_cases(run.synthetic / "datalist.json"), run.read_split()
    check_provenance(synthetic, split)
    refuse_known(read_facts(run.weights), run, split, f"weights {run.weights}")
    tasks = downstream_of(config, run, synthetic)
    scoring = tasks["source"].scoring

    def cell(arm: str, seed: int) -> Cell:
        network, losses = tasks["source"].trained(arm, seed)
        tests = {name: task.results(network) for name, task in tasks.items()}
        lesions = _lesions(config, run, tasks, network) if scoring.arms[arm].target else {}
        return Cell(arm=arm, seed=seed, tests=tests, losses=losses, lesions=lesions)

    cells = trained_cells(run, config.evaluation, made_of, cell)
    write_domain_summary(run, cells, TESTS, scoring)


def _lesions(config: PipelineConfig, run: RunDir, tasks: dict[str, Segmentation], network: nn.Module) -> Json:
    """Counts scans, labelled lesions, those lost and what was gained, by kind of image and patient, of any class."""
    weights = load_weights(run.weights).on(config.accelerator, config.precision)
    translate = TranslateDomain(weights, "a2b", seed=config.synthesis.seed)
    task = tasks["target"]

    def of_real(entry: PreparedCase) -> tuple[np.ndarray, np.ndarray]:
        return task.segmented(network, entry)

    def of_translated(entry: PreparedCase) -> tuple[np.ndarray, np.ndarray]:
        image, windows = translated_image(entry, run.prepared, translate)
        seen = np.stack([w.normalize(channel) for w, channel in zip(windows, image.astype(np.float32), strict=True)])
        return task.predicted(network, seen), View(entry, None, 0).classes(run.prepared)

    return {
        "real target": _counts(task.entries, of_real),
        "translated": _counts(tasks["source"].entries, of_translated),
    }


def _counts(
    entries: list[PreparedCase], segmented: Callable[[PreparedCase], tuple[np.ndarray, np.ndarray]]
) -> dict[str, dict[str, int]]:
    """Sums over the scans of each patient."""
    by_patient: dict[str, dict[str, int]] = {}
    with track("count lesions", len(entries)) as tracker:
        for entry in entries:
            prediction, truth = segmented(entry)
            counts = by_patient.setdefault(entry.patient, {"scans": 0, "lesions": 0, "lost": 0, "gained": 0})
            for name, count in ({"scans": 1} | lost_and_gained(prediction > 0, truth > 0)._asdict()).items():
                counts[name] += count
            tracker.advance()
    return by_patient


def downstream_of(config: PipelineConfig, run: RunDir, synthetic: list[SyntheticCase]) -> dict[str, Segmentation]:
    """The test sets by name: only the patients to score differ. What is stored as an organ is the whole body."""
    split, dims = run.read_split(), config.data.spatial_dims
    refuse_own_arms(config.evaluation, run, split)
    held_out = held_out_patients(config.evaluation, split)
    a, b = Prepared(run.datalist), Prepared(run.datalist_b)
    segmentation = partial(
        Segmentation,
        config=config,
        real=ViewFolder(a.views(split.train, dims, labelled=True), a.folder),
        synthetic=synthetic_source(synthetic, run, config.data),
        counterparts=ViewFolder([], run.prepared),
        validation=validation_views(config, a, split),
        target=ViewFolder(b.views(split.train, dims, blind=True), b.folder),
        target_labelled=ViewFolder(b.views(split.train, dims, labelled=True), b.folder),
    )
    return {
        test: segmentation(entries=_labelled(domain, held_out, f"test set {test}"), folder=domain.folder)
        for test, domain in zip(TESTS, (a, b), strict=True)
    }


def _labelled(domain: Prepared, patients: Collection[str], what: str) -> list[PreparedCase]:
    """Those cases of the patients to score that can be."""
    entries = domain.of(patients, labelled=True)
    if len(scored := {entry.patient for entry in entries}) < 2:
        raise DataError(
            f"evaluation, {what}: found labels of {len(scored)} of the patients {', '.join(patients)}; expected "
            "labels of at least 2, to score against. Add them, or change split.seed."
        )
    if names := [case.case for case in domain.of(patients) if not case.labelled]:
        logger.warning("%s: not scored, for want of a label: %s", what, ", ".join(names))
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
