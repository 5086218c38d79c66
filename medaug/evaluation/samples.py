"""What the downstream networks train on: real views, and in GAN arms a share of synthetic ones, augmented alike.

Sample i depends on (seed, i) alone. The draw of real views is the same in every arm of a seed; a GAN arm replaces a
share of them by synthetic ones, so arms differ in nothing else. Synthetic samples are read (a `ViewFolder` of written
cases) or made while a network trains (`Online`). What pastes acts where insertion does: on whole views with their
organ and affine, before a patch is cut.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    RandAdjustContrast,
    RandAffined,
    RandFlipd,
    RandGaussianNoise,
    RandomizableTransform,
)
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch.utils.data import Dataset

from medaug.data.prepared import View, ViewArrays, filled_up
from medaug.errors import DataError
from medaug.seeds import rng_of

log = logging.getLogger(__name__)

Sample = dict[str, MetaTensor]
"""What augmentations take: "image" (C, *S), "label" (1, *S), and "organ" (1, *S) where that is known."""
TUMOR_SHARE = 0.67
"""Part of the draws that come from views with a tumor (3-D: patches around one), where there are both kinds."""
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

    def sample(self, view: View) -> Sample:
        """A view as augmentations take it, each with its affine.

        Returns:
            {"image": float32 in [-1, 1], "label": class numbers, "organ": where tumors may lie, if that is known}.
        """
        return as_sample(view, view.normalized(self.folder), view.classes(self.folder), self)


class SyntheticSample(NamedTuple):
    """A synthetic sample on its view's grid: image (C, *S) in [-1, 1], float32, and label (*S) of class numbers.

    `around`: what patches with a tumor are put around (bool); None is the label.
    """

    image: np.ndarray
    label: np.ndarray
    around: np.ndarray | None = None


class Online(Protocol):
    """Makes synthetic samples of training views while a network trains.

    Attributes:
        with_tumor: whether it is given views with a tumor only, or all of them alike.
    """

    with_tumor: bool

    def __call__(self, view: View, seed: int) -> SyntheticSample | None:
        """One seed, one sample; None where the view has no room for it."""


def sample_size(sources: Sequence[ViewFolder | None], patch_size: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """What every sample is cut or filled up to: the patch, or the largest of views that differ in size, by axis.

    None: all views have one size, and are taken as they are.
    """
    shapes = _shapes(sources)
    return patch_size if patch_size is not None or len(shapes) < 2 else tuple(map(max, zip(*shapes, strict=True)))


def say_sample_size(sources: Sequence[ViewFolder | None], patch_size: tuple[int, ...] | None) -> None:
    """Tells the user, where views differ in size or a patch is larger than one, what becomes of them."""
    size, shapes = sample_size(sources, patch_size), _shapes(sources)
    if size is None or (len(shapes) == 1 and all(have >= want for have, want in zip(shapes[0], size, strict=True))):
        return
    least, most = (" × ".join(str(pick(sizes)) for sizes in zip(*shapes, strict=True)) for pick in (min, max))
    cut = "" if patch_size is None else "cut at random where an image is larger, most of them around a tumor, and "
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
    """`samples[i]` → {"image": (C, *S) in [-1, 1], "label": (1, *S) of class numbers, 0 none}.

    Attributes:
        real: where views come from.
        synthetic: where synthetic samples come from; None for arms without. What is made online is made of `real`, and
            where there is no room for it the sample stays the real one.
        synthetic_ratio: the probability that a sample is synthetic.
        length: how many samples there are.
        patch_size: size of the patches; None takes whole views. See `sample_size`: all samples have one size.
        pasting: of whole views {"image", "label", "organ"}, before a patch is cut; None pastes nothing.
        augmentation: of {"image", "label"} (and "organ"), MetaTensors; None is the standard one.
    """

    real: ViewFolder
    synthetic: ViewFolder | Online | None
    _: KW_ONLY
    synthetic_ratio: float
    seed: int
    length: int
    patch_size: tuple[int, ...] | None = None
    pasting: Compose | None = None
    augmentation: Compose | None = None

    tumor_share: ClassVar[float] = TUMOR_SHARE

    def __post_init__(self) -> None:
        written = self.synthetic if isinstance(self.synthetic, ViewFolder) else None
        self.patch_size = sample_size([self.real, written], self.patch_size)
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
        sample, around = self._drawn(with_tumor, pick, other if exchange < self.synthetic_ratio else None, edit_seed)
        if self.pasting is not None:
            self.pasting.set_random_state(seed=paste_seed)
            sample = self._pasted(self.pasting, sample, with_tumor, other)
        sample = self._patch(sample, around, rng, around_tumor=with_tumor)
        if self.augmentation is None:
            self.augmentation = standard_augmentation(sample["image"].ndim - 1)
        self.augmentation.set_random_state(seed=int(rng.randint(2**31)))
        sample = self.augmentation(sample)
        return {"image": _plain(sample["image"]).clamp(-1, 1), "label": _class_numbers(sample["label"])}

    def _drawn(
        self, with_tumor: bool, pick: float, other: float | None, edit_seed: int
    ) -> tuple[Sample, np.ndarray | None]:
        """The sample of these draws in [0, 1), and what its patch lies around; `other` is None for a real one."""
        if other is not None and self.synthetic is not None and not isinstance(self.synthetic, ViewFolder):
            view, source = _picked(self._pools[False, self.synthetic.with_tumor], other)
            if (made := self.synthetic(view, edit_seed)) is not None:
                return as_sample(view, made.image, made.label, source), made.around
        if other is not None and (True, with_tumor) in self._pools:
            view, source = _picked(self._pools[True, with_tumor], other)
        else:
            view, source = _picked(self._pools[False, with_tumor], pick)
        return source.sample(view), None

    def _pasted(self, pasting: Compose, sample: Sample, with_tumor: bool, other: float) -> Sample:
        pasted: Sample = pasting(sample)
        return pasted

    def _patch(
        self, sample: Sample, around: np.ndarray | None, rng: np.random.RandomState, *, around_tumor: bool
    ) -> Sample:
        if self.patch_size is None:
            return sample
        size, shape = tuple(self.patch_size), sample["image"].shape[1:]
        around = sample["label"][0].numpy() if around is None else around
        room = [max(0, have - want) for want, have in zip(size, shape, strict=True)]
        start = [int(rng.randint(r + 1)) for r in room]
        if around_tumor and around.any():
            inside = np.argwhere(around)
            center = inside[rng.randint(len(inside))]
            jitter = [rng.randint(-(s // 4), s // 4 + 1) for s in size]
            start = [int(np.clip(c + j - s // 2, 0, r)) for c, j, s, r in zip(center, jitter, size, room, strict=True)]
        return {key: _cut(array, start, size, -1.0 if key == "image" else 0.0) for key, array in sample.items()}


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

    def _pasted(self, pasting: Compose, sample: Sample, with_tumor: bool, other: float) -> Sample:
        """Without a tumor the sample as it is; with one, another view with what was pasted there, if anything was."""
        if not with_tumor:
            return sample
        view, source = _picked(self._pools[False, False], other)
        background = source.sample(view)
        pasted: Sample = pasting(background)
        return pasted if ((pasted["label"] > 0) & (background["label"] == 0)).any() else sample

    def _patch(
        self, sample: Sample, around: np.ndarray | None, rng: np.random.RandomState, *, around_tumor: bool
    ) -> Sample:
        """A place without tumor is looked for a few times; what is found is labelled as what it is."""
        for _ in range(PATCH_TRIES):
            patch = super()._patch(sample, around, rng, around_tumor=around_tumor)
            if bool(patch["label"].any()) == around_tumor:
                break
        return patch

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


def as_sample(view: View, image: np.ndarray, label: np.ndarray, source: ViewFolder) -> Sample:
    """Image (C, *S) in [-1, 1] and class numbers (*S) on the grid of a view of `source`, as a `ViewFolder` has it."""
    arrays = {"image": image, "label": label[None].astype(np.float32)}
    if "organ" in view.case.arrays:
        arrays["organ"] = view.organ(source.folder)[None].astype(np.float32)
    return {key: view.placed(array.copy()) for key, array in arrays.items()}


def _cut(array: MetaTensor, start: Sequence[int], size: Sequence[int], fill: float) -> MetaTensor:
    """A patch (C, *size) of an array (C, *S) with the affine of its place; what lies beyond the array is `fill`."""
    part = array.as_tensor()[(slice(None), *(slice(s, s + n) for s, n in zip(start, size, strict=True)))]
    missing = [n - have for n, have in zip(size, part.shape[1:], strict=True)]
    part = torch.nn.functional.pad(part, [x for m in reversed(missing) for x in (0, m)], value=fill)
    affine = array.affine.clone()
    affine[:3, 3] += affine[:3, : len(start)] @ torch.tensor(start, dtype=affine.dtype)
    return MetaTensor(part, affine=affine)


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


def standard_augmentation(spatial_dims: int) -> Compose:
    """The `standard` arm: flip, affine, gamma, noise, on {"image", "label"} in [-1, 1].

    All channels move together. Their intensities change as in nnU-Net: whether is drawn once, how channel by channel.
    """
    keys, planes = ["image", "label"], ([0.26] if spatial_dims == 2 else [0.1, 0.1, 0.26])
    return Compose(
        [
            RandFlipd(keys, prob=0.5, spatial_axis=0),
            RandAffined(
                keys,
                prob=0.7,
                rotate_range=planes,
                scale_range=[0.15] * spatial_dims,
                translate_range=[5.0] * spatial_dims,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            _ByChannel(RandAdjustContrast(prob=1.0, gamma=(0.7, 1.4)), prob=0.3),
            _ByChannel(RandGaussianNoise(prob=1.0, std=0.05), prob=0.3),
        ]
    )


class _ByChannel(RandomizableTransform):
    """With probability `prob`, changes a sample's image by a random array transform, drawn anew for each channel."""

    def __init__(self, transform: RandomizableTransform, prob: float):
        super().__init__(prob)
        self.transform = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Self:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[str, MetaTensor]) -> Sample:
        self.randomize(None)
        sample = dict(data)
        if self._do_transform:
            changed = [_plain(self.transform(channel[None])) for channel in _plain(sample["image"])]
            sample["image"] = convert_to_dst_type(torch.cat(changed), sample["image"])[0]
        return sample


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
