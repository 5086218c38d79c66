"""CarveMix and CutMix: a part of another case replaces the same place of this one, image and label, with hard edges.

CarveMix: Zhang 2021 (MICCAI, arXiv 2108.06883). CutMix: Yun 2019 (ICCV, arXiv 1905.04899), here with label maps in
place of class probabilities. All channels and all classes of a place come along. Both need cases of one voxel size, and
make most sense where those lie on one another; cases of different shapes are laid centre on centre.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from scipy import ndimage

from medaug.errors import ConfigError, DataError
from medaug.lesions.geometry import CropBox, box_around, extract
from medaug.transforms.base import Seeded
from medaug.transforms.baselines.base import (
    Bank,
    Donor,
    RandPasteD,
    check_items,
    donor_with_lesion,
    image_array,
    leaves_alone,
    voxel_size_mm,
)
from medaug.transforms.containers import class_numbers, like_source, region_of
from medaug.volumes import SPACING_TOLERANCE


class _RandMix(Seeded):
    """Draws a donor and a region, and takes the region from the donor. Subclasses give `_drawn`.

    Images that show background alone come back as they are, and are counted.

    Args:
        strictly_inside: whether nothing is brought into what lies outside of an organ that is given, to the voxel.
    """

    def __init__(self, bank: Bank, prob: float, strictly_inside: bool):
        super().__init__(prob)
        check_items("bank", bank, "Give the training cases, each with an image and a label.")
        self.bank, self.strictly_inside = bank, strictly_inside

    def __call__(
        self, img: NdarrayOrTensor, label: NdarrayOrTensor, organ: NdarrayOrTensor | None = None, randomize: bool = True
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor]:
        """(image, label), mixed or as they are.

        Args:
            organ: (1, *S), which `strictly_inside` confines the region to.

        Raises:
            DataError: if the donor has another voxel size or other channels, or no item of the bank can be one.
        """
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img, label
        image = image_array(img)
        if leaves_alone(self, image):
            return img, label
        truth = class_numbers(label, image.shape[1:], "label")
        donor, region = self._drawn(np.random.RandomState(self._seed), image.shape)
        _check_sizes(donor, voxel_size_mm(img))
        if self.strictly_inside and organ is not None:
            region = region & region_of(organ, region.shape, "organ mask")
        mixed = like_source(np.where(region, donor.image, image), image, img)
        return mixed, like_source(np.where(region, donor.label, truth)[None], truth[None], label)

    @abstractmethod
    def _drawn(self, rng: np.random.RandomState, shape: tuple[int, ...]) -> tuple[Donor, np.ndarray]:
        """The donor on the grid of an image of this shape (C, *S), and what is taken from it (*S), bool."""


class RandCarveMix(_RandMix):
    """With probability `prob`, carves the lesions of another case, with a rim or without their edge, into this one.

    Args:
        bank: cases with `image` (C, *S) in [-1, 1] and `label` (1, *S), of the images' voxel size; read when drawn.
        prob: probability of mixing.
        strictly_inside: whether nothing is carved into what lies outside of an organ that is given.
        tumor_labels: the label values that are tumor; None: all above 0.
    """

    def __init__(
        self, bank: Bank, prob: float = 0.5, strictly_inside: bool = False, tumor_labels: Sequence[int] | None = None
    ):
        super().__init__(bank, prob, strictly_inside)
        self.tumor_labels = tumor_labels

    def _drawn(self, rng: np.random.RandomState, shape: tuple[int, ...]) -> tuple[Donor, np.ndarray]:
        donor = donor_with_lesion(self.bank, rng, shape[0], self.tumor_labels)
        tumor = donor.label > 0 if self.tumor_labels is None else np.isin(donor.label, self.tumor_labels)
        region = carved_region(tumor, donor.spacing_mm, rng)
        return _centred(donor, shape[1:]), extract(region, _box(region.shape, shape[1:]), False)


class RandCutMix(_RandMix):
    """With probability `prob`, replaces a box of image and label by the same box of another case.

    Args:
        bank: as in `RandCarveMix`; cases without a lesion are drawn too.
        prob: probability of mixing.
        alpha: of the Beta(alpha, alpha) distribution of the kept part; 1, the paper's, is uniform.
        strictly_inside: whether the box is cut at the edge of an organ that is given.
    """

    def __init__(self, bank: Bank, prob: float = 0.5, alpha: float = 1.0, strictly_inside: bool = False):
        super().__init__(bank, prob, strictly_inside)
        if not alpha > 0:
            raise ConfigError(f"alpha: found {alpha}; expected more than 0 (1 is the paper's)")
        self.alpha = alpha

    def _drawn(self, rng: np.random.RandomState, shape: tuple[int, ...]) -> tuple[Donor, np.ndarray]:
        donor = Donor.of(self.bank, int(rng.randint(len(self.bank))), shape[0])
        return _centred(donor, shape[1:]), cut_box(shape[1:], self.alpha, rng)


class RandCarveMixd(RandPasteD):
    """Dictionary twin of `RandCarveMix`; `organ_key` may be missing in the data.

    Example:
        >>> RandCarveMixd("image", bank=training_cases, prob=0.5)   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        bank: Bank,
        label_key: str = "label",
        organ_key: str = "organ",
        prob: float = 0.5,
        strictly_inside: bool = False,
        tumor_labels: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ):
        carve = RandCarveMix(bank, 1.0, strictly_inside, tumor_labels)
        super().__init__(keys, carve, label_key, prob, organ_key, allow_missing_keys)


class RandCutMixd(RandPasteD):
    """Dictionary twin of `RandCutMix`; `organ_key` may be missing in the data.

    Example:
        >>> RandCutMixd("image", bank=training_cases, prob=0.5)   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        bank: Bank,
        label_key: str = "label",
        organ_key: str = "organ",
        prob: float = 0.5,
        alpha: float = 1.0,
        strictly_inside: bool = False,
        allow_missing_keys: bool = False,
    ):
        cut = RandCutMix(bank, 1.0, alpha, strictly_inside)
        super().__init__(keys, cut, label_key, prob, organ_key, allow_missing_keys)


RandCarveMixD = RandCarveMixDict = RandCarveMixd
RandCutMixD = RandCutMixDict = RandCutMixd


def carved_region(lesion: np.ndarray, spacing_mm: tuple[float, ...], rng: np.random.RandomState) -> np.ndarray:
    """The part of a case that CarveMix takes: all voxels whose signed distance to the lesion is at most λ.

    The distance D is negative inside. With d = |min D|, λ ~ ½ U(−d/2, 0) + ½ U(0, d): half of the regions are the
    lesion's core, half the lesion with a rim of up to its own depth.

    Args:
        lesion: (*S) bool, not empty.

    Returns:
        (*S) bool, not empty.
    """
    distance = ndimage.distance_transform_edt(~lesion, sampling=spacing_mm)
    distance -= ndimage.distance_transform_edt(lesion, sampling=spacing_mm)
    depth = abs(float(distance.min()))
    shrinks, part = rng.random_sample(2)
    return distance <= (-part * depth / 2 if shrinks < 0.5 else part * depth)


def cut_box(shape: tuple[int, ...], alpha: float, rng: np.random.RandomState) -> np.ndarray:
    """CutMix's box (section 3.1 of Yun 2019): a part 1 − λ of the image, λ ~ Beta(alpha, alpha), around a drawn voxel.

    Its sides are in proportion to the image's, and it is cut off where it reaches over the edge.

    Returns:
        (*S) bool; empty where λ is nearly 1.
    """
    side = (1 - rng.beta(alpha, alpha)) ** (1 / len(shape))
    region = np.zeros(shape, dtype=bool)
    center = [rng.uniform(0, n) for n in shape]
    edges = [(c - side * n / 2, c + side * n / 2) for c, n in zip(center, shape, strict=True)]
    region[tuple(slice(max(0, round(low)), max(0, round(high))) for low, high in edges)] = True
    return region


def _box(shape: tuple[int, ...], wanted: tuple[int, ...]) -> CropBox:
    """The box of the wanted shape around the middle of an array of this shape."""
    return box_around([n // 2 for n in shape], wanted)


def _centred(donor: Donor, shape: tuple[int, ...]) -> Donor:
    """The donor on a grid of this shape, centre on centre; -1 and no label where it does not reach."""
    box = _box(donor.label.shape, shape)
    image = np.stack([extract(channel, box, -1.0) for channel in donor.image])
    return replace(donor, image=image, label=extract(donor.label, box, 0), organ=None)


def _check_sizes(donor: Donor, spacing_mm: tuple[float, ...]) -> None:
    if not np.allclose(donor.spacing_mm, spacing_mm, rtol=SPACING_TOLERANCE):
        own, wanted = (" × ".join(f"{s:.3g}" for s in size) + " mm" for size in (donor.spacing_mm, spacing_mm))
        raise DataError(
            f"{donor.name}: found voxels of {own}; expected those of the image, {wanted}: its voxels replace the "
            "image's. Bring all cases to one voxel size (Spacingd), or use copy-paste, which works in mm."
        )
