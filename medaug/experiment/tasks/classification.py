"""Classification as the downstream task: is there a tumor? Scored slice by slice, or patch by patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from medaug.data.prepared import View, filled_up, views_of
from medaug.evaluation import (
    POOLED_METRICS,
    ClassificationConfig,
    PooledMetric,
    Scored,
    pseudo_values,
    train_classifier,
    tumor_probability,
    within_patient,
)
from medaug.evaluation.pooled import check_kinds
from medaug.evaluation.samples import ClassificationSamples, Source, patches_of
from medaug.experiment.arms import Arm
from medaug.experiment.tasks.base import Task


class Classification(Task):
    """Tell whether there is a tumor, in a slice (2-D), a volume (3-D), or a patch of either."""

    name = "classification"
    learns_from = ("inserted", "removed")

    @property
    def metrics(self) -> Mapping[str, PooledMetric]:
        return POOLED_METRICS

    @classmethod
    def check(cls, real: Source, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
        """Both kinds to train on, and where whole views are scored both kinds in two patients."""
        ClassificationSamples(real, None, None, synthetic_ratio=0, seed=0, length=0, patch_size=patch_size)
        if patch_size is None:
            check_kinds([np.array([view.tumor_voxels > 0 for view in views]) for views in held_out.values()])

    @property
    def network_config(self) -> ClassificationConfig:
        s = self.config.evaluation
        return ClassificationConfig(
            spatial_dims=self.config.data.spatial_dims,
            width=s.classifier_width,
            updates=s.updates,
            batch_size=s.batch_size,
            learning_rate=s.learning_rate,
            precision=s.precision,
        )

    def trained(self, arm: Arm, seed: int, on_update: Callable[[int, float], None]) -> torch.nn.Module:
        s = self.config.evaluation
        synthetic = self.synthetic_of(arm)
        assert synthetic is None or isinstance(synthetic, Source)  # nothing is made online for it
        samples = ClassificationSamples(
            self.real,
            synthetic,
            self.counterparts,
            synthetic_ratio=s.synthetic_ratio,
            seed=seed,
            patch_size=s.patch_size,
            length=s.updates * s.batch_size,
            pasting=arm.pasting(self.real),
            augmentation=arm.augmentation(self.config.data.spatial_dims, self.target or self.real),
        )
        return train_classifier(samples, self.network_config, seed=seed, workers=s.workers, on_update=on_update)

    def scored(self, network: torch.nn.Module, entries: list[dict[str, Any]]) -> Scored:
        probabilities, tumor = [], []
        for view in views_of(entries, self.folder, self.config.data.spatial_dims):
            patches = list(patches_of(view.read(self.folder), self.config.evaluation.patch_size))
            if patches:
                images = np.stack([filled_up(image, self.sample_size) for image, _ in patches])[:, None]
                probabilities.append(tumor_probability(network, torch.from_numpy(images), self.network_config))
                tumor += [bool(label.any()) for _, label in patches]
        return Scored(torch.cat(probabilities).double().numpy(), np.array(tumor))

    def gathered(self, results: dict[str, Any]) -> dict[str, Any]:
        """The metrics of a patient alone (None where all slices are of one kind), and all probabilities."""
        return {
            "scores": {patient: within_patient(scored) for patient, scored in results.items()},
            "slices": {
                patient: {"probability": [round(float(x), 6) for x in s.scores], "tumor": s.tumor.tolist()}
                for patient, s in results.items()
            },
        }

    def table(self, cells: Sequence[dict[str, Any]], patients: Sequence[str], metric: str) -> np.ndarray:
        columns = []
        for cell in cells:
            slices = [cell["slices"][patient] for patient in patients]
            scored = [Scored(np.array(s["probability"]), np.array(s["tumor"])) for s in slices]
            columns.append(pseudo_values(scored, POOLED_METRICS[metric].score))
        return np.stack(columns, axis=1)
