"""The batches of a cell of the backend `nnunet`: nnU-Net's own loader and transforms, and the arm's edits before them.

Batch i of a seed is the same whoever makes it, and sample j of it has the same case, the same place and the same draws
of nnU-Net's transforms in every arm; an edit draws from a generator of its own. Edits act on the patch that nnU-Net
reads, which is larger than what the network sees, before anything turns or scales it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from torch import Tensor
from torch.utils.data import Dataset

from medaug.experiment.backends.dataset import LOOK, NnunetData, isolated
from medaug.nnunet.looks import Look
from medaug.nnunet.patches import Edit, PatchEdits

Transforms = Callable[..., dict[str, Any]]


class Shared(NamedTuple):
    """An edit, and the share of patches that it is made in."""

    edit: Edit
    share: float = 1.0


class Cases(nnUNetDatasetBlosc2):
    """nnU-Net's data set; it remembers what it knows of the case that was read last."""

    properties: dict[str, Any]

    def load_case(self, identifier: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = super().load_case(identifier)
        self.properties = found[3]
        return found

    def look(self) -> Look:
        """How that case is looked at."""
        found: Look = self.properties[LOOK]
        return found


class EditedPatches:
    """nnU-Net's transforms, after the edits of an arm.

    Args:
        edits: in order.
        size: what the network sees of a patch, the middle of it: nothing is put beside it.

    Attributes:
        seed: of the edits of the next patch.
    """

    def __init__(self, cases: Cases, edits: Sequence[Shared], transforms: Transforms, size: tuple[int, ...]):
        self.cases, self.transforms, self.size = cases, transforms, size
        self.edits = [(PatchEdits(edit, cases), share) for edit, share in edits]
        self.seed: tuple[int, ...] = ()

    def __call__(self, image: Tensor, segmentation: Tensor) -> dict[str, Any]:
        """A patch (C, *S), and its label and the organ (2, *S)."""
        label, organ, rng = segmentation[:1], segmentation[1].numpy(), np.random.RandomState(self.seed)
        middle = tuple(_middle(n, wanted) for n, wanted in zip(organ.shape, self.size, strict=True))
        allowed = np.zeros(organ.shape, dtype=bool)
        allowed[middle] = organ[middle] > 0
        for edits, share in self.edits:
            draw, seed = rng.random_sample(), int(rng.randint(2**31))
            if draw < share:
                made = edits.edited(image, label, self.cases.look(), seed, allowed)
                image, label = made["image"], made["segmentation"]
        return self.transforms(image=image, segmentation=label)


class Batches(Dataset):
    """`batches[i]` → nnU-Net's batch i: {"data": (B, C, *S), "target": the label, or one a resolution}."""

    def __init__(self, loader: _Loader, length: int):
        self.loader, self.length = loader, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Any]:
        with isolated():
            return self.loader.batch(number)


class _Loader(nnUNetDataLoader):
    """nnU-Net's loader; what it draws comes of (seed, batch, sample)."""

    transforms: EditedPatches

    def __init__(self, *args: Any, seed: int, **options: Any):
        super().__init__(*args, **options)
        self.place: tuple[int, ...] = ()
        self.seed = seed

    def batch(self, number: int) -> dict[str, Any]:
        self.place = (self.seed % 2**32, number, 0)
        _set_seeds(self.place)
        made: dict[str, Any] = self.generate_train_batch()
        return {"data": made["data"], "target": made["target"]}

    def get_bbox(self, *args: Any, **options: Any) -> Any:
        """The place of the next sample, from where on everything is drawn anew."""
        *batch, sample = self.place
        self.place = (*batch, sample + 1)
        _set_seeds(self.place)
        self.transforms.seed = (*self.place, 1)
        return super().get_bbox(*args, **options)


def batches_of(
    trainer: Any, data: NnunetData, edits: Sequence[Shared], augment: bool, seed: int, length: int
) -> Batches:
    """The training batches of an initialised nnU-Net trainer.

    Args:
        edits: of an arm, in order.
        augment: whether nnU-Net's augmentation follows; else patches are cut to size and no more.
    """
    manager, labels = trainer.configuration_manager, trainer.label_manager
    size = tuple(manager.patch_size)
    turns, flat, read, mirrored = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    scales = trainer._get_deep_supervision_scales()
    shared = {
        "is_cascaded": False,
        "foreground_labels": labels.foreground_labels,
        "regions": labels.foreground_regions if labels.has_regions else None,
        "ignore_label": None,
    }
    if augment:
        outside = manager.use_mask_for_norm
        transforms = trainer.get_training_transforms(
            size, turns, scales, mirrored, flat, use_mask_for_norm=outside, **shared
        )
    else:
        read, trainer.inference_allowed_mirroring_axes = size, None
        transforms = trainer.get_validation_transforms(scales, **shared)
    cases = Cases(str(data.arrays), [case.name for case in data.cases], str(data.organs))
    loader = _Loader(
        cases,
        manager.batch_size,
        read,
        size,
        labels,
        oversample_foreground_percent=trainer.oversample_foreground_percent,
        probabilistic_oversampling=trainer.probabilistic_oversampling,
        transforms=EditedPatches(cases, edits, transforms, size),
        seed=seed,
    )
    return Batches(loader, length)


def _middle(size: int, wanted: int) -> slice:
    start = max(0, (size - wanted) // 2)
    return slice(start, start + wanted)


def _set_seeds(numbers: tuple[int, ...]) -> None:
    """nnU-Net draws from the global generators, of NumPy, of torch and of Python."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
