"""nnU-Net v2's raw layout (dataset_format.md): what an export and the backend `nnunet` write alike.

`imagesTr/<case>_0000.nii.gz` (a file a channel), `labelsTr/<case>.nii.gz`, `dataset.json`. Every case is a volume; a
picture or a slice is one of one slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medaug.config import PipelineConfig
from medaug.data.files import write_channels, write_scan
from medaug.data.prepared import View
from medaug.evaluation.regions import class_of_each

ENDING = ".nii.gz"


class Volume(NamedTuple):
    """Image (C, X, Y, Z), each channel in its own unit, class numbers (X, Y, Z) or None, affine (4, 4) in mm.

    `dtypes` are the channels' types on disk.
    """

    image: np.ndarray
    label: np.ndarray | None
    affine: np.ndarray
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, image: np.ndarray, label: np.ndarray | None, view: View, dtypes: tuple[str, ...]) -> Volume:
        """On a view's grid; a slice (C, X, Y) becomes a volume of one."""
        shape = (*image.shape[1:], 1)[:3]
        return cls(image.reshape(-1, *shape), None if label is None else label.reshape(shape), view.affine, dtypes)

    def write(self, images: Sequence[Path], label: Path) -> None:
        """Writes the image, and the label where there is one.

        Args:
            images: a file a channel; or one for all of them, 4-D, of a type that holds all channels' types.
        """
        if len(images) == 1 < len(self.dtypes):
            write_channels(images[0], self.image, self.affine, np.result_type(*self.dtypes))
        else:
            for path, channel, dtype in zip(images, self.image, self.dtypes, strict=True):
                write_scan(path, channel[None], self.affine, dtype)
        if self.label is not None:
            write_scan(label, self.label[None], self.affine, "uint8")


def channel_names(config: PipelineConfig) -> tuple[str, ...]:
    """The sequences' names; nnU-Net takes "ct", however it is written, for HU."""
    units = (channel.unit for channel in config.data.domain("any").channels)
    grey = {"ct": "ct-grey-levels"}
    return tuple(
        "CT" if unit == "HU" else grey.get(name.lower(), name)
        for name, unit in zip(config.data.sequence_names, units, strict=True)
    )


def dataset_json(
    name: str,
    channels: Sequence[str],
    classes: Sequence[str],
    regions: Mapping[str, tuple[int, ...]],
    count: int,
    **more: object,
) -> dict[str, object]:
    """What `dataset.json` says.

    Args:
        classes: their names, numbered from 1.
        regions: class numbers by name, of what is outlined instead of the classes; none where empty.
        count: how many cases there are to train on.
        more: other keys of the file.
    """
    numbers = range(1, len(classes) + 1)
    labels: dict[str, object] = dict(zip(classes, numbers, strict=True))
    order: dict[str, object] = {}
    if regions:  # nnU-Net writes one region after the other, each by the class that it adds
        labels = {name: list(held) for name, held in regions.items()}
        order = {"regions_class_order": list(class_of_each(list(regions.values()), list(numbers)))}
    return {
        "channel_names": {str(number): channel for number, channel in enumerate(channels)},
        "labels": {"background": 0} | labels,
        **order,
        "numTraining": count,
        "file_ending": ENDING,
        "name": name,
        **more,
    }
