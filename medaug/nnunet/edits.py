"""What is done to a patch: a tumor inserted by a GAN, or one of another training case pasted or carved in.

All act on {"image", "label"[, "organ"]} as `patches.Edit` says. Pasting needs a bank: patches of the training cases
around one of their tumors, read when they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medaug.lesions.geometry import box_around
from medaug.models.weights import Weights
from medaug.nnunet.cases import TrainingCases
from medaug.nnunet.looks import OUTSIDE
from medaug.transforms import RandInsertTumor
from medaug.transforms.tumor_labels import TumorLabels

RANGE = (-1.0, 1.0)


class GanEdit:
    """Inserts one tumor drawn from the weights' prior; where labels say where the organ is, no voxel leaves it."""

    def __init__(self, weights: Weights, tumor_labels: TumorLabels | None):
        bounds = [RANGE] * len(weights.sequences)
        self.insert = RandInsertTumor(weights, 1.0, window=bounds, tumor_labels=tumor_labels)

    def set_random_state(self, seed: int | None = None) -> GanEdit:
        """Draws follow from this seed."""
        self.insert.set_random_state(seed=seed)
        return self

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The patch with a tumor, or as it is where there is no room for one."""
        organ = data.get("organ")
        self.insert.randomize()
        made = self.insert.inserted(data["image"], data["label"], organ, strictly_inside=organ is not None)
        return {**data, "image": made.image, "label": made.label}


class PatchBank(Sequence[Mapping[str, Any]]):
    """One patch of each training case, around a voxel of a tumor; of a case without tumors around its middle.

    Which voxel follows from `seed` and the number of the case.

    Args:
        size: of the patches, along nnU-Net's axes (d0, d1, d2), or of slices along (d1, d2).
        tumors, organ: label values.
    """

    def __init__(self, cases: TrainingCases, size: Sequence[int], tumors: Sequence[int], organ: Sequence[int] = ()):
        self.cases, self.tumors, self.organ, self.seed = cases, tumors, organ, 0
        self.size = (1, *size) if len(size) == 2 else tuple(size)

    def __len__(self) -> int:
        return len(self.cases.identifiers)

    def __getitem__(self, number: Any) -> Any:  # of a slice nobody asks
        identifier = self.cases.identifiers[number]
        data, seg, properties = self.cases.read(identifier)
        look = self.cases.look_at(identifier)
        shape = tuple(data.shape[1:])
        places = [
            voxels
            for key, voxels in properties["class_locations"].items()
            if len(voxels) and set(key if isinstance(key, tuple) else (key,)) <= {*self.tumors}
        ]
        center = [n // 2 for n in shape]
        if places:
            rng = np.random.RandomState([self.seed, int(number)])
            voxels = places[rng.randint(len(places))]
            center = [int(v) for v in voxels[rng.randint(len(voxels))][1:]]
        box = box_around(center, self.size)
        inside, part = box.overlap(shape)
        labels = np.full(self.size, OUTSIDE, dtype=np.int16)
        labels[part] = seg[(0, *inside)]
        image = np.full((len(data), *self.size), RANGE[0], dtype=np.float32)
        if look is not None:
            values = np.asarray(data[(slice(None), *inside)])
            image[:, *part] = [w.normalize(channel) for w, channel in zip(look.windows, values, strict=True)]
        image[:, labels == OUTSIDE] = RANGE[0]
        labels[labels == OUTSIDE] = 0
        arrays: dict[str, np.ndarray] = {"image": image, "label": labels[None]}
        if self.organ:
            arrays["organ"] = np.isin(labels, self.organ)[None].astype(np.uint8)
        if look is None:
            return arrays | {"label": np.zeros_like(labels[None])}
        affine = torch.from_numpy(look.affine)
        patches = {kind: look.there(array[:, 0] if look.flat else array) for kind, array in arrays.items()}
        return {kind: MetaTensor(torch.from_numpy(patch), affine=affine) for kind, patch in patches.items()}


class BankEdit:
    """A rival that pastes from a bank; one seed decides whose tumor, which, and where it goes."""

    def __init__(self, paste: MapTransform, bank: PatchBank):
        self.paste, self.bank = paste, bank

    def set_random_state(self, seed: int | None = None) -> BankEdit:
        """Draws follow from this seed."""
        self.paste.set_random_state(seed=seed)  # type: ignore[attr-defined]  # of random ones
        self.bank.seed = seed or 0
        return self

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The patch with what was pasted."""
        return dict(self.paste(data))
