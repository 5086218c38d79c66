"""The backend `nnunet`: cells trained and predicted by nnU-Net v2 itself (Isensee 2021, Nat Methods 18:203).

Its planner plans on the training views, its preprocessor prepares them once for all arms and seeds, its trainer makes
`evaluation.updates` updates on them alone (its schedule and loss, no validation, the last weights), and its predictor
outlines the held-out cases. The arm's edits act inside its loader (see `batches`). Optimizer, learning rate and
network are nnU-Net's.

Repeatable bit for bit on a CPU with one number of threads: initial weights, batches, places and draws come of the seed.
On a GPU sums are rounded differently from run to run, as with nnU-Net itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medaug.config import PipelineConfig
from medaug.data.atomic import write_json
from medaug.data.prepared import View
from medaug.data.records import PreparedCase
from medaug.devices import device_of
from medaug.errors import ConfigError, TrainingError
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.arms import Arm, arms_of
from medaug.experiment.backends.batches import Batches, Shared, batches_of
from medaug.experiment.backends.dataset import NnunetData
from medaug.experiment.backends.monai import Segmentation
from medaug.experiment.backends.plans import Planner, plans_of
from medaug.experiment.backends.writing import written
from medaug.experiment.downstream import LOSS_EVERY
from medaug.experiment.edits import OnlineInsertion
from medaug.models.networks.layers import isolated_rng
from medaug.progress import say, track
from medaug.runs.folder import RunDir
from medaug.volumes import Window, spacing_of

FOLDER = "nnunet"
ITS_OWN = ("learning_rate", "residual")
"""Settings of `evaluation` that say how the other backend trains."""
RANGE = Window(-1.0, 1.0)
"""Patches are edited in it."""


class NnunetNetwork(nn.Module):
    """A trained network, and the axes that nnU-Net's predictor mirrors for it; None: it saw nothing mirrored."""

    def __init__(self, network: nn.Module, mirrored: tuple[int, ...] | None):
        super().__init__()
        self.network, self.mirrored = network, mirrored

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.network(x)
        return result


@dataclass(frozen=True)
class NnunetSegmentation(Segmentation):
    """Outline the tumor, the classes or the regions, by nnU-Net."""

    @staticmethod
    def check_settings(config: PipelineConfig) -> None:
        """Refuses what nnU-Net cannot do here.

        Raises:
            ConfigError: naming it, and the remedy.
        """
        settings, fields = config.evaluation, type(config.evaluation).model_fields
        own = [name for name in ITS_OWN if name in fields and getattr(settings, name) != fields[name].default]
        if own:
            raise ConfigError(
                f"evaluation.{own[0]}: found {getattr(settings, own[0])} with evaluation.backend nnunet; expected it "
                "left out, because nnU-Net has its own. Leave it out, or set evaluation.backend to monai."
            )
        arms = arms_of(settings)
        asked = {name: arms[name] for name in settings.arms if name in arms}
        offline = [name for name, arm in asked.items() if arm.synthetic not in (None, "online")]
        if offline:
            raise ConfigError(
                f"evaluation.arms: found {', '.join(offline)} with evaluation.backend nnunet; expected arms that "
                "insert while the network trains, such as standard+gan: it takes no written cases and no removals. "
                "Name those, set evaluation.backend to monai, or give nnU-Net the written cases with medaug export."
            )

    @classmethod
    def say_plan(cls, config: PipelineConfig, run: RunDir, real: ViewFolder) -> None:
        """Writes the data set, has nnU-Net plan, and tells of it; errors as of `written` and `plans_of`."""
        task = cls(config, real, None, ViewFolder([], run.prepared), [], run.prepared)
        plan = task.plans["configurations"][task.data.configuration]
        write_json(run.plan, plan)
        say(
            f"nnU-Net's plan (evaluation.budget {config.evaluation.budget}): {task.plan.updates} updates of "
            f"{plan['batch_size']} patches of {' × '.join(map(str, plan['patch_size']))} voxels, "
            f"{task.data.configuration}; {run.plan}"
        )

    @cached_property
    def device(self) -> torch.device:
        return device_of(self.config.accelerator)

    @cached_property
    def data(self) -> NnunetData:
        """The data set on the disk, of this run's training views."""
        return written(self.config, self.real, self.folder.parent / FOLDER, Planner)

    @cached_property
    def plans(self) -> dict[str, Any]:
        return plans_of(self.config.evaluation, self.plan, self.data, self.device)

    def edits(self, arm: Arm, seed: int) -> list[Shared]:
        """What an arm does to a patch for a network of this seed, in order: insert, paste, change the appearance."""
        edits: list[Shared] = []
        if isinstance(source := self.synthetic_of(arm, seed), OnlineInsertion):
            edits.append(Shared(_Inserted(source), self.config.evaluation.synthetic_ratio))
        if (pasting := arm.pasting(self.real, self.config.data)) is not None:
            edits.append(Shared(pasting))
        before = replace(arm, standard=False).augmentation(self.sample_size, self.real)
        return [*edits, Shared(before)] if before.transforms else edits

    def training(self, name: str, seed: int) -> tuple[nnUNetTrainer, Batches]:
        """nnU-Net's trainer of a cell, which keeps nothing on the disk, and the batches that it learns from."""
        arm, updates = self.scoring.arms[name], self.plan.updates
        with TemporaryDirectory() as results, self.data.at_work(Path(results)):
            plans = self.plans | {"continue_training": False}
            trainer = nnUNetTrainer(plans, self.data.configuration, "all", dict(self.data.dataset_json), self.device)
            trainer.device = self.device  # it takes the first GPU by itself
            trainer.num_epochs = updates  # over which its learning rate decays
            with isolated_rng(seed):
                trainer.initialize()
            trainer.set_deep_supervision_enabled(True)
            return trainer, batches_of(trainer, self.data, self.edits(arm, seed), arm.standard, seed, updates)

    def fitted(self, name: str, seed: int) -> tuple[nn.Module, list[tuple[int, float]]]:
        trainer, batches = self.training(name, seed)
        losses, updates = list[tuple[int, float]](), len(batches)
        loader: DataLoader = DataLoader(
            batches,
            batch_size=None,
            num_workers=self.config.evaluation.workers,
            generator=torch.Generator().manual_seed(seed),
            pin_memory=self.device.type == "cuda",
        )
        trainer.network.train()
        with track(f"nnU-Net {name}, seed {seed}", updates) as tracker:
            for update, batch in enumerate(loader, start=1):
                trainer.lr_scheduler.step(update - 1)
                loss = float(trainer.train_step(batch)["loss"])
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"nnU-Net, update {update}: found loss {loss}; expected a finite one. Check the images for NaN."
                    )
                tracker.advance(f"loss {loss:.3f}")
                if update % LOSS_EVERY == 0:
                    losses.append((update, round(loss, 5)))
        trainer.set_deep_supervision_enabled(False)
        return NnunetNetwork(trainer.network.eval(), trainer.inference_allowed_mirroring_axes), losses

    def segmented(self, network: nn.Module, entry: PreparedCase) -> tuple[np.ndarray, np.ndarray]:
        """By nnU-Net's predictor, from the scan's own unit: sliding window, Gaussian weights, mirroring."""
        assert isinstance(network, NnunetNetwork)
        view = View(entry, None, 0)
        image, truth = np.asarray(view.raw(self.folder, "image"), dtype=np.float32), view.classes(self.folder)
        volume = image.reshape((*image.shape, 1)[:4]).transpose(0, 3, 2, 1)
        plans = PlansManager(self.plans)
        with self.data.at_work():
            predictor = nnUNetPredictor(device=self.device, allow_tqdm=False)
            predictor.manual_initialization(
                network.network,
                plans,
                plans.get_configuration(self.data.configuration),
                [network.network.state_dict()],
                dict(self.data.dataset_json),
                nnUNetTrainer.__name__,
                network.mirrored,
            )
            spacing_mm = spacing_of(view.affine, 3)[::-1]
            found = predictor.predict_single_npy_array(np.ascontiguousarray(volume), {"spacing": list(spacing_mm)})
        return np.asarray(found).transpose(2, 1, 0).reshape(truth.shape).astype(np.uint8), truth


class _Inserted:
    """New tumors in a patch, as `OnlineInsertion` puts them into a view; the patch as it is where there is no room."""

    def __init__(self, insert: OnlineInsertion):
        self.insert, self.seed = insert, 0

    def set_random_state(self, seed: int | None = None) -> _Inserted:
        """Of the next patch."""
        self.seed = seed or 0
        return self

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        edited = self.insert.into(dict(data), (RANGE,) * len(data["image"]), self.seed)
        return {**data} if edited is None else {**data, "image": edited.image, "label": edited.label}
