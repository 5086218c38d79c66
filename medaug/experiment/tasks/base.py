"""What a downstream task is: what a cell trains and scores, and what its scores are by patient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from medaug.config import PipelineConfig
from medaug.data.prepared import View
from medaug.errors import DataError
from medaug.evaluation import Metric, PooledMetric
from medaug.evaluation.samples import Online, Source, sample_size
from medaug.experiment.arms import Arm, arms_of
from medaug.experiment.online import OnlineInsertion, OnlineRemoval
from medaug.progress import track
from medaug.volumes import length_unit

LOSS_EVERY = 10


@dataclass(frozen=True)
class Task(ABC):
    """A downstream task on a run's patients.

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
    real: Source
    synthetic: Source | None
    counterparts: Source
    entries: list[dict[str, Any]]
    folder: Path
    target: Source | None = None
    target_labelled: Source | None = None
    accepted: Source | None = None
    online: Mapping[str, OnlineInsertion | OnlineRemoval] = field(default_factory=dict)

    name: ClassVar[str]
    learns_from: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric | PooledMetric]:
        """The scores of a patient, the main one first."""

    def cell(
        self, name: str, arm: Arm, seed: int, also: Callable[[torch.nn.Module, dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Trains one network and scores it on every patient: "scores" by patient and metric, and the losses.

        Args:
            also: is given the network and its results before the network is forgotten.
        """
        insertion = self.synthetic_of(arm)
        before = insertion.without_room if isinstance(insertion, OnlineInsertion) else 0
        network, losses = self.fitted(name, arm, seed)
        results = self.results(network)
        if also is not None:
            also(network, results)
        counted = {}
        if isinstance(insertion, OnlineInsertion):
            counted["without_room"] = insertion.without_room - before
        unit = length_unit(*self.entries)
        return {"arm": name, "seed": seed, **results, "losses": losses, "length_unit": unit, **counted}

    @property
    def sample_size(self) -> tuple[int, ...] | None:
        """One size for the samples of every arm; None: as the views are, which all have one."""
        sources = (self.real, self.synthetic, self.target_labelled)
        return sample_size(sources, self.config.evaluation.patch_size)

    @property
    def arms(self) -> dict[str, Arm]:
        """Those that there are, the user's own among them."""
        return arms_of(self.config.evaluation)

    def synthetic_of(self, arm: Arm) -> Source | Online | None:
        """Where the synthetic samples of an arm come from; None of one without.

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

            return self.trained(arm, seed, on_update), losses

    def results(self, network: torch.nn.Module) -> dict[str, Any]:
        """What a network scores, by patient and metric, as JSON; "scores" among it."""
        results: dict[str, Any] = {}
        patients = sorted({entry["patient"] for entry in self.entries})
        with track("score patients", len(patients)) as tracker:
            for patient in patients:
                results[patient] = self.scored(network, [e for e in self.entries if e["patient"] == patient])
                tracker.advance()
        return self.gathered(results)

    @property
    def size_limits_mm(self) -> tuple[float, ...]:
        """What parts the lesions into size classes, where a cell counts any."""
        return self.config.evaluation.size_limits_mm

    @classmethod
    @abstractmethod
    def check(cls, real: Source, held_out: dict[str, list[View]], patch_size: tuple[int, ...] | None) -> None:
        """Refuses patients that the task cannot be trained or scored on, before anything is.

        Raises:
            DataError: saying what is missing.
        """

    @abstractmethod
    def trained(self, arm: Arm, seed: int, on_update: Callable[[int, float], None]) -> torch.nn.Module:
        """One network."""

    @abstractmethod
    def scored(self, network: torch.nn.Module, entries: list[dict[str, Any]]) -> Any:
        """One patient's result, from its cases."""

    @abstractmethod
    def gathered(self, results: dict[str, Any]) -> dict[str, Any]:
        """What the cell keeps of the results by patient, as JSON; "scores" among it."""

    @abstractmethod
    def table(self, cells: Sequence[dict[str, Any]], patients: Sequence[str], metric: str) -> np.ndarray:
        """Scores (P, S), one column a cell, whose mean is the arm's figure."""
