"""nnU-Net's trainer with tumors inserted, or pasted, into its training patches: everything else is nnU-Net's own.

    nnUNetv2_train 501 3d_fullres 0 -tr nnUNetTrainerMedaug

Weights are those that `medaug train-cycle --nnunet 501 --fold 0` leaves (see `datasets`), or of MEDAUG_WEIGHTS.
MEDAUG_PROB is the share of patches that are edited, MEDAUG_SEED the seed of what is drawn for them; MEDAUG_EPOCHS and
MEDAUG_ITERATIONS shorten nnU-Net's 1000 epochs of 250 iterations, for a first look. All this is needed to train alone:
validation and prediction are as with any other trainer.
"""
# ruff: noqa: N801, E402  # names as nnU-Net's users type them; and it is imported behind `library`

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from medaug.data.datalists import sequence_names
from medaug.errors import ConfigError, WeightsError
from medaug.models.served import attach, served
from medaug.models.weights import Weights, load_weights
from medaug.nnunet.cases import TrainingCases
from medaug.nnunet.datasets import results_of, tumors_in
from medaug.nnunet.edits import BankEdit, GanEdit, PatchBank
from medaug.nnunet.leaks import check_fold
from medaug.nnunet.library import nnunet
from medaug.nnunet.looks import Plans
from medaug.nnunet.patches import Edit, PatchEdits
from medaug.transforms.baselines import RandCarveMixd, RandCopyPasteTumord
from medaug.transforms.tumor_labels import TumorLabels
from medaug.volumes import Domain, Percentiles, Window

nnunet()

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

ITS_DEVICE: torch.device = inspect.signature(nnUNetTrainer.__init__).parameters["device"].default
PROBABILITY = 0.3
"""The share of patches that are edited: more than half of them made tumors helps nobody."""


class PatchEditTrainer(nnUNetTrainer):
    """nnU-Net's trainer with an edit of its training patches before the first of its own transforms.

    Subclasses say in `patch_edit` what is done, and may say in `looked_at` through which windows.

    Attributes:
        edit_probability, edit_seed: of a patch; the environment's unless they are set.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = ITS_DEVICE,  # nnU-Net's own signature, which it inspects
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.edit_probability = _number("MEDAUG_PROB", PROBABILITY, 1.0)
        self.edit_seed = int(_number("MEDAUG_SEED", 0, 2**31))
        if epochs := int(_number("MEDAUG_EPOCHS", 0, 10**6)):
            self.num_epochs = epochs
        if iterations := int(_number("MEDAUG_ITERATIONS", 0, 10**6)):
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = iterations, max(1, iterations // 5)
        self.channel_names: tuple[str, ...] = tuple(sequence_names(dataset_json, Path("dataset.json")))
        self._datasets: tuple[Any, Any] | None = None
        self._edits: PatchEdits | None = None

    def patch_edit(self, cases: TrainingCases) -> Edit:
        """What is done to a patch, made from the training cases alone."""
        raise TypeError(f"{type(self).__name__} says not what is done to a patch: override patch_edit")

    def looked_at(self, dataset: Any, plans: Plans) -> TrainingCases:
        """The training cases: a CT in the whole interval that nnU-Net clips it to, others by percentiles."""
        kinds = zip(self.channel_names, plans.schemes, strict=True)
        domains = [
            Domain(name, "CT", Window(*plans.clip_hu(c), unit="HU"))
            if scheme == "CT"
            else Domain(name, "MR", Percentiles())
            for c, (name, scheme) in enumerate(kinds)
        ]
        return TrainingCases(dataset, plans, domains, self.channel_names)

    def organ_values(self) -> tuple[int, ...]:
        """The label values of where tumors may lie, the tumors' included; empty: it is found."""
        return ()

    @property
    def tumor_values(self) -> tuple[int, ...]:
        """The label values that are tumor, by the names in dataset.json; where those do not tell, all."""
        return tumors_in(self.dataset_json).values or tuple(map(int, self.label_manager.foreground_labels))

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's, on the same cases, of which those that train are watched."""
        training, validation = super().get_tr_and_val_datasets()
        plans = Plans.of(self.plans_manager.plans, self.configuration_manager.configuration)
        cases = self.looked_at(training, plans)
        self._datasets = cases, validation
        self._edits = PatchEdits(
            self.patch_edit(cases),
            cases,
            self.edit_probability,
            self.edit_seed + self.current_epoch,
            self.label_manager.ignore_label,
            self.organ_values(),
        )
        cases.look_at(cases.identifiers[0])  # what does not fit is refused here, and not in a worker
        self.print_to_log_file(
            f"medaug: {type(self).__name__} edits {self.edit_probability:.0%} of the training patches (seed "
            f"{self.edit_seed})"
        )
        try:
            return super().get_dataloaders()
        finally:
            self._datasets = None

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """As they are; while the data loaders are made, with the watched ones."""
        return self._datasets or super().get_tr_and_val_datasets()

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's own, after the edit."""
        own = super().get_training_transforms(*args, **kwargs)
        return own if self._edits is None else ComposeTransforms([self._edits, own])


class nnUNetTrainerMedaug(PatchEditTrainer):
    """Inserts tumors drawn by a GAN that has seen the fold's training cases alone.

    Attributes:
        weights_folder: of the GAN; None: MEDAUG_WEIGHTS, or where `medaug train-cycle --nnunet` leaves them.
    """

    weights_folder: Path | None = None
    _weights: Weights | None = None

    @property
    def weights(self) -> Weights:
        """The GAN, read once, on the CPU.

        Raises:
            ConfigError: if there is none.
            WeightsError: if it cannot be used, or not on this data set.
        """
        if self._weights is None:
            folder = self._folder()
            self._weights = load_weights(folder)
            self._weights.check_inserts()
            self._check_fits(self._weights, folder)
        return self._weights

    def get_dataloaders(self) -> tuple[Any, Any]:
        """As `PatchEditTrainer`, once the weights are known to know no validation case."""
        train, val = self.do_split()
        name, fold = self.plans_manager.dataset_name, str(self.fold)
        check_fold(self.weights.facts, self._folder(), name, fold, train, val, self.print_to_log_file)
        return super().get_dataloaders()

    def patch_edit(self, cases: TrainingCases) -> Edit:
        """An insertion; the generator runs on the GPU where nnU-Net does."""
        weights = self.weights
        if self.device.type == "cuda":
            attach(weights.translator, served(self._folder(), str(self.device)))
        return GanEdit(weights, self._labels(weights))

    def looked_at(self, dataset: Any, plans: Plans) -> TrainingCases:
        """Through the windows and along the axes of the weights."""
        weights = self.weights
        slicewise = weights.translator.spatial_dims == 2
        domains = weights.translator.domain_a.channels
        return TrainingCases(dataset, plans, domains, self.channel_names, weights.axes, slicewise)

    def organ_values(self) -> tuple[int, ...]:
        """Those that the GAN was trained with, if any."""
        known = self.weights.facts.nnunet
        return () if known is None or not known.organ else (*known.organ, *_values(self._labels(self.weights)))

    def _folder(self) -> Path:
        given = self.weights_folder or os.environ.get("MEDAUG_WEIGHTS")
        if given:
            return Path(given)
        name = self.plans_manager.dataset_name
        folder = results_of(name) / f"fold_{self.fold}" / "train" / "weights"
        if not folder.is_dir():
            raise ConfigError(
                f"{folder}: found no weights; expected those of a GAN that was trained on this fold. Train it: medaug "
                f"train-cycle --domain tumor --nnunet {name} --fold {self.fold}; or set MEDAUG_WEIGHTS to a folder."
            )
        return folder

    def _check_fits(self, weights: Weights, folder: Path) -> None:
        """Refuses weights of other channels, label values or dimensions than this training has."""
        expected, found = [name.casefold() for name in self.channel_names], [n.casefold() for n in weights.sequences]
        if len(found) != len(expected) or (len(found) > 1 and found != expected):
            raise WeightsError(
                f"{folder}: found weights of the channel(s) {', '.join(weights.sequences)}; expected those of "
                f"{self.plans_manager.dataset_name}, {', '.join(self.channel_names)}. Train them on this data set: "
                "medaug train-cycle --nnunet."
            )
        if unknown := {*_values(self._labels(weights))} - {*map(int, self.label_manager.foreground_labels)}:
            raise WeightsError(
                f"{folder}: found weights of tumors with the label values {sorted(unknown)}; expected those of "
                f"{self.plans_manager.dataset_name}, {self.label_manager.foreground_labels}. Train them on this data "
                "set."
            )
        dims, own = weights.translator.spatial_dims, len(self.configuration_manager.patch_size)
        if dims > own:
            raise WeightsError(
                f"{folder}: found {dims}-D weights; expected 2-D ones for nnU-Net's {self.configuration_name}. Use "
                "3d_fullres, or train them with data.spatial_dims=2."
            )

    def _labels(self, weights: Weights) -> TumorLabels:
        facts = weights.facts
        return facts.parts or facts.tumor_labels or self.tumor_values


class nnUNetTrainerMedaug_copypaste(PatchEditTrainer):
    """Pastes tumors of other training cases, bent and matched to their surroundings (TumorCP)."""

    def patch_edit(self, cases: TrainingCases) -> Edit:
        """Copy-paste from a bank of the training cases."""
        bank = PatchBank(cases, self.configuration_manager.patch_size, self.tumor_values, self.organ_values())
        return BankEdit(RandCopyPasteTumord("image", bank, prob=1.0, tumor_labels=self.tumor_values), bank)


class nnUNetTrainerMedaug_carvemix(PatchEditTrainer):
    """Carves tumors of other training cases, with a rim, into the same place of a patch (CarveMix)."""

    def patch_edit(self, cases: TrainingCases) -> Edit:
        """CarveMix with a bank of the training cases.

        Raises:
            ConfigError: with an ignore label: what a rim brings along would have no label.
        """
        if self.label_manager.has_ignore_label:
            raise ConfigError(
                f"{type(self).__name__}: found an ignore label; expected none, for CarveMix takes a rim around a tumor "
                "that may have no label. Use nnUNetTrainerMedaug_copypaste."
            )
        bank = PatchBank(cases, self.configuration_manager.patch_size, self.tumor_values)
        return BankEdit(RandCarveMixd("image", bank, prob=1.0, tumor_labels=self.tumor_values), bank)


def _values(labels: TumorLabels) -> tuple[int, ...]:
    parts: Sequence[Any] = list(labels.values()) if isinstance(labels, dict) else list(labels)  # type: ignore[arg-type]
    return tuple(int(v) for part in parts for v in (part if isinstance(part, list | tuple) else [part]))


def _number(variable: str, default: float, most: float) -> float:
    """A number from 0 to `most` in the environment.

    Raises:
        ConfigError: if it is none.
    """
    text = os.environ.get(variable)
    try:
        number = default if not text else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise ConfigError(f"{variable}: found {text}; expected a number from 0 to {most:g}")
    return number
