"""Copy-paste of tumors: a lesion of another case, bent and matched to its new surroundings, with a soft edge.

After TumorCP (Yang 2021, MICCAI, arXiv 2107.09843). Images (1, *S) in [-1, 1]. It draws, places and joins lesions with
the same code as tumor insertion does, less the translator: the arm that tells what the GAN itself adds.
"""

from __future__ import annotations

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor

from medaug.errors import DataError
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
from medaug.transforms.engine import Facts, Plan, paint

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
        bank: cases with `image` (1, *S) in [-1, 1] and binary `label`; any shapes; read when drawn. Where they have
            `organ` it need not be found, which takes longer than all the rest.
        prob: probability of pasting.
        organ_margin_mm: where no organ is given, the found one is shrunk by this.
    """

    def __init__(self, bank: Bank, prob: float = 0.5, organ_margin_mm: float = ORGAN_MARGIN_MM):
        super().__init__(prob)
        check_items("bank", bank, "Give the training cases, each with an image and a label.")
        self.bank, self.organ_margin_mm = bank, organ_margin_mm
        self.lesions: list[Facts] = []

    def __call__(
        self, img: NdarrayOrTensor, label: NdarrayOrTensor, organ: NdarrayOrTensor | None = None, randomize: bool = True
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor]:
        """(image, label): with one lesion more, or equal to the inputs.

        Args:
            label: 0 and 1 only; new lesions keep clear of the old.
            organ: where lesions may lie; None finds the head or body.

        Raises:
            DataError: for classes of lesions, if the bank holds no lesion, or only one of image and bank has a known
                voxel size.
        """
        if randomize:
            self.randomize()
        self.lesions, seed = [], self._seed
        if not self._do_transform:
            return img, label
        image = image_array(img)
        if leaves_alone(self, image):
            return img, label
        truth = _binary(class_numbers(label, image.shape, "label"), "label")
        spacing_mm, rng = voxel_size_mm(img, image.ndim), np.random.RandomState(seed)
        allowed = None if organ is None else region_of(organ, image.shape, "organ mask")
        donor = donor_with_lesion(self.bank, rng)
        _check_sizes(donor, isinstance(img, MetaTensor), spacing_mm)
        prior = self._lesions_of(donor)
        lesion = draw_lesion(prior, self._organ(image, allowed, spacing_mm), truth, rng, spacing_mm=spacing_mm)
        if lesion is None:
            return img, label
        edit = paint(image[None], Plan([(None, lesion)]), [RANGE], None, [limits_of(image, RANGE)])
        self.lesions = [lesion.provenance()]
        return like_source(edit.image, image[None], img), marked_label(edit.parts * ~truth, label, keep=True)

    def _lesions_of(self, donor: Donor) -> LesionPrior:
        label = _binary(donor.label, donor.name)
        organ = self._organ(donor.image, donor.organ, donor.spacing_mm)
        example = LesionExample(donor.image[None], label, organ, donor.name, donor.name, None, donor.spacing_mm)
        return LesionPrior.fit([example], _crop_size(label), donor.spacing_mm, min_diameter_mm=0.0)

    def _organ(self, image: np.ndarray, given: np.ndarray | None, spacing_mm: tuple[float, ...]) -> np.ndarray:
        return find_organ(image, spacing_mm, margin_mm=self.organ_margin_mm) if given is None else given


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
        allow_missing_keys: bool = False,
    ):
        super().__init__(
            keys, RandCopyPasteTumor(bank, 1.0, organ_margin_mm), label_key, prob, organ_key, allow_missing_keys
        )


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


def _binary(label: np.ndarray, name: str) -> np.ndarray:
    """The label as bool; one with classes is refused."""
    classes = np.unique(label)
    if not np.isin(classes, (0, 1)).all():
        raise DataError(
            f"{name}: found the label values {', '.join(f'{value:g}' for value in classes)}; expected 0 and 1. "
            "Copy-paste moves whole tumors: merge their parts first (AsDiscreted with threshold=0.5)."
        )
    return label > 0
