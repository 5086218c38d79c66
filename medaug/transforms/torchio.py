"""Our dictionary transforms in TorchIO: `tio.Compose([..., to_torchio(RandInsertTumord("mri", weights=...))])`.

TorchIO hands subjects on; `tio.MonaiAdapter` turns their images into MetaTensors and back, affines included. What it
leaves open is done here: a label that a transform makes becomes a `LabelMap` of whole numbers, and every worker of a
data loader draws its own numbers. They come from the transform's `self.R`, as everywhere in medaug.

Needs `medaug[torchio]`.
"""

from __future__ import annotations

import torch
from monai.transforms import MapTransform, Randomizable
from torch.utils.data import get_worker_info

from medaug.errors import ConfigError

try:
    import torchio as tio
except ImportError:
    raise ConfigError(
        'medaug.transforms.torchio needs torchio, which is not installed: pip install "medaug[torchio]"'
    ) from None


class SubjectTransform(tio.MonaiAdapter):
    """A dictionary transform of medaug as a TorchIO transform; the names of images in a subject are its keys.

    Args:
        transform: for example `InsertTumord("mri", weights=..., mask_key="where", label_key="tumor")`.
    """

    def __init__(self, transform: MapTransform, **kwargs: object):
        super().__init__(transform, **kwargs)
        self._seeded_with: int | None = None

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """The edited subject; a label it had keeps its type, and one that is new is uint8."""
        self._seed_in_worker()
        before = set(subject)
        edited = super().apply_transform(subject)
        label_key = getattr(self.monai_transform, "label_key", None)
        if label_key is not None and label_key in edited and label_key not in before:
            image: tio.Image = edited[label_key]
            edited[label_key] = tio.LabelMap(tensor=image.data.to(torch.uint8), affine=image.affine)
            edited.update_attributes()
        return edited

    def _seed_in_worker(self) -> None:
        """Workers get copies of one transform, which would all draw the same: each takes its own seed, each epoch."""
        worker = get_worker_info()
        if worker is None or worker.seed == self._seeded_with or not isinstance(self.monai_transform, Randomizable):
            return
        self.monai_transform.set_random_state(seed=worker.seed % 2**32)
        self._seeded_with = worker.seed


def to_torchio(transform: MapTransform) -> SubjectTransform:
    """A dictionary transform of medaug for use in `tio.Compose`.

    Raises:
        ConfigError: for an array transform, which does not know which image of a subject is meant.

    Example:
        >>> to_torchio(RandInsertTumord("mri", weights="out/x/train/weights", label_key="tumor"))   # doctest: +SKIP
    """
    if not isinstance(transform, MapTransform):
        raise ConfigError(
            f"found {type(transform).__name__}, which takes single images; expected a dictionary transform, such as "
            "RandInsertTumord, whose keys are the subject's names"
        )
    return SubjectTransform(transform)
