"""Edits of nnU-Net's training patches: after a patch is drawn, and before it is turned, scaled and mirrored.

nnU-Net hands {"image": (C, *S), "segmentation": (1 or 2, *S)} from transform to transform. The first channel of the
segmentation holds label values, `OUTSIDE` what lies outside of the nonzero mask or was padded, and perhaps an ignore
label; the second, in a cascade, what the stage before has found. Regions are made of label values much later.
"""

from __future__ import annotations

import multiprocessing
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.nnunet.cases import TrainingCases
from medaug.nnunet.looks import OUTSIDE, Look


class Edit(Protocol):
    """A random dictionary transform, as MONAI has them, that acts whenever it is called.

    It gets and gives {"image": (C, *S) in [-1, 1], "label": (1, *S)} with slices last and their affine, and "organ"
    (1, *S) where labels say where tumors may lie.
    """

    def set_random_state(self, seed: int | None = None) -> object: ...

    def __call__(self, data: Mapping[str, Any], /) -> Mapping[str, Any]: ...


class PatchEdits:
    """With probability `probability`, edits a patch. Image and label move together; the rest keeps its bits.

    Nothing is changed outside of the nonzero mask, in padding, or where the ignore label lies: there the image stays,
    and so does the label. A stage before this one is taken to have found what is new.

    Args:
        edit: what is done.
        cases: which case the patch is of.
        probability: of editing a patch.
        seed: of all draws. Every process of a data loader has its own sequence of them.
        ignore: the ignore label.
        organ: label values of where tumors may lie, the tumors' own included; empty: it is found.
    """

    def __init__(
        self,
        edit: Edit,
        cases: TrainingCases,
        probability: float = 1.0,
        seed: int = 0,
        ignore: int | None = None,
        organ: tuple[int, ...] = (),
    ):
        self.edit, self.cases, self.probability, self.seed = edit, cases, probability, seed
        self.ignore, self.organ = ignore, organ
        self.R = np.random.RandomState(seed)
        self._process: str | None = None

    def __call__(self, **sample: Any) -> dict[str, Any]:
        self._seed_process()
        acts, seed = self.R.random_sample() < self.probability, int(self.R.randint(2**31))
        look = self.cases.look() if acts else None
        return sample if look is None else sample | self.edited(sample["image"], sample["segmentation"], look, seed)

    def _seed_process(self) -> None:
        """Draws go on from the seed and the name of the process: forked workers start as copies of each other."""
        name = multiprocessing.current_process().name
        if name != self._process:
            self._process, self.R = name, np.random.RandomState([self.seed, zlib.crc32(name.encode())])

    def edited(
        self, image: torch.Tensor, segmentation: torch.Tensor, look: Look, seed: int, organ: np.ndarray | None = None
    ) -> dict[str, Any]:
        """The patch of a case that is looked at so, edited by this seed.

        Args:
            organ: where tumors may lie (bool, *S); None: as the label says, or found.
        """
        values, labels = image.numpy(), segmentation[0].numpy()
        outside = labels == OUTSIDE
        fixed = outside if self.ignore is None else outside | (labels == self.ignore)
        normal = np.stack([window.normalize(channel) for window, channel in zip(look.windows, values, strict=True)])
        normal[:, outside] = -1.0
        known = np.where(fixed, 0, labels)
        data = {"image": _meta(look.there(normal), look), "label": _meta(look.there(known[None]), look)}
        if organ is None and self.organ:
            organ = np.isin(known, self.organ)
        if organ is not None:
            data["organ"] = _meta(look.there(organ[None].astype(np.uint8)), look)
        self.edit.set_random_state(seed=seed)
        made = self.edit(data)
        after = look.back(np.asarray(made["image"], dtype=np.float32))
        marks = look.back(np.asarray(made["label"]))[0].astype(labels.dtype)
        if look.masked:  # nothing was measured there in any channel, and nnU-Net has another value for it
            fixed = fixed | ((after != normal).any(axis=0) & (after <= -1.0).all(axis=0))
        new_values, new_labels = values.copy(), segmentation.numpy().copy()
        for channel, window in enumerate(look.windows):
            changed = (after[channel] != normal[channel]) & ~fixed
            new_values[channel][changed] = window.denormalize(after[channel][changed])
        relabelled = (marks != known) & ~fixed
        new_labels[:, relabelled] = marks[relabelled]
        return {"image": torch.from_numpy(new_values), "segmentation": torch.from_numpy(new_labels)}


def _meta(array: np.ndarray, look: Look) -> MetaTensor:
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=torch.from_numpy(look.affine))
