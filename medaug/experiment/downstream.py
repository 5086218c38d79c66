"""A downstream network of an evaluation: what a cell trains and scores, the same for every arm (see `backends`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from medaug.config import PipelineConfig
from medaug.data.atomic import write_text
from medaug.data.prepared import Prepared, View
from medaug.data.records import PreparedCase
from medaug.devices import device_of
from medaug.errors import DataError
from medaug.evaluation.plan import Plan, check_memory
from medaug.evaluation.samples import SegmentationSamples, ViewFolder, sample_size, say_sample_size
from medaug.evaluation.updates import NetworkConfig, train_network
from medaug.experiment.arms import Arm
from medaug.experiment.edits import OnlineEdits, OnlineInsertion, OnlineRemoval
from medaug.experiment.records import Cell, PatientScores
from medaug.experiment.summary import Scoring, scoring_of
from medaug.processes import told_where_loaders_end
from medaug.progress import say, track
from medaug.runs.folder import RunDir
from medaug.splits import Split
from medaug.volumes import length_unit

LOSS_EVERY = 10


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
        online: by the network's seed and `Arm.synthetic`, what makes samples while it trains, where the task learns
            from such.
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
    online: Mapping[int, OnlineEdits] = field(default_factory=dict)

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
        edit = self.synthetic_of(self.scoring.arms[arm], seed)
        before = edit.without_room if isinstance(edit, OnlineInsertion) else 0
        network, losses = self.trained(arm, seed)
        counted = edit.without_room - before if isinstance(edit, OnlineInsertion) else None
        found, unit = self.results(network), length_unit(*self.entries)
        if also is not None:
            also(network, found)
        return Cell(arm=arm, seed=seed, losses=losses, length_unit=unit, without_room=counted, **vars(found))

    def trained(self, arm: str, seed: int) -> tuple[torch.nn.Module, list[tuple[int, float]]]:
        """`fitted`; a process of its loader that is ended from outside is a RunError, in runs and in benchmarks."""
        remedy = "The cells that are there are kept; the same command goes on."
        with told_where_loaders_end("evaluation.workers", remedy):
            return self.fitted(arm, seed)

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

    def synthetic_of(self, arm: Arm, seed: int) -> ViewFolder | OnlineInsertion | OnlineRemoval | None:
        """What the synthetic samples of an arm come from, for a network of this seed; None for one without.

        Raises:
            DataError: if there is no written, or no accepted, case.
        """
        if arm.synthetic is None:
            return None
        sources = {"written": self.synthetic, "accepted": self.accepted, **self.online.get(seed, {})}
        if (source := sources.get(arm.synthetic)) is None:
            remedy = "Lower synthesis.gate, or train longer" if self.synthetic else "Raise synthesis.insertions"
            raise DataError(
                f"evaluation.arms: found no {arm.synthetic} synthetic case; expected some, to learn from. {remedy}, or "
                "leave the arms out that need them."
            )
        if isinstance(source, OnlineInsertion | OnlineRemoval):
            source.get_ready()
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
                whole_size=self.sample_size,
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
    check_memory(plan, device_of(config.accelerator, config.precision))
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
