"""The backend `monai`: networks that outline tumors, or tell whether there is one, trained in this process.

The same network for every arm of a kind; a segmentation is scored scan by scan, a classification slice by slice, or
patch by patch where `evaluation.patch_size` is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose

from medaug.data.prepared import View, filled_up, views_of
from medaug.data.records import PreparedCase
from medaug.evaluation.metrics import METRICS, Scored, check_kinds, within_patient
from medaug.evaluation.networks import ClassificationConfig, SegmentationConfig
from medaug.evaluation.outlines import Outlined
from medaug.evaluation.patients import OutlineScores, score_outlined
from medaug.evaluation.predictions import predict, tumor_probability
from medaug.evaluation.samples import ClassificationSamples, SegmentationSamples, ViewFolder, patches_of
from medaug.experiment.arms import Arm
from medaug.experiment.downstream import Downstream
from medaug.experiment.records import PatientScores, SliceScores
from medaug.experiment.summary import CLASS_SEPARATOR
from medaug.processes import LARGE_VOXELS, worked_out

VALIDATION_SAMPLES = 64
"""So many, the same each time, decide which weights of a training are kept."""


class Segmentation(Downstream):
    """Outline the tumor, the classes that the data has, or the regions that are asked for."""

    learns_from = ("inserted", "translated")

    @classmethod
    def check(cls, real: ViewFolder, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
        """Any patients will do: one without a tumor is scored too."""

    @cached_property
    def network_config(self) -> SegmentationConfig:
        data, evaluation, plan = self.config.data, self.config.evaluation, self.plan
        return SegmentationConfig(
            spatial_dims=data.spatial_dims,
            sequences=data.channels,
            classes=len(data.class_names),
            regions=tuple(self.config.scored.values()) if evaluation.regions else (),
            channels=plan.channels,
            strides=plan.strides,
            residual=evaluation.residual,
            patch_size=plan.window_size,
            mirror_axes=plan.mirror_axes,
            updates=plan.updates,
            batch_size=plan.batch_size,
            learning_rate=plan.learning_rate,
            accelerator=self.config.accelerator,
            precision=self.config.precision,
        )

    def samples(self, arm: Arm, **shared: Any) -> SegmentationSamples:
        real = self.target_labelled if arm.target else self.real
        assert real is not None  # arms of the target are refused where it has no labels
        return SegmentationSamples(real, self.synthetic_of(arm, shared["seed"]), **shared)

    def validation_samples(self, seed: int) -> SegmentationSamples | None:
        if self.validation is None:
            return None
        return SegmentationSamples(
            self.validation,
            None,
            synthetic_ratio=0.0,
            seed=seed,
            length=VALIDATION_SAMPLES,
            patch_size=self.patch_size or self.sample_size,
            augmentation=Compose([]),
        )

    def scored(self, network: torch.nn.Module) -> Iterator[PatientScores]:
        """Scores the outlines, and counts the lesions that were found and what was found beside them.

        Metrics of large scans are computed in other processes, while the network is at the next patient.
        """
        settings, scored = self.config.evaluation, self.config.scored

        def outlined() -> Iterator[Callable[[], OutlineScores]]:
            for entries in self.by_patient.values():
                pairs = [(entry, *self.segmented(network, entry)) for entry in entries]
                maps = [Outlined(entry.scan, seen, truth, entry.spacing_mm) for entry, seen, truth in pairs]
                yield partial(score_outlined, maps, scored, settings.tolerance_mm)

        large = any(math.prod(entry.shape) >= LARGE_VOXELS for entry in self.entries)
        found = worked_out(outlined(), settings.workers if large else 0, setting="evaluation.workers")
        for patient, (by_kind, counted) in zip(self.by_patient, found, strict=True):
            scores: dict[str, float | None] = {n: float(np.mean([own[n] for own in by_kind.values()])) for n in METRICS}
            if len(scored) > 1:
                for kind, own in by_kind.items():
                    scores |= {f"{name}{CLASS_SEPARATOR}{kind}": value for name, value in own.items()}
            yield PatientScores(scores={patient: scores}, detection={patient: counted})

    def segmented(self, network: torch.nn.Module, entry: PreparedCase) -> tuple[np.ndarray, np.ndarray]:
        """(prediction, truth) of one case, class numbers at the shape it is stored in."""
        view = View(entry, None, 0)
        return self.predicted(network, view.normalized(self.folder)), view.classes(self.folder)

    def predicted(self, network: torch.nn.Module, normalized: np.ndarray) -> np.ndarray:
        """Class numbers (*S) of an image (C, *S) in [-1, 1]; a volume goes through a 2-D network slice by slice.

        An image smaller than the samples is filled up as they were, and cut back.
        """
        config = self.network_config
        image = torch.from_numpy(filled_up(normalized, (0, *self.sample_size)))
        own = tuple(slice(size) for size in normalized.shape[1:])
        if image.ndim == config.spatial_dims + 1:
            return predict(network, image, config)[0].numpy()[own]
        stack = image.movedim(-1, 0)  # (Z, C, X, Y)
        return predict(network, stack, config)[:, 0].movedim(0, -1).numpy()[own]


class Classification(Downstream):
    """Tell whether there is a tumor, in a slice (2-D), a volume (3-D), or a patch of either."""

    learns_from = ("inserted", "removed")

    @cached_property
    def scored_views(self) -> dict[str, list[View]]:
        """The views to score, by patient: made once, for all cells."""
        return {patient: views_of(cases, self.config.data.spatial_dims) for patient, cases in self.by_patient.items()}

    @classmethod
    def check(cls, real: ViewFolder, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
        """Both kinds to train on, and where whole views are scored both kinds in two patients."""
        ClassificationSamples(real, None, None, synthetic_ratio=0, seed=0, length=0, patch_size=patch_size)
        if patch_size is None:
            check_kinds([np.array([view.tumor_voxels > 0 for view in views]) for views in held_out.values()])

    @cached_property
    def network_config(self) -> ClassificationConfig:
        plan, data, evaluation = self.plan, self.config.data, self.config.evaluation
        return ClassificationConfig(
            spatial_dims=data.spatial_dims,
            sequences=data.channels,
            width=evaluation.classifier_width,
            updates=plan.updates,
            batch_size=plan.batch_size,
            learning_rate=plan.learning_rate,
            accelerator=self.config.accelerator,
            precision=self.config.precision,
        )

    @property
    def patch_size(self) -> tuple[int, ...] | None:
        """Patches are classified where they are asked for; else whole views."""
        return self.config.evaluation.patch_size

    def samples(self, arm: Arm, **shared: Any) -> ClassificationSamples:
        synthetic = self.synthetic_of(arm, shared["seed"])
        assert synthetic is None or isinstance(synthetic, ViewFolder)  # nothing is made online for it
        return ClassificationSamples(self.real, synthetic, self.counterparts, **shared)

    def scored(self, network: torch.nn.Module) -> Iterator[PatientScores]:
        """The metrics of a patient alone are None where all slices are of one kind; all probabilities are kept."""
        config = self.network_config
        for patient, views in self.scored_views.items():
            probabilities, tumor = [], []
            for view in views:
                patches = list(patches_of(view.read(self.folder), self.config.evaluation.patch_size))
                if patches:
                    images = np.stack([filled_up(image, (0, *self.sample_size)) for image, _ in patches])
                    probabilities.append(tumor_probability(network, torch.from_numpy(images), config))
                    tumor += [bool(label.any()) for _, label in patches]
            found = Scored(torch.cat(probabilities).double().numpy(), np.array(tumor))
            slices = SliceScores([round(float(x), 6) for x in found.scores], found.tumor.tolist())
            yield PatientScores(scores={patient: within_patient(found)}, slices={patient: slices})


DOWNSTREAM: dict[str, type[Downstream]] = {"segmentation": Segmentation, "classification": Classification}
"""`evaluation.task` → kind."""
