"""The two kinds of downstream network of an evaluation: what a cell trains and scores, and its scores by patient.

The same network for every arm of a kind; a segmentation is scored scan by scan, a classification slice by slice, or
patch by patch where `evaluation.patch_size` is given.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from monai.transforms import Compose

from medaug.config import PipelineConfig
from medaug.data.atomic import write_text
from medaug.data.prepared import Prepared, View, filled_up, views_of
from medaug.data.records import PreparedCase
from medaug.errors import DataError
from medaug.evaluation.metrics import METRICS, Scored, check_kinds, within_patient
from medaug.evaluation.networks import ClassificationConfig, SegmentationConfig
from medaug.evaluation.outlines import Outlined
from medaug.evaluation.patients import OutlineScores, score_outlined, worked_out
from medaug.evaluation.plan import Plan, check_memory
from medaug.evaluation.predictions import predict, tumor_probability
from medaug.evaluation.samples import (
    ClassificationSamples,
    SegmentationSamples,
    ViewFolder,
    patches_of,
    sample_size,
    say_sample_size,
)
from medaug.evaluation.updates import NetworkConfig, train_network
from medaug.experiment.arms import Arm
from medaug.experiment.edits import OnlineInsertion, OnlineRemoval
from medaug.experiment.records import Cell, PatientScores, SliceScores
from medaug.experiment.summary import CLASS_SEPARATOR, Scoring, scoring_of
from medaug.progress import say, track
from medaug.runs.folder import RunDir
from medaug.splits import Split
from medaug.volumes import length_unit

LOSS_EVERY = 10
LARGE_VOXELS = 2**20
"""Scans below are scored in this process: sending them to another takes longer."""
VALIDATION_SAMPLES = 64
"""So many, the same each time, decide which weights of a training are kept."""


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
        validation: the validation patients' labelled views, by which the best weights of a training are chosen; None
            where there are none, or they are the patients to score.
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
    validation: ViewFolder | None = None
    online: Mapping[str, OnlineInsertion | OnlineRemoval] = field(default_factory=dict)

    learns_from: ClassVar[tuple[str, ...]]

    @cached_property
    def scoring(self) -> Scoring:
        """The metrics of a patient, and how they are summed up."""
        return scoring_of(self.config)

    @cached_property
    def by_patient(self) -> dict[str, list[PreparedCase]]:
        """The cases to score, by patient."""
        found: dict[str, list[PreparedCase]] = {patient: [] for patient in sorted({e.patient for e in self.entries})}
        for entry in self.entries:
            found[entry.patient].append(entry)
        return found

    def cell(self, arm: str, seed: int, also: Callable[[torch.nn.Module, PatientScores], None] | None = None) -> Cell:
        """Trains one network of an arm and scores it on every patient; `also` is given both before it is forgotten."""
        edit = self.synthetic_of(self.scoring.arms[arm])
        before = edit.without_room if isinstance(edit, OnlineInsertion) else 0
        network, losses = self.fitted(arm, seed)
        counted = edit.without_room - before if isinstance(edit, OnlineInsertion) else None
        found, unit = self.results(network), length_unit(*self.entries)
        if also is not None:
            also(network, found)
        return Cell(arm=arm, seed=seed, losses=losses, length_unit=unit, without_room=counted, **vars(found))

    @cached_property
    @abstractmethod
    def network_config(self) -> NetworkConfig:
        """The network of every arm.

        Raises:
            ConfigError: if the settings ask for one that cannot be built.
        """

    @classmethod  # noqa: B027  # by default nothing is refused
    def check_settings(cls, config: PipelineConfig) -> None:
        """Refuses settings that no such network can be trained by, before there are any data.

        Raises:
            ConfigError: saying which.
        """

    @classmethod
    def say_plan(cls, config: PipelineConfig, run: RunDir, real: ViewFolder) -> None:
        """Tells what will be trained on these views, and keeps it; errors as of the function `say_plan`."""
        say_plan(config, run, [real])

    @cached_property
    def plan(self) -> Plan:
        """What it costs, from the views of the training patients."""
        return self.config.evaluation.planned(self.real.views)

    @property
    def patch_size(self) -> tuple[int, ...] | None:
        """Of samples; None: whole views."""
        return self.plan.patch_size

    @cached_property
    def sample_size(self) -> tuple[int, ...]:
        """One size for the samples of every arm."""
        return sample_size((self.real, self.synthetic, self.target_labelled), self.patch_size)

    def synthetic_of(self, arm: Arm) -> ViewFolder | OnlineInsertion | OnlineRemoval | None:
        """What the synthetic samples of an arm come from; None for one without.

        Raises:
            DataError: if there is no written, or no accepted, case.
        """
        if arm.synthetic is None:
            return None
        sources = {"written": self.synthetic, "accepted": self.accepted, **self.online}
        if (source := sources.get(arm.synthetic)) is None:
            remedy = "Lower synthesis.gate, or train longer" if self.synthetic else "Raise synthesis.insertions"
            raise DataError(
                f"evaluation.arms: found no {arm.synthetic} synthetic case; expected some, to learn from. {remedy}, or "
                "leave the arms out that need them."
            )
        return source

    def fitted(self, name: str, seed: int) -> tuple[torch.nn.Module, list[tuple[int, float]]]:
        """One trained network of an arm, and its loss now and then, (update, loss)."""
        settings, arm = self.config.evaluation, self.scoring.arms[name]
        losses: list[tuple[int, float]] = []
        with track(f"{settings.task} {name}, seed {seed}", self.plan.updates) as tracker:

            def on_update(update: int, loss: float) -> None:
                tracker.advance(f"loss {loss:.3f}")
                if update % LOSS_EVERY == 0:
                    losses.append((update, round(loss, 5)))

            samples = self.samples(
                arm,
                synthetic_ratio=settings.synthetic_ratio,
                seed=seed,
                length=self.plan.updates * self.plan.batch_size,
                patch_size=self.patch_size,
                pasting=arm.pasting(self.real, self.config.data),
                augmentation=arm.augmentation(self.sample_size, self.target or self.real),
            )
            network = train_network(
                samples,
                self.network_config,
                seed=seed,
                workers=settings.workers,
                on_update=on_update,
                validation=self.validation_samples(seed),
            )
        return network, losses

    def results(self, network: torch.nn.Module) -> PatientScores:
        """What a network scores on every patient."""
        with track("score patients", len(self.by_patient)) as tracker:
            found = []
            for scores in self.scored(network):
                found.append(scores)
                tracker.advance()
        return PatientScores.joined(found)

    @classmethod
    @abstractmethod
    def check(cls, real: ViewFolder, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
        """Refuses patients that the task cannot be trained or scored on, before anything is.

        Raises:
            DataError: saying what is missing.
        """

    @abstractmethod
    def samples(self, arm: Arm, **shared: Any) -> SegmentationSamples:
        """What an arm learns from; `shared` are the fields that the samples of both kinds have."""

    def validation_samples(self, seed: int) -> SegmentationSamples | None:
        """What the weights are chosen on; None: the last are taken."""
        return None

    @abstractmethod
    def scored(self, network: torch.nn.Module) -> Iterator[PatientScores]:
        """The scores of each patient, from the patient's cases."""


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
            precision=evaluation.precision,
        )

    def samples(self, arm: Arm, **shared: Any) -> SegmentationSamples:
        real = self.target_labelled if arm.target else self.real
        assert real is not None  # arms of the target are refused where it has no labels
        return SegmentationSamples(real, self.synthetic_of(arm), **shared)

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
        found = worked_out(outlined(), settings.workers if large else 0)
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
            precision=evaluation.precision,
        )

    @property
    def patch_size(self) -> tuple[int, ...] | None:
        """Patches are classified where they are asked for; else whole views."""
        return self.config.evaluation.patch_size

    def samples(self, arm: Arm, **shared: Any) -> ClassificationSamples:
        synthetic = self.synthetic_of(arm)
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


def validation_views(config: PipelineConfig, prepared: Prepared, split: Split) -> ViewFolder | None:
    """The validation patients' labelled views; None if they are those to score, or there is none with a label."""
    patients = split.validation if config.evaluation.patients == "test" else ()
    views = prepared.views(patients, config.data.spatial_dims, labelled=True)
    return ViewFolder(views, prepared.folder) if views else None


def say_plan(config: PipelineConfig, run: RunDir, sources: Sequence[ViewFolder | None]) -> None:
    """Tells what will be trained, by the first of these sources of samples, and keeps it in `plan.json`.

    Raises:
        ConfigError: if the memory at hand does not do.
    """
    real = sources[0]
    assert real is not None
    plan = config.evaluation.planned(real.views)
    check_memory(plan, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    segmentation = config.evaluation.task == "segmentation"
    if not run.plan.exists() or run.plan.read_text(encoding="utf-8") != plan.text():
        write_text(run.plan, plan.text())
    if segmentation:
        size = " × ".join(map(str, plan.patch_size or plan.window_size))
        say(
            f"plan of the downstream network (evaluation.budget {plan.budget}): {plan.updates} updates of "
            f"{plan.batch_size} samples of {size} voxels, levels of {', '.join(map(str, plan.channels))} channels; "
            f"{run.plan}"
        )
    say_sample_size(sources, plan.patch_size if segmentation else config.evaluation.patch_size)
