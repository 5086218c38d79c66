"""What the downstream networks train on: real views, and in GAN arms a share of synthetic ones, augmented alike.

Sample i depends on (seed, i) alone. The draw of real views and of places in them is the same in every arm of a seed; a
GAN arm replaces a share of them by synthetic ones, so arms differ in nothing else. Synthetic samples are read (a
`ViewFolder` of written cases) or made while a network trains (`Online`). A sample is a whole view or a patch: a third
of the patches lie around foreground, as nnU-Net's do; of a patch nothing but the patch and a margin, which turning
brings in, is read. What pastes or inserts acts there, before the augmentation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Compose
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset

from medaug.data.prepared import View, ViewArrays, filled_up
from medaug.errors import DataError
from medaug.evaluation.augmentation import Sample, middle, standard_augmentation
from medaug.lesions.geometry import CropBox
from medaug.seeds import rng_of

log = logging.getLogger(__name__)

FOREGROUND_SHARE = 0.33
"""Part of the samples that is drawn around foreground, where there is any (nnU-Net's oversampling)."""
MARGIN = 0.125
"""A patch is read with so much of its size more on each side."""
PATCH_TRIES = 10
BOTH = (False, True)
"""Views without, and with a tumor."""
PATCH_ORGAN_LEAST = 0.25
"""A patch without tumor is classified if this part of it is organ."""


@dataclass(frozen=True)
class ViewFolder:
    """Views and the folder their arrays lie in."""

    views: list[View]
    folder: Path

    def sample(self, view: View, box: CropBox | None = None) -> Sample:
        """A view, or a box of it, as augmentations take it, with its affine.

        Returns:
            {"image": float32 in [-1, 1], "label": class numbers, "organ": where tumors may lie, if that is known}.
        """
        arrays = view.read(self.folder) if box is None else view.patch(self.folder, box.start, box.size)
        return as_sample(view, arrays, box)


class SyntheticSample(NamedTuple):
    """A synthetic sample on its view's grid, or the patch's: image (C, *S) in [-1, 1], float32, class numbers (*S)."""

    image: np.ndarray
    label: np.ndarray


class Online(Protocol):
    """Makes synthetic samples of training views while a network trains.

    Attributes:
        with_tumor: whether it is given views with a tumor only, or all of them alike.
    """

    with_tumor: bool

    def __call__(
        self, view: View, seed: int, start: Sequence[int] | None = None, size: Sequence[int] | None = None
    ) -> SyntheticSample | None:
        """One seed, one sample of the view, or of the patch of this size there; None where it has no room for it."""


def sample_size(sources: Sequence[ViewFolder | None], patch_size: tuple[int, ...] | None) -> tuple[int, ...]:
    """What every sample is cut or filled up to: the patch, or the largest of the views, by axis."""
    return patch_size or tuple(map(max, zip(*_shapes(sources), strict=True)))


def say_sample_size(sources: Sequence[ViewFolder | None], patch_size: tuple[int, ...] | None) -> None:
    """Tells the user, where views differ in size or a patch is larger than one, what becomes of them."""
    size, shapes = sample_size(sources, patch_size), _shapes(sources)
    if len(shapes) == 1 and all(have >= want for have, want in zip(shapes[0], size, strict=True)):
        return
    least, most = (" × ".join(str(pick(sizes)) for sizes in zip(*shapes, strict=True)) for pick in (min, max))
    cut = "" if patch_size is None else "cut at random where an image is larger, a third of them around a tumor, and "
    log.warning(
        "evaluation: training images have from %s to %s voxels. Samples of %s are %sfilled up with the window's lowest "
        "value at the far ends where an image is smaller%s",
        least,
        most,
        " × ".join(map(str, size)),
        cut,
        "" if patch_size is not None else "; evaluation.patch_size trains on smaller patches",
    )


def _shapes(sources: Sequence[ViewFolder | None]) -> list[tuple[int, ...]]:
    return list(dict.fromkeys(view.shape for source in sources if source is not None for view in source.views))


@dataclass(eq=False, repr=False)
class SegmentationSamples(Dataset):
    """`samples[i]` → {"image": (C, *S), about [-1, 1], "label": (1, *S) of class numbers, 0 none}.

    Attributes:
        real: where views come from.
        synthetic: where synthetic samples come from; None for arms without. What is made online is made of `real`, and
            where there is no room for it the sample stays the real one.
        synthetic_ratio: the probability that a sample is synthetic.
        length: how many samples there are.
        patch_size: size of the patches; None takes whole views. See `sample_size`: all samples have one size.
        whole_size: what whole views are filled up to, as in every other arm; None: the largest of these.
        pasting: of {"image", "label", "organ"}, before the augmentation; None pastes nothing.
        augmentation: of {"image", "label"} (and "organ"), MetaTensors; None is the standard one.
    """

    real: ViewFolder
    synthetic: ViewFolder | Online | None
    _: KW_ONLY
    synthetic_ratio: float
    seed: int
    length: int
    patch_size: tuple[int, ...] | None = None
    whole_size: tuple[int, ...] | None = None
    pasting: Compose | None = None
    augmentation: Compose | None = None

    tumor_share: ClassVar[float] = FOREGROUND_SHARE
    margin: ClassVar[float] = MARGIN

    def __post_init__(self) -> None:
        written = self.synthetic if isinstance(self.synthetic, ViewFolder) else None
        self.size = self.patch_size or self.whole_size or sample_size([self.real, written], None)
        self._pools = {
            (invented, with_tumor): [some if with_tumor and (some := _of_kind(source, True)).views else source]
            for invented, source in ((False, self.real), (True, written))
            if source is not None
            for with_tumor in BOTH
        }

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = rng_of(self.seed, index)
        tumor, pick, exchange, other = rng.random_sample(4)
        with_tumor = tumor < self.tumor_share
        own = np.random.RandomState([self.seed % 2**32, index])  # no draw of a real sample's
        edit_seed, paste_seed = (int(own.randint(2**31)) for _ in range(2))
        place_seed, augment_seed = (int(rng.randint(2**31)) for _ in range(2))
        sample = self._drawn(
            with_tumor, pick, other if exchange < self.synthetic_ratio else None, edit_seed, place_seed
        )
        if self.pasting is not None:
            self.pasting.set_random_state(seed=paste_seed)
            sample = self._pasted(self.pasting, sample, with_tumor, other, place_seed)
        if self.augmentation is None:
            self.augmentation = standard_augmentation(self.size)
        self.augmentation.set_random_state(seed=augment_seed)
        sample = self.augmentation(sample)
        image, label = _plain(sample["image"]), _class_numbers(sample["label"])
        return {"image": middle(image, self.size), "label": middle(label, self.size)}

    def _drawn(self, with_tumor: bool, pick: float, other: float | None, edit_seed: int, place_seed: int) -> Sample:
        """The sample of these draws in [0, 1); `other` is None for a real one."""
        if other is not None and self.synthetic is not None and not isinstance(self.synthetic, ViewFolder):
            edit = self.synthetic
            view, source = _picked(self._pools[False, edit.with_tumor], other)
            box = self._place(view, source, place_seed, with_tumor or edit.with_tumor)
            if (made := edit(view, edit_seed, *(() if box is None else (box.start, box.size)))) is not None:
                organ = view.organ(source.folder) if box is None else view.marks(source.folder, "organ", box) > 0
                return self._filled(as_sample(view, ViewArrays(made.image, made.label, organ), box))
        if other is not None and (True, with_tumor) in self._pools:
            view, source = _picked(self._pools[True, with_tumor], other)
        else:
            view, source = _picked(self._pools[False, with_tumor], pick)
        return self._filled(source.sample(view, self._place(view, source, place_seed, with_tumor)))

    def _pasted(self, pasting: Compose, sample: Sample, with_tumor: bool, other: float, place_seed: int) -> Sample:
        pasted: Sample = pasting(sample)
        return pasted

    def _place(self, view: View, source: ViewFolder, seed: int, around_tumor: bool) -> CropBox | None:
        """Where a patch with its margin lies, around one voxel of one of the view's classes or anywhere; None: all."""
        if self.patch_size is None:
            return None
        rng, size = np.random.RandomState(seed), self.patch_size
        room = [max(0, have - want) for want, have in zip(size, view.shape, strict=True)]
        start = [int(rng.randint(r + 1)) for r in room]
        if around_tumor and (present := view.classes_present):
            voxels = view.foreground(source.folder, [present[rng.randint(len(present))]])
            center = voxels[rng.randint(len(voxels))]
            start = [int(np.clip(c - n // 2, 0, r)) for c, n, r in zip(center, size, room, strict=True)]
        margins = [math.ceil(self.margin * n) for n in size]
        return CropBox(
            tuple(first - m for first, m in zip(start, margins, strict=True)),
            tuple(n + 2 * m for n, m in zip(size, margins, strict=True)),
        )

    def _filled(self, sample: Sample) -> Sample:
        """A view smaller than the samples, filled up at the far ends."""
        return {key: _filled_up(array, self.size, -1.0 if key == "image" else 0.0) for key, array in sample.items()}


@dataclass(eq=False, repr=False)
class ClassificationSamples(SegmentationSamples):
    """`samples[i]` → {"image": (C, *S) in [-1, 1], "label": (1,): 1 where a tumor is in the image}.

    Half of the draws are from views with a tumor (patches: around one), half from views without (patches: clear of
    any). A synthetic sample is of the same kind as the real one that it replaces: with a tumor, an insertion; without,
    a removal or the tumor-free view that an insertion was made from. What is pasted into a view without a tumor takes
    the place of a sample with one. So the share of tumors is equal in every arm, and of a GAN arm "was edited" does not
    mean "tumor".

    Attributes:
        counterparts: what synthetic samples without a tumor come from besides `synthetic`.

    Raises:
        DataError: if there are no real, or in a GAN arm no synthetic, views of one of the two kinds.
    """

    counterparts: ViewFolder | None

    tumor_share: ClassVar[float] = 0.5
    margin: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        patches = self.patch_size is not None
        super().__post_init__()
        # patches without a tumor may come from any view
        self._pools = {
            (False, kind): [self.real if patches and not kind else _of_kind(self.real, kind)] for kind in BOTH
        }
        self._check_kinds("real views", False, "Classify patches (evaluation.patch_size), or choose other data.")
        if isinstance(self.synthetic, ViewFolder):
            invented = [source for source in (self.synthetic, self.counterparts) if source is not None]
            self._pools |= {(True, kind): [_of_kind(source, kind) for source in invented] for kind in BOTH}
            self._check_kinds("synthetic views", True, "Raise synthesis.insertions and synthesis.removals.")

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = super().__getitem__(index)
        return {"image": sample["image"], "label": sample["label"].amax().clamp(max=1).reshape(1)}

    def _pasted(self, pasting: Compose, sample: Sample, with_tumor: bool, other: float, place_seed: int) -> Sample:
        """Without a tumor the sample as it is; with one, another view with what was pasted there, if anything was."""
        if not with_tumor:
            return sample
        view, source = _picked(self._pools[False, False], other)
        background = self._filled(source.sample(view, self._place(view, source, place_seed, False)))
        pasted: Sample = pasting(background)
        return pasted if ((pasted["label"] > 0) & (background["label"] == 0)).any() else sample

    def _place(self, view: View, source: ViewFolder, seed: int, around_tumor: bool) -> CropBox | None:
        """A place without tumor is looked for a few times; what is found is labelled as what it is."""
        for attempt in range(PATCH_TRIES):
            box = super()._place(view, source, seed + attempt, around_tumor)
            if box is None or around_tumor or not view.patch(source.folder, box.start, box.size).label.any():
                break
        return box

    def _check_kinds(self, what: str, invented: bool, remedy: str) -> None:
        without, with_tumor = (sum(len(source.views) for source in self._pools[invented, kind]) for kind in BOTH)
        if not without or not with_tumor:
            raise DataError(
                f"classification, {what} to train on: found {with_tumor} with and {without} without a tumor; "
                f"expected some of both. {remedy}"
            )


def patches_of(arrays: ViewArrays, patch_size: tuple[int, ...] | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What is classified in a view, (image, label) each: side by side patches with enough organ or a tumor, or all."""
    if patch_size is None:
        yield arrays.image, arrays.label
        return
    image = filled_up(arrays.image, (0, *patch_size))
    label, organ = filled_up(arrays.label, patch_size, 0), filled_up(arrays.organ, patch_size, 0)
    starts = [[*range(0, have - want, want), have - want] for want, have in zip(patch_size, label.shape, strict=True)]
    for start in product(*starts):
        box = tuple(slice(s, s + n) for s, n in zip(start, patch_size, strict=True))
        if organ[box].mean() >= PATCH_ORGAN_LEAST or label[box].any():
            yield image[(slice(None), *box)], label[box]


def as_sample(view: View, arrays: ViewArrays, box: CropBox | None = None) -> Sample:
    """The arrays of a view, or of a box of it, as a `ViewFolder` has them."""
    affine = torch.from_numpy(view.affine if box is None else view.affine_at(box.start))
    found = {"image": arrays.image, "label": arrays.classes[None].astype(np.float32)}
    if "organ" in view.case.arrays:
        found["organ"] = arrays.organ[None].astype(np.float32)
    return {key: MetaTensor(torch.from_numpy(array.copy()), affine=affine) for key, array in found.items()}


def _filled_up(array: MetaTensor, size: Sequence[int], fill: float) -> MetaTensor:
    missing = [max(0, n - have) for n, have in zip(size, array.shape[1:], strict=True)]
    if not any(missing):
        return array
    part = torch.nn.functional.pad(array.as_tensor(), [x for m in reversed(missing) for x in (0, m)], value=fill)
    return MetaTensor(part, affine=array.affine)


def _picked(sources: list[ViewFolder], draw: float) -> tuple[View, ViewFolder]:
    """The view at this part, in [0, 1), of the sources one after the other."""
    place = int(draw * sum(len(source.views) for source in sources))
    for source in sources:
        if place < len(source.views):
            return source.views[place], source
        place -= len(source.views)
    raise IndexError(draw)


def _of_kind(source: ViewFolder, with_tumor: bool) -> ViewFolder:
    return replace(source, views=[view for view in source.views if bool(view.tumor_voxels) == with_tumor])


def _class_numbers(label: NdarrayOrTensor) -> torch.Tensor:
    """An augmented label, refused if the augmentation left something else than whole numbers in it."""
    plain = _plain(label)
    odd = plain[plain != plain.round()]
    if odd.numel() or plain.min() < 0:
        found = float(odd[0] if odd.numel() else plain.min())
        raise DataError(
            f"augmentation: found {found:.3g} in a label; expected class numbers, 0 for none. Move labels by nearest "
            'neighbour (mode "nearest"), and leave "label" out of the keys of what changes intensities.'
        )
    return plain


def _plain(x: NdarrayOrTensor) -> torch.Tensor:
    return convert_to_tensor(x, dtype=torch.float32, track_meta=False)
