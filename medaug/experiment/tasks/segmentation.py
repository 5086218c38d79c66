"""Segmentation as the downstream task, scored scan by scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from medaug.config import PipelineConfig
from medaug.data.prepared import View, filled_up
from medaug.evaluation import METRICS, Metric, SegmentationConfig, predict, score_patient, train_segmenter
from medaug.evaluation.detection import Outlined, count_detections
from medaug.evaluation.samples import SegmentationSamples, Source
from medaug.experiment.arms import Arm
from medaug.experiment.cells import score_table
from medaug.experiment.tasks.base import Task
from medaug.volumes import Window

CLASS_SEPARATOR = ": "
"""Between a metric and the class that it is of, where there are several."""


class Segmentation(Task):
    """Outline the tumor, or the classes that the data has."""

    name = "segmentation"
    learns_from = ("inserted", "translated")

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Of one class; of several the means over them, and each class's own."""
        classes = self.config.data.class_names
        if len(classes) == 1:
            return METRICS
        return dict(METRICS) | {
            f"{name}{CLASS_SEPARATOR}{kind}": replace(metric, title=f"{metric.title}, {kind}")
            for kind in classes
            for name, metric in METRICS.items()
        }

    @classmethod
    def check(cls, real: Source, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
        """Any patients will do: one without a tumor is scored too."""

    @property
    def network_config(self) -> SegmentationConfig:
        return network_config_of(self.config)

    def trained(self, arm: Arm, seed: int, on_update: Callable[[int, float], None]) -> torch.nn.Module:
        s = self.config.evaluation
        real = self.target_labelled if arm.target else self.real
        assert real is not None  # arms of the target are refused where it has no labels
        samples = SegmentationSamples(
            real,
            self.synthetic_of(arm),
            synthetic_ratio=s.synthetic_ratio,
            seed=seed,
            patch_size=self.sample_size,
            length=s.updates * s.batch_size,
            pasting=arm.pasting(self.real),
            augmentation=arm.augmentation(self.config.data.spatial_dims, self.target or self.real),
        )
        return train_segmenter(samples, self.network_config, seed=seed, workers=s.workers, on_update=on_update)

    def scored(self, network: torch.nn.Module, entries: list[dict[str, Any]]) -> dict[str, Any]:
        """Its "scores", and its "detection": the lesions found and what was found beside them."""
        pairs = [self.segmented(network, entry) for entry in entries]
        classes = self.config.data.class_names
        outlined = [
            Outlined(entry["scan"], p, t, entry["spacing_mm"][: t.ndim])
            for entry, (p, t) in zip(entries, pairs, strict=True)
        ]
        dims = max(truth.ndim for _, truth in pairs)  # where a patient has volumes, a picture is one of one slice
        spacing_mm = next(entry["spacing_mm"] for entry in entries if len(entry["spacing_mm"]) >= dims)
        pairs = [
            (p.reshape(t.shape + (1,) * (dims - t.ndim)), t.reshape(t.shape + (1,) * (dims - t.ndim))) for p, t in pairs
        ]
        return {"scores": self._scores(pairs, spacing_mm[:dims]), "detection": count_detections(outlined, len(classes))}

    def _scores(self, pairs: list[tuple[np.ndarray, np.ndarray]], spacing_mm: Sequence[float]) -> dict[str, float]:
        tolerance_mm, classes = self.config.evaluation.tolerance_mm, self.config.data.class_names
        by_class = [
            score_patient([(p == number, t == number) for p, t in pairs], spacing_mm, tolerance_mm)
            for number in range(1, len(classes) + 1)
        ]
        means = {name: float(np.mean([scores[name] for scores in by_class])) for name in METRICS}
        if len(classes) == 1:
            return means
        own = {
            f"{name}{CLASS_SEPARATOR}{kind}": value
            for kind, scores in zip(classes, by_class, strict=True)
            for name, value in scores.items()
        }
        return means | own

    def gathered(self, results: dict[str, Any]) -> dict[str, Any]:
        return {part: {patient: r[part] for patient, r in results.items()} for part in ("scores", "detection")}

    def table(self, cells: Sequence[dict[str, Any]], patients: Sequence[str], metric: str) -> np.ndarray:
        return score_table(cells, patients, metric)

    def segmented(self, network: torch.nn.Module, entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """(prediction, truth) of one case, class numbers at the shape it is stored in."""
        view = View(entry, None, 0)
        raw = np.array(view.raw(self.folder, "image"), np.float32)
        return self.predicted(network, Window.from_dict(entry["window"]).normalize(raw)), view.classes(self.folder)

    def predicted(self, network: torch.nn.Module, normalized: np.ndarray) -> np.ndarray:
        """Class numbers of an image (*S) in [-1, 1]; a volume goes through a 2-D network slice by slice.

        An image smaller than the samples is filled up as they were, and cut back.
        """
        image, config = torch.from_numpy(filled_up(normalized, self.sample_size)), self.network_config
        own = tuple(slice(size) for size in normalized.shape)
        if image.ndim == config.spatial_dims:
            return predict(network, image[None], config)[0].numpy()[own]
        stack = image.movedim(-1, 0)[:, None]  # (Z, 1, X, Y)
        return predict(network, stack, config)[:, 0].movedim(0, -1).numpy()[own]


def network_config_of(config: PipelineConfig) -> SegmentationConfig:
    """Of the settings.

    Raises:
        ConfigError: if such a network cannot be built.
    """
    s, data = config.evaluation, config.data
    return SegmentationConfig(
        spatial_dims=data.spatial_dims,
        classes=len(data.class_names),
        network=s.network,
        channels=s.channels,
        updates=s.updates,
        batch_size=s.batch_size,
        learning_rate=s.learning_rate,
        precision=s.precision,
        patch_size=s.patch_size,
    )
