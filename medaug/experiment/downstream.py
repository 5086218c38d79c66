"""The two kinds of downstream network of an evaluation: what a cell trains and scores, and its scores by patient.

The same network for every arm of a kind; a segmentation is scored scan by scan, a classification slice by slice, or
patch by patch where `evaluation.patch_size` is given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from medaug.config import PipelineConfig
from medaug.data.prepared import View, filled_up, views_of
from medaug.data.records import PreparedCase
from medaug.errors import DataError
from medaug.evaluation.classification import ClassificationConfig, tumor_probability
from medaug.evaluation.detection import Outlined, count_detections
from medaug.evaluation.metrics import METRICS, Metric, score_patient
from medaug.evaluation.pooled import POOLED_METRICS, Scored, check_kinds, pseudo_values, within_patient
from medaug.evaluation.samples import (
    ClassificationSamples,
    Online,
    SegmentationSamples,
    ViewFolder,
    patches_of,
    sample_size,
)
from medaug.evaluation.segmentation import SegmentationConfig, predict
from medaug.evaluation.updates import NetworkConfig, train_network
from medaug.experiment.arms import Arm, arms_of
from medaug.experiment.edits import OnlineInsertion, OnlineRemoval
from medaug.experiment.records import Cell, PatientScores, SliceScores
from medaug.experiment.summary import score_table
from medaug.progress import track
from medaug.volumes import length_unit

LOSS_EVERY = 10
CLASS_SEPARATOR = ": "
"""Between a metric and the class that it is of, where there are several."""


@dataclass(frozen=True)
class Downstream(ABC):
    """A downstream network on a run's patients.

    Attributes:
        real: the training patients' views.
        synthetic: the written cases that GAN arms also train on, None without one; `counterparts` are the training
            views that insertions were made from.
        entries: the prepared cases of the patients to score, in `folder`.
        target: the training patients' views of the other domain, where there are two; looked at without labels.
        target_labelled: those of them that have labels, which a ceiling alone reads.
        accepted: those of `synthetic` that the quality gate accepts, None without one.
        online: by `Arm.synthetic`, what makes samples while a network trains, where the task learns from such.
    """

    config: PipelineConfig
    real: ViewFolder
    synthetic: ViewFolder | None
    counterparts: ViewFolder
    entries: list[PreparedCase]
    folder: Path
    target: ViewFolder | None = None
    target_labelled: ViewFolder | None = None
    accepted: ViewFolder | None = None
    online: Mapping[str, OnlineInsertion | OnlineRemoval] = field(default_factory=dict)

    name: ClassVar[str]
    learns_from: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """The scores of a patient, the main one first."""

    def cell(
        self, name: str, arm: Arm, seed: int, also: Callable[[torch.nn.Module, PatientScores], None] | None = None
    ) -> Cell:
        """Trains one network and scores it on every patient.

        Args:
            also: is given the network and its scores before the network is forgotten.
        """
        insertion = self.synthetic_of(arm)
        before = insertion.without_room if isinstance(insertion, OnlineInsertion) else 0
        network, losses = self.fitted(name, arm, seed)
        found = self.results(network)
        if also is not None:
            also(network, found)
        counted = insertion.without_room - before if isinstance(insertion, OnlineInsertion) else None
        unit = length_unit(*self.entries)
        return Cell(arm=name, seed=seed, losses=losses, length_unit=unit, without_room=counted, **vars(found))

    @property
    @abstractmethod
    def network_config(self) -> NetworkConfig:
        """The network that the settings ask for.

        Raises:
            ConfigError: if such a network cannot be built.
        """

    @property
    def sample_size(self) -> tuple[int, ...] | None:
        """One size for the samples of every arm; None: as the views are, which all have one."""
        sources = (self.real, self.synthetic, self.target_labelled)
        return sample_size(sources, self.config.evaluation.patch_size)

    @property
    def arms(self) -> dict[str, Arm]:
        """All arms that there are, the user's own among them."""
        return arms_of(self.config.evaluation)

    def synthetic_of(self, arm: Arm) -> ViewFolder | Online | None:
        """What the synthetic samples of an arm come from; None for one without.

        Raises:
            DataError: if there is no written, or no accepted, case.
        """
        if arm.synthetic is None:
            return None
        if arm.synthetic in self.online:
            return self.online[arm.synthetic]
        source = self.accepted if arm.synthetic == "accepted" else self.synthetic
        if source is None:
            remedy = "Lower synthesis.gate, or train longer" if self.synthetic else "Raise synthesis.insertions"
            raise DataError(
                f"evaluation.arms: found no {arm.synthetic} synthetic case; expected some, to learn from. {remedy}, or "
                "leave the arms out that need them."
            )
        return source

    def fitted(self, name: str, arm: Arm, seed: int) -> tuple[torch.nn.Module, list[tuple[int, float]]]:
        """One trained network, and its loss now and then, (update, loss)."""
        settings = self.config.evaluation
        losses: list[tuple[int, float]] = []
        with track(f"{self.name} {name}, seed {seed}", settings.updates) as tracker:

            def on_update(update: int, loss: float) -> None:
                tracker.advance(f"loss {loss:.3f}")
                if update % LOSS_EVERY == 0:
                    losses.append((update, round(loss, 5)))

            samples = self.samples(
                arm,
                synthetic_ratio=settings.synthetic_ratio,
                seed=seed,
                length=settings.updates * settings.batch_size,
                pasting=arm.pasting(self.real),
                augmentation=arm.augmentation(self.config.data.spatial_dims, self.target or self.real),
            )
            network = train_network(
                samples, self.network_config, seed=seed, workers=settings.workers, on_update=on_update
            )
        return network, losses

    def results(self, network: torch.nn.Module) -> PatientScores:
        """What a network scores on every patient."""
        patients = sorted({entry.patient for entry in self.entries})
        found = []
        with track("score patients", len(patients)) as tracker:
            for patient in patients:
                entries = [entry for entry in self.entries if entry.patient == patient]
                found.append(self.scored(network, patient, entries))
                tracker.advance()
        return PatientScores.joined(found)

    @property
    def size_limits_mm(self) -> tuple[float, ...]:
        """What parts the lesions into size classes, where a cell counts any."""
        return self.config.evaluation.size_limits_mm

    @classmethod
    @abstractmethod
    def check(cls, real: ViewFolder, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
        """Refuses patients that the task cannot be trained or scored on, before anything is.

        Raises:
            DataError: saying what is missing.
        """

    @abstractmethod
    def samples(self, arm: Arm, **shared: Any) -> SegmentationSamples:
        """What an arm learns from.

        Args:
            shared: those fields of the samples that are the same for both kinds.
        """

    @abstractmethod
    def scored(self, network: torch.nn.Module, patient: str, entries: list[PreparedCase]) -> PatientScores:
        """One patient's scores, from the patient's cases."""

    @abstractmethod
    def table(self, cells: Sequence[PatientScores], patients: Sequence[str], metric: str) -> np.ndarray:
        """Scores (P, S), one column a cell, whose mean is the arm's figure."""


class Segmentation(Downstream):
    """Outline the tumor, or the classes that the data has."""

    name = "segmentation"
    learns_from = ("inserted", "translated")

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics of one class, or the means over several and each class's own."""
        classes = self.config.data.class_names
        if len(classes) == 1:
            return METRICS
        return dict(METRICS) | {
            f"{name}{CLASS_SEPARATOR}{kind}": replace(metric, title=f"{metric.title}, {kind}")
            for kind in classes
            for name, metric in METRICS.items()
        }

    @classmethod
    def check(cls, real: ViewFolder, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
        """Any patients will do: one without a tumor is scored too."""

    @property
    def network_config(self) -> SegmentationConfig:
        s, data = self.config.evaluation, self.config.data
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

    def samples(self, arm: Arm, **shared: Any) -> SegmentationSamples:
        real = self.target_labelled if arm.target else self.real
        assert real is not None  # arms of the target are refused where it has no labels
        return SegmentationSamples(real, self.synthetic_of(arm), patch_size=self.sample_size, **shared)

    def scored(self, network: torch.nn.Module, patient: str, entries: list[PreparedCase]) -> PatientScores:
        """Scores the outlines, and counts the lesions that were found and what was found beside them."""
        pairs = [self.segmented(network, entry) for entry in entries]
        classes = self.config.data.class_names
        outlined = [
            Outlined(entry.scan, p, t, entry.spacing_mm[: t.ndim]) for entry, (p, t) in zip(entries, pairs, strict=True)
        ]
        dims = max(truth.ndim for _, truth in pairs)  # where a patient has volumes, a picture is one of one slice
        spacing_mm = next(entry.spacing_mm for entry in entries if len(entry.spacing_mm) >= dims)
        pairs = [
            (p.reshape(t.shape + (1,) * (dims - t.ndim)), t.reshape(t.shape + (1,) * (dims - t.ndim))) for p, t in pairs
        ]
        tolerance_mm = self.config.evaluation.tolerance_mm
        by_class = [
            score_patient([(p == number, t == number) for p, t in pairs], spacing_mm[:dims], tolerance_mm)
            for number in range(1, len(classes) + 1)
        ]
        scores: dict[str, float | None] = {name: float(np.mean([own[name] for own in by_class])) for name in METRICS}
        if len(classes) > 1:
            for kind, own in zip(classes, by_class, strict=True):
                scores |= {f"{name}{CLASS_SEPARATOR}{kind}": value for name, value in own.items()}
        counted = count_detections(outlined, len(classes))
        return PatientScores(scores={patient: scores}, detection={patient: counted})

    def table(self, cells: Sequence[PatientScores], patients: Sequence[str], metric: str) -> np.ndarray:
        return score_table(cells, patients, metric)

    def segmented(self, network: torch.nn.Module, entry: PreparedCase) -> tuple[np.ndarray, np.ndarray]:
        """(prediction, truth) of one case, class numbers at the shape it is stored in."""
        view = View(entry, None, 0)
        return self.predicted(network, view.normalized(self.folder)[0]), view.classes(self.folder)

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


class Classification(Downstream):
    """Tell whether there is a tumor, in a slice (2-D), a volume (3-D), or a patch of either."""

    name = "classification"
    learns_from = ("inserted", "removed")

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return POOLED_METRICS

    @classmethod
    def check(cls, real: ViewFolder, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
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

    def samples(self, arm: Arm, **shared: Any) -> ClassificationSamples:
        synthetic, patch_size = self.synthetic_of(arm), self.config.evaluation.patch_size
        assert synthetic is None or isinstance(synthetic, ViewFolder)  # nothing is made online for it
        return ClassificationSamples(self.real, synthetic, self.counterparts, patch_size=patch_size, **shared)

    def scored(self, network: torch.nn.Module, patient: str, entries: list[PreparedCase]) -> PatientScores:
        """The metrics of a patient alone are None where all slices are of one kind; all probabilities are kept."""
        probabilities, tumor = [], []
        for view in views_of(entries, self.config.data.spatial_dims):
            patches = list(patches_of(view.read(self.folder), self.config.evaluation.patch_size))
            if patches:
                images = np.stack([filled_up(image, self.sample_size) for image, _ in patches])[:, None]
                probabilities.append(tumor_probability(network, torch.from_numpy(images), self.network_config))
                tumor += [bool(label.any()) for _, label in patches]
        found = Scored(torch.cat(probabilities).double().numpy(), np.array(tumor))
        slices = SliceScores([round(float(x), 6) for x in found.scores], found.tumor.tolist())
        return PatientScores(scores={patient: within_patient(found)}, slices={patient: slices})

    def table(self, cells: Sequence[PatientScores], patients: Sequence[str], metric: str) -> np.ndarray:
        columns = []
        for cell in cells:
            slices = [cell.slices[patient] for patient in patients]
            scored = [Scored(np.array(s.probability), np.array(s.tumor)) for s in slices]
            columns.append(pseudo_values(scored, POOLED_METRICS[metric].score))
        return np.stack(columns, axis=1)


DOWNSTREAM: dict[str, type[Downstream]] = {kind.name: kind for kind in (Segmentation, Classification)}
"""`evaluation.task` → kind."""


def scoring_of(config: PipelineConfig) -> Downstream:
    """The configured kind with nothing to train on: it knows the metrics and the arms."""
    nobody = ViewFolder([], Path())
    return DOWNSTREAM[config.evaluation.task](config, nobody, None, nobody, [], Path())


def check_network(config: PipelineConfig) -> None:
    """Refuses a network that cannot be built, before hours of training a GAN.

    Raises:
        ConfigError: saying which of its settings does not fit.
    """
    if config.evaluation.task in DOWNSTREAM:
        _ = scoring_of(config).network_config
