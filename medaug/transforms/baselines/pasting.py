"""Copy-paste of tumors: a lesion of another case, bent and matched to its new surroundings, with a soft edge.

After TumorCP (Yang 2021, MICCAI, arXiv 2107.09843). Images (C, *S) in [-1, 1]; a tumor is moved in all channels, with
all its parts. It draws, places and joins lesions with the same code as tumor insertion does, less the translator: the
arm that tells what the GAN itself adds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor

from medaug.errors import ConfigError, DataError
from medaug.lesions.anatomy import find_organ
from medaug.lesions.drawing import draw_lesion
from medaug.lesions.geometry import component_boxes
from medaug.lesions.prior import MARGIN_VOXELS, LesionExample, LesionPrior
from medaug.transforms.array import ORGAN_MARGIN_MM
from medaug.transforms.base import Seeded
from medaug.transforms.baselines.base import (
    RANGE,
    Bank,
    Donor,
    RandPasteD,
    check_items,
    donor_with_lesion,
    image_array,
    leaves_alone,
    voxel_size_mm,
)
from medaug.transforms.canvas import limits_of
from medaug.transforms.containers import class_numbers, like_source, marked_label, region_of
from medaug.transforms.engine import paint
from medaug.transforms.planning import Facts, Plan
from medaug.transforms.tumor_labels import numbers_of

ROOM = 1.8
"""A crop is so many times as wide as the largest lesion in it: it turns, and grows."""


class RandCopyPasteTumor(Seeded):
    """With probability `prob`, pastes a lesion of another case into an image, and adds it to the label.

    The lesion is turned, flipped, scaled, bent, and its contrast varied; it lies in the organ and keeps clear of other
    lesions. After a call, `lesions` says what was pasted (empty where there was no room; of threads that share the
    transform, the last call's). Images that show background alone come back as they are, and are counted.

    Departs from the paper:
        - The texture is shifted to the brightness of its new surroundings, where the paper varies gamma and blurs.

    Args:
        bank: cases with `image` (C, *S) in [-1, 1] and `label`; any shapes; read when drawn. Where they have `organ` it
            need not be found, which takes longer than all the rest.
        prob: probability of pasting.
        organ_margin_mm: where no organ is given, the found one is shrunk by this.
        tumor_labels: the label values that are tumor, one a part (edema, core, ...); a pasted part keeps its value.
            None: labels hold 0 and 1 only.
        strictly_inside: whether what reaches over the edge of an organ that is given is cut off, to the voxel.
    """

    def __init__(
        self,
        bank: Bank,
        prob: float = 0.5,
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        tumor_labels: Sequence[int] | None = None,
        strictly_inside: bool = False,
    ):
        super().__init__(prob)
        check_items("bank", bank, "Give the training cases, each with an image and a label.")
        if tumor_labels is not None and not (tumor_labels and min(tumor_labels) > 0):
            raise ConfigError(f"tumor_labels: found {tumor_labels}; expected label values above 0, one a part")
        self.bank, self.organ_margin_mm = bank, organ_margin_mm
        self.tumor_labels, self.strictly_inside = tumor_labels, strictly_inside
        self.lesions: list[Facts] = []

    def __call__(
        self, img: NdarrayOrTensor, label: NdarrayOrTensor, organ: NdarrayOrTensor | None = None, randomize: bool = True
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor]:
        """(image, label): with one lesion more, or equal to the inputs.

        Args:
            label: new lesions keep clear of the old.
            organ: where lesions may lie; None finds the head or body.

        Raises:
            DataError: for several values in a label without `tumor_labels`, if the bank holds no lesion or has other
                channels, or only one of image and bank has a known voxel size.
        """
        if randomize:
            self.randomize()
        self.lesions, seed = [], self._seed
        if not self._do_transform:
            return img, label
        image = image_array(img)
        if leaves_alone(self, image):
            return img, label
        truth = self._parts(class_numbers(label, image.shape[1:], "label"), "label") > 0
        spacing_mm, rng = voxel_size_mm(img), np.random.RandomState(seed)
        allowed = None if organ is None else region_of(organ, truth.shape, "organ mask")
        donor = donor_with_lesion(self.bank, rng, len(image), self.tumor_labels)
        _check_sizes(donor, isinstance(img, MetaTensor), spacing_mm)
        prior = self._lesions_of(donor)
        lesion = draw_lesion(prior, self._organ(image, allowed, spacing_mm), truth, rng, spacing_mm=spacing_mm)
        if lesion is None:
            return img, label
        plan = Plan([(None, lesion)], within=allowed if self.strictly_inside else None)
        edit = paint(image, plan, [RANGE] * len(image), None, [limits_of(channel, RANGE) for channel in image])
        self.lesions = [lesion.provenance()]
        values = np.array((0, *(self.tumor_labels or (1,))))[edit.parts * ~truth]
        return like_source(edit.image, image, img), marked_label(values, label, keep=True)

    def _lesions_of(self, donor: Donor) -> LesionPrior:
        parts = self._parts(donor.label, donor.name)
        organ = self._organ(donor.image, donor.organ, donor.spacing_mm)
        example = LesionExample(donor.image, parts, organ, donor.name, donor.name, None, donor.spacing_mm)
        return LesionPrior.fit([example], _crop_size(parts > 0), donor.spacing_mm, min_diameter_mm=0.0)

    def _organ(self, image: np.ndarray, given: np.ndarray | None, spacing_mm: tuple[float, ...]) -> np.ndarray:
        """The organ that is given, or found in the first channel."""
        return find_organ(image[0], spacing_mm, margin_mm=self.organ_margin_mm) if given is None else given

    def _parts(self, label: np.ndarray, name: str) -> np.ndarray:
        """Part numbers (uint8, *S) of a label; one of several values is refused where nobody says which are tumor."""
        if self.tumor_labels is None and not np.isin(label, (0, 1)).all():
            found = ", ".join(f"{value:g}" for value in np.unique(label))
            raise DataError(
                f"{name}: found the label values {found}; expected 0 and 1. Say which are tumor, one a part: "
                "tumor_labels=[2] of an organ 1 with a tumor 2, or tumor_labels=[1, 2, 3] of a tumor of three parts."
            )
        return numbers_of(label, tuple((value,) for value in self.tumor_labels or (1,)))


class RandCopyPasteTumord(RandPasteD):
    """Dictionary twin of `RandCopyPasteTumor`; `organ_key` may be missing in the data.

    Example:
        >>> RandCopyPasteTumord("image", bank=training_cases, prob=0.5)   # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        bank: Bank,
        label_key: str = "label",
        organ_key: str = "organ",
        prob: float = 0.5,
        organ_margin_mm: float = ORGAN_MARGIN_MM,
        tumor_labels: Sequence[int] | None = None,
        strictly_inside: bool = False,
        allow_missing_keys: bool = False,
    ):
        paste = RandCopyPasteTumor(bank, 1.0, organ_margin_mm, tumor_labels, strictly_inside)
        super().__init__(keys, paste, label_key, prob, organ_key, allow_missing_keys)


RandCopyPasteTumorD = RandCopyPasteTumorDict = RandCopyPasteTumord


def _crop_size(label: np.ndarray) -> tuple[int, ...]:
    """The size of crops that hold every lesion however it is bent: square in the plane, because they turn there."""
    extents = np.max([[axis.stop - axis.start for axis in box] for box in component_boxes(label)], axis=0)
    extents[:2] = extents[:2].max()
    return tuple(int(np.ceil(ROOM * extent)) + 2 * MARGIN_VOXELS for extent in extents)


def _check_sizes(donor: Donor, measured: bool, spacing_mm: tuple[float, ...]) -> None:
    """Lesions keep their size in mm, which takes both voxel sizes, or neither."""
    if measured != donor.measured and not np.allclose(spacing_mm, donor.spacing_mm):
        known, unknown = (donor.name, "the image") if donor.measured else ("the image", donor.name)
        raise DataError(
            f"found a voxel size of {known} but none of {unknown}; expected both, or neither. Give MetaTensors with "
            "their affines (LoadImaged), or plain arrays of one voxel size."
        )
